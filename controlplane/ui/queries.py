"""What the pages read beyond the store's own verbs. Nothing here writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import col, func, select

from controlplane.errors import NotFound
from controlplane.store import Store
from controlplane.tables import DecisionRecord, ScoredWindow, Version
from controlplane.ui.alert_queries import AlertQueries
from controlplane.ui.fleet_queries import FleetQueries


@dataclass(frozen=True)
class Totals:
    """How much one monitor has seen of a model."""

    windows: int = 0
    rows: int = 0
    labelled: int = 0


class Reader(FleetQueries, AlertQueries):
    """The store with the reading verbs of the pages."""

    @classmethod
    def of(cls, store: Store) -> Reader:
        """A reader of the same database."""
        return cls(store._engine, store._wall)

    def version_or_none(self, model_id: str, number: int) -> Version | None:
        """One version, or nothing."""
        with self._reading() as session:
            return session.exec(select(Version).where(Version.model == model_id, Version.number == number)).first()

    def window(self, model_id: str, window_id: str) -> ScoredWindow:
        """One window of a model. Raises NotFound."""
        with self._reading() as session:
            window = session.get(ScoredWindow, window_id)
        if window is None or window.model != model_id:
            raise NotFound(f"{model_id} has no window {window_id}", model=model_id, window=window_id)
        return window

    def beside(self, window: ScoredWindow) -> tuple[ScoredWindow | None, ScoredWindow | None]:
        """The windows of the same monitor and segment that end before and after this one."""
        order = (col(ScoredWindow.until_time), col(ScoredWindow.until_id))
        query = select(ScoredWindow).where(
            ScoredWindow.model == window.model, ScoredWindow.monitor == window.monitor,
            ScoredWindow.segment == window.segment, ScoredWindow.id != window.id,
        )  # fmt: skip
        earlier = query.where(ScoredWindow.until_time <= window.until_time)
        later = query.where(ScoredWindow.until_time > window.until_time)
        with self._reading() as session:
            return (
                session.exec(earlier.order_by(*(each.desc() for each in order)).limit(1)).first(),
                session.exec(later.order_by(*order).limit(1)).first(),
            )

    def totals(self, model_id: str) -> dict[str, Totals]:
        """What each monitor has seen, by its name; a segment is a part of that."""
        query = (
            select(
                ScoredWindow.monitor,
                func.count(),
                func.sum(ScoredWindow.rows),
                func.sum(ScoredWindow.labelled),
            )
            .where(ScoredWindow.model == model_id, ScoredWindow.segment == "")
            .group_by(col(ScoredWindow.monitor))
        )
        with self._reading() as session:
            found = session.exec(query).all()
        return {name: Totals(windows, rows, labelled) for name, windows, rows, labelled in found}

    def decided_on(self, window: ScoredWindow) -> Sequence[DecisionRecord]:
        """What the rules decided because of a window, oldest first."""
        query = select(DecisionRecord).where(DecisionRecord.model == window.model, DecisionRecord.cause == window.id)
        with self._reading() as session:
            return session.exec(query.order_by(col(DecisionRecord.id))).all()

    def decision_count(self, model_id: str) -> int:
        """How many decisions are stored of a model."""
        with self._reading() as session:
            query = select(func.count()).select_from(DecisionRecord)
            return session.exec(query.where(DecisionRecord.model == model_id)).one()
