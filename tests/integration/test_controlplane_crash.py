"""A control plane that is killed, in a process of its own, at named points of its tick."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import timedelta

import pytest

from controlplane.lifecycle import RunState
from tests.controlplane_world import MODEL, World

#: ticks on the database in argv[1] with real training processes; dies by SIGKILL at the point in argv[2]
TICKER = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from bundle.blobs import BlobStore
from bundle.home import Home
from controlplane.loop.reconcile import Reconciler
from controlplane.store import Store, open_engine
from controlplane.loop.trainer import SubprocessTrainer
from tests.controlplane_world import FakeClock, MemoryLines

folder, point = Path(sys.argv[1]), sys.argv[2]

def at(here):
    if here == point:
        os.kill(os.getpid(), signal.SIGKILL)

Reconciler(
    store=Store(open_engine(f"sqlite:///{folder}/control.db")),
    trainer=SubprocessTrainer(Home(folder), (sys.executable, "-c", sys.argv[3])),
    blobs=BlobStore(folder / "blobs"), clock=FakeClock(), lines=MemoryLines(), lease=timedelta(0), at=at,
).tick()
"""
#: counts that it was started, and fails at once
STAND_IN = """
import json, os, sys
from pathlib import Path
folder = Path(sys.argv[1])
(folder / f"start-{os.getpid()}").touch()
report = {"key": folder.name, "failure": {"code": "too_few_rows", "message": "none"},
          "finished_at": "2021-01-01T00:00:00Z", "seconds": 0.1}
(folder / "partial").write_text(json.dumps(report))
os.rename(folder / "partial", folder / "report.json")
"""


def tick(world: World, point: str = "") -> int:
    command = [sys.executable, "-c", TICKER, str(world.folder), point, STAND_IN]
    return subprocess.run(command, check=False, timeout=60).returncode


@pytest.mark.parametrize("point", ["claimed", "started"])
def test_a_firing_starts_one_run_though_the_control_plane_is_killed(tmp_path, point):
    world = World(tmp_path)
    first = world.to_production()
    world.window(first.number, 1, drifted_share=1.0)
    killed = 0
    for _ in range(6):
        killed += tick(world, point if not killed else "") == -signal.SIGKILL
        run = world.store.runs(MODEL, 1)[0]
        if run.state is RunState.FAILED:
            break

    assert killed == 1
    assert run.failure_code == "too_few_rows"
    assert world.store.counts(MODEL).firings["data"] == 1
    assert len(list((tmp_path / "runs" / run.key).glob("start-*"))) == 1
    assert world.store.claim_next_run("nobody", timedelta(0)) is None
