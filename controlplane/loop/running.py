"""Training runs, brought one step closer to their end: claimed, started, looked after, finished."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from pydantic import ValidationError

from controlplane.lifecycle import RunState
from controlplane.loop.boundary import apart
from controlplane.loop.work import Work
from controlplane.tables import TrainingRun
from observability.durations import format_duration
from pipeline.contract.training import Failure, TrainingRequest


def reconcile_runs(work: Work, now: datetime) -> None:
    """Claim what nobody holds, and take a step with every run that this process holds."""
    behind = ""
    while (run := work.store.claim_next_run(work.owner, work.lease, behind)) is not None:
        behind = run.model
        work.at("claimed")
    for run in work.store.held_runs(work.owner):
        apart(f"run {run.key}", partial(_step, work, run, now))


def _step(work: Work, run: TrainingRun, now: datetime) -> None:
    """Only a run that was started renews its lease: one that cannot be started here goes to another holder.

    One that this trainer has never heard of is started, also where another machine began it: the holder answers
    for it, and what a former holder's process still makes is read by nobody.
    """
    if (failure := _why_not_on(work, run)) is not None:
        work.trainer.stop(run.key, failure)
    elif work.trainer.age(run.key) is None:
        work.trainer.start(TrainingRequest.model_validate(run.request))
        work.at("started")
        work.store.mark_started(run.key, run.epoch, now)
    elif run.state is RunState.ASKED:  # started, and nobody could say so
        work.store.mark_started(run.key, run.epoch, now)
    _poll(work, run, now)


def _why_not_on(work: Work, run: TrainingRun) -> Failure | None:
    """Why the run has to end, if it has to."""
    if run.cancel_by is not None:
        return Failure(code="cancelled", message=f"{run.cancel_by}: {run.cancel_why}")
    age = work.trainer.age(run.key)
    try:
        deadline = TrainingRequest.model_validate(run.request).spec.train.deadline
    except ValidationError as error:  # of another release; what is on its way may end by itself
        why = f"what was asked cannot be read by this release: {error.errors()[0]['msg']}; ask for another run"
        return Failure(code="unreadable_request", message=why) if age is None else None
    if age is not None and age > deadline:
        return Failure(code="deadline", message=f"it took longer than {format_duration(deadline)} and was ended")
    return None


def _poll(work: Work, run: TrainingRun, now: datetime) -> None:
    report = work.trainer.report(run.key)
    if report is None:
        work.store.record_progress(run.key, run.epoch, work.lease, work.trainer.progress(run.key))
        return
    work.at("reported")
    if run.state is RunState.ASKED and run.cancel_by is None:
        work.store.mark_started(run.key, run.epoch, now)
    work.store.finish_run(run.key, run.epoch, report, now)
    work.at("finished")
