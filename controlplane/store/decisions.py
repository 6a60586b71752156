"""Decisions and firings: once for each cause, and a firing together with the run that it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from controlplane.lifecycle import ACTIVE, ON_ITS_WAY, RunState
from controlplane.rules import Decision
from controlplane.store.database import Database
from controlplane.tables import DecisionRecord, Firing, TrainingRun, Version
from observability.ids import new_id
from pipeline.contract.rulespec import TRIGGERS
from pipeline.contract.training import TrainingRequest


class Decisions(Database):
    """Verbs about what rules decided."""

    def record_wait(self, model_id: str, decision: Decision, version: int | None, now: datetime) -> bool:
        """Store the decision to do nothing. False where the newest about this cause gave the same reason."""
        with self._writing() as session:
            last = _newest(session, model_id, decision.rule, decision.cause)
            if last is not None and last.reason == decision.reason.name:
                return False
            self._add_decision(session, model_id, decision, version, now)
            return True

    def record_firing(
        self, model_id: str, decision: Decision, request: TrainingRequest, parent: int | None, now: datetime
    ) -> TrainingRun | None:
        """Store decision, firing, the run it asks for and the event, all or nothing.

        None where the cause has fired before, or where the model is busy: the schema decides, so any number
        of tickers may try.
        """
        try:
            with self._writing() as session:
                if _on_its_way(session, model_id):
                    return None
                return self._add_firing(session, model_id, decision, request, parent, now)
        except IntegrityError:
            with self._reading() as session:
                if not _known(session, model_id, decision):
                    raise
            return None

    def _add_firing(
        self,
        session: Session,
        model_id: str,
        decision: Decision,
        request: TrainingRequest,
        parent: int | None,
        now: datetime,
    ) -> TrainingRun:
        record = self._add_decision(session, model_id, decision, parent, now)
        session.flush()
        firing = _firing_of(record)
        session.add(firing)
        session.flush()
        run = TrainingRun(
            key=request.key,
            firing_id=firing.id,
            model=model_id,
            state=RunState.ASKED,
            parent=parent,
            request=request.model_dump(mode="json", by_alias=True),
            asked_at=now,
            recorded_at=record.recorded_at,
        )
        session.add(run)
        body = {"rule": firing.rule, "trigger": firing.trigger, "cause": firing.cause}
        body |= {"reason": firing.reason, "detail": firing.detail, "run": run.key}
        self._tell(session, "firing", model_id, body, now)
        self._touch(session, model_id)
        session.flush()
        return run

    def _add_decision(
        self, session: Session, model_id: str, decision: Decision, version: int | None, now: datetime
    ) -> DecisionRecord:
        last = _newest(session, model_id, decision.rule, decision.cause)
        record = DecisionRecord(
            id=new_id(), model=model_id, rule=decision.rule, kind=decision.kind, cause=decision.cause,
            turn=last.turn + 1 if last else 1, outcome=decision.outcome, reason=decision.reason.name,
            detail=decision.detail, numbers=dict(decision.numbers), version=version,
            decided_at=now, recorded_at=self._wall.now(),
        )  # fmt: skip
        session.add(record)
        body = {
            "rule": record.rule,
            "cause": record.cause,
            "outcome": record.outcome,
            "reason": record.reason,
        }
        self._tell(session, "decision", model_id, {**body, "detail": record.detail}, now)
        return record

    def decisions(self, model_id: str, limit: int = 100) -> Sequence[DecisionRecord]:
        """A model's decisions, newest first."""
        with self._reading() as session:
            query = select(DecisionRecord).where(DecisionRecord.model == model_id)
            return session.exec(query.order_by(col(DecisionRecord.id).desc()).limit(limit)).all()

    def firings(self, model_id: str, limit: int = 100) -> Sequence[Firing]:
        """A model's firings, newest first."""
        with self._reading() as session:
            query = select(Firing).where(Firing.model == model_id)
            return session.exec(query.order_by(col(Firing.id).desc()).limit(limit)).all()

    def firings_of(self, keys: Sequence[str]) -> dict[str, Firing]:
        """The firings with these ids."""
        with self._reading() as session:
            return {firing.id: firing for firing in session.exec(select(Firing).where(col(Firing.id).in_(keys)))}

    def fired_causes(self, model_id: str) -> frozenset[tuple[str, str]]:
        """(rule, cause) of every firing of the model."""
        with self._reading() as session:
            query = select(Firing.rule, Firing.cause).where(Firing.model == model_id)
            return frozenset((rule, cause) for rule, cause in session.exec(query))


def _firing_of(record: DecisionRecord) -> Firing:
    return Firing(
        id=new_id(),
        model=record.model,
        rule=record.rule,
        kind=record.kind,
        trigger=TRIGGERS[record.kind],
        cause=record.cause,
        decision_id=record.id,
        reason=record.reason,
        detail=record.detail,
        fired_at=record.decided_at,
        recorded_at=record.recorded_at,
    )


def _newest(session: Session, model_id: str, rule: str, cause: str) -> DecisionRecord | None:
    query = select(DecisionRecord).where(
        DecisionRecord.model == model_id, DecisionRecord.rule == rule, DecisionRecord.cause == cause
    )
    return session.exec(query.order_by(col(DecisionRecord.turn).desc())).first()


def _known(session: Session, model_id: str, decision: Decision) -> bool:
    fired = select(Firing.id).where(
        Firing.model == model_id, Firing.rule == decision.rule, Firing.cause == decision.cause
    )
    active = select(TrainingRun.key).where(TrainingRun.model == model_id, col(TrainingRun.state).in_(ACTIVE))
    return session.exec(fired).first() is not None or session.exec(active).first() is not None


def _on_its_way(session: Session, model_id: str) -> bool:
    query = select(Version.id).where(Version.model == model_id, col(Version.state).in_(ON_ITS_WAY))
    return session.exec(query).first() is not None
