"""The control plane as a process of its own, and the command line against it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from bundle.home import Home
from controlplane.access.credentials import read_credentials
from controlplane.access.hooks import ID, SIGNATURE, TIMESTAMP, sign
from controlplane.client import ControlClient
from observability.ids import new_id
from tests.controlplane_world import MODEL, RECIPE, spec


class Running:
    def __init__(self, folder: Path, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.home = Home(folder)
        self.environment = os.environ | {
            "CONTROLPLANE_HOME": str(folder), "CONTROLPLANE_PORT": str(port), "CONTROLPLANE_CLOCK": "replay",
            "PYTHONPATH": str(Path(__file__).parents[2]), **settings,
        }  # fmt: skip
        self.process = self.start("control")
        deadline = time.monotonic() + 30
        probe_client = ControlClient(f"http://127.0.0.1:{port}", "none")
        while not probe_client.ready():
            assert self.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        token = read_credentials(self.home.credentials).admin.get_secret_value()
        self.client = ControlClient(f"http://127.0.0.1:{port}", token)

    def start(self, command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "controlplane", command], env=self.environment)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "controlplane", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("home"))
    running.client.apply_spec(spec(), RECIPE)
    yield running
    if running.process.poll() is None:
        running.stop()


def test_the_command_line_shows_a_model_as_a_table_and_as_json(running):
    table, as_json = running.cli("status"), running.cli("status", MODEL, "--json")
    assert table.returncode == as_json.returncode == 0, as_json.stderr
    assert MODEL in table.stdout
    assert json.loads(as_json.stdout)["spec_digest"] == spec().digest


def test_what_the_processes_write_is_read_by_their_owner_only(running):
    files = [*running.home.root.glob("control.db*"), running.home.credentials]
    assert len(files) >= 2 and {file.stat().st_mode & 0o077 for file in files} == {0}


def test_a_refusal_is_one_line_and_exit_code_1(running):
    refused = running.cli("rollback", MODEL, "--reason", "why")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert "no retired version" in refused.stderr


def test_wrong_usage_is_exit_code_2_and_a_control_plane_that_is_away_3(running, tmp_path):
    assert running.cli("train", MODEL).returncode == 2
    assert running.cli("status", "--home", str(tmp_path)).returncode == 3


def eventually(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)


def test_a_run_that_the_machine_kills_is_told_as_crashed_to_people_and_to_the_spool(running):
    asked = json.loads(running.cli("train", MODEL, "--reason", "try", "--request-id", new_id(), "--json").stdout)
    started = running.home.run(asked["key"]) / "started"
    eventually(started.exists)
    os.kill(int(started.read_text()), signal.SIGKILL)
    eventually(lambda: running.client.status(MODEL).active_run is None)
    (run,) = running.client.runs(MODEL, 1)
    assert (run.key, run.failure_code, run.attempts) == (asked["key"], "crashed", 1)

    folder = running.home.spool / "controlplane-0"
    eventually(lambda: any('"crashed"' in file.read_text() for file in folder.glob("*.jsonl")))


def test_the_command_line_lists_what_fired_and_why(running):
    table, as_json = running.cli("firings", MODEL), running.cli("firings", MODEL, "--json", "--limit", "1")
    assert table.returncode == as_json.returncode == 0, table.stderr
    (firing,) = json.loads(as_json.stdout)
    assert (firing["rule"], firing["trigger"], firing["detail"]) == ("manual", "manual", "try")
    assert "manual" in table.stdout


def test_a_signed_webhook_starts_one_run_and_one_that_is_not_signed_none(running):
    secret = json.loads(running.cli("hook-secret", MODEL, "--reason", "a trigger", "--json").stdout)["secret"]
    message, stamp, body = new_id(), str(int(time.time())), b'{"reason": "the feed changed"}'
    headers = {ID: message, TIMESTAMP: stamp, SIGNATURE: sign(secret, message, stamp, body)}
    url = f"{running.client.url}/hooks/{MODEL}"
    assert httpx.post(url, content=body, headers=headers | {ID: new_id()}).status_code == 401
    first, again = (httpx.post(url, content=body, headers=headers) for _ in range(2))
    assert first.is_success, first.text
    assert again.json()["key"] == first.json()["key"]
    assert [each.key for each in running.client.runs(MODEL)].count(first.json()["key"]) == 1


def test_it_ends_at_a_signal_and_leaves_the_database_in_order(running):
    assert running.stop() in (0, -signal.SIGTERM)
    assert not list(running.home.root.glob("*.db-journal"))


def test_of_two_replicas_on_postgresql_the_one_that_is_left_brings_the_run_to_its_end(postgres, tmp_path):
    shared = {"CONTROLPLANE_DATABASE_URL": postgres, "CONTROLPLANE_LEASE": "2s"}
    first, second = Running(tmp_path, **shared), Running(tmp_path, **shared)
    try:
        first.client.apply_spec(spec(), RECIPE)
        key = first.client.train(MODEL, "try", new_id()).key
        started = first.home.run(key) / "started"
        eventually(
            lambda: started.exists() and getattr(second.client.status(MODEL).active_run, "state", None) == "running"
        )
        first.process.kill()
        os.kill(int(started.read_text()), signal.SIGKILL)
        eventually(lambda: second.client.status(MODEL).active_run is None)
        (run,) = second.client.runs(MODEL, 9)
    finally:
        first.process.kill()
        second.stop()
    assert (run.key, run.failure_code, run.attempts in (1, 2)) == (key, "crashed", True)
    spools = {path.name for path in first.home.spool.iterdir()}
    assert {"controlplane-0", "controlplane-1"} <= spools, "each told what it did in a folder of its own"
