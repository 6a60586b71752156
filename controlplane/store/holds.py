"""Holds: what a person stopped, and what goes on again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session, col, or_, select, update

from controlplane.access.acts import Act
from controlplane.errors import NotFound, Refused
from controlplane.lifecycle import RolloutState, VersionState
from controlplane.store.database import Database
from controlplane.tables import Hold, Json, Model, Rollout, Version

RULES = "rules"
ROLLOUT = "rollout"
OF_A_RULE = "rule:"
AWAITS = col(Version.state) == VersionState.AWAITING_APPROVAL


class Holds(Database):
    """Verbs about holds. One that has come to its end by itself is as good as taken away."""

    def holding(self, model_id: str, what: str, now: datetime) -> Hold | None:
        """The hold of exactly this, if it holds at this instant."""
        with self._reading() as session:
            return in_force(session, model_id, what, now)

    def held_last(self, model_id: str, what: str) -> Hold | None:
        """The hold of exactly this, also where it has ended by itself."""
        with self._reading() as session:
            return session.get(Hold, (model_id, what))

    def holds(self, model_id: str, now: datetime) -> Sequence[Hold]:
        """Everything of the model that is held at this instant, by name."""
        ahead = or_(col(Hold.until).is_(None), col(Hold.until) > now)
        with self._reading() as session:
            query = select(Hold).where(Hold.model == model_id, ahead)
            return session.exec(query.order_by(col(Hold.what))).all()

    def put_hold(
        self, model_id: str, what: str, why: str, until: datetime | None, now: datetime, by: str, act: Act | None = None
    ) -> Hold:
        """Hold this from now on; one that is there is replaced, and saying the same again changes nothing.

        `what` is `rules`, `rule:NAME` or `rollout`. Raises NotFound for a model or a rule that is not there, and
        Refused for anything else or an end that has passed: a hold that holds nothing would be believed.
        """
        with self._writing() as session:
            _check(_locked(session, model_id), what, until, now)
            old = in_force(session, model_id, what, now)
            if old is not None and (old.why, old.until, old.by) == (why, until, by):
                return old
            before = _said(old) if old else None
            since = old.since if old else now
            hold = session.merge(Hold(model=model_id, what=what, since=since, until=until, by=by, why=why))
            self._tell(session, "hold", model_id, {"state": "held", **_said(hold)}, now)
            self._touch(session, model_id)
            self._audit(session, act, "hold.put", model_id, before, _said(hold))
            return hold

    def end_hold(self, model_id: str, what: str, now: datetime, act: Act | None = None) -> None:
        """Let it go on. Raises NotFound where nothing of the kind is held.

        What was frozen has its whole time again: a freeze must not be what ends it.
        """
        with self._writing() as session:
            _locked(session, model_id)
            hold = in_force(session, model_id, what, now)
            if hold is None:
                raise NotFound(f"nothing holds {what} of {model_id}", model=model_id, what=what)
            session.delete(hold)
            if what == ROLLOUT:
                _give_time(session, model_id, now)
            self._tell(session, "hold", model_id, {"state": "ended", **_said(hold)}, now)
            self._touch(session, model_id)
            self._audit(session, act, "hold.end", model_id, _said(hold), None)


def _give_time(session: Session, model_id: str, now: datetime) -> None:
    """A rollout's deadline counts from now, and so does that of an approval."""
    rollouts = update(Rollout).where(col(Rollout.model) == model_id, col(Rollout.ended_at).is_(None))
    session.exec(rollouts.where(col(Rollout.state) != RolloutState.WATCHING).values(began_at=now))
    waiting = update(Version).where(col(Version.model) == model_id, AWAITS)
    session.exec(waiting.values(state_at=now))


def _locked(session: Session, model_id: str) -> Model:
    """The model, locked: whoever else changes its holds waits, so that none is lost or inserted twice."""
    model = session.exec(select(Model).where(Model.id == model_id).with_for_update(key_share=True)).first()
    if model is None:
        raise NotFound(f"there is no model {model_id}: apply its spec first", model=model_id)
    return model


def _check(model: Model, what: str, until: datetime | None, now: datetime) -> None:
    if until is not None and until <= now:
        raise Refused(f"the hold would end at {until.isoformat()}, which has passed", field="until")
    if what in (RULES, ROLLOUT):
        return
    if not what.startswith(OF_A_RULE):
        raise Refused(f"{what!r} cannot be held: say rules, rule:NAME or rollout", field="what")
    name = what.removeprefix(OF_A_RULE)
    if name not in {rule["name"] for rule in model.spec.get("rules", ())}:
        raise NotFound(f"{model.id} has no rule {name}", model=model.id, rule=name)


def in_force(session: Session, model_id: str, what: str, now: datetime) -> Hold | None:
    """The hold of exactly this, if it holds at this instant."""
    hold = session.get(Hold, (model_id, what))
    return hold if hold is not None and (hold.until is None or hold.until > now) else None


def _said(hold: Hold) -> Json:
    until = hold.until.isoformat() if hold.until else None
    return {"what": hold.what, "since": hold.since.isoformat(), "until": until, "by": hold.by, "why": hold.why}
