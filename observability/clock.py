"""Time as an argument. This module alone asks the machine what time it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Says what time it is, aware and in UTC."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def aware(value: datetime) -> datetime:
    """The instant in UTC. Raises ValueError without a time zone: a guess would move windows by hours."""
    if value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} has no time zone: add Z or an offset")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{value.isoformat()} is outside the years 1 to 9999 in UTC") from error
