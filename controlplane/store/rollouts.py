"""Rollouts, and what was measured of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session, col, select

from controlplane.store.database import Database
from controlplane.tables import Comparison, Json, Model, Rollout


class Rollouts(Database):
    """Verbs about rollouts."""

    def rollouts_under_way(self) -> Sequence[Rollout]:
        """Every rollout that has not ended: at most one of a model."""
        with self._reading() as session:
            query = select(Rollout).where(col(Rollout.ended_at).is_(None))
            return session.exec(query.order_by(col(Rollout.model))).all()

    def rollout_of(self, model_id: str) -> Rollout | None:
        """The model's rollout that has not ended."""
        with self._reading() as session:
            return _under_way(session, model_id)

    def rollouts(self, model_id: str, limit: int = 100) -> Sequence[Rollout]:
        """A model's rollouts, newest first."""
        with self._reading() as session:
            query = select(Rollout).where(Rollout.model == model_id)
            return session.exec(query.order_by(col(Rollout.id).desc()).limit(limit)).all()

    def comparison(self, rollout_id: str) -> Comparison | None:
        """What was last measured of a rollout; it speaks of the step that began at `since`, and of no other."""
        with self._reading() as session:
            return session.get(Comparison, rollout_id)

    def record_comparison(self, rollout: Rollout, numbers: Json, now: datetime) -> bool:
        """Remember what was measured of the step that a rollout was in. False where it has moved on meanwhile."""
        with self._writing() as session:
            _lock(session, rollout.model)
            there = session.get(Rollout, rollout.id)
            if there is None or there.ended_at is not None or there.recorded_at != rollout.recorded_at:
                return False
            known = session.get(Comparison, rollout.id)
            session.merge(Comparison(rollout=rollout.id, since=there.recorded_at, numbers=numbers, compared_at=now))
            if known is None or known.since != there.recorded_at or known.numbers != numbers:
                self._touch(session, there.model)
            return True


def _lock(session: Session, model_id: str) -> None:
    """Whoever moves versions or rollouts of a model waits here for whoever does so already."""
    session.exec(select(Model.id).where(Model.id == model_id).with_for_update(key_share=True)).first()


def _under_way(session: Session, model_id: str) -> Rollout | None:
    query = select(Rollout).where(Rollout.model == model_id, col(Rollout.ended_at).is_(None))
    return session.exec(query).first()
