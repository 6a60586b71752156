"""Training runs: claimed with a lease, and written to only by the holder of the newest epoch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final

from sqlalchemy import text
from sqlmodel import Session, col, func, or_, select

from controlplane.access.acts import Act
from controlplane.errors import NotFound, RunEnded, StaleEpoch
from controlplane.lifecycle import ACTIVE, RUN_TRANSITIONS, RunState, VersionState, advance
from controlplane.rules.facts import MANUAL, WEBHOOK
from controlplane.store.database import database_now, lease_end
from controlplane.store.decisions import Asking, Decisions
from controlplane.store.holds import OF_A_RULE, RULES, in_force
from controlplane.store.rollouts import production_number
from controlplane.tables import Firing, Model, TrainingRun, Version
from pipeline.contract.training import Failure, Made, Progress, TrainingReport

#: ACTIVE, word for word as in the partial index, so that what has ended costs nothing
UNDER_WAY: Final = text("training_runs.state in ('asked', 'running')")


class Runs(Decisions):
    """Verbs about training runs."""

    def claim_next_run(self, owner: str, lease: timedelta, after: str = "") -> TrainingRun | None:
        """The active run of the first model behind this one that nobody holds, now held by this owner under a new
        epoch.
        """
        with self._writing() as session:
            now = database_now(session)
            free = or_(col(TrainingRun.lease_until).is_(None), col(TrainingRun.lease_until) <= now)
            query = select(TrainingRun).where(TrainingRun.model > after, UNDER_WAY, free)
            query = query.order_by(col(TrainingRun.model)).limit(1).with_for_update(skip_locked=True)
            run = session.exec(query).first()
            if run is None:
                return None
            run.epoch += 1
            run.attempts += 1
            run.lease_owner, run.lease_until = owner, lease_end(session, lease)
            session.add(run)
            return run

    def held_runs(self, owner: str) -> Sequence[TrainingRun]:
        """The active runs that this owner holds, or held last."""
        with self._reading() as session:
            query = select(TrainingRun).where(UNDER_WAY, TrainingRun.lease_owner == owner)
            return sorted(session.exec(query), key=attrgetter("key"))

    def mark_started(self, key: str, epoch: int, now: datetime) -> None:
        """The trainer has the run. Saying it again changes nothing. Raises StaleEpoch."""
        with self._writing() as session:
            _lock_model_of(session, key)
            run = _fenced(session, key, epoch)
            if run.state is RunState.RUNNING:
                return
            run.state = advance(RUN_TRANSITIONS, f"run {key}", run.state, RunState.RUNNING)
            run.started_at = now
            session.add(run)
            self._tell(session, "run", run.model, {"run": key, "state": run.state, "attempt": run.attempts}, now)
            self._touch(session, run.model)

    def record_progress(
        self, key: str, epoch: int, lease: timedelta, progress: Progress | None, took: float | None = None
    ) -> None:
        """Renew the lease and remember how far the run is, and how many seconds of processor time it took until now:
        one that dies without a report has cost that much. Raises StaleEpoch.
        """
        with self._writing() as session:
            run = _fenced(session, key, epoch)
            run.lease_until = lease_end(session, lease)
            run.progress = progress.model_dump(mode="json") if progress else run.progress
            run.cpu_seconds = max(took, run.cpu_seconds or 0.0) if took is not None else run.cpu_seconds
            session.add(run)

    def cancel_run(self, key: str, by: str, why: str, now: datetime, act: Act | None = None) -> TrainingRun:
        """Ask that the run end: its holder ends it at the next tick, and it makes no version any more.

        Asking again changes nothing. Raises NotFound, and RunEnded where there is nothing left to end.
        """
        with self._writing() as session:
            _lock_model_of(session, key)
            run = session.exec(select(TrainingRun).where(TrainingRun.key == key).with_for_update()).first()
            if run is None:
                raise NotFound(f"there is no run {key}", run=key)
            if run.state not in ACTIVE:
                raise RunEnded(f"run {key} has {run.state}: there is nothing to cancel", run=key, state=run.state)
            if run.cancel_by is None:
                run.cancel_by, run.cancel_why = by, why
                session.add(run)
                self._tell(session, "run", run.model, {"run": key, "state": run.state, "cancel": by, "why": why}, now)
                self._touch(session, run.model)
                self._audit(session, act, "run.cancel", run.model, None, {"run": key, "state": run.state, "why": why})
            return run

    def finish_run(
        self, key: str, epoch: int, report: TrainingReport, now: datetime, again: Asking | None = None
    ) -> TrainingRun:
        """Store the report and the candidate version that it made, both or neither. Raises StaleEpoch.

        A run that somebody cancelled makes none, whatever it reports. One that made none may be asked for `again` in
        the same transaction, unless its rule was paused meanwhile or production has changed once more: then it failed.
        """
        with self._writing() as session:
            _lock_model_of(session, key)
            run = _fenced(session, key, epoch)
            again = again if again is not None and _may_follow(session, run, report, again, now) else None
            run.state = advance(RUN_TRANSITIONS, f"run {key}", run.state, _end_of(run, report, again))
            run.report = report.model_dump(mode="json")
            run.cpu_seconds = report.cpu_seconds if report.cpu_seconds is not None else run.cpu_seconds
            run.ended_at, run.ended_recorded_at, run.lease_until = now, self._wall.now(), None
            session.add(run)
            body = {"run": key, "state": run.state, "seconds": report.seconds}
            if run.state is RunState.SUCCEEDED and report.made:
                version = self._candidate(session, run, report.made, now)
                session.add(version)
                body["version"] = version.number
            else:
                failure = _failure(run, report)
                run.failure_code, run.failure_message = failure.code, failure.message
                body |= {"failure": failure.code, "message": failure.message}
            self._tell(session, "run", run.model, body, now)
            self._touch(session, run.model)
            if again is not None:
                session.flush()  # the schema allows one that has not ended
                self._add_firing(session, run.model, again, now)
            return run

    def _candidate(self, session: Session, run: TrainingRun, made: Made, now: datetime) -> Version:
        last = session.exec(select(func.max(Version.number)).where(Version.model == run.model)).one()
        return Version(
            model=run.model,
            number=(last or 0) + 1,
            state=VersionState.CANDIDATE,
            manifest=made.manifest,
            onnx_sha256=made.onnx_sha256,
            parent=run.parent,
            run_key=run.key,
            firing_id=run.firing_id,
            dataset=made.dataset.model_dump(mode="json"),
            metrics=made.metrics,
            constant_metrics=made.constant,
            champion_metrics=made.champion,
            parity=made.parity.model_dump(mode="json"),
            cost=made.cost,
            gate_rows=made.gate_rows,
            mlflow_run_id=made.mlflow_run_id,
            mlflow_version=made.mlflow_version,
            bento_tag=made.bento_tag,
            train_until=made.dataset.train_until,
            made_at=now,
            state_at=now,
            recorded_at=self._wall.now(),
        )

    def runs(self, model_id: str, limit: int = 100) -> Sequence[TrainingRun]:
        """A model's runs, newest first."""
        with self._reading() as session:
            query = select(TrainingRun).where(TrainingRun.model == model_id)
            return session.exec(query.order_by(col(TrainingRun.key).desc()).limit(limit)).all()

    def run(self, key: str) -> TrainingRun:
        """One run. Raises NotFound."""
        with self._reading() as session:
            run = session.get(TrainingRun, key)
        if run is None:
            raise NotFound(f"there is no run {key}", run=key)
        return run

    def active_run(self, model_id: str) -> TrainingRun | None:
        """The model's run that has not ended: at most one."""
        with self._reading() as session:
            query = select(TrainingRun).where(TrainingRun.model == model_id, col(TrainingRun.state).in_(ACTIVE))
            return session.exec(query).first()

    def run_of_cause(self, model_id: str, rule: str, cause: str) -> TrainingRun | None:
        """The run that a firing of this rule and cause asked for."""
        with self._reading() as session:
            query = select(TrainingRun).join(Firing, col(Firing.id) == col(TrainingRun.firing_id))
            query = query.where(Firing.model == model_id, Firing.rule == rule, Firing.cause == cause)
            return session.exec(query).first()


