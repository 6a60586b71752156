"""Rollouts, and what was measured of them. A rollout and its version move together, or neither does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import Session, col, select

from controlplane.errors import Conflict, NotFound
from controlplane.lifecycle import ROLLOUT_TRANSITIONS, VERSION_TRANSITIONS, RolloutState, VersionState, advance
from controlplane.promotion.rollout import Step, StepReason
from controlplane.store.database import Database
from controlplane.store.holds import ROLLOUT, in_force
from controlplane.store.order import id_after, last_rollout
from controlplane.tables import Comparison, Hold, Json, Model, Rollout, Version
from controlplane.tables.versions import BEFORE_PRODUCTION, IN_PRODUCTION

#: what a version becomes when its rollout does this, where it does not change hands with the champion
_WITH_IT: Final = {
    RolloutState.SHADOW: VersionState.SHADOW,
    RolloutState.CANARY: VersionState.CANARY,
    RolloutState.ABORTED: VersionState.REJECTED,
}
#: word for word as in the partial index, so that a model's versions of the past cost nothing
PRODUCTION: Final = text(f"versions.{IN_PRODUCTION}")
ON_THEIR_WAY: Final = text(f"versions.{BEFORE_PRODUCTION}")
#: so much may the machines' clocks of several replicas differ
APART: Final = timedelta(minutes=1)
_ENDS: Final = frozenset(state for state, nexts in ROLLOUT_TRANSITIONS.items() if not nexts)


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
            return under_way(session, model_id)

    def rollouts(self, model_id: str, limit: int = 100) -> Sequence[Rollout]:
        """A model's rollouts, newest first."""
        with self._reading() as session:
            query = select(Rollout).where(Rollout.model == model_id)
            return session.exec(query.order_by(col(Rollout.id).desc()).limit(limit)).all()

    def is_ahead(self, rollout: Rollout, now: datetime) -> bool:
        """Whether a rollout began, or took its step, while a clock was ahead of where it is now."""
        return max(rollout.state_at, rollout.began_at) > now or rollout.recorded_at > self._wall.now() + APART

    def comparison(self, rollout_id: str) -> Comparison | None:
        """What was last measured of a rollout; it speaks of the step that began at `since`, and of no other."""
        with self._reading() as session:
            return session.get(Comparison, rollout_id)

    def record_comparison(self, rollout: Rollout, numbers: Json, now: datetime) -> bool:
        """Remember what was measured of the step that a rollout was in. False where it has moved on meanwhile."""
        with self._writing() as session:
            lock(session, rollout.model)
            there = session.get_one(Rollout, rollout.id)
            if not _is_where(there, rollout):
                return False
            known = session.get(Comparison, rollout.id)
            new = known is None or known.since != there.recorded_at or known.numbers != numbers
            session.merge(Comparison(rollout=rollout.id, since=there.recorded_at, numbers=numbers, compared_at=now))
            if new:
                self._touch(session, there.model)
            return True

    def take_step(self, rollout: Rollout, step: Step, now: datetime) -> bool:
        """Move a rollout and its versions, or note why it stays. False where nothing was changed: it says so already,
        another control plane was faster, or somebody froze it meanwhile.
        """
        with self._writing() as session:
            lock(session, rollout.model)
            there = session.get_one(Rollout, rollout.id)
            if not _is_where(there, rollout):
                return False
            if step.to is None:
                return self._note(session, there, step)
            backwards = step.to in (RolloutState.ABORTED, RolloutState.ROLLED_BACK)
            if not backwards and frozen_by(session, there.model, now) is not None:
                return False
            self._move_rollout(session, there, step, now)
            return True

    def _note(self, session: Session, rollout: Rollout, stays: Step) -> bool:
        if (rollout.note, rollout.reason) == (stays.detail, stays.reason.name):
            return False
        rollout.note, rollout.reason = stays.detail, stays.reason.name
        self._touch(session, rollout.model)
        return True

    def begin_rollout(self, version: Version, now: datetime) -> bool:
        """Begin the way of a version that was staged while rollouts were frozen, or by an older release. False where it
        has begun, or has to wait still.
        """
        with self._writing() as session:
            lock(session, version.model)
            row, other = one(session, version.model, version.number), under_way(session, version.model)
            if row.state is not VersionState.STAGING or (other and other.state is not RolloutState.WATCHING):
                return False
            return self._begin_rollout(session, row, now)

    def _begin_rollout(self, session: Session, version: Version, now: datetime) -> bool:
        """A version was staged: its way begins. Whoever is still being watched has been watched for long enough.

        While rollouts are frozen a watch does not end for it: its guards could take nothing back any more. The version
        is loaded meanwhile, and begins after the thaw.
        """
        watched = under_way(session, version.model)
        if watched is not None and frozen_by(session, version.model, now) is not None:
            return False
        if watched is not None:
            done = Step(StepReason.DONE_NEXT, f"version {version.number} is on its way", RolloutState.DONE)
            self._move_rollout(session, watched, done, now)
            session.flush()
        rollout = Rollout(
            id=id_after(last_rollout(session, version.model)), model=version.model, version=version.number,
            champion=version.parent,
            state=RolloutState.LOADING, note="begins", began_at=now, state_at=now, recorded_at=self._wall.now(),
        )  # fmt: skip
        session.add(rollout)
        self._tell_rollout(session, rollout, now)
        self._touch(session, version.model)
        return True

    def _move_rollout(self, session: Session, rollout: Rollout, step: Step, now: datetime) -> None:
        """The one place in which a rollout changes its state, and its versions with it."""
        to = step.to
        if to is None:
            raise ValueError("a step that stays moves nothing")
        was, version = rollout.state, one(session, rollout.model, rollout.version)
        rollout.state = advance(ROLLOUT_TRANSITIONS, f"the rollout of {named(version)}", was, to)
        rollout.step, rollout.share, rollout.reason = step.number, step.share, step.reason.name
        rollout.note, rollout.state_at, rollout.recorded_at = step.detail, now, self._wall.now()
        rollout.ended_at = now if to in _ENDS else None
        session.add(rollout)
        if to is RolloutState.ROLLED_BACK:
            self._exchange(session, version, one(session, rollout.model, rollout.champion or 0), step.detail, now)
        elif to in (RolloutState.WATCHING, RolloutState.DONE) and was is not RolloutState.WATCHING:
            self._put_into_production(session, version, step.detail, now)
        elif to in _WITH_IT and version.state is not _WITH_IT[to]:
            self._move(version, _WITH_IT[to], step.detail, now)
        self._tell_rollout(session, rollout, now)
        self._touch(session, rollout.model)

    def _put_into_production(self, session: Session, new: Version, note: str, now: datetime) -> None:
        """The new version comes, and the old one is retired."""
        old = in_production(session, new.model)
        if old is not None:
            self._move(old, VersionState.RETIRED, f"replaced by version {new.number}", now)
            session.flush()  # the schema allows one in production at any instant
        self._enter_production(new, note, now)
        body = {"version": new.number, "replaced": old.number if old else None, "run": new.run_key}
        self._tell(session, "promotion", new.model, body, now)

    def _exchange(self, session: Session, bad: Version, good: Version, reason: str, now: datetime) -> None:
        """The version in production goes for good, and one that was retired comes back."""
        self._move(bad, VersionState.ROLLED_BACK, reason, now)
        session.flush()
        self._enter_production(good, f"rolled back from version {bad.number}: {reason}", now)
        body = {"version": good.number, "replaced": bad.number, "reason": reason}
        self._tell(session, "rollback", good.model, body, now)

    def _enter_production(self, version: Version, note: str, now: datetime) -> None:
        self._move(version, VersionState.PRODUCTION, note, now)
        version.promoted_at = now
        version.first_promoted_at = version.first_promoted_at or now
        version.promoted_recorded_at = version.recorded_at

    def _move(self, version: Version, to: VersionState, note: str, now: datetime) -> None:
        version.state = advance(VERSION_TRANSITIONS, named(version), version.state, to)
        version.note, version.state_at, version.recorded_at = note, now, self._wall.now()

    def _tell_rollout(self, session: Session, rollout: Rollout, now: datetime) -> None:
        body = {
            "version": rollout.version, "champion": rollout.champion, "state": rollout.state, "step": rollout.step,
            "share": rollout.share, "reason": rollout.reason, "detail": rollout.note,
        }  # fmt: skip
        self._tell(session, "rollout", rollout.model, body, now)


