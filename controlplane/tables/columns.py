"""What columns and indexes of the state of record are made of."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import DateTime, Dialect, Enum, Index, TypeDecorator, text

from observability.clock import aware

Json = dict[str, Any]
#: before everything: what is due since then is due now
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: the same as a default that both databases read
EPOCH_TEXT: Final = "1970-01-01 00:00:00"


class Utc(TypeDecorator[datetime]):
    """An aware instant, kept in UTC; one without a time zone is refused at the door."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        instant = aware(value)
        return instant.replace(tzinfo=None) if dialect.name == "sqlite" else instant

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def states(kind: type[StrEnum]) -> Enum:
    """A state, kept as the word that people see."""
    return Enum(kind, native_enum=False, length=32, values_callable=lambda kind: [state.value for state in kind])


def among(chosen: Collection[StrEnum]) -> str:
    """The condition that a row is in one of these states."""
    return f"state IN ({', '.join(repr(state.value) for state in sorted(chosen))})"


def where(condition: str) -> dict[str, Any]:
    """The condition of a partial index, for every database."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def one_for_each_model(name: str, condition: str) -> Index:
    """At most one row of a model fulfils the condition."""
    return Index(f"one_{name}_for_each_model", "model", unique=True, **where(condition))
