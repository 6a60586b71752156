"""What rules judge by: windows behind one another, what has fired, what retraining has cost."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_, union_all
from sqlmodel import col, select

from controlplane.budget import DAY, MONTH, Spent
from controlplane.facts import Reason
from controlplane.store.database import Database
from controlplane.tables import DecisionRecord, Firing, ScoredWindow, TrainingRun, Version

ORDER = (col(ScoredWindow.until_time), col(ScoredWindow.until_id))
NEWEST = tuple(each.desc() for each in ORDER)


class Judging(Database):
    """Verbs that gather evidence."""

    def windows_before(
        self, windows: Sequence[ScoredWindow], since: datetime, settled: bool, count: int
    ) -> Sequence[ScoredWindow]:
        """The windows that come right before each of these in its sequence, so many of each, those cut since then.

        With `settled` only windows whose error metrics are settled count.
        """
        before = []
        for window in windows:
            query = select(ScoredWindow.id).where(
                ScoredWindow.model == window.model, ScoredWindow.version == window.version,
                ScoredWindow.monitor == window.monitor, ScoredWindow.cut_at >= since, _earlier(window),
            )  # fmt: skip
            if settled:
                query = query.where(col(ScoredWindow.error_at).is_not(None))
            before.append(select(query.order_by(*NEWEST).limit(count).subquery().c.id))
        if not before or not count:
            return []
        with self._reading() as session:
            found = select(ScoredWindow).where(col(ScoredWindow.id).in_(union_all(*before)))
            return session.exec(found.order_by(*ORDER)).all()

    def windows_of(
        self, model_id: str, version: int, monitor: str, since: datetime, page: int = 200
    ) -> Iterator[ScoredWindow]:
        """Every window of a version cut since an instant, oldest first, read in pages."""
        query = select(ScoredWindow).where(
            ScoredWindow.model == model_id, ScoredWindow.version == version,
            ScoredWindow.monitor == monitor, ScoredWindow.cut_at >= since,
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

    def fired_causes(
        self, model_id: str, causes: Collection[tuple[str, str]], dry: Collection[str] = ()
    ) -> frozenset[tuple[str, str]]:
        """Those of these (rule, cause) that have fired; for the rules that are dry also those that would have."""
        if not causes:
            return frozenset()
        rules, named = {rule for rule, _ in causes}, {cause for _, cause in causes}
        fired = select(Firing.rule, Firing.cause).where(
            Firing.model == model_id, col(Firing.rule).in_(rules), col(Firing.cause).in_(named)
        )
        would = select(DecisionRecord.rule, DecisionRecord.cause).where(
            DecisionRecord.model == model_id, col(DecisionRecord.rule).in_(dry), col(DecisionRecord.cause).in_(named),
            DecisionRecord.reason == Reason.WAIT_DRY_RUN.name,
        )  # fmt: skip
        with self._reading() as session:
            found = list(session.exec(fired)) + (list(session.exec(would)) if dry else [])
        return frozenset((rule, cause) for rule, cause in found) & frozenset(causes)

    def spent(self, model_id: str, now: datetime) -> Spent:
        """What the model's runs have cost lately, whoever asked for them."""
        asked, ended = col(TrainingRun.asked_at), col(TrainingRun.ended_at)
        query = select(TrainingRun.asked_at, TrainingRun.ended_at, TrainingRun.cpu_seconds).where(
            TrainingRun.model == model_id, or_(asked > now - DAY, ended > now - MONTH)
        )
        with self._reading() as session:
            rows = session.exec(query).all()
        return Spent(
            asked=tuple(asked_at for asked_at, _, _ in rows),
            ended=tuple((at, (seconds or 0.0) / 3600) for _, at, seconds in rows if at is not None),
        )

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


def _earlier(window: ScoredWindow) -> ColumnElement[bool]:
    return or_(ORDER[0] < window.until_time, and_(ORDER[0] == window.until_time, ORDER[1] < window.until_id))
