"""Active hours: on which days and between which times of the day a rule may fire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from controlplane.rules.zones import instant_of, transitions, wall
from pipeline.contract.rulespec import DAYS, ActiveHours

#: any day of the week comes within this
AHEAD: Final = timedelta(days=9)


def is_active(hours: ActiveHours, now: datetime) -> bool:
    """Whether a clock on the wall shows one of these times on one of these days.

    Hours over midnight belong to the day on which they began. The same time twice means a whole day from then on.
    """
    shown = wall(now, ZoneInfo(hours.timezone))
    today, yesterday = DAYS[shown.weekday()], DAYS[shown.weekday() - 1]
    at = shown.time()
    if hours.since < hours.until:
        return today in hours.days and hours.since <= at < hours.until
    return (today in hours.days and at >= hours.since) or (yesterday in hours.days and at < hours.until)


def changes_at(hours: ActiveHours, now: datetime) -> datetime | None:
    """The first instant after now at which they begin or end; None where they never do."""
    active = is_active(hours, now)
    coming = (at for at in sorted(set(_edges(hours, now))) if at > now)
    return next((at for at in coming if is_active(hours, at) != active), None)


def _edges(hours: ActiveHours, now: datetime) -> Iterator[datetime]:
    """Every instant near by at which they could begin or end, also by the wall clocks' jump."""
    zone = ZoneInfo(hours.timezone)
    today = wall(now, zone).date()
    for ahead in range(-1, AHEAD.days + 1):
        for time in (hours.since, hours.until):
            shown = datetime.combine(today + timedelta(days=ahead), time)
            yield instant_of(shown, zone)
            yield shown.replace(tzinfo=zone, fold=1).astimezone(UTC)
    yield from transitions(zone, now - timedelta(days=1), now + AHEAD)
