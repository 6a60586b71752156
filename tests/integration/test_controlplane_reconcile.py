"""What one tick after another makes of a model, whatever happens between two of them."""

from __future__ import annotations

import errno
from datetime import timedelta

import pytest

from controlplane.errors import NothingToRollBackTo, RunActive
from controlplane.lifecycle import RunState, VersionState
from controlplane.store import Store, open_engine
from observability.ids import new_id
from pipeline.contract.training import Failure
from tests.controlplane_world import MODEL, RECIPE, START, Crash, World, crash_at, spec


@pytest.fixture
def world(tmp_path, database_url):
    return World(tmp_path, database=database_url)


def test_a_drifted_window_leads_to_one_run_one_gate_and_one_promotion(world):
    first = world.to_production()
    world.window(first.number, 1, drifted_share=1.0, features={"followers": {"drifted": True}})
    world.tick()
    world.tick()
    run = world.store.active_run(MODEL)
    assert run.state is RunState.RUNNING and list(world.trainer.started) == [first.run_key, run.key]

    world.finish(run.key, world.made(better=True))
    world.tick()
    assert world.store.version(MODEL, 2).state is VersionState.STAGING
    world.tick()
    assert world.store.production(MODEL).number == 1
    world.load_staged()
    world.tick()

    assert world.store.production(MODEL).number == 2
    assert world.store.version(MODEL, 1).state is VersionState.RETIRED
    counts = world.store.counts(MODEL)
    assert counts.firings == {"data": 1, "schedule": 0, "metric": 0, "manual": 1, "webhook": 0}
    assert counts.promotions == 2 and counts.runs["succeeded"] == 2


@pytest.mark.parametrize(
    "point", ["claimed", "started", "reported", "finished", "judged", "loaded", "promoted", "fired"]
)
def test_a_firing_starts_one_run_even_if_killed_at_any_point_of_the_tick(world, point):
    first = world.to_production()
    world.window(first.number, 1, drifted_share=1.0)
    crashes = 0
    for _ in range(8):
        try:
            at = crash_at(point) if crashes == 0 else lambda _point: None
            world.tick(at=at, lease=timedelta(0), owner=new_id())
        except Crash:
            crashes += 1
        for key in set(world.trainer.started) - {first.run_key}:
            world.finish(key, world.made())
        world.load_staged()

    assert crashes == 1
    assert len(world.trainer.started) == 2
    assert [firing.rule for firing in world.store.firings(MODEL)] == ["drifted", "manual"]
    assert world.store.production(MODEL).number == 2


def test_a_challenger_that_is_no_better_is_rejected_and_the_champion_stays(world):
    world.to_production()
    run = world.ask()
    world.finish(run.key, world.made(better=False))
    world.tick()
    world.tick()

    assert world.store.production(MODEL).number == 1
    assert world.store.version(MODEL, 2).state is VersionState.REJECTED
    assert world.store.gate_verdicts(MODEL)[2].reason == "FAIL_NOT_BETTER"


def test_a_version_that_is_over_its_budget_is_rejected_and_every_check_is_kept(tmp_path):
    world = World(tmp_path, spec(gate={"resamples": 200, "max_row_ms": 5, "max_bytes": 999}))
    run = world.ask()
    cost = {"bytes": 1_000.0, "row_ms_p50": 0.3, "row_ms_p99": 0.9}
    world.finish(run.key, world.made(champion=False).model_copy(update={"cost": cost}))
    world.tick()

    version, verdict = world.store.version(MODEL, 1), world.store.gate_verdicts(MODEL)[1]
    assert (version.state, version.cost) == (VersionState.REJECTED, cost)
    assert (verdict.reason, verdict.detail) == ("FAIL_LARGE", "its files have 1,000 bytes, allowed 999")
    assert {check["check"]: check["passed"] for check in verdict.checks} == {
        "parity": True, "rows": True, "improvement": True, "row_ms": True, "bytes": False,
    }  # fmt: skip


def test_a_version_whose_gate_rows_are_gone_is_rejected_and_says_so(world):
    run = world.ask()
    made = world.made(champion=False)
    world.blobs.path(made.gate_rows).unlink()
    world.finish(run.key, made)
    world.tick()

    version = world.store.version(MODEL, 1)
    assert version.state is VersionState.REJECTED and "cannot be read" in version.note


def test_a_disk_that_fails_for_a_moment_rejects_no_version(world, monkeypatch, caplog):
    run = world.ask()
    world.finish(run.key, world.made(champion=False))
    with monkeypatch.context() as patched:
        patched.setattr(world.blobs, "get", too_many_files)
        world.tick()
    assert world.store.version(MODEL, 1).state is VersionState.CANDIDATE and "Too many open files" in caplog.text

    world.tick()
    assert world.store.version(MODEL, 1).state is VersionState.STAGING


def too_many_files(_digest: str) -> bytes:
    raise OSError(errno.EMFILE, "Too many open files")


def test_a_failed_run_is_kept_with_its_reason_and_makes_no_version(world):
    run = world.ask()
    world.finish(run.key, failure=Failure(code="constant_label", message="every label is 0"))
    world.tick()

    ended = world.store.run(run.key)
    assert (ended.state, ended.failure_code) == (RunState.FAILED, "constant_label")
    assert world.store.versions(MODEL) == []
    assert world.ask().key != run.key


def test_no_version_goes_into_production_before_every_live_instance_has_it(world):
    run = world.ask()
    world.finish(run.key, world.made(champion=False))
    world.tick()
    world.load_staged()
    world.store.report_instance("serving-2", [], [])
    world.tick()
    assert world.store.production(MODEL) is None
    loaded = world.store.live_instances(timedelta(seconds=9))[0].loaded
    world.store.report_instance("serving-2", loaded, [])
    world.tick()

    assert world.store.production(MODEL).number == 1


