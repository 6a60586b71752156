"""Several control planes decide at once: each cause fires once, one run is active, and each reason is stored once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import TypeVar

import pytest
import uuid_utils

from controlplane.loop import triggers
from controlplane.loop.triggers import fire
from controlplane.rules.decide import Decision, Reason
from controlplane.store import Store, decisions, open_engine, order
from controlplane.tables import TrainingRun
from pipeline.contract.training import Failure
from tests.controlplane_world import MODEL, START, World

Result = TypeVar("Result")
REPLICAS = 3


@pytest.fixture
def world(tmp_path, database_url):
    return World(tmp_path, database=database_url)


@pytest.fixture
def replicas(world) -> list[Store]:
    return [Store(open_engine(world.database)) for _ in range(REPLICAS)]


def at_once(acts: Sequence[Callable[[], Result]]) -> list[Result]:
    start = Barrier(len(acts))

    def together(act: Callable[[], Result]) -> Result:
        start.wait()
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(together, acts))


def drifted(cause: str) -> Decision:
    return Decision("drifted", "drift", cause, "fire", Reason.RETRAIN_DRIFT, "it drifted")


def stable(cause: str) -> Decision:
    return Decision("drifted", "drift", cause, "wait", Reason.WAIT_STABLE, "it is stable")


def firing(store: Store, cause: str) -> Callable[[], TrainingRun | None]:
    return lambda: fire(store, store.model(MODEL), drifted(cause), START)


@pytest.mark.parametrize("causes", [["w-1"] * 12, [f"w-{number}" for number in range(12)]])
def test_one_run_is_active_however_many_fire_at_once(world, replicas, causes):
    runs = at_once([firing(replicas[number % REPLICAS], cause) for number, cause in enumerate(causes)])

    (run,) = [run for run in runs if run is not None]
    assert world.store.active_run(MODEL).key == run.key
    assert len(world.store.firings(MODEL)) == 1


def test_a_cause_fires_once_though_its_run_ended_while_others_tried(world, replicas):
    for _ in range(5):
        at_once([firing(replica, "w-1") for replica in replicas])
        if run := world.store.active_run(MODEL):
            world.tick()
            world.finish(run.key, failure=Failure(code="crashed", message="x"))
            world.tick()

    assert [each.cause for each in world.store.firings(MODEL)] == ["w-1"]


def test_what_several_decide_at_once_is_stored_once_for_each_change_of_reason(world, replicas):
    decisions = [stable(f"w-{number}") for number in range(20)]
    for _ in range(2):
        at_once([lambda store=store: store.record_waits(MODEL, decisions, 1, START) for store in replicas * 2])

    stored = Counter((each.cause, each.turn) for each in world.store.decisions(MODEL, 100))
    assert stored == Counter({(decision.cause, 1): 1 for decision in decisions})


def test_to_wait_and_to_fire_for_a_cause_at_the_same_moment_both_go_through(world, replicas):
    for number in range(8):
        cause = f"w-{number}"
        waits = [lambda store=store, cause=cause: store.record_waits(MODEL, [stable(cause)], 1, START)
                 for store in replicas]  # fmt: skip
        _, _, _, run = at_once([*waits, firing(world.store, cause)])
        assert run is not None
        world.tick()
        world.finish(run.key, failure=Failure(code="crashed", message="x"))
        world.tick()

    assert len(world.store.firings(MODEL)) == 8


def test_nothing_is_written_where_nothing_is_new(world):
    assert world.store.record_waits(MODEL, [stable("w-1")], 1, START) == 1
    before = world.store.model(MODEL).changes, len(world.store.unpublished(100))
    assert world.store.record_waits(MODEL, [stable("w-1")], 1, START) == 0
    assert world.store.record_waits(MODEL, [], 1, START) == 0
    assert (world.store.model(MODEL).changes, len(world.store.unpublished(100))) == before


def test_nothing_fires_between_the_end_of_a_run_and_the_version_that_it_made(world, replicas):
    for number in range(8):
        run = world.ask()
        world.tick()
        world.finish(run.key, world.made(champion=False))
        held, report = world.store.run(run.key), world.trainer.report(run.key)
        at_once([
            lambda held=held, report=report: world.store.finish_run(held.key, held.epoch, report, START),
            *(firing(replica, f"w-{number}") for replica in replicas),
        ])  # fmt: skip
        assert world.store.active_run(MODEL) is None
        (candidate,) = world.store.on_their_way(MODEL)
        world.store.reject(MODEL, candidate.number, "a test", START)

    assert all(each.rule == "manual" for each in world.store.firings(MODEL))


def test_no_rule_fires_behind_a_pause_that_was_answered(world, monkeypatch):
    version = world.to_production()
    world.clock.advance(timedelta(days=2))
    world.window(version.number, 1, drifted_share=1.0)
    other, really = Store(open_engine(world.database)), triggers.fire

    def paused_first(*asked, **named):
        other.put_hold(MODEL, "rules", "incident", None, world.clock.now(), "ann")
        return really(*asked, **named)

    monkeypatch.setattr(triggers, "fire", paused_first)
    world.tick()
    assert "drifted" not in {each.rule for each in world.store.firings(MODEL)}
    assert world.reasons("drifted")[-1] == Reason.WAIT_PAUSED.name


def test_a_model_that_changes_without_end_fires_still(world, monkeypatch):
    version = world.to_production()
    world.clock.advance(timedelta(days=2))
    world.window(version.number, 1, drifted_share=1.0)
    really, noise = triggers.fire, iter(range(2))

    def changed_first(*asked, **named):
        if (number := next(noise, None)) is not None:
            world.window(version.number, 2 + number, drifted_share=1.0)
        return really(*asked, **named)

    monkeypatch.setattr(triggers, "fire", changed_first)
    world.tick()
    assert world.store.active_run(MODEL) is not None


def test_the_newest_is_the_newest_though_the_machine_s_clock_went_back(world, monkeypatch):
    """What was written while it was ahead has ids of the future."""
    ahead = str(uuid_utils.uuid7(nanoseconds=time.time_ns() + 86_400 * 10**9))
    with monkeypatch.context() as patched:
        for module in (triggers, decisions, order):
            patched.setattr(module, "new_id", lambda: ahead)
        failed = world.ask()
    world.finish(failed.key, failure=Failure(code="crashed", message="x"))
    world.tick()
    assert failed.key == ahead and [each.name for each in world.store.open_alerts(MODEL)] == ["RetrainingFailed"]

    version = world.to_production()
    world.tick()
    newest = [world.store.runs(MODEL)[0].key, world.store.decisions(MODEL)[0].version, world.store.open_alerts(MODEL)]
    assert newest == [version.run_key, version.number, []]
