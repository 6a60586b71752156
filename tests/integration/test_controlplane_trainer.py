"""What every trainer promises, on the one that starts processes and on the one in memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import psutil
import pytest

from bundle.home import Home
from controlplane.environment import SERVING, TRAINING, handed_on
from controlplane.loop import trainingprocess
from controlplane.loop.ports import Trainer
from controlplane.loop.trainer import ERROR_FILE, STARTED_FILE, MemoryTrainer, SubprocessTrainer
from controlplane.settings import Settings
from observability.ids import new_id
from pipeline.contract.training import Failure, Progress, TrainingReport, TrainingRequest
from tests.controlplane_world import RECIPE, START, FakeClock, spec

#: a stand-in for pipeline.run: does what the files in its folder say, and counts how often it was started
STAND_IN = """
import os, signal, subprocess, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
assert (folder / "request.json").exists() and sys.argv[2] == "--home"
with (folder / "starts").open("a") as starts:
    starts.write(f"{os.getpid()}\\n")
while True:
    if (folder / "do-not-listen").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        os.rename(folder / "do-not-listen", folder / "deaf")
        (folder / "children").write_text(str(child.pid))
    if (folder / "do-crash").exists():
        raise SystemExit("Traceback: it broke")
    if (folder / "do-finish").exists():
        os.rename(folder / "do-finish", folder / "report.json")
        raise SystemExit(0)
    time.sleep(0.01)
"""

CANCELLED = Failure(code="cancelled", message="ann: wrong data")


def request() -> TrainingRequest:
    return TrainingRequest(key=new_id(), spec=spec(), recipe=RECIPE, cutoff=START)


class Processes:
    """Drives the subprocess trainer."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        script = folder / "stand_in.py"
        script.write_text(STAND_IN)
        self.trainer: Trainer = SubprocessTrainer(self.home, (sys.executable, str(script)))

    def proceed(self, key: str, progress: Progress) -> None:
        (self.home.run(key) / "progress.json").write_text(progress.model_dump_json())

    def finish(self, report: TrainingReport) -> None:
        self._put(report.key, "do-finish", report.model_dump_json())

    def crash(self, key: str) -> None:
        self._put(key, "do-crash", "")

    def _put(self, key: str, name: str, text: str) -> None:
        partial = self.home.run(key) / "partial"
        partial.write_text(text)
        partial.rename(self.home.run(key) / name)

    def make_deaf(self, key: str) -> None:
        """Let it ignore SIGTERM, and start a process of its own."""
        self._put(key, "do-not-listen", "")

    def children(self, key: str) -> list[int]:
        return self._numbers(key, "children")

    def starts(self, key: str) -> list[int]:
        return self._numbers(key, "starts")

    def _numbers(self, key: str, name: str) -> list[int]:
        path = self.home.run(key) / name
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def close(self) -> None:
        for folder in self.home.root.glob("runs/*"):
            (folder / "do-crash").touch()
            eventually(lambda key=folder.name: not self.trainer.alive(key))


class Memory:
    """Drives the trainer in memory."""

    def __init__(self, _folder: Path) -> None:
        self.trainer = MemoryTrainer()
        self.proceed = self.trainer.proceed
        self.finish = self.trainer.finish

    def crash(self, key: str) -> None:
        self.trainer.crash(key, "Traceback: it broke")

    def close(self) -> None:
        pass


def eventually(holds: Callable[[], object], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


@pytest.fixture(params=[Processes, Memory])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Processes | Memory]:
    driver = request.param(tmp_path)
    yield driver
    driver.close()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    driver = Processes(tmp_path)
    yield driver
    driver.close()


def failed(key: str) -> TrainingReport:
    failure = Failure(code="too_few_rows", message="12 rows")
    return TrainingReport(key=key, failure=failure, finished_at=START, seconds=1.0)


def test_a_run_that_was_never_started_is_not_alive_and_has_no_report(driver):
    key = new_id()
    assert not driver.trainer.alive(key)
    assert driver.trainer.progress(key) is None
    assert driver.trainer.report(key) is None


def test_a_run_is_alive_until_its_report_is_there(driver):
    asked = request()
    driver.trainer.start(asked)
    assert driver.trainer.alive(asked.key)
    assert driver.trainer.report(asked.key) is None
    driver.finish(failed(asked.key))
    eventually(lambda: driver.trainer.report(asked.key))

    assert driver.trainer.report(asked.key) == failed(asked.key)
    eventually(lambda: not driver.trainer.alive(asked.key))


def test_progress_is_what_the_run_last_said(driver):
    asked = request()
    driver.trainer.start(asked)
    progress = Progress(phase="fit", fraction=0.5, message="fitting", at=START)
    driver.proceed(asked.key, progress)
    assert driver.trainer.progress(asked.key) == progress