def _may_follow(session: Session, run: TrainingRun, report: TrainingReport, again: Asking, now: datetime) -> bool:
    if report.made is not None or run.cancel_by is not None or again.parent != production_number(session, run.model):
        return False
    stopped = (RULES, f"{OF_A_RULE}{again.decision.rule}") if again.decision.rule not in (MANUAL, WEBHOOK) else ()
    return all(in_force(session, run.model, what, now) is None for what in stopped)


def _end_of(run: TrainingRun, report: TrainingReport, again: Asking | None) -> RunState:
    if run.cancel_by is not None or again is not None:
        return RunState.CANCELLED
    return RunState.SUCCEEDED if report.made else RunState.FAILED


def _failure(run: TrainingRun, report: TrainingReport) -> Failure:
    if run.cancel_by is not None:
        return Failure(code="cancelled", message=f"{run.cancel_by}: {run.cancel_why}")
    return report.failure or Failure(code="crashed", message="the report names no version and no failure")


def _lock_model_of(session: Session, key: str) -> None:
    """The model before its run, as everybody does: of two that lock both, none waits for the other."""
    model = session.exec(select(TrainingRun.model).where(TrainingRun.key == key)).first()
    session.exec(select(Model.id).where(Model.id == model).with_for_update(key_share=True)).first()


def _fenced(session: Session, key: str, epoch: int) -> TrainingRun:
    query = select(TrainingRun).where(TrainingRun.key == key, TrainingRun.epoch == epoch)
    run = session.exec(query.with_for_update()).first()
    if run is None or run.state not in ACTIVE:
        raise StaleEpoch(run=key, epoch=epoch)
    return run