def lock(session: Session, model_id: str) -> None:
    """Whoever moves versions or rollouts of a model waits here for whoever does so already."""
    session.exec(select(Model.id).where(Model.id == model_id).with_for_update(key_share=True)).first()


def named(version: Version) -> str:
    """A version, in words."""
    return f"{version.model} version {version.number}"


def one(session: Session, model_id: str, number: int) -> Version:
    """The version. Raises NotFound."""
    query = select(Version).where(Version.model == model_id, Version.number == number)
    version = session.exec(query).first()
    if version is None:
        raise NotFound(f"{model_id} has no version {number}", model=model_id, version=number)
    return version


def in_production(session: Session, model_id: str) -> Version | None:
    """The version in production."""
    query = select(Version).where(Version.model == model_id, PRODUCTION)
    return session.exec(query).first()


def production_number(session: Session, model_id: str) -> int | None:
    """The number of the version in production."""
    return session.exec(select(Version.number).where(Version.model == model_id, PRODUCTION)).first()


def under_way(session: Session, model_id: str) -> Rollout | None:
    """The rollout that has not ended."""
    query = select(Rollout).where(Rollout.model == model_id, col(Rollout.ended_at).is_(None))
    return session.exec(query).first()


def require_free_way(session: Session, version: Version) -> None:
    """Raises Conflict while another version is on its way into production."""
    other = under_way(session, version.model)
    if other is None or other.state is RolloutState.WATCHING or other.version == version.number:
        return
    raise Conflict(f"version {other.version} of {version.model} is on its way: it has to end first")


def frozen_by(session: Session, model_id: str, now: datetime) -> Hold | None:
    """The hold on the model's rollouts, if it is in force."""
    return in_force(session, model_id, ROLLOUT, now)


def _is_where(there: Rollout, seen: Rollout) -> bool:
    """Whether a rollout is still in the step in which it was seen."""
    if there.ended_at is not None:
        return False
    return (there.state, there.step, there.recorded_at) == (seen.state, seen.step, seen.recorded_at)