def test_a_run_that_dies_without_a_word_has_crashed_with_the_end_of_its_errors(driver):
    asked = request()
    driver.trainer.start(asked)
    driver.crash(asked.key)
    eventually(lambda: driver.trainer.report(asked.key))

    failure = driver.trainer.report(asked.key).failure
    assert failure.code == "crashed" and "it broke" in failure.message


def test_starting_a_known_key_starts_nothing_new_alive_or_ended(driver):
    asked = request()
    driver.trainer.start(asked)
    driver.trainer.start(asked)
    driver.finish(failed(asked.key))
    eventually(lambda: driver.trainer.report(asked.key))
    driver.trainer.start(asked)

    assert driver.trainer.report(asked.key) == failed(asked.key)
    if isinstance(driver, Processes):
        assert len(driver.starts(asked.key)) == 1


def test_of_many_that_start_one_key_at_once_one_starts_it(processes):
    asked = request()
    others = [Processes(processes.home.root).trainer for _ in range(6)]
    threads = [Thread(target=trainer.start, args=(asked,)) for trainer in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: processes.starts(asked.key))
    time.sleep(0.2)

    assert len(processes.starts(asked.key)) == 1


def test_a_run_killed_by_the_machine_is_known_to_have_crashed_by_another_control_plane(processes):
    asked = request()
    processes.trainer.start(asked)
    eventually(lambda: processes.starts(asked.key))
    os.kill(processes.starts(asked.key)[0], signal.SIGKILL)
    another = SubprocessTrainer(processes.home, ("never",))
    eventually(lambda: another.report(asked.key))

    assert another.report(asked.key).failure.code == "crashed"
    another.start(asked)
    assert len(processes.starts(asked.key)) == 1


def test_a_control_plane_that_died_before_it_started_the_process_is_made_good_by_the_next(processes):
    asked = request()
    processes.home.run(asked.key).mkdir(parents=True)
    (processes.home.run(asked.key) / "run.lock").touch()
    assert processes.trainer.report(asked.key) is None
    processes.trainer.start(asked)
    eventually(lambda: processes.starts(asked.key))


def test_a_report_that_cannot_be_read_is_a_crash_with_the_reason(processes):
    asked = request()
    folder = processes.home.run(asked.key)
    folder.mkdir(parents=True)
    (folder / STARTED_FILE).touch()
    (folder / ERROR_FILE).write_text("x" * 10_000)
    (folder / "report.json").write_text("{")

    failure = processes.trainer.report(asked.key).failure
    assert failure.code == "crashed" and "cannot be read" in failure.message
    assert len(failure.message) < 5_000


def test_the_process_is_in_a_session_of_its_own_so_it_outlives_the_control_plane(processes):
    asked = request()
    processes.trainer.start(asked)
    eventually(lambda: processes.starts(asked.key))
    pid = processes.starts(asked.key)[0]
    assert os.getsid(pid) == pid != os.getsid(0)


def test_a_run_that_is_stopped_ends_as_it_was_told_to(driver):
    asked = request()
    driver.trainer.start(asked)
    eventually(lambda: not isinstance(driver, Processes) or driver.starts(asked.key))
    eventually(lambda: driver.trainer.stop(asked.key, CANCELLED) or driver.trainer.report(asked.key))

    assert driver.trainer.report(asked.key).failure == CANCELLED
    assert not driver.trainer.alive(asked.key)
    driver.trainer.start(asked)
    assert not driver.trainer.alive(asked.key), "it is not started again"


def test_a_run_that_is_stopped_before_it_was_started_never_starts(driver):
    asked = request()
    driver.trainer.stop(asked.key, CANCELLED)
    driver.trainer.start(asked)

    assert driver.trainer.report(asked.key).failure == CANCELLED
    assert not driver.trainer.alive(asked.key)
    assert not isinstance(driver, Processes) or driver.starts(asked.key) == []


def test_a_run_that_has_ended_ended_as_it_said_whoever_stops_it_later(driver):
    asked = request()
    driver.trainer.start(asked)
    driver.finish(failed(asked.key))
    eventually(lambda: driver.trainer.report(asked.key) and not driver.trainer.alive(asked.key))
    driver.trainer.stop(asked.key, CANCELLED)

    assert driver.trainer.report(asked.key) == failed(asked.key)


def test_the_age_of_a_run_counts_from_its_start(driver):
    asked = request()
    assert driver.trainer.age(asked.key) is None
    driver.trainer.start(asked)
    assert timedelta(minutes=-1) < driver.trainer.age(asked.key) < timedelta(minutes=5)


