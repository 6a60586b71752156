"""A run is started once, also where the control plane and the run die in the same moment."""

from __future__ import annotations

import os
import sys

import pytest

from bundle.home import Home
from controlplane.loop import trainer as trainers
from controlplane.loop.trainer import SubprocessTrainer
from observability.clock import SystemClock
from observability.ids import new_id
from pipeline.contract.training import TrainingRequest
from tests.controlplane_world import RECIPE, spec
from tests.serving_harness import wait_until

#: counts that it was started, and ends without a word
STAND_IN = "import os, sys; open(os.path.join(sys.argv[1], f'start-{os.getpid()}'), 'w')"


def test_a_run_that_died_at_once_is_not_started_again_though_the_control_plane_died_before_it_noted_the_start(
    tmp_path, monkeypatch
):
    key, home = new_id(), Home(tmp_path)
    request = TrainingRequest(key=key, spec=spec(), recipe=RECIPE, cutoff=SystemClock().now())
    command, folder = (sys.executable, "-c", STAND_IN), home.run(key)
    put = trainers.replace_durably

    def die(path, data):
        if path.name == trainers.STARTED_FILE:
            os._exit(9)
        put(path, data)

    if (pid := os.fork()) == 0:
        monkeypatch.setattr(trainers, "replace_durably", die)
        SubprocessTrainer(home, command).start(request)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    another = SubprocessTrainer(home, command)
    wait_until(lambda: list(folder.glob("start-*")) and not another.alive(key), "the run ended", 30)

    another.start(request)
    assert len(list(folder.glob("start-*"))) == 1
    report = another.report(key)
    assert report is not None and report.failure.code == "crashed"


@pytest.mark.parametrize("program", ["no-such-program", "/dev/null"])
def test_a_run_whose_program_cannot_be_started_has_crashed_with_the_reason(program, tmp_path):
    key = new_id()
    request = TrainingRequest(key=key, spec=spec(), recipe=RECIPE, cutoff=SystemClock().now())
    runs = SubprocessTrainer(Home(tmp_path), (program,))
    runs.start(request)
    wait_until(lambda: not runs.alive(key), "it ended", 30)

    failure = runs.report(key).failure
    assert failure.code == "crashed" and "Error" in failure.message
