"""The short form of `make bench NAME=crash`: real processes, real SIGKILL and SIGSTOP, on both databases."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.crash_stage.plan import Plan
from bench.crash_stage.verdict import Seen, doubled, lost, stale, take_overs
from controlplane.lifecycle import RunState
from controlplane.tables import Firing, TrainingRun

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_due_cause_fires_once_and_runs_once_though_its_control_planes_are_killed(database, tmp_path, request):
    if database == "postgresql":
        request.getfixturevalue("postgres_server")  # the bench starts its own: this one says whether there is any
    command = [sys.executable, "-m", "bench.crash", "--short", "--database", database, "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])

    assert all(claim["holds"] for claim in told["claims"])
    figures = {name.removeprefix(f"{database}_"): value for name, value in told["figures"].items()}
    assert figures["firings"] >= 60 and figures["kills"] >= 20 and figures["stops"] >= 5
    assert figures["lost"] == figures["doubled"] == figures["stale_writes"] == 0


def plan(**changes) -> Plan:
    asked = {
        "database": "sqlite", "url": "", "folder": Path(), "models": 1, "rounds": 1, "replicas": 1, "named_kills": 0,
        "outside_kills": 0, "stops": 0, "lease": timedelta(seconds=1), "stopped_at_once": 1,
    }  # fmt: skip
    return Plan(**(asked | changes))


def firing(number: int = 1, key: str = "f1") -> Firing:
    due = plan().due(number).isoformat()
    return Firing(
        id=key, model=plan().name(0), rule="hourly", kind="schedule", trigger="schedule", cause=due,
        decision_id=key, reason="RETRAIN_DUE", detail="", fired_at=NOW, recorded_at=NOW,
    )  # fmt: skip


def run(of: str = "f1", key: str = "r1", state: RunState = RunState.FAILED, at: datetime = NOW) -> TrainingRun:
    return TrainingRun(
        key=key, firing_id=of, model=plan().name(0), state=state, request={}, asked_at=at, recorded_at=at,
        ended_recorded_at=at + timedelta(seconds=5),
    )  # fmt: skip


def seen(firings, runs, starts, rounds=1) -> Seen:
    return Seen(firings, runs, [], [], frozenset(), frozenset(), [], Counter(starts), rounds)


@pytest.mark.parametrize(
    ("left", "missing", "again"),
    [
        (seen([firing()], [run()], ["r1"]), 0, 0),
        (seen([], [], []), 1, 0),
        (seen([firing()], [], []), 1, 0),
        (seen([firing()], [run()], []), 1, 0),
        (seen([firing()], [run(state=RunState.RUNNING)], ["r1"]), 1, 0),
        (seen([firing(), firing(key="f2")], [run(), run("f2", "r2", at=NOW + timedelta(hours=1))], ["r1", "r2"]), 0, 1),
        (seen([firing()], [run()], ["r1", "r1"]), 0, 1),
        (seen([firing(), firing(7, "f2")], [run(), run("f2", "r2", at=NOW + timedelta(hours=1))], ["r1", "r2"]), 0, 1),
        (seen([firing(), firing(2, "f2")], [run(), run("f2", "r2")], ["r1", "r2"], rounds=2), 0, 1),
    ],
    ids=["as it should be", "no firing", "no run", "no start", "no end", "fired twice", "started twice", "never due",
         "two runs at once"],
)  # fmt: skip
def test_the_bench_sees_what_is_lost_and_what_came_twice(left, missing, again):
    assert (lost(plan(), left), doubled(plan(), left)) == (missing, again)


def entry(what: str, at: float, who: str = "a", **details) -> dict:
    return {"what": what, "at": at, "who": who, "key": "r1", **details}


def test_the_bench_sees_a_write_of_a_holder_that_was_overtaken():
    claims = [entry("claimed", 1, epoch=1), entry("claimed", 5, "b", epoch=2)]
    write = {"verb": "record_progress", "epoch": 1}

    assert list(stale([*claims, entry("wrote", 6, **write, updated_at=4)])) == [False]
    assert list(stale([*claims, entry("wrote", 6, **write, updated_at=5.5)])) == [True]


def test_a_take_over_lasts_from_the_death_to_the_next_claim():
    entries = [
        entry("claimed", 1, epoch=1), entry("stopped", 2, "stage", name="a"), entry("claimed", 3.5, "b", epoch=2),
        {"what": "killed", "at": 4, "who": "b", "point": "claimed"}, entry("claimed", 4.25, "c", epoch=3),
    ]  # fmt: skip
    assert list(take_overs(entries)) == [1.5, 0.25]