def test_a_version_that_an_instance_cannot_load_is_rejected_and_the_old_one_stays(world):
    world.to_production()
    run = world.ask()
    world.finish(run.key, world.made())
    world.tick()
    world.store.report_instance("serving-1", [], [{"model": MODEL, "version": 2, "reason": "golden rows differ"}])
    world.tick()

    assert world.store.production(MODEL).number == 1
    assert "golden rows differ" in world.store.version(MODEL, 2).note


def test_other_bytes_under_the_same_number_are_not_the_staged_version(world):
    run = world.ask()
    world.finish(run.key, world.made(champion=False))
    world.tick()
    world.store.report_instance("serving-1", [{"model": MODEL, "version": 1, "manifest": "e" * 64}], [])
    world.tick()

    assert world.store.production(MODEL) is None


def test_rolling_back_puts_the_retired_version_into_production_in_one_step(world):
    world.to_production()
    world.clock.advance(timedelta(days=1))
    world.to_production()
    world.store.roll_back(MODEL, "it answers nonsense", world.clock.now())

    assert world.store.production(MODEL).number == 1
    assert world.store.version(MODEL, 2).state is VersionState.ROLLED_BACK
    with pytest.raises(NothingToRollBackTo):
        world.store.roll_back(MODEL, "again", world.clock.now())
    assert world.store.production(MODEL).number == 1
    assert world.store.counts(MODEL).promotions == 2


@pytest.mark.parametrize("ticks", [0, 1], ids=["training", "staged"])
def test_a_version_that_was_made_to_beat_one_that_was_rolled_back_since_is_rejected(world, ticks):
    world.to_production()
    world.to_production()
    run = world.ask()
    world.tick()
    world.finish(run.key, world.made())
    for _ in range(ticks):
        world.tick()
    world.store.roll_back(MODEL, "it answers nonsense", world.clock.now())
    world.load_staged()
    world.tick()

    assert world.store.production(MODEL).number == 1
    assert world.store.version(MODEL, 3).state is VersionState.REJECTED
    assert "version 1 is in production now" in world.store.version(MODEL, 3).note


def test_promotion_is_atomic(world, monkeypatch):
    world.to_production()
    run = world.ask()
    world.finish(run.key, world.made())
    world.tick()
    world.load_staged()
    monkeypatch.setattr(Store, "_enter_production", lambda *_: (_ for _ in ()).throw(Crash()))
    with pytest.raises(Crash):
        world.tick()

    assert world.store.production(MODEL).number == 1
    assert world.store.version(MODEL, 2).state is VersionState.STAGING


def test_asking_twice_with_one_request_id_gives_one_run(world):
    request = "0190c0de-0000-7000-8000-000000000001"
    run = world.ask(request)
    assert world.ask(request).key == run.key
    with pytest.raises(RunActive):
        world.ask()
    world.finish(run.key, failure=Failure(code="crashed", message="x"))
    world.tick()

    assert world.ask(request).key == run.key
    assert world.reasons("manual") == ["RETRAIN_ASKED", "WAIT_ACTIVE_RUN"]


def test_applying_a_spec_twice_changes_nothing(world):
    before = world.store.model(MODEL)
    assert world.store.apply_model(world.spec, RECIPE, START + timedelta(days=1)) is False
    assert world.store.model(MODEL) == before
    assert world.store.apply_model(spec([]), RECIPE, START + timedelta(days=1)) is True


def test_one_model_whose_spec_cannot_be_read_does_not_stop_the_others(world, caplog):
    other = spec(model="default/other")
    world.store.apply_model(other, RECIPE, START)
    with world.store._writing() as session:
        from controlplane.tables import Model

        session.get_one(Model, "default/other").spec = {"model": "broken"}
    world.tick()

    assert world.store.model(MODEL).decided_until == START
    assert world.store.model("default/other").decided_until is None
    assert "default/other" in caplog.text


@pytest.mark.parametrize("broken", ["controlplane.loop.promoting.judge", "controlplane.loop.promoting._roll_out"])
def test_a_version_that_cannot_take_its_step_stops_no_other_and_no_rule(world, monkeypatch, caplog, broken):
    def fail(*_: object) -> None:
        raise KeyError("label_mismatches")

    world.to_production()
    run = world.ask()
    if "roll_out" in broken:
        world.tick()
    world.finish(run.key, world.made())
    if "roll_out" in broken:
        world.tick()
    monkeypatch.setattr(broken, fail)
    world.tick()

    assert world.store.model(MODEL).decided_until == START
    assert f"{MODEL} version 2 could not take its step" in caplog.text and "label_mismatches" in caplog.text
    monkeypatch.undo()
    world.tick()
    world.load_staged()
    world.tick()
    assert world.store.production(MODEL).number == 2


def test_one_model_whose_rules_break_in_whatever_way_does_not_stop_the_others(world, monkeypatch, caplog):
    world.store.apply_model(spec(model="default/other"), RECIPE, START)
    looking = Store.looking

    def broken(store, model_id, now):
        if model_id == "default/other":
            raise TypeError("no version is like this")
        return looking(store, model_id, now)

    monkeypatch.setattr(Store, "looking", broken)
    world.tick()

    assert world.store.model(MODEL).decided_until == START
    assert world.store.model("default/other").decided_until is None
    assert "no version is like this" in caplog.text


def test_a_second_engine_on_the_same_file_finds_what_the_first_wrote(world):
    run = world.ask()
    again = Store(open_engine(world.database))
    assert again.run(run.key) == world.store.run(run.key)
