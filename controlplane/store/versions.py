"""Versions: judged, approved, promoted, rejected, rolled back. Each step is one transaction and follows the
lifecycle.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from pydantic import ValidationError
from sqlalchemy import text, union
from sqlmodel import Session, col, select

from controlplane.access.acts import Act
from controlplane.errors import Conflict, Frozen, NothingToRollBackTo
from controlplane.lifecycle import (
    ON_ITS_WAY,
    VERSION_TRANSITIONS,
    IllegalTransition,
    RolloutState,
    VersionState,
    advance,
)
from controlplane.promotion.gate import GateVerdict
from controlplane.promotion.rejection import Rejection
from controlplane.promotion.rollout import FailedLoad, Step, StepReason, Waiting, observe_fleet, promotion, waits_for
from controlplane.store.rollouts import (
    ON_THEIR_WAY,
    Rollouts,
    frozen_by,
    in_production,
    lock,
    named,
    one,
    require_free_way,
    under_way,
)
from controlplane.tables import GateRecord, Instance, Json, Rollout, TrainingRun, Version
from controlplane.tables.versions import ELSEWHERE, LOADED
from observability.ids import new_id
from pipeline.contract.promotionspec import RolloutPlan
from pipeline.contract.training import TrainingRequest

#: word for word as in the partial indexes, so that the versions of the past cost nothing
_DEPLOYED: Final = text(f"versions.{LOADED}")
#: an instance that was silent for so long is not waited for
SILENCE: Final = timedelta(seconds=15)


class Versions(Rollouts):
    """Verbs about versions."""

    def versions(self, model_id: str, limit: int = 100) -> Sequence[Version]:
        """A model's versions, newest first."""
        with self._reading() as session:
            query = select(Version).where(Version.model == model_id)
            return session.exec(query.order_by(col(Version.number).desc()).limit(limit)).all()

    def version(self, model_id: str, number: int) -> Version:
        """One version. Raises NotFound."""
        with self._reading() as session:
            return one(session, model_id, number)

    def production(self, model_id: str) -> Version | None:
        """The version in production."""
        with self._reading() as session:
            return in_production(session, model_id)

    def replaced_since(self, model_id: str, since: datetime | None) -> Sequence[Version]:
        """The versions that left production at or after an instant, or ever, the first to leave first."""
        left = (VersionState.RETIRED, VersionState.ROLLED_BACK)
        query = select(Version).where(Version.model == model_id, col(Version.state).in_(left))
        if since is not None:
            query = query.where(col(Version.state_at) >= since)
        with self._reading() as session:
            return session.exec(query.order_by(col(Version.state_at), col(Version.number))).all()

    def in_service_since(self, model_id: str) -> datetime | None:
        """When the model's first version went into production."""
        with self._reading() as session:
            query = select(Version.first_promoted_at).where(Version.model == model_id)
            return session.exec(query.order_by(col(Version.first_promoted_at).nulls_last())).first()

    def on_their_way(self, model_id: str | None = None) -> Sequence[Version]:
        """Candidates and staged versions, of one model or of all."""
        with self._reading() as session:
            query = select(Version).where(ON_THEIR_WAY)
            if model_id is not None:
                query = query.where(Version.model == model_id)
            return session.exec(query.order_by(col(Version.id))).all()

    def deployed(self) -> Sequence[Version]:
        """Every version that serving should have loaded: those on their way through it, in production, and those that a
        watched version replaced, which may have to come back. Those that are served elsewhere are not among them.
        """
        watched = select(Version.id).join(
            Rollout, (col(Rollout.model) == Version.model) & (col(Rollout.champion) == Version.number)
        )
        watched = watched.where(col(Rollout.ended_at).is_(None), Rollout.state == RolloutState.WATCHING)
        named = col(Version.id).in_(union(select(Version.id).where(_DEPLOYED), watched))
        with self._reading() as session:
            query = select(Version).where(named, Version.onnx_sha256 != ELSEWHERE)
            return session.exec(query.order_by(col(Version.model), col(Version.number))).all()

    def record_gate(self, version: Version, verdict: GateVerdict, now: datetime) -> Version:
        """Store what the gate said, and begin the candidate's rollout, or have it wait for a person, or reject it.

        Where rollouts are frozen and the version before it is being watched, its rollout begins after the thaw.
        """
        with self._writing() as session:
            lock(session, version.model)
            row = one(session, version.model, version.number)
            if verdict.passed:
                require_free_way(session, row)
            self._move(row, _after_the_gate(verdict), verdict.detail, now)
            record = GateRecord(
                id=new_id(), model=row.model, version=row.number, run_key=row.run_key, passed=verdict.passed,
                reason=verdict.reason.name, detail=verdict.detail, numbers=dict(verdict.numbers),
                checks=[check.stored() for check in verdict.checks], decided_at=now,
            )  # fmt: skip
            session.add(record)
            if row.state is VersionState.STAGING:
                self._begin_rollout(session, row, now)
            body = {"version": row.number, "passed": verdict.passed, "reason": record.reason, "state": row.state}
            self._tell(session, "gate", row.model, {**body, "detail": verdict.detail, **record.numbers}, now)
            self._touch(session, row.model)
            return row

    def gate_verdicts(self, model_id: str) -> dict[int, GateRecord]:
        """What the gate said, by version number."""
        with self._reading() as session:
            records = session.exec(select(GateRecord).where(GateRecord.model == model_id)).all()
            return {record.version: record for record in records}

    def approve(self, model_id: str, number: int, why: str, now: datetime, act: Act | None = None) -> Version:
        """A person lets a version that passed its gate go on. Raises IllegalTransition where it does not wait for that,
        and Conflict where the version that it was made to replace is gone, or another is on its way.
        """
        with self._writing() as session:
            lock(session, model_id)
            version, champion = one(session, model_id, number), in_production(session, model_id)
            before = _said(version)
            if version.state is not VersionState.AWAITING_APPROVAL:
                raise IllegalTransition(named(version), version.state, VersionState.STAGING)
            if version.parent != (champion.number if champion else None):
                raise Conflict(f"{named(version)} was made to replace {version.parent}, which is not in production")
            require_free_way(session, version)
            version.approved_by, version.approved_why = act.actor if act else "", why
            self._move(version, VersionState.STAGING, f"approved: {why}", now)
            self._begin_rollout(session, version, now)
            self._touch(session, model_id)
            self._audit(session, act, "version.approve", named(version), before, _said(version))
            return version

    def reject(
        self,
        model_id: str,
        number: int,
        note: str,
        now: datetime,
        act: Act | None = None,
        seen: VersionState | None = None,
        why: Rejection | None = None,
    ) -> Version:
        """Take a version out of the way to production for good; the rollout that it is in is aborted. What the system
        does by itself has its `why`: people are told.

        Raises IllegalTransition, also where the version is not in the state any more in which it was `seen`: somebody
        may have approved it.
        """
        with self._writing() as session:
            lock(session, model_id)
            version, rollout = one(session, model_id, number), under_way(session, model_id)
            before = _said(version)
            if seen is not None and version.state is not seen:
                raise IllegalTransition(named(version), version.state, VersionState.REJECTED)
            advance(VERSION_TRANSITIONS, named(version), version.state, VersionState.REJECTED)
            if rollout is not None and rollout.version == number:
                self._abort(session, rollout, note, now)
            else:
                self._move(version, VersionState.REJECTED, note, now)
            version.rejected_for = why.name if why is not None else ""
            self._tell(session, "gate", model_id, {"version": number, "passed": False, "detail": note}, now)
            self._touch(session, model_id)
            self._audit(session, act, "version.reject", named(version), before, _said(version))
            return version

    def promote(
        self, model_id: str, number: int, why: str, now: datetime, act: Act | None = None, silence: timedelta = SILENCE
    ) -> Version:
        """Put a version whose rollout is under way into production at once, whatever steps remain.

        Raises Frozen, IllegalTransition where no rollout of it is under way, and Conflict while a live instance has
        not loaded it, or where another version than the one that it was made to replace is in production.
        """
        with self._writing() as session:
            lock(session, model_id)
            version, rollout = one(session, model_id, number), under_way(session, model_id)
            before = _said(version)
            hold = frozen_by(session, model_id, now)
            if hold is not None and version.state in ON_ITS_WAY:
                raise Frozen(f"{hold.by} froze the rollouts of {model_id}: {hold.why}", by=hold.by, why=hold.why)
            if rollout is None or rollout.version != number or rollout.state is RolloutState.WATCHING:
                raise IllegalTransition(named(version), version.state, VersionState.PRODUCTION)
            self._require_ready(session, version, rollout, silence)
            plan = _plan_of(session, version)
            step = promotion(plan, rollout.champion, why, StepReason.PROMOTE_ASKED)
            self._move_rollout(session, rollout, step, now)
            self._audit(session, act, "version.promote", named(version), before, _said(version))
            return version

    def _require_ready(self, session: Session, version: Version, rollout: Rollout, silence: timedelta) -> None:
        champion = in_production(session, version.model)
        if rollout.champion != (champion.number if champion else None):
            raise Conflict(f"{named(version)} was made to replace {rollout.champion}, which is not in production")
        live = select(Instance).where(Instance.reported_at >= self._wall.now() - silence)
        match observe_fleet(version, session.exec(live.order_by(col(Instance.id))).all()):
            case Waiting() as readiness:
                raise Conflict(f"{named(version)} {waits_for(readiness)}", waits_for=list(readiness.on))
            case FailedLoad(reason):
                raise Conflict(f"{named(version)} cannot be promoted: {reason}")

    def roll_back(
        self, model_id: str, reason: str, now: datetime, act: Act | None = None, bad_one: int | None = None
    ) -> Version:
        """Put the version that was retired last back into production, also while rollouts are frozen; a rollout
        that is under way ends. Raises NothingToRollBackTo, and Conflict where the bad one is not in production any
        more: whoever asks for the same twice, or after a guard, does not go back by two versions.
        """
        with self._writing() as session:
            lock(session, model_id)
            bad, good = in_production(session, model_id), _last_retired(session, model_id)
            if bad_one is not None and (bad is None or bad.number != bad_one):
                raise Conflict(f"version {bad_one} of {model_id} is not in production", version=bad_one)
            if bad is None or good is None:
                raise NothingToRollBackTo(model=model_id)
            before, rollout = _said(bad), under_way(session, model_id)
            if rollout is not None and rollout.state is RolloutState.WATCHING and rollout.champion is not None:
                good = one(session, model_id, rollout.champion)
                step = Step(StepReason.STOP_ASKED, reason, RolloutState.ROLLED_BACK)
                self._move_rollout(session, rollout, step, now)
            else:
                if rollout is not None:
                    gone = f"made to replace version {bad.number}, but version {good.number} is in production now"
                    self._abort(session, rollout, gone, now)
                self._exchange(session, bad, good, reason, now)
            self._touch(session, model_id)
            self._audit(session, act, "version.roll_back", named(bad), before, _said(good))
            return good

    def _abort(self, session: Session, rollout: Rollout, note: str, now: datetime) -> None:
        self._move_rollout(session, rollout, Step(StepReason.STOP_ASKED, note, RolloutState.ABORTED), now)


def _after_the_gate(verdict: GateVerdict) -> VersionState:
    if not verdict.passed:
        return VersionState.REJECTED
    return VersionState.AWAITING_APPROVAL if verdict.needs_approval else VersionState.STAGING


def _run_of(session: Session, version: Version) -> TrainingRun:
    return session.get_one(TrainingRun, version.run_key)


def _plan_of(session: Session, version: Version) -> RolloutPlan:
    try:
        return TrainingRequest.model_validate(_run_of(session, version).request).spec.rollout
    except ValidationError as error:
        raise Conflict(f"this release cannot read what was asked of {named(version)}") from error


def _said(version: Version) -> Json:
    return {"version": version.number, "state": version.state, "note": version.note}


def _last_retired(session: Session, model_id: str) -> Version | None:
    query = select(Version).where(Version.model == model_id, Version.state == VersionState.RETIRED)
    newest = (col(Version.promoted_at).desc(), col(Version.number).desc())
    return session.exec(query.order_by(*newest)).first()
