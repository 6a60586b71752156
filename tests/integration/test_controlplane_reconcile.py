"""What one tick after another makes of a model, whatever happens between two of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from sqlmodel import select

from controlplane.errors import NothingToRollBackTo, RunActive, StaleEpoch
from controlplane.lifecycle import RunState, VersionState
from controlplane.store import Store, open_engine
from controlplane.tables import OutboxEntry
from controlplane.trainer import MemoryTrainer
from observability.events import parse
from observability.ids import new_id
from pipeline.contract.training import Failure, Phase, Progress
from tests.controlplane_world import DRIFT, MODEL, RECIPE, START, WEEKLY, Crash, FakeClock, World, crash_at, spec

WORSE = {"name": "worse", "kind": "metric", "monitor": "weekly", "metric": "roc_auc", "below": 0.7}


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


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
    assert counts.firings == {"data": 1, "schedule": 0, "metric": 0, "manual": 1}
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


def test_a_rule_that_holds_while_a_run_is_active_records_that_it_waits_once_and_does_not_fire(world):
    first = world.to_production()
    world.window(first.number, 1, drifted_share=0.0)
    world.tick()
    world.ask()
    world.window(first.number, 2, drifted_share=1.0)
    for _ in range(3):
        world.tick()

    assert world.reasons("drifted")[-2:] == ["WAIT_STABLE", "WAIT_ACTIVE_RUN"]
    assert world.store.counts(MODEL).firings["data"] == 0


def test_a_rule_waits_while_a_version_is_on_its_way(world):
    first = world.to_production()
    run = world.ask()
    world.finish(run.key, world.made())
    world.tick()
    world.window(first.number, 1, drifted_share=1.0)
    world.tick()

    assert world.reasons("drifted")[-1] == "WAIT_ACTIVE_RUN"


def test_a_window_that_is_scored_again_is_no_new_cause(world):
    first = world.to_production()
    window = world.window(first.number, 1, drifted_share=1.0)
    world.tick()
    run = world.store.active_run(MODEL)
    world.finish(run.key, failure=Failure(code="too_few_rows", message="no"))
    world.tick()
    world.store.rescore_window(window.id, 50, {"drifted_share": 1.0}, True, world.clock.now())
    world.tick()

    assert world.store.active_run(MODEL) is None
    assert world.store.counts(MODEL).firings["data"] == 1
    assert world.store.windows(MODEL)[0].revision == 2


def test_a_window_of_a_version_that_is_no_longer_in_production_fires_nothing(world):
    old = world.to_production()
    world.clock.advance(timedelta(days=1))
    world.to_production()
    world.window(old.number, 1, drifted_share=1.0)
    world.tick()

    assert world.store.counts(MODEL).firings["data"] == 0


def test_every_window_is_judged_once_also_when_several_are_cut_between_two_ticks(world):
    first = world.to_production()
    for number in range(3):
        world.window(first.number, number)
    world.tick()
    world.tick()

    assert world.reasons("drifted").count("WAIT_STABLE") == 3


def test_no_window_is_passed_over_however_many_were_cut_between_two_ticks(world):
    first = world.to_production()
    for number in range(120):
        world.window(first.number, number)
    for _ in range(4):
        world.tick()

    assert world.reasons("drifted").count("WAIT_STABLE") == 120
    world.window(first.number, 121, drifted_share=1.0)
    world.tick()
    assert world.reasons("drifted")[-1] == "RETRAIN_DRIFT"


def test_a_metric_rule_finds_its_settled_window_behind_any_number_of_others(tmp_path):
    world = World(tmp_path, spec([WORSE], monitors=[WEEKLY, WEEKLY | {"name": "hourly"}]))
    first = world.to_production()
    old = world.window(first.number, 0)
    for number in range(1, 70):
        world.window(first.number, number)
        world.window(first.number, number, monitor="hourly")
    world.store.rescore_window(old.id, 80, {"error": {"roc_auc": 0.6}}, True, world.clock.now())
    world.tick()

    assert [firing.cause for firing in world.store.firings(MODEL) if firing.rule == "worse"] == [old.id]


def test_what_a_tick_reads_for_a_rule_does_not_grow_with_the_windows_that_were_judged(world):
    first = world.to_production()
    for number in range(60):
        world.window(first.number, number)
    world.tick()
    world.tick()

    assert [row.id for row in world.store.to_judge(first, START, "drifted", "weekly", False)] == [
        world.store.windows(MODEL, 1)[0].id
    ]
    with world.store._reading() as session:
        plan = session.connection().exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT id FROM windows WHERE model = 'm' AND version = 1 AND monitor = 'w' AND "
            "cut_at >= 0 AND NOT EXISTS (SELECT 1 FROM decisions WHERE decisions.model = 'm' AND rule = 'r' "
            "AND cause = windows.id) ORDER BY until_time, until_id LIMIT 50"
        )
        told = " ".join(row[3] for row in plan)
    assert "COVERING INDEX windows_to_judge" in told and "SCAN" not in told and "TEMP B-TREE" not in told


def test_the_cooldown_keeps_a_rule_from_firing(tmp_path):
    world = World(tmp_path, spec([DRIFT | {"cooldown": "7d"}]))
    first = world.to_production()
    world.window(first.number, 1, drifted_share=1.0)
    world.tick()
    assert world.reasons("drifted")[-1] == "WAIT_COOLDOWN"
    world.clock.advance(timedelta(days=7))
    world.tick()

    assert world.reasons("drifted")[-1] == "RETRAIN_DRIFT"


def test_a_schedule_fires_once_after_a_long_downtime(tmp_path):
    world = World(tmp_path, spec([{"name": "daily", "kind": "schedule", "cron": "0 6 * * *"}]))
    world.to_production()
    world.clock.advance(timedelta(days=30, hours=7))
    world.tick()
    run = world.store.active_run(MODEL)
    world.finish(run.key, world.made(better=False))
    for _ in range(3):
        world.tick()

    assert world.store.firings(MODEL)[0].cause == "2021-01-31T06:00:00+00:00"
    assert world.store.counts(MODEL).firings["schedule"] == 1
    assert world.reasons("daily")[-1] == "WAIT_NOT_DUE"


def test_a_schedule_that_is_added_to_a_model_in_service_fires_for_no_time_before_it_was_there(tmp_path):
    weekly = {"name": "weekly", "kind": "schedule", "every": "7d"}
    daily = {"name": "daily", "kind": "schedule", "cron": "0 6 * * *"}
    world = World(tmp_path, spec([weekly]))
    world.to_production()
    world.clock.advance(timedelta(days=5, hours=7))
    world.store.apply_model(spec([weekly, daily]), RECIPE, world.clock.now())
    world.tick()
    assert world.store.counts(MODEL).firings["schedule"] == 0
    world.clock.advance(timedelta(days=1))
    world.tick()
    assert world.store.firings(MODEL)[0].cause == "2021-01-07T06:00:00+00:00"

    world.finish(world.store.active_run(MODEL).key, failure=Failure(code="crashed", message="x"))
    world.tick()
    world.store.apply_model(spec([weekly, daily | {"cron": "0 5 * * *"}]), RECIPE, world.clock.now())
    world.tick()
    assert world.store.counts(MODEL).firings["schedule"] == 1, "another plan begins anew"
    world.clock.advance(timedelta(hours=17))
    world.tick()
    assert world.store.firings(MODEL)[0].cause == "2021-01-08T00:00:00+00:00", "the first rule goes on as it was"


def test_a_clock_that_was_ahead_for_a_tick_makes_the_cooldown_last_once_and_no_longer(tmp_path):
    world = World(tmp_path, spec([DRIFT | {"cooldown": "7d"}]))
    first = world.to_production()
    world.clock.advance(timedelta(days=100))
    run = world.ask()
    world.clock.advance(timedelta(days=-90))
    world.finish(run.key, failure=Failure(code="crashed", message="x"))
    world.tick()
    world.window(first.number, 1, drifted_share=1.0)
    world.tick()
    assert world.reasons("drifted")[-1] == "WAIT_COOLDOWN"
    world.clock.advance(timedelta(days=7))
    world.tick()
    assert world.reasons("drifted")[-1] == "RETRAIN_DRIFT"


def test_enough_new_labelled_rows_fire_once_each_time_that_they_are_full_again(tmp_path):
    world = World(tmp_path, spec([{"name": "volume", "kind": "volume", "new_labelled_rows": 100}]))
    first = world.to_production()
    world.store.observe(MODEL, first.number, START, 99, START)
    world.tick()
    assert world.reasons("volume")[-1] == "WAIT_FEW_LABELS"
    world.store.observe(MODEL, first.number, START, 100, START)
    world.tick()

    run = world.store.active_run(MODEL)
    assert world.store.firings(MODEL)[0].trigger == "data"
    world.finish(run.key, failure=Failure(code="crashed", message="x"))
    for labelled in (101, 199, 200, 200, 205):
        world.store.observe(MODEL, first.number, START, labelled, START)
        world.tick()
        if run := world.store.active_run(MODEL):
            world.finish(run.key, world.made(better=False))
            world.tick()

    assert world.store.production(MODEL).number == first.number
    assert [firing.cause for firing in world.store.firings(MODEL)][:-1] == ["v1:2", "v1:1"]


def test_the_error_of_a_window_is_judged_only_when_its_labels_are_due(tmp_path):
    world = World(tmp_path, spec([WORSE]))
    first = world.to_production()
    window = world.window(first.number, 1)
    world.tick()
    assert world.reasons("worse") == ["WAIT_NO_VERSION", "WAIT_NO_DATA"]
    world.store.rescore_window(window.id, 80, {"error": {"roc_auc": 0.6}}, True, world.clock.now())
    world.tick()

    assert world.reasons("worse")[-1] == "RETRAIN_METRIC"
    assert world.store.firings(MODEL)[0].trigger == "metric"


def test_a_challenger_that_is_no_better_is_rejected_and_the_champion_stays(world):
    world.to_production()
    run = world.ask()
    world.finish(run.key, world.made(better=False))
    world.tick()
    world.tick()

    assert world.store.production(MODEL).number == 1
    assert world.store.version(MODEL, 2).state is VersionState.REJECTED
    assert world.store.gate_verdicts(MODEL)[2].reason == "FAIL_NOT_BETTER"


def test_a_version_whose_gate_rows_are_gone_is_rejected_and_says_so(world):
    run = world.ask()
    made = world.made(champion=False)
    world.blobs.path(made.gate_rows).unlink()
    world.finish(run.key, made)
    world.tick()

    version = world.store.version(MODEL, 1)
    assert version.state is VersionState.REJECTED and "cannot be read" in version.note


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


def test_a_stale_epoch_writes_nothing(world):
    asked = world.ask()
    old = world.store.claim_next_run("a", timedelta(0))
    new = world.store.claim_next_run("b", timedelta(seconds=60))
    assert (old.key, new.key, new.epoch) == (asked.key, asked.key, old.epoch + 1)
    world.finish(asked.key, world.made(champion=False))
    report = world.trainer.report(asked.key)

    for write in (
        lambda: world.store.mark_started(asked.key, old.epoch, START),
        lambda: world.store.record_progress(asked.key, old.epoch, timedelta(seconds=9), _half()),
        lambda: world.store.finish_run(asked.key, old.epoch, report, START),
    ):
        with pytest.raises(StaleEpoch):
            write()
    run = world.store.run(asked.key)
    assert (run.state, run.progress, run.lease_owner) == (RunState.ASKED, None, "b")
    assert world.store.versions(MODEL) == []


def test_a_run_is_left_to_its_holder_until_the_lease_ends(world):
    world.ask()
    assert world.store.claim_next_run("a", timedelta(seconds=60)) is not None
    assert world.store.claim_next_run("b", timedelta(seconds=60)) is None


def test_a_run_that_ended_can_not_be_finished_again(world):
    run = world.ask()
    world.finish(run.key, world.made(champion=False))
    world.tick()
    with pytest.raises(StaleEpoch):
        world.store.finish_run(run.key, 1, world.trainer.report(run.key), START)

    assert len(world.store.versions(MODEL)) == 1


def test_two_tickers_on_one_database_fire_once_for_each_cause(world):
    first = world.to_production()
    for number in range(6):
        world.window(first.number, number, drifted_share=1.0)
        errors = _tick_in_threads(world, 4)
        run = world.store.active_run(MODEL)
        world.finish(run.key, failure=Failure(code="crashed", message="x"))
        errors += _tick_in_threads(world, 4)
        assert errors == []

    causes = [firing.cause for firing in world.store.firings(MODEL) if firing.rule == "drifted"]
    assert len(causes) == len(set(causes)) >= 6
    assert len(world.trainer.started) == 1 + len(causes)


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


def test_what_was_committed_is_told_once_and_in_order(world):
    world.to_production()
    world.tick()
    events = [parse(line) for line in world.lines.lines]

    assert len({event.id for event in events}) == len(events)
    kinds = [event.kind for event in events if event.kind != "decision"]
    assert kinds == ["firing", "run", "run", "gate", "promotion"]
    assert world.store.unpublished() == []


def test_an_event_is_told_again_under_its_id_when_the_process_ends_before_it_is_marked(world, monkeypatch):
    world.ask()
    monkeypatch.setattr(Store, "mark_published", lambda *_: (_ for _ in ()).throw(Crash()))
    with pytest.raises(Crash):
        world.tick()
    monkeypatch.undo()
    world.tick()

    ids = [parse(line).id for line in world.lines.lines]
    assert len(ids) > len(set(ids)) and world.store.unpublished() == []


def test_what_was_told_is_forgotten_after_a_day_and_nothing_else_is(world, monkeypatch):
    def kept() -> set[str]:
        with world.store._reading() as session:
            return set(session.exec(select(OutboxEntry.event_id)))

    wall = FakeClock(datetime.now(UTC))
    monkeypatch.setattr(world.store, "_wall", wall)
    world.to_production()
    old = kept()
    wall.advance(timedelta(hours=23))
    world.ask()
    world.tick()
    young = kept() - old
    assert old < kept()
    wall.advance(timedelta(hours=2))
    world.window(1, 1)
    world.tick()

    assert young < kept() and not old & kept()
    assert {parse(line).id for line in world.lines.lines} >= old | young


def test_applying_a_spec_twice_changes_nothing(world):
    before = world.store.model(MODEL)
    assert world.store.apply_model(world.spec, RECIPE, START + timedelta(days=1)) is False
    assert world.store.model(MODEL) == before
    assert world.store.apply_model(spec([]), RECIPE, START + timedelta(days=1)) is True


def test_a_run_is_asked_what_was_declared_when_its_rule_fired(world):
    run = world.ask()
    world.store.apply_model(spec([]), RECIPE, START)
    world.tick()

    assert world.trainer.started[run.key].spec == world.spec


def test_what_a_run_says_of_its_progress_is_kept(world):
    run = world.ask()
    world.tick()
    world.trainer.proceed(run.key, _half())
    world.tick()

    assert world.store.run(run.key).progress["fraction"] == 0.5


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


@pytest.mark.parametrize("broken", ["controlplane.reconcile.judge", "controlplane.reconcile.Reconciler._roll_out"])
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
    production = Store.production

    def broken(store, model_id):
        if model_id == "default/other":
            raise TypeError("no version is like this")
        return production(store, model_id)

    monkeypatch.setattr(Store, "production", broken)
    world.tick()

    assert world.store.model(MODEL).decided_until == START
    assert world.store.model("default/other").decided_until is None
    assert "no version is like this" in caplog.text


def test_a_trainer_that_cannot_start_a_run_is_tried_again_and_stops_nothing_else(world, caplog):
    class Full(MemoryTrainer):
        def start(self, request) -> None:
            raise OSError(28, "No space left on device")

    run = world.ask()
    world.tick(trainer=Full())
    claimed = world.store.run(run.key)
    world.tick(trainer=Full())
    assert world.store.run(run.key) == claimed, "neither started nor given a longer lease"
    assert claimed.state is RunState.ASKED
    assert world.store.model(MODEL).decided_until == START
    assert "No space left" in caplog.text
    world.tick()
    started = world.store.run(run.key)
    assert (started.state, started.attempts) == (RunState.RUNNING, 1)
    assert run.key in world.trainer.started


def test_a_run_that_its_holder_cannot_start_goes_to_another_when_the_lease_ends(world):
    class Full(MemoryTrainer):
        def start(self, request) -> None:
            raise OSError(28, "No space left on device")

    run = world.ask()
    world.tick(trainer=Full(), lease=timedelta(0))
    world.tick(owner="control-2")

    assert world.store.run(run.key).lease_owner == "control-2"
    assert world.store.run(run.key).state is RunState.RUNNING


def test_a_second_engine_on_the_same_file_finds_what_the_first_wrote(world):
    run = world.ask()
    again = Store(open_engine(f"sqlite:///{world.folder}/control.db"))
    assert again.run(run.key) == world.store.run(run.key)


def _half() -> Progress:
    phase: Phase = "fit"
    return Progress(phase=phase, fraction=0.5, message="fitting", at=START)


def _tick_in_threads(world: World, count: int) -> list[BaseException]:
    errors: list[BaseException] = []

    def tick(number: int) -> None:
        try:
            store = Store(open_engine(f"sqlite:///{world.folder}/control.db"))
            world.tick(store=store, owner=f"ticker-{number}")
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    threads = [Thread(target=tick, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors
