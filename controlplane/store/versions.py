"""Versions: judged, staged, promoted, rejected, rolled back. Each step is one transaction and follows the
lifecycle.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, exists, or_, select

from controlplane.errors import NotFound, NothingToRollBackTo
from controlplane.gate import GateVerdict
from controlplane.lifecycle import DEPLOYED, ON_ITS_WAY, VERSION_TRANSITIONS, RolloutState, VersionState, advance
from controlplane.store.database import Database
from controlplane.tables import GateRecord, Rollout, Version
from observability.ids import new_id


class Versions(Database):
    """Verbs about versions."""

    def versions(self, model_id: str, limit: int = 100) -> Sequence[Version]:
        """A model's versions, newest first."""
        with self._reading() as session:
            query = select(Version).where(Version.model == model_id)
            return session.exec(query.order_by(col(Version.number).desc()).limit(limit)).all()

    def version(self, model_id: str, number: int) -> Version:
        """One version. Raises NotFound."""
        with self._reading() as session:
            return _one(session, model_id, number)

    def production(self, model_id: str) -> Version | None:
        """The version in production."""
        with self._reading() as session:
            return _in_production(session, model_id)

    def replaced_last(self, model_id: str) -> Version | None:
        """The version that left production last; the one in production came in its place."""
        left = (VersionState.RETIRED, VersionState.ROLLED_BACK)
        newest = (col(Version.state_at).desc(), col(Version.promoted_at).desc(), col(Version.number).desc())
        with self._reading() as session:
            query = select(Version).where(Version.model == model_id, col(Version.state).in_(left))
            return session.exec(query.order_by(*newest).limit(1)).first()

    def in_service_since(self, model_id: str) -> datetime | None:
        """When the model's first version went into production."""
        with self._reading() as session:
            query = select(Version.first_promoted_at).where(Version.model == model_id)
            return session.exec(query.order_by(col(Version.first_promoted_at).nulls_last())).first()

    def on_their_way(self, model_id: str | None = None) -> Sequence[Version]:
        """Candidates and staged versions, of one model or of all."""
        with self._reading() as session:
            query = select(Version).where(col(Version.state).in_(ON_ITS_WAY))
            if model_id is not None:
                query = query.where(Version.model == model_id)
            return session.exec(query.order_by(col(Version.id))).all()

    def deployed(self) -> Sequence[Version]:
        """Every version that serving should have loaded: those on their way through it, in production, and those that a
        watched version replaced, which may have to come back.
        """
        watched = exists().where(
            col(Rollout.model) == col(Version.model), col(Rollout.champion) == col(Version.number),
            col(Rollout.state) == RolloutState.WATCHING,
        )  # fmt: skip
        with self._reading() as session:
            query = select(Version).where(or_(col(Version.state).in_(DEPLOYED), watched))
            return session.exec(query.order_by(col(Version.model), col(Version.number))).all()

    def record_gate(self, version: Version, verdict: GateVerdict, now: datetime) -> Version:
        """Store what the gate said and stage or reject the candidate."""
        with self._writing() as session:
            row = _one(session, version.model, version.number)
            record = GateRecord(
                id=new_id(),
                model=row.model,
                version=row.number,
                run_key=row.run_key,
                passed=verdict.passed,
                reason=verdict.reason.name,
                detail=verdict.detail,
                numbers=dict(verdict.numbers),
                decided_at=now,
            )
            to = VersionState.STAGING if verdict.passed else VersionState.REJECTED
            self._move(row, to, verdict.detail, now)
            session.add_all([record, row])
            body = {"version": row.number, "passed": verdict.passed, "reason": record.reason}
            self._tell(session, "gate", row.model, {**body, "detail": verdict.detail, **record.numbers}, now)
            self._touch(session, row.model)
            return row

    def gate_verdicts(self, model_id: str) -> dict[int, GateRecord]:
        """What the gate said, by version number."""
        with self._reading() as session:
            records = session.exec(select(GateRecord).where(GateRecord.model == model_id)).all()
            return {record.version: record for record in records}

    def promote(self, model_id: str, number: int, now: datetime) -> Version:
        """Put the staged version into production and retire the one that was there, both or neither."""
        with self._writing() as session:
            old, new = _in_production(session, model_id), _one(session, model_id, number)
            if old is not None:
                self._move(old, VersionState.RETIRED, f"replaced by version {number}", now)
                session.add(old)
                session.flush()  # the schema allows one in production at any instant
            self._enter_production(new, "passed the gate and was loaded", now)
            session.add(new)
            body = {"version": number, "replaced": old.number if old else None, "run": new.run_key}
            self._tell(session, "promotion", model_id, body, now)
            self._touch(session, model_id)
            return new

    def reject(self, model_id: str, number: int, note: str, now: datetime) -> Version:
        """Take a version out of the way to production for good."""
        with self._writing() as session:
            version = _one(session, model_id, number)
            self._move(version, VersionState.REJECTED, note, now)
            session.add(version)
            self._tell(session, "gate", model_id, {"version": number, "passed": False, "detail": note}, now)
            self._touch(session, model_id)
            return version

    def roll_back(self, model_id: str, reason: str, now: datetime) -> Version:
        """Put the version that was retired last back into production, both or neither. Raises
        NothingToRollBackTo.
        """
        with self._writing() as session:
            bad, good = _in_production(session, model_id), _last_retired(session, model_id)
            if bad is None or good is None:
                raise NothingToRollBackTo(model=model_id)
            self._move(bad, VersionState.ROLLED_BACK, reason, now)
            session.add(bad)
            session.flush()
            self._enter_production(good, f"rolled back from version {bad.number}: {reason}", now)
            session.add(good)
            body: dict[str, Any] = {"version": good.number, "replaced": bad.number, "reason": reason}
            self._tell(session, "rollback", model_id, body, now)
            self._touch(session, model_id)
            return good

    def _enter_production(self, version: Version, note: str, now: datetime) -> None:
        self._move(version, VersionState.PRODUCTION, note, now)
        version.promoted_at = now
        version.first_promoted_at = version.first_promoted_at or now
        version.promoted_recorded_at = version.recorded_at

    def _move(self, version: Version, to: VersionState, note: str, now: datetime) -> None:
        subject = f"{version.model} version {version.number}"
        version.state = advance(VERSION_TRANSITIONS, subject, version.state, to)
        version.note, version.state_at, version.recorded_at = note, now, self._wall.now()


def _one(session: Session, model_id: str, number: int) -> Version:
    query = select(Version).where(Version.model == model_id, Version.number == number)
    version = session.exec(query).first()
    if version is None:
        raise NotFound(f"{model_id} has no version {number}", model=model_id, version=number)
    return version


def _in_production(session: Session, model_id: str) -> Version | None:
    query = select(Version).where(Version.model == model_id, Version.state == VersionState.PRODUCTION)
    return session.exec(query).first()


def _last_retired(session: Session, model_id: str) -> Version | None:
    query = select(Version).where(Version.model == model_id, Version.state == VersionState.RETIRED)
    newest = (col(Version.promoted_at).desc(), col(Version.number).desc())
    return session.exec(query.order_by(*newest)).first()