@pytest.mark.parametrize("jump", [timedelta(days=1), -timedelta(days=1)])
def test_a_clock_that_is_set_makes_no_run_older(processes, jump, monkeypatch):
    wall = FakeClock(datetime.now(UTC))
    watching = SubprocessTrainer(processes.home, ("never",), wall)
    asked = request()
    processes.trainer.start(asked)
    eventually(lambda: processes.starts(asked.key))
    young, set_later = timedelta(minutes=5), SubprocessTrainer(processes.home, ("never",), FakeClock(wall.at + jump))
    assert timedelta(0) <= watching.age(asked.key) < young and timedelta(0) <= set_later.age(asked.key) < young

    monkeypatch.setattr(trainingprocess, "lived", lambda _folder: None)  # a process of another machine
    assert timedelta(0) <= watching.age(asked.key) < young
    wall.advance(jump)
    assert timedelta(0) <= watching.age(asked.key) < young


def test_what_a_run_takes_is_seen_while_it_works_with_what_it_started_by_whichever_control_plane(processes):
    asked = request()
    assert processes.trainer.processor_seconds(asked.key) is None
    processes.trainer.start(asked)
    eventually(lambda: processes.starts(asked.key))
    another = SubprocessTrainer(processes.home, ("never",))
    eventually(lambda: (another.processor_seconds(asked.key) or 0.0) > 0)
    before = another.processor_seconds(asked.key)
    processes.make_deaf(asked.key)
    eventually(lambda: processes.children(asked.key))
    assert another.processor_seconds(asked.key) >= before

    os.killpg(processes.starts(asked.key)[0], signal.SIGKILL)
    eventually(lambda: not another.alive(asked.key))
    assert another.processor_seconds(asked.key) is None


def test_a_run_that_does_not_listen_is_killed_with_all_that_it_started_by_whichever_control_plane(processes):
    asked = request()
    processes.trainer.start(asked)
    eventually(lambda: processes.starts(asked.key))
    processes.make_deaf(asked.key)
    eventually(lambda: processes.children(asked.key))
    (child,) = processes.children(asked.key)
    another = SubprocessTrainer(processes.home, ("never",), grace=timedelta(0))
    eventually(lambda: another.stop(asked.key, CANCELLED) or another.report(asked.key))

    assert another.report(asked.key).failure == CANCELLED
    eventually(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_a_process_that_has_the_number_of_a_run_by_now_is_not_killed(processes, tmp_path):
    asked = request()
    processes.trainer.start(asked)
    eventually(lambda: processes.starts(asked.key))
    folder = processes.home.run(asked.key)
    # given the same folder, leading a session, and named in the file: but it does not hold the run's lock
    command = [sys.executable, "-c", "import time; time.sleep(60)", str(folder)]
    innocent = subprocess.Popen(command, start_new_session=True)
    (folder / STARTED_FILE).write_text(str(innocent.pid))
    eventually(lambda: processes.trainer.stop(asked.key, CANCELLED) or processes.trainer.report(asked.key))

    assert innocent.poll() is None
    innocent.kill()
    innocent.wait()


SAYS = """
import json, os, sys
from pathlib import Path
found = Path(sys.argv[1], "environment")
found.write_text(json.dumps(dict(os.environ)))
found.rename(found.with_suffix(".json"))
"""
SECRETS = {"CONTROLPLANE_SECRET_KEY": "a" * 40, "CONTROLPLANE_WEBHOOKS": "[]", "DRIFTGATE_TOKEN": "t", "AWS_KEY": "k"}


def told(folder: Path, **parts: object) -> dict[str, str]:
    """The environment of a run."""
    home, asked = Home(folder), request()
    SubprocessTrainer(home, (sys.executable, "-c", SAYS), **parts).start(asked)  # type: ignore[arg-type]
    found = home.run(asked.key) / "environment.json"
    deadline = time.monotonic() + 30
    while not found.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    said: dict[str, str] = json.loads(found.read_text())
    return said


def test_a_run_gets_no_secret_of_the_control_plane_but_what_it_needs(tmp_path, monkeypatch):
    for name, value in {
        **SECRETS,
        "PIPELINE_SEED": "7",
        "DRIFTGATE_PRIVACY_KEY": "p",
        "SPARK_LOCAL_IP": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    said = told(tmp_path)
    assert not set(SECRETS) & set(said)
    assert {"PATH": os.environ["PATH"], "PIPELINE_SEED": "7", "DRIFTGATE_PRIVACY_KEY": "p"}.items() <= said.items()


def test_what_the_settings_name_is_handed_on_but_never_what_opens_the_control_plane(tmp_path):
    settings = Settings(home=tmp_path, pass_environment="AWS_KEY, CONTROLPLANE_SECRET_KEY")  # type: ignore[arg-type]
    for prefixes in (TRAINING, SERVING):
        assert handed_on(SECRETS | {"OTHER": "x"}, prefixes, settings.pass_environment) == {"AWS_KEY": "k"}
