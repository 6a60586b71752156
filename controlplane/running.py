"""Training runs, brought one step closer to their end: claimed, started, looked after, finished."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from controlplane.boundary import apart
from controlplane.lifecycle import RunState
from controlplane.tables import TrainingRun
from controlplane.work import Work
from pipeline.contract.training import TrainingRequest


def reconcile_runs(work: Work, now: datetime) -> None:
    """Claim what nobody holds, and take a step with every run that this process holds."""
    key = ""
    while (run := work.store.claim_next_run(work.owner, work.lease, key)) is not None:
        key = run.key
        work.at("claimed")
    for run in work.store.held_runs(work.owner):
        apart(f"run {run.key}", partial(_step, work, run, now))


def _step(work: Work, run: TrainingRun, now: datetime) -> None:
    """Only a run that was started renews its lease: one that cannot be started here goes to another holder."""
    if run.state is RunState.ASKED:
        _start(work, run, now)
    _poll(work, run, now)


def _start(work: Work, run: TrainingRun, now: datetime) -> None:
    work.trainer.start(TrainingRequest.model_validate(run.request))
    work.at("started")
    work.store.mark_started(run.key, run.epoch, now)


def _poll(work: Work, run: TrainingRun, now: datetime) -> None:
    report = work.trainer.report(run.key)
    if report is None:
        work.store.record_progress(run.key, run.epoch, work.lease, work.trainer.progress(run.key))
        return
    work.at("reported")
    work.store.finish_run(run.key, run.epoch, report, now)
    work.at("finished")
