"""Decisions and firings: once for each cause, and a firing together with the run that it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from controlplane.access.acts import Act
from controlplane.lifecycle import ACTIVE, ON_ITS_WAY, RunState
from controlplane.rules.facts import Decision
from controlplane.store.judging import Judging
from controlplane.store.levels import SaidLast, said
from controlplane.store.order import id_after, last_decision, last_run
from controlplane.store.rollouts import production_number
from controlplane.tables import DecisionRecord, Firing, Model, TrainingRun, Version
from observability.ids import new_id
from pipeline.contract.rulespec import TRIGGERS
from pipeline.contract.training import TrainingRequest

#: how often somebody who met another process looks again: each time the other one has finished
ATTEMPTS: Final = 5


@dataclass(frozen=True)
class Asking:
    """A firing, and what the run that it asks for is asked."""

    decision: Decision
    request: TrainingRequest
    #: the version in production that it is to replace
    parent: int | None


class Decisions(Judging):
    """Verbs about what rules decided."""

    def record_wait(self, model_id: str, decision: Decision, version: int | None, now: datetime) -> bool:
        """Store the decision to do nothing. False where the newest about this cause gave the same reason."""
        return self.record_waits(model_id, [decision], version, now) == 1

    def record_waits(
        self,
        model_id: str,
        decisions: Sequence[Decision],
        version: int | None,
        now: datetime,
        known: Mapping[tuple[str, str], SaidLast] | None = None,
    ) -> int:
        """Store those decisions to do nothing whose reason is another than the newest about their cause; say how many.

        Nothing is written where nothing is new, and nothing read where that is `known` already. Who meets another
        process that decides the same looks again.
        """
        if known is None:
            with self._reading() as session:
                known = _newest_of(session, model_id, decisions) if decisions else {}
        new = _unlike(decisions, known)
        for _ in range(ATTEMPTS - 1):
            try:
                return self._record_waits(model_id, new, version, now)
            except IntegrityError:
                continue
        return self._record_waits(model_id, new, version, now)

    def _record_waits(self, model_id: str, decisions: Sequence[Decision], version: int | None, now: datetime) -> int:
        if not decisions:
            return 0
        with self._writing() as session:
            known = _newest_of(session, model_id, decisions)
            new = _unlike(decisions, known)
            after = last_decision(session, model_id) if new else None
            for decision in new:
                last = known.get((decision.rule, decision.cause))
                turn = last.turn + 1 if last else 1
                after = self._add_decision(session, model_id, decision, turn, version, now, after).id
            return len(new)

    def record_firing(
        self,
        model_id: str,
        decision: Decision,
        request: TrainingRequest,
        parent: int | None,
        now: datetime,
        act: Act | None = None,
        seen: int | None = None,
    ) -> TrainingRun | None:
        """Store decision, firing, the run it asks for and the event, all or nothing.

        None where the cause has fired before, or where the model is busy: the model's row is locked and the schema
        decides, so any number of tickers may try, whatever causes they have. None too where the model's counter does
        not stand where it was `seen`: somebody may have paused the rule, and what was decided is of the past; and where
        the version that the run is to replace is not in production any more.
        """
        asking = Asking(decision, request, parent)
        for _ in range(ATTEMPTS):
            try:
                with self._writing() as session:
                    changes = _lock(session, model_id)
                    if seen is not None and changes != seen:
                        return None
                    if _busy(session, model_id) or _fired(session, model_id, decision):
                        return None
                    if parent != production_number(session, model_id):
                        return None
                    return self._add_firing(session, model_id, asking, now, act)
            except IntegrityError as error:
                met = error  # another process decided about the same cause in between: look again
        raise met

    def _add_firing(
        self, session: Session, model_id: str, asking: Asking, now: datetime, act: Act | None = None
    ) -> TrainingRun:
        decision, parent = asking.decision, asking.parent
        key = id_after(last_run(session, model_id), asking.request.key)
        last = _newest_of(session, model_id, [decision]).get((decision.rule, decision.cause))
        after, turn = last_decision(session, model_id), last.turn + 1 if last else 1
        record = self._add_decision(session, model_id, decision, turn, parent, now, after)
        session.flush()
        firing = _firing_of(record)
        session.add(firing)
        session.flush()
        run = TrainingRun(
            key=key,
            firing_id=firing.id,
            model=model_id,
            state=RunState.ASKED,
            parent=parent,
            request=asking.request.model_copy(update={"key": key}).model_dump(mode="json", by_alias=True),
            asked_at=now,
            recorded_at=record.recorded_at,
        )
        session.add(run)
        body = {"rule": firing.rule, "trigger": firing.trigger, "cause": firing.cause}
        body |= {"reason": firing.reason, "detail": firing.detail, "run": run.key}
        self._tell(session, "firing", model_id, body, now)
        self._touch(session, model_id)
        self._audit(session, act, "run.ask", model_id, None, body)
        session.flush()
        return run

    def _add_decision(
        self,
        session: Session,
        model_id: str,
        decision: Decision,
        turn: int,
        version: int | None,
        now: datetime,
        after: str | None,
    ) -> DecisionRecord:
        record = DecisionRecord(
            id=id_after(after), model=model_id, rule=decision.rule, kind=decision.kind, cause=decision.cause,
            turn=turn, outcome=decision.outcome, reason=decision.reason.name,
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

    def decisions(
        self, model_id: str, limit: int = 100, after: datetime | None = None, until: datetime | None = None
    ) -> Sequence[DecisionRecord]:
        """A model's decisions, newest first; those later than an instant, and not later than another."""
        with self._reading() as session:
            query = select(DecisionRecord).where(DecisionRecord.model == model_id)
            if after is not None:
                query = query.where(col(DecisionRecord.decided_at) > after)
            if until is not None:
                query = query.where(col(DecisionRecord.decided_at) <= until)
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


def _newest_of(session: Session, model_id: str, decisions: Sequence[Decision]) -> Mapping[tuple[str, str], SaidLast]:
    """By rule and cause the newest of what was decided about each of these."""
    return said(session, model_id, {each.rule for each in decisions}, {each.cause for each in decisions}).last


def _unlike(decisions: Sequence[Decision], known: Mapping[tuple[str, str], SaidLast]) -> list[Decision]:
    """Those whose reason is not the one that is known, each cause once."""
    new = {}
    for decision in decisions:
        last = known.get((decision.rule, decision.cause))
        if last is None or last.reason != decision.reason.name:
            new[decision.rule, decision.cause] = decision
    return list(new.values())


def _lock(session: Session, model_id: str) -> int | None:
    """Whoever fires for the model, or ends its run, comes one after the other. How often the model has changed.

    The key stays free: whoever inserts a row that refers to the model goes on, or each might wait for the other.
    """
    return session.exec(select(Model.changes).where(Model.id == model_id).with_for_update(key_share=True)).first()


def _fired(session: Session, model_id: str, decision: Decision) -> bool:
    fired = select(Firing.id).where(
        Firing.model == model_id, Firing.rule == decision.rule, Firing.cause == decision.cause
    )
    return session.exec(fired).first() is not None


def _busy(session: Session, model_id: str) -> bool:
    active = select(TrainingRun.key).where(TrainingRun.model == model_id, col(TrainingRun.state).in_(ACTIVE))
    on_its_way = select(Version.id).where(Version.model == model_id, col(Version.state).in_(ON_ITS_WAY))
    return session.exec(active).first() is not None or session.exec(on_its_way).first() is not None
