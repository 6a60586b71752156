"""One training run: `python -m pipeline.run RUN_FOLDER --home HOME` reads request.json and writes report.json."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import psutil

from bundle.home import Home
from observability.clock import Clock, SystemClock
from observability.durable import replace_durably
from observability.telemetry.logs import set_up_logging
from pipeline.contract.training import (
    PROGRESS_FILE,
    REPORT_FILE,
    REQUEST_FILE,
    Failure,
    Made,
    Phase,
    Progress,
    TrainingReport,
    TrainingRequest,
)
from pipeline.errors import failure_of
from pipeline.phases import train
from pipeline.settings import PipelineSettings

_log = logging.getLogger("pipeline.run")
_DONE: dict[Phase, float] = {
    "ingest": 0.05, "refine": 0.15, "split": 0.35, "fit": 0.4, "evaluate": 0.65, "export": 0.75, "prove": 0.8,
    "package": 0.85, "register": 0.95, "done": 1.0,
}  # fmt: skip


class Stopped(BaseException):
    """The process was asked to end."""


class ProgressFile:
    """Tells how far the run is, and measures its phases."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._path, self._clock = folder / PROGRESS_FILE, clock
        self._phase: Phase | None = None
        self._since = time.monotonic()
        self.seconds: dict[str, float] = {}

    def __call__(self, phase: Phase, message: str) -> None:
        now = time.monotonic()
        if self._phase is not None:
            self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + round(now - self._since, 2)
        self._phase, self._since = phase, now
        progress = Progress(phase=phase, fraction=_DONE[phase], message=message, at=self._clock.now())
        replace_durably(self._path, progress.model_dump_json(indent=1).encode())
        _log.info("%s: %s", phase, message)


def run(folder: Path, home: Home, clock: Clock, make: Callable[..., Made] = train) -> TrainingReport:
    """Carry the run out and write its report; a run that has one is left as it is."""
    report_path = folder / REPORT_FILE
    if report_path.exists():
        return TrainingReport.model_validate_json(report_path.read_bytes())
    started = time.monotonic()
    request = TrainingRequest.model_validate_json((folder / REQUEST_FILE).read_bytes())
    progress = ProgressFile(folder, clock)
    made: Made | None = None
    failure: Failure | None = None
    try:
        made = make(request, folder, home, PipelineSettings(), progress)
        progress("done", "a version was made")
    except Stopped:
        failure = Failure(code="crashed", message="stopped by a signal before it was done")
    except Exception as error:  # noqa: BLE001 - the outermost edge: every error becomes a reported failure
        _log.exception("the run failed")
        failure = failure_of(error)
    report = TrainingReport(
        key=request.key, made=made, failure=failure, finished_at=clock.now(),
        seconds=round(time.monotonic() - started, 3), cpu_seconds=round(processor_seconds(), 3),
    )  # fmt: skip
    replace_durably(report_path, report.model_dump_json(indent=1).encode())
    _log.info("phases: %s", progress.seconds)
    return report


def processor_seconds() -> float:
    """Processor time of this process and of all that it started: those that run, such as Java, and those that ended."""
    seconds = 0.0
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.Error):  # it ended between the two looks: then it is counted where it was waited for
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def _stop(number: int, frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: a version was made; 1: the report says why not."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.run", description=__doc__)
    parser.add_argument("folder", type=Path, help="the run's folder, with request.json")
    parser.add_argument("--home", type=Path, required=True, help="the data folder")
    options = parser.parse_args(arguments)
    # Its lines stay in the run's folder: an error of a recipe may name what the privacy filter kept from the log store.
    set_up_logging("training", None)
    signal.signal(signal.SIGTERM, _stop)
    report = run(options.folder.resolve(), Home(options.home.resolve()), SystemClock())
    if report.failure is not None:
        sys.stderr.write(f"{report.failure.code}: {report.failure.message}\n")
    return 0 if report.made else 1


if __name__ == "__main__":
    raise SystemExit(main())
