"""What a trial of a rule looks at: a model's past, all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import and_, or_
from sqlmodel import col, select

from controlplane.store.database import Database
from controlplane.tables import Firing, ScoredWindow, TrainingRun, Version

ORDER = (col(ScoredWindow.until_time), col(ScoredWindow.until_id))


class Judging(Database):
    """Verbs that read the past."""

    def windows_of(
        self, model_id: str, version: int, monitor: str, segment: str, since: datetime, page: int = 200
    ) -> Iterator[ScoredWindow]:
        """Every whole window of a version cut since an instant, or of a segment, oldest first, read in pages."""
        query = select(ScoredWindow).where(
            ScoredWindow.model == model_id, ScoredWindow.version == version,
            ScoredWindow.monitor == monitor, ScoredWindow.segment == segment, ScoredWindow.cut_at >= since,
        )  # fmt: skip
        behind = query
        while True:
            with self._reading() as session:
                rows = session.exec(behind.order_by(*ORDER).limit(page)).all()
            yield from rows
            if len(rows) < page:
                return
            at, key = rows[-1].until_time, rows[-1].until_id
            behind = query.where(or_(ORDER[0] > at, and_(ORDER[0] == at, ORDER[1] > key)))

    def runs_since(self, model_id: str, since: datetime) -> Sequence[tuple[TrainingRun, Firing]]:
        """The runs that were asked for or ended since then, oldest first, with what they were asked for."""
        asked, ended = col(TrainingRun.asked_at), col(TrainingRun.ended_at)
        query = select(TrainingRun, Firing).join(Firing, col(Firing.id) == col(TrainingRun.firing_id))
        query = query.where(TrainingRun.model == model_id, or_(asked >= since, ended >= since, ended.is_(None)))
        with self._reading() as session:
            return session.exec(query.order_by(asked)).all()

    def promotions(self, model_id: str) -> Sequence[tuple[datetime, int]]:
        """When which version went into production, as far as it is known: the first time and the last."""
        query = select(Version.number, Version.first_promoted_at, Version.promoted_at).where(Version.model == model_id)
        with self._reading() as session:
            rows = session.exec(query).all()
        return sorted({(at, number) for number, *instants in rows for at in instants if at is not None})
