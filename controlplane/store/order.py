"""Ids that go up for each model, also where the machine's clock went back: the newest row is that with the last id."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlmodel import Session, col, func, select

from controlplane.tables import DecisionRecord, Rollout, TrainingRun
from observability.ids import new_id


def id_after(last: str | None, fresh: str | None = None) -> str:
    """A new id, or this one, if it comes after the last; else one that does.

    >>> ahead = "ffff0000-0000-7000-8000-000000000000"
    >>> id_after(ahead) > ahead and id_after(None, "a") == "a"
    True
    """
    fresh = fresh or new_id()
    if last is None or fresh > last:
        return fresh
    try:
        stamp = UUID(last).int >> 80
    except ValueError:
        return fresh
    return str(UUID(f"{stamp + 1:012x}{fresh.replace('-', '')[12:]}"))


def last_decision(session: Session, model: str) -> str | None:
    """The id of the model's newest decision."""
    return _last(session, DecisionRecord, DecisionRecord.id, model)


def last_run(session: Session, model: str) -> str | None:
    """The key of the model's newest run. Its row is locked by whoever asks."""
    return _last(session, TrainingRun, TrainingRun.key, model)


def last_rollout(session: Session, model: str) -> str | None:
    """The id of the model's newest rollout. Its row is locked by whoever asks."""
    return _last(session, Rollout, Rollout.id, model)


def _last(session: Session, table: Any, column: str, model: str) -> str | None:  # noqa: ANN401 - a table's class
    found: str | None = session.exec(select(func.max(col(column))).where(table.model == model)).one()
    return found
