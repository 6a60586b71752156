"""Versions of models that are made and served elsewhere: declared, not trained, and in production at once."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlmodel import Session, col, func, select

from controlplane.access.acts import Act
from controlplane.errors import Conflict, Frozen
from controlplane.lifecycle import RUN_TRANSITIONS, RunState, VersionState, advance
from controlplane.rules.facts import MANUAL, Decision, Reason
from controlplane.store.decisions import Asking
from controlplane.store.models import spec_of
from controlplane.store.rollouts import frozen_by, in_production, lock, named
from controlplane.store.runs import Runs
from controlplane.store.versions import Versions
from controlplane.tables import Model, TrainingRun, Version
from controlplane.tables.versions import ELSEWHERE
from observability.ids import new_id
from pipeline.contract.training import DatasetManifest, TrainingRequest

NOTE: Final = "served elsewhere, and watched here"


class Watched(Versions, Runs):
    """Verbs about versions that are watched only."""

    def watch_version(
        self, model_id: str, manifest: str, dataset: DatasetManifest, why: str, now: datetime, act: Act | None = None
    ) -> Version:
        """A version with this manifest, in production without a gate: nobody here could have proven it. The same
        manifest again is the same version. A run that trained nothing says who declared it, and why.

        Raises Conflict where the model is trained here, and Frozen.
        """
        with self._writing() as session:
            lock(session, model_id)
            model, champion = session.get_one(Model, model_id), in_production(session, model_id)
            if not spec_of(model).watched:
                raise Conflict(f"{model_id} is trained here: its versions come from training runs", model=model_id)
            if champion is not None and champion.manifest == manifest:
                return champion
            if (hold := frozen_by(session, model_id, now)) is not None:
                raise Frozen(f"{hold.by} froze the rollouts of {model_id}: {hold.why}", by=hold.by, why=hold.why)
            parent = champion.number if champion else None
            run = self._declared(session, model, parent, manifest, why, now)
            version = _version(session, run, manifest, dataset, now, self._wall.now())
            session.add(version)
            session.flush()
            self._move(version, VersionState.STAGING, NOTE, now)
            session.flush()
            self._put_into_production(session, version, NOTE, now)
            self._touch(session, model_id)
            before = {"version": parent} if parent is not None else None
            after = {"version": version.number, "manifest": manifest, "why": why}
            self._audit(session, act, "version.watch", named(version), before, after)
            return version

    def _declared(
        self, session: Session, model: Model, parent: int | None, manifest: str, why: str, now: datetime
    ) -> TrainingRun:
        """The run behind the version: every version has one, which says why it is there."""
        request = TrainingRequest(key=new_id(), spec=spec_of(model), recipe={}, cutoff=now, why=why)
        cause = f"reference:{manifest[:16]}:{new_id()}"
        decision = Decision(MANUAL, MANUAL, cause, "fire", Reason.RETRAIN_ASKED, f"{NOTE}; {why}")
        run = self._add_firing(session, model.id, Asking(decision, request, parent), now)
        for state in (RunState.RUNNING, RunState.SUCCEEDED):
            run.state = advance(RUN_TRANSITIONS, f"run {run.key}", run.state, state)
        run.started_at = run.ended_at = now
        run.ended_recorded_at, run.cpu_seconds = self._wall.now(), 0.0
        session.add(run)
        session.flush()
        return run


def _version(
    session: Session, run: TrainingRun, manifest: str, dataset: DatasetManifest, now: datetime, wall: datetime
) -> Version:
    last = session.exec(select(func.max(col(Version.number))).where(Version.model == run.model)).one()
    return Version(
        model=run.model,
        number=(last or 0) + 1,
        state=VersionState.CANDIDATE,
        manifest=manifest,
        onnx_sha256=ELSEWHERE,
        parent=run.parent,
        run_key=run.key,
        firing_id=run.firing_id,
        dataset=dataset.model_dump(mode="json"),
        metrics={},
        constant_metrics={},
        champion_metrics={},
        parity={},
        gate_rows="",
        mlflow_run_id="",
        mlflow_version="",
        bento_tag="",
        train_until=dataset.train_until,
        made_at=now,
        state_at=now,
        recorded_at=wall,
    )
