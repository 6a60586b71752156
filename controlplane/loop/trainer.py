"""Trainers: one that starts a process for each run, and one in memory.

The process inherits an exclusive lock on a file in the run's folder and holds it until it dies, however it
dies. So "is it alive" is asked of the kernel, not of a process number that another process may have by now,
and of two control planes that start the same run only one gets the lock.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from bundle.home import Home
from controlplane.environment import TRAINING, handed_on
from controlplane.loop import trainingprocess
from controlplane.loop.trainingprocess import LOCK_FILE
from controlplane.loop.trainingprocess import STARTED_FILE as STARTED_FILE
from observability.clock import Clock, SystemClock
from observability.durable import is_locked, lock_file, replace_durably
from pipeline.contract.training import (
    PROGRESS_FILE,
    REPORT_FILE,
    REQUEST_FILE,
    Failure,
    Progress,
    TrainingReport,
    TrainingRequest,
)

STOP_FILE: Final = "stop.json"
OUTPUT_FILE: Final = "stdout.log"
ERROR_FILE: Final = "stderr.log"
TAIL_BYTES: Final = 4_000
#: the lock is shared for an instant when somebody looks whether it is held
PATIENCE_SECONDS: Final = 0.2

#: the process marks that it began before it becomes the run: one that dies without a word is not started again, though
#: the control plane died in the same moment
_MARKED: Final = (
    sys.executable, "-S", "-E", "-c",
    "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); os.execvp(sys.argv[2], sys.argv[2:])",
)  # fmt: skip

Contents = TypeVar("Contents", bound=BaseModel)


class SubprocessTrainer:
    """Starts `python -m pipeline.run FOLDER --home HOME`, detached, and reads the files that it writes."""

    def __init__(
        self,
        home: Home,
        command: Sequence[str] | None = None,
        wall: Clock | None = None,
        grace: timedelta = timedelta(seconds=10),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._home = home
        self._grace = grace.total_seconds()
        #: since when, on the monotonic clock, this process asks a run to end
        self._asked: dict[str, float] = {}
        #: when, on the monotonic clock, this process first saw a run whose process it cannot see, and its age then
        self._seen: dict[str, tuple[float, timedelta]] = {}
        self._command = tuple(command or (sys.executable, "-m", "pipeline.run"))
        self._wall: Clock = wall or SystemClock()
        self._environment = handed_on(os.environ, TRAINING) if environment is None else dict(environment)
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, request: TrainingRequest) -> None:
        """Start the run; one that was started before, or is alive, is left alone."""
        folder = self._home.run(request.key)
        folder.mkdir(parents=True, exist_ok=True)
        lock = lock_file(folder / LOCK_FILE, PATIENCE_SECONDS)
        if lock is None:
            return
        try:
            if not _was_started(folder):
                replace_durably(folder / REQUEST_FILE, request.model_dump_json(by_alias=True).encode())
                self._children[request.key] = self._spawn(folder, lock)
                # Only now: a crash before the process was there leaves a run that is started again, never one that is
                # not started. A crash just here leaves what the process itself marked.
                replace_durably(folder / STARTED_FILE, str(self._children[request.key].pid).encode())
        finally:
            os.close(lock)  # the child has it still

    def stop(self, key: str, failure: Failure) -> None:
        """SIGTERM to the run's process group, then SIGKILL. What is to be reported is on the disk before."""
        folder = self._home.run(key)
        folder.mkdir(parents=True, exist_ok=True)
        lock = lock_file(folder / LOCK_FILE, PATIENCE_SECONDS)
        if lock is None:
            _tell_once(folder / STOP_FILE, failure)
            since = self._asked.setdefault(key, time.monotonic())
            trainingprocess.end(folder, signal.SIGTERM if time.monotonic() - since < self._grace else signal.SIGKILL)
            return
        try:
            if not _was_started(folder):  # and it never will be, be it that a former holder tries it late
                _tell_once(folder / STOP_FILE, failure)
                replace_durably(folder / STARTED_FILE, b"0")
        finally:
            os.close(lock)

    def age(self, key: str) -> timedelta | None:
        """Since the process was started, by a clock that nobody sets: of the process itself where it is one of this
        machine, else since this process saw it first. One that has ended is as old as its file says.
        """
        folder = self._home.run(key)
        try:
            began = (folder / STARTED_FILE).stat().st_mtime
        except FileNotFoundError:
            self._seen.pop(key, None)
            return None
        by_wall = self._wall.now() - datetime.fromtimestamp(began, UTC)
        if not self.alive(key):
            return by_wall
        if (lived := trainingprocess.lived(folder)) is not None:
            return lived
        at, then = self._seen.setdefault(key, (time.monotonic(), max(by_wall, timedelta(0))))
        return then + timedelta(seconds=time.monotonic() - at)

    def alive(self, key: str) -> bool:
        """Whether a process holds the run's lock."""
        self._reap(key)
        return is_locked(self._home.run(key) / LOCK_FILE)

    def progress(self, key: str) -> Progress | None:
        """What the run last said. A file that cannot be read is no progress: the report will tell."""
        try:
            return _read(self._home.run(key) / PROGRESS_FILE, Progress)
        except ValidationError:
            return None

    def processor_seconds(self, key: str) -> float | None:
        """As the kernel counts, while the process is one of this machine."""
        return trainingprocess.processor_seconds(self._home.run(key))

    def report(self, key: str) -> TrainingReport | None:
        """The run's own report, or `crashed` with the end of its error output, or why it was stopped."""
        folder = self._home.run(key)
        stopped = _read(folder / STOP_FILE, Failure)
        if stopped is not None and self.alive(key):
            return None  # also where it has reported: it is seen to its end
        report = self._report(folder, key)
        if stopped is None or report is None or report.made:
            return report
        return report.model_copy(update={"failure": stopped})

    def _report(self, folder: Path, key: str) -> TrainingReport | None:
        path = folder / REPORT_FILE
        try:
            report = _read(path, TrainingReport)
            if report is None and (self.alive(key) or not _was_started(folder)):
                return None
            # It may have written the report and ended between the two looks.
            return report or _read(path, TrainingReport) or self._crashed(key)
        except ValidationError as error:
            return self._crashed(key, f"report.json cannot be read: {error.errors()[0]['msg']}")

    def _spawn(self, folder: Path, lock: int) -> subprocess.Popen[bytes]:
        with (folder / OUTPUT_FILE).open("ab") as output, (folder / ERROR_FILE).open("ab") as errors:
            return subprocess.Popen(
                [*_MARKED, str(folder / STARTED_FILE), *self._command, str(folder), "--home", str(self._home.root)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=self._environment,
                start_new_session=True,
                pass_fds=(lock,),
            )

    def _reap(self, key: str) -> None:
        child = self._children.get(key)
        if child is not None and child.poll() is not None:
            del self._children[key]

    def _crashed(self, key: str, why: str = "the process ended without a report") -> TrainingReport:
        tail = _tail(self._home.run(key) / ERROR_FILE)
        failure = Failure(code="crashed", message=f"{why}\n{tail}".strip())
        return TrainingReport(key=key, failure=failure, finished_at=self._wall.now(), seconds=0.0)


class MemoryTrainer:
    """Runs that last until they are told to end."""

    def __init__(self, wall: Clock | None = None) -> None:
        self.started: dict[str, TrainingRequest] = {}
        self._wall: Clock = wall or SystemClock()
        self._never: set[str] = set()
        self._began: dict[str, datetime] = {}
        self._progress: dict[str, Progress] = {}
        self._reports: dict[str, TrainingReport] = {}
        self._took: dict[str, float] = {}

    def start(self, request: TrainingRequest) -> None:
        if request.key not in self._never:
            self.started.setdefault(request.key, request)
            self._began.setdefault(request.key, self._wall.now())

    def stop(self, key: str, failure: Failure) -> None:
        now = self._wall.now()
        if key not in self.started:
            self._never.add(key)
        self._began.setdefault(key, now)
        self._reports.setdefault(key, TrainingReport(key=key, failure=failure, finished_at=now, seconds=0.0))

    def age(self, key: str) -> timedelta | None:
        return self._wall.now() - self._began[key] if key in self._began else None

    def alive(self, key: str) -> bool:
        return key in self.started and key not in self._reports

    def progress(self, key: str) -> Progress | None:
        return self._progress.get(key)

    def processor_seconds(self, key: str) -> float | None:
        return self._took.get(key) if self.alive(key) else None

    def report(self, key: str) -> TrainingReport | None:
        return self._reports.get(key)

    def take(self, key: str, seconds: float) -> None:
        """Let the run have taken so much processor time."""
        self._took[key] = seconds

    def proceed(self, key: str, progress: Progress) -> None:
        """Let the run be this far."""
        self._progress[key] = progress

    def finish(self, report: TrainingReport) -> None:
        """Let the run end like this."""
        self._reports[report.key] = report

    def crash(self, key: str, tail: str = "") -> None:
        """Let the run die without a word."""
        failure = Failure(code="crashed", message=f"the process ended without a report\n{tail}".strip())
        now = self._wall.now()
        self.finish(TrainingReport(key=key, failure=failure, finished_at=now, seconds=0.0))


def _tell_once(path: Path, failure: Failure) -> None:
    if not path.exists():
        replace_durably(path, failure.model_dump_json().encode())


def _was_started(folder: Path) -> bool:
    return (folder / STARTED_FILE).exists() or (folder / REPORT_FILE).exists()


def _read(path: Path, kind: type[Contents]) -> Contents | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
    except FileNotFoundError:
        return ""
