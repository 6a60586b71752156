"""`driftgate control` as a process of its own tells an alert to a webhook, signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from bundle.home import Home
from tests.controlplane_world import DRIFT, MODEL, World, spec
from tests.servers.alertmanager import Receiver

SECRET = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"


@pytest.fixture
def hook() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


def eventually(process: subprocess.Popen[bytes], holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert process.poll() is None and time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def control(folder: Path, hook: Receiver) -> subprocess.Popen[bytes]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "CONTROLPLANE_HOME": str(folder), "CONTROLPLANE_PORT": str(port), "CONTROLPLANE_CLOCK": "replay",
        "CONTROLPLANE_ALLOWED_HOSTS": hook.origin,
        "CONTROLPLANE_WEBHOOKS": json.dumps([{"name": "ops", "url": f"{hook.origin}/alerts", "secret": SECRET}]),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    return subprocess.Popen([sys.executable, "-m", "controlplane", "control"], env=environment)


def test_an_alert_reaches_a_webhook_signed_and_when_it_is_over_that_too(tmp_path, hook):
    world = World(tmp_path, spec([DRIFT | {"cooldown": "1d"}]), f"sqlite:///{Home(tmp_path).database}")
    first = world.to_production()
    world.store.move_replay_time(world.clock.now())
    process = control(tmp_path, hook)
    try:
        world.window(first.number, 1, drifted_share=0.9)
        eventually(process, lambda: hook.taken)
        (told,) = hook.messages()[0]["alerts"]
        assert (told["name"], told["state"], told["model"]) == ("DriftDetected", "firing", MODEL)
        assert told["runbook_url"].endswith("#driftdetected")
        world.clock.advance(timedelta(hours=2))
        world.window(first.number, 2, drifted_share=0.0)
        eventually(process, lambda: len(hook.taken) == 2)
        assert [each["alerts"][0]["state"] for each in hook.messages()] == ["firing", "resolved"]
    finally:
        process.terminate()
        process.wait(30)
    for headers, body in hook.taken:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
    assert hook.taken[0][0]["webhook-id"] != hook.taken[1][0]["webhook-id"]
