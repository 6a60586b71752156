"""Which windows, counts and due times the rules judge when, and what fires."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import event, update

from controlplane.loop.deciding import reconcile_rules
from controlplane.loop.triggers import apply_rules
from controlplane.store.levels import CHANGED_AT_MOST, Asleep, question_of
from controlplane.store.models import _due
from controlplane.store.questions import changed
from controlplane.tables import Model, ScoredWindow
from pipeline.contract.training import Failure
from tests.controlplane_world import DRIFT, MODEL, RECIPE, START, WEEKLY, World, spec

WORSE = {"name": "worse", "kind": "metric", "monitor": "weekly", "metric": "roc_auc", "below": 0.7}


@pytest.fixture
def world(tmp_path, database_url):
    return World(tmp_path, database=database_url)


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


def read(world) -> list[str]:
    """The windows whose verdicts a tick would read now."""
    spec, now = world.spec, world.clock.now()
    with world.store.looking(MODEL, now) as look:
        standing = look.standing(scheduled=False)
        judged = standing.judged_by == question_of(standing.number, standing.promoted_at, spec.rules)
        return [row.id for row in look.windows(standing, standing.promoted_at, spec.rules, judged)]


def test_what_a_tick_reads_for_a_rule_does_not_grow_with_the_windows_that_were_judged(world):
    first = world.to_production()
    windows = [world.window(first.number, number).id for number in range(60)]
    for _ in range(2):
        world.tick()

    assert read(world) == windows[-1:]
    windows.append(world.window(first.number, 60).id)
    world.store.rescore_window(windows[7], 80, {"drifted_share": 0.0}, True, world.clock.now())
    assert read(world) == [windows[7], windows[60]]


def test_a_window_is_judged_that_changed_while_a_tick_was_deciding_on_the_ones_before_it(world):
    first = world.to_production()
    world.window(first.number, 0)
    (model,) = world.store.due_models(START)
    applied = apply_rules(world.store, model, START)
    meanwhile = world.window(first.number, 1)
    world.window(first.number, 2)
    world.store.fall_asleep([Asleep(MODEL, model.changes, applied.wakes_at, applied.question)], START)
    world.tick()

    assert meanwhile.id in {each.cause for each in world.store.decisions(MODEL)}


def test_windows_that_another_release_cut_without_saying_when_are_judged_too(world):
    first = world.to_production()
    windows = [world.window(first.number, number) for number in range(3)]
    with world.store._writing() as session:
        session.exec(update(ScoredWindow).values(change=None))
    world.tick()
    assert {window.id for window in windows} <= {each.cause for each in world.store.decisions(MODEL)}


def test_more_windows_than_are_compared_one_by_one_are_judged_all_the_same(world):
    first = world.to_production()
    world.tick()
    for number in range(CHANGED_AT_MOST + 10):
        world.window(first.number, number)
    for _ in range(6):
        world.tick()

    assert world.reasons("drifted").count("WAIT_STABLE") == CHANGED_AT_MOST + 10


def test_a_rule_that_is_added_judges_the_windows_that_the_others_have_judged(world):
    first = world.to_production()
    for number in range(3):
        world.window(first.number, number)
    world.tick()
    world.store.apply_model(spec([DRIFT, DRIFT | {"name": "new", "cooldown": "1d"}]), RECIPE, world.clock.now())
    world.tick()

    assert world.reasons("new").count("WAIT_STABLE") == 3


def test_the_windows_to_judge_are_found_by_an_index_alone(tmp_path):
    with World(tmp_path).store._reading() as session:
        plan = session.connection().exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT id FROM windows WHERE model = 'm' AND version = 1 AND monitor = 'w' AND "
            "segment = '' AND cut_at >= 0 AND NOT EXISTS (SELECT 1 FROM decisions WHERE decisions.model = 'm' "
            "AND rule = 'r' AND cause = windows.id) ORDER BY until_time, until_id LIMIT 50"
        )
        told = " ".join(row[3] for row in plan)
    assert "COVERING INDEX windows_to_judge" in told and "SCAN" not in told and "TEMP B-TREE" not in told


def test_what_has_changed_is_found_without_passing_what_has_not(tmp_path):
    query = changed((False, True))
    with World(tmp_path).store._reading() as session:
        compiled = query.compile(session.get_bind())
        plan = session.connection().exec_driver_sql(
            f"EXPLAIN QUERY PLAN {compiled}", tuple(0 for _ in compiled.positiontup)
        )
        told = [row[3] for row in plan]
    by_change = [each for each in told if "INDEX windows_by_change (model=? AND version=? AND change" in each]
    assert len(by_change) == 2 and not [each for each in told if "SCAN windows" in each], told


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


def test_hysteresis_looks_at_the_windows_before_the_judged_one_also_when_it_is_judged_late(tmp_path):
    worse = WORSE | {"hold": {"windows": 2, "of": 2}}
    world = World(tmp_path, spec([worse]))
    first = world.to_production()
    windows = [world.window(first.number, number) for number in range(6)]

    def settle(number: int, roc_auc: float) -> list[str]:
        told = {"error": {"roc_auc": roc_auc}}
        world.store.rescore_window(windows[number].id, 80, told, True, world.clock.now())
        world.tick()
        return [firing.cause for firing in world.store.firings(MODEL) if firing.rule == "worse"]

    assert settle(0, 0.6) == [] and world.reasons("worse")[-1] == "WAIT_HYSTERESIS"
    assert settle(4, 0.9) == []
    assert settle(3, 0.6) == [windows[3].id], "its predecessor among the settled ones is the first"


def test_a_pause_keeps_a_rule_from_firing_until_it_ends_by_itself(world):
    first = world.to_production()
    world.store.put_hold(MODEL, "rule:drifted", "the feed is broken", START + timedelta(hours=5), START, "ann")
    world.window(first.number, 1, drifted_share=1.0)
    world.tick()
    assert world.reasons("drifted")[-1] == "WAIT_PAUSED"
    assert "ann" in world.store.decisions(MODEL, 1)[0].detail
    world.clock.advance(timedelta(hours=5) - timedelta(seconds=1))
    world.tick()
    assert world.store.active_run(MODEL) is None
    world.clock.advance(timedelta(seconds=1))
    world.tick()
    assert world.reasons("drifted")[-1] == "RETRAIN_DRIFT"


def test_a_dry_run_says_once_for_each_cause_what_it_would_have_done_and_starts_nothing(tmp_path):
    world = World(tmp_path, spec([DRIFT | {"dry_run": True}]))
    first = world.to_production()
    world.window(first.number, 1, drifted_share=1.0)
    world.tick()
    run = world.ask()
    world.tick()
    world.finish(run.key, failure=Failure(code="crashed", message="x"))
    for _ in range(3):
        world.tick()
    assert world.reasons("drifted").count("WAIT_DRY_RUN") == 1
    assert world.reasons("drifted")[-1] == "WAIT_DRY_RUN"
    assert world.store.counts(MODEL).firings["data"] == 0

    world.store.apply_model(spec([DRIFT]), RECIPE, world.clock.now())
    world.tick()
    assert world.reasons("drifted")[-1] == "RETRAIN_DRIFT", "no dry run any more"


def test_the_budget_counts_what_people_asked_for_and_refuses_only_rules(tmp_path):
    world = World(tmp_path, spec([DRIFT], budget={"runs_per_day": 2}))
    first = world.to_production()
    world.clock.advance(timedelta(hours=1))
    for _ in range(3):
        run = world.ask()
        world.tick()
        world.finish(run.key, failure=Failure(code="crashed", message="x"))
        world.tick()
    world.window(first.number, 1, drifted_share=1.0)
    world.tick()
    assert world.reasons("drifted")[-1] == "WAIT_BUDGET"
    world.clock.advance(timedelta(hours=24))
    world.tick()
    assert world.reasons("drifted")[-1] == "RETRAIN_DRIFT"


def statements(world, act) -> int:
    count = 0

    def seen(*_: object) -> None:
        nonlocal count
        count += 1

    event.listen(world.store._engine, "before_cursor_execute", seen)
    act()
    event.remove(world.store._engine, "before_cursor_execute", seen)
    return count


SETTLED = {"drifted_share": 0.0, "features": {"place": {"unseen_share": 0.0}}, "error": {"roc_auc": 0.9}}
PATIENT = {"hold": {"windows": 2, "of": 3}}
OF_ALL_KINDS = (
    DRIFT, DRIFT | PATIENT | {"name": "drifts"}, DRIFT | {"name": "dry", "dry_run": True}, WORSE,
    WORSE | PATIENT | {"name": "worsens"}, WORSE | {"name": "far-worse", "below": 0.5, "monitor": "hourly"},
    {"name": "new-places", "kind": "novelty", "monitor": "hourly", "features": ["place"], "unseen_share": 0.3},
    {"name": "volume", "kind": "volume", "new_labelled_rows": 1_000},
    {"name": "monthly", "kind": "schedule", "every": "30d"},
    {"name": "yearly", "kind": "schedule", "every": "365d"},
)  # fmt: skip


def judged_past(folder, database: str, rules: int, windows: int) -> World:
    """A model with so many rules, and so many windows that all of them have judged."""
    hourly = WEEKLY | {"name": "hourly"}
    declared = spec(OF_ALL_KINDS[-rules:], monitors=[WEEKLY, hourly], budget={"runs_per_day": 5})
    world = World(folder, declared, database=database)
    first = world.to_production()
    for number in range(windows):
        window = world.window(first.number, number, monitor=("weekly", "hourly")[number % 2])
        world.store.rescore_window(window.id, 80, SETTLED, True, world.clock.now())
    while world.store.due_models(world.clock.now()):
        world.tick()
    return world


@pytest.mark.parametrize("rules", [1, 10])
@pytest.mark.parametrize("windows", [10, 300])
def test_asking_a_due_model_takes_as_few_statements_for_ten_rules_and_any_past_as_for_one(
    tmp_path, database_url, rules, windows
):
    world = judged_past(tmp_path, database_url, rules, windows)
    model = world.store.model(MODEL)
    nothing_new = statements(world, lambda: apply_rules(world.store, model, START))
    newest = world.window(1, windows, monitor="hourly")
    world.store.rescore_window(newest.id, 80, SETTLED, True, START)
    one_new = statements(world, lambda: apply_rules(world.store, model, START))

    assert nothing_new <= 7 and one_new <= 13, (nothing_new, one_new)


def test_a_model_asleep_costs_nothing_of_its_own(world):
    world.window(world.to_production().number, 1)
    assert statements(world, lambda: reconcile_rules(world.reconciler(), world.clock.now())) > 5
    asleep = statements(world, lambda: reconcile_rules(world.reconciler(), world.clock.now()))
    assert asleep <= 4


def written(world) -> str | int:
    """Another answer whenever the time of the last tick is written, be it the same time."""
    if "sqlite" in world.database:
        return (world.folder / "control.db-wal").stat().st_size
    with world.store._reading() as session:
        return session.connection().exec_driver_sql("SELECT xmin::text FROM ticked").scalar()


def test_a_tick_that_moved_no_clock_writes_nothing(world):
    world.store.mark_ticked(START)
    before = written(world)
    world.store.mark_ticked(START)
    assert written(world) == before
    world.store.mark_ticked(START + timedelta(seconds=1))
    assert written(world) != before and world.store.ticked_until() == START + timedelta(seconds=1)


def test_models_asleep_are_not_read_to_find_those_that_are_due(tmp_path):
    world = World(tmp_path)
    query = _due(START).where(Model.id > "").order_by(Model.id).limit(500)
    with world.store._reading() as session:
        compiled = query.compile(session.get_bind(), compile_kwargs={"literal_binds": True})
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")
        told = " ".join(row[3] for row in plan)
    assert "ix_models_due_at" in told and "ix_models_decided_until" in told and "SCAN" not in told, told
