"""Training runs, brought one step closer to their end: claimed, started, looked after, finished."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Final

from pydantic import ValidationError

from controlplane.lifecycle import RunState
from controlplane.loop.boundary import apart
from controlplane.loop.triggers import OVERTAKEN, asked_again
from controlplane.loop.work import Work
from controlplane.tables import TrainingRun
from observability.durations import format_duration
from pipeline.contract.training import Failure, TrainingReport, TrainingRequest

#: a run that was claimed so often and could not be started is given up
ATTEMPTS: Final = 40


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
        if not _stop(work, run, failure):
            _finish(work, run, _report(work, run, failure), now)
            return
    elif work.trainer.age(run.key) is None:
        if (failure := _start(work, run)) is not None:
            _finish(work, run, _report(work, run, failure), now)
            return
        work.at("started")
        work.store.mark_started(run.key, run.epoch, now)
    elif run.state is RunState.ASKED:  # started, and nobody could say so
        work.store.mark_started(run.key, run.epoch, now)
    _poll(work, run, now)


def _start(work: Work, run: TrainingRun) -> Failure | None:
    """Why the run is given up, where it is: it was tried by every holder, again and again."""
    try:
        work.trainer.start(TrainingRequest.model_validate(run.request))
    except OSError as error:
        if run.attempts < ATTEMPTS:
            raise
        message = f"it could not be started in {run.attempts} attempts: {error}; ask for another run"
        return Failure(code="not_started", message=message)
    return None


def _stop(work: Work, run: TrainingRun, failure: Failure) -> bool:
    """Have the run end. False where not even that can be written down, and there is no process to end."""
    try:
        work.trainer.stop(run.key, failure)
    except OSError:
        if work.trainer.age(run.key) is not None or work.trainer.alive(run.key):
            raise
        return False
    return True


def _report(work: Work, run: TrainingRun, failure: Failure) -> TrainingReport:
    return TrainingReport(key=run.key, failure=failure, finished_at=work.wall.now(), seconds=0.0)


def _why_not_on(work: Work, run: TrainingRun) -> Failure | None:
    """Why the run has to end, if it has to."""
    if run.cancel_by is not None:
        return Failure(code="cancelled", message=f"{run.cancel_by}: {run.cancel_why}")
    if (gone := _overtaken(work, run)) is not None:
        return Failure(code="overtaken", message=gone)
    age = work.trainer.age(run.key)
    try:
        deadline = TrainingRequest.model_validate(run.request).spec.train.deadline
    except ValidationError as error:  # of another release; what is on its way may end by itself
        why = f"what was asked cannot be read by this release: {error.errors()[0]['msg']}; ask for another run"
        return Failure(code="unreadable_request", message=why) if age is None else None
    if age is not None and age > deadline:
        return Failure(code="deadline", message=f"it took longer than {format_duration(deadline)} and was ended")
    return None


def _overtaken(work: Work, run: TrainingRun) -> str | None:
    """Why a run is for nothing: what it was to replace is gone, so that its version would be rejected."""
    production = work.store.production(run.model)
    champion = production.number if production else None
    if champion == run.parent:
        return None
    return f"made to replace version {run.parent}, but version {champion} is in production now"


def _poll(work: Work, run: TrainingRun, now: datetime) -> None:
    report = work.trainer.report(run.key)
    if report is None:
        progress, took = work.trainer.progress(run.key), work.trainer.processor_seconds(run.key)
        work.store.record_progress(run.key, run.epoch, work.lease, progress, took)
        return
    work.at("reported")
    _finish(work, run, report, now)


def _finish(work: Work, run: TrainingRun, report: TrainingReport, now: datetime) -> None:
    if run.state is RunState.ASKED and run.cancel_by is None:
        work.store.mark_started(run.key, run.epoch, now)
    overtaken = report.failure if report.failure is not None and report.failure.code == OVERTAKEN else None
    again = asked_again(work.store, run, overtaken.message, now) if overtaken is not None else None
    work.store.finish_run(run.key, run.epoch, report, now, again)
    work.at("finished")
