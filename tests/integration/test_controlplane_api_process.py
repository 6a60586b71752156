"""The API of a real process: who waits is answered when something happens, and when the process ends."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from bundle.home import Home
from controlplane.access.credentials import read_credentials
from controlplane.client import ControlClient
from controlplane.processes import _ticking
from tests.controlplane_world import MODEL, RECIPE, spec


@pytest.fixture
def control(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "CONTROLPLANE_HOME": str(tmp_path), "CONTROLPLANE_PORT": str(port), "CONTROLPLANE_CLOCK": "replay",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "controlplane", "control"], env=environment)
    client = ControlClient(f"http://127.0.0.1:{port}", "none")
    deadline = time.monotonic() + 60
    while not client.ready():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    token = read_credentials(Home(tmp_path).credentials).admin.get_secret_value()
    yield process, ControlClient(client.url, token), token
    if process.poll() is None:
        process.kill()
        process.wait(30)


def test_who_waits_is_answered_by_a_change_and_by_the_end_of_the_process(control):
    process, client, token = control
    client.apply_spec(spec(), RECIPE)
    seen = client.see_status(MODEL)
    held = threading.Thread(target=lambda: (time.sleep(0.5), client.hold(MODEL, "rules", "a test")))
    held.start()
    changed = client.wait_for_change(MODEL, seen, seconds=60)
    held.join()
    assert [each.what for each in changed.value.holds] == ["rules"]

    answers: list[httpx.Response] = []

    def wait() -> None:
        tag = client.see_status(MODEL).tag
        headers = {"Authorization": f"Bearer {token}", "If-None-Match": tag}
        path = f"{client.url}/api/v1/models/{MODEL}?wait=60"
        answers.append(httpx.get(path, headers=headers, timeout=90, trust_env=False))

    waiters = [threading.Thread(target=wait) for _ in range(5)]
    for waiter in waiters:
        waiter.start()
    time.sleep(1.5)
    assert answers == []
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) in (0, -signal.SIGTERM)
    for waiter in waiters:
        waiter.join(30)
    assert [each.status_code for each in answers] == [304] * 5


def test_what_a_control_plane_started_with_is_no_part_of_collections_while_it_runs():
    async def running() -> int:
        async with _ticking()(FastAPI()):
            return gc.get_freeze_count()

    held = len(gc.get_objects())
    assert asyncio.run(running()) > held / 2
    assert gc.get_freeze_count() == 0, "at its end libraries find what was theirs"
