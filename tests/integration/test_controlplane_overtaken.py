"""What a tick decided is not done where a person, the clock or another release was faster."""

from __future__ import annotations

from datetime import timedelta
from threading import Event, Thread

import pytest

from controlplane.access.acts import Act
from controlplane.errors import Conflict
from controlplane.lifecycle import RolloutState, RunState, VersionState
from controlplane.store import Store, open_engine
from controlplane.tables import TrainingRun
from observability.clock import SystemClock
from pipeline.contract.training import Failure, TrainingReport
from tests.controlplane_world import DRIFT, MODEL, RECIPE, START, Crash, FakeClock, World, crash_at, spec

ACT = Act(actor="ann", token_id="t1", via="api", request_id="r1", why="why")
DAY = timedelta(days=1)


@pytest.fixture
def world(tmp_path, database_url):
    return World(tmp_path, database=database_url)


def awaiting(folder, database_url, **plan) -> World:
    world = World(folder, spec(gate={"resamples": 200, "approval": True}, **plan), database_url)
    world.finish(world.ask().key, world.made(champion=False))
    world.tick()
    world.tick()
    assert world.store.version(MODEL, 1).state is VersionState.AWAITING_APPROVAL
    return world


def of_another_release(world: World, key: str) -> None:
    with world.store._writing() as session:
        run = session.get(TrainingRun, key)
        run.request = {**run.request, "a_field_that_comes_later": 1}
        session.add(run)


class Later:
    """The machine's time, some hours on."""

    def __init__(self, world: World, by: timedelta) -> None:
        self.world, self.by = world, by

    def now(self):
        return self.world.store._wall.now() + self.by


def test_an_approval_that_was_answered_holds_though_a_tick_had_seen_its_deadline_pass(tmp_path, database_url):
    world = awaiting(tmp_path, database_url)
    world.clock.advance(timedelta(days=60))
    really = world.store.reject

    def approved_first(*asked, **named):
        Store(open_engine(world.database)).approve(MODEL, 1, "it is good", world.clock.now(), ACT)
        return really(*asked, **named)

    world.store.reject = approved_first
    world.tick()
    version = world.store.version(MODEL, 1)
    assert (version.state, version.approved_by) == (VersionState.STAGING, "ann")


def test_what_waited_frozen_for_its_approval_has_its_whole_time_again(tmp_path, database_url):
    world = awaiting(tmp_path, database_url, rollout={"deadline": "2d"})
    world.store.put_hold(MODEL, "rollout", "holiday", None, world.clock.now(), "ann")
    world.clock.advance(10 * DAY)
    world.store.end_hold(MODEL, "rollout", world.clock.now())
    world.tick()
    assert world.store.version(MODEL, 1).state is VersionState.AWAITING_APPROVAL
    world.clock.advance(2 * DAY)
    world.tick()
    assert world.store.version(MODEL, 1).state is VersionState.REJECTED


@pytest.mark.parametrize("by_itself", [True, False])
def test_a_freeze_does_not_end_the_rollout_that_it_froze(tmp_path, database_url, by_itself):
    world = World(tmp_path, spec(rollout={"deadline": "2d"}), database_url)
    world.to_production()
    world.clock.advance(2 * DAY)
    world.finish(world.ask().key, world.made())
    world.tick()
    world.tick()
    until = world.clock.now() + 10 * DAY if by_itself else None
    world.store.put_hold(MODEL, "rollout", "holiday", until, world.clock.now(), "ann")
    world.clock.advance(10 * DAY)
    if not by_itself:
        world.store.end_hold(MODEL, "rollout", world.clock.now())
    world.tick()
    assert world.store.rollout_of(MODEL).state is RolloutState.LOADING
    world.clock.advance(2 * DAY)
    world.tick()
    assert world.store.version(MODEL, 2).state is VersionState.REJECTED


MONTHLY = {"name": "monthly", "kind": "schedule", "every": "30d"}


def rolled_back_during(folder, database_url, rules, fires) -> tuple[World, TrainingRun]:
    """A world whose second version was rolled back while a run was active that was to replace it."""
    world = World(folder, spec(rules, rollout={"watch": "90d"}), database_url)
    world.to_production()
    world.to_production()
    fires(world)
    world.tick()
    run = world.store.active_run(MODEL)
    assert run.parent == 2
    world.store.roll_back(MODEL, "it is bad", world.clock.now(), bad_one=2)
    return world, run


def month_passes(world: World) -> None:
    world.clock.advance(30 * DAY)


def drifts(world: World) -> None:
    world.window(2, 0, drifted_share=0.9)


def ask_for(request_id: str):
    return lambda world: world.ask(request_id)


@pytest.mark.parametrize(("rules", "fires"), [([MONTHLY], month_passes), ([], ask_for("1" * 36))])
def test_a_run_that_a_rollback_made_useless_is_ended_and_asked_again_for_what_came_back(
    tmp_path, database_url, rules, fires
):
    world, run = rolled_back_during(tmp_path, database_url, rules, fires)
    world.tick()
    world.tick()

    ended, again = world.store.run(run.key), world.store.active_run(MODEL)
    assert (ended.state, ended.failure_code) == (RunState.CANCELLED, "overtaken")
    assert (again.parent, again.request["champion"]) == (1, world.store.production(MODEL).manifest)
    assert "asked again, because its run was made to replace version 2" in again.request["why"]
    assert "RetrainingFailed" not in {alert.name for alert in world.store.open_alerts(MODEL)}
    if not rules:
        assert world.ask("1" * 36).key == again.key, "whoever asks the same again is told of the one in its place"

    world.finish(again.key, world.made())
    for _ in range(3):
        world.tick()
        world.load_staged()
    assert world.store.production(MODEL).number == 3 and world.store.active_run(MODEL) is None


@pytest.mark.parametrize(("rules", "fires"), [([MONTHLY], month_passes), ([DRIFT], drifts)])
def test_a_useless_run_whose_rule_is_paused_or_judges_by_itself_has_failed_and_people_are_told(
    tmp_path, database_url, rules, fires
):
    world, run = rolled_back_during(tmp_path, database_url, rules, fires)
    if rules == [MONTHLY]:
        world.store.put_hold(MODEL, "rule:monthly", "not now", None, world.clock.now(), "ann")
    world.tick()
    world.tick()

    assert (world.store.run(run.key).state, world.store.active_run(MODEL)) == (RunState.FAILED, None)
    assert "RetrainingFailed" in {alert.name for alert in world.store.open_alerts(MODEL)}


def test_a_run_that_is_asked_for_during_a_rollback_is_to_replace_the_version_that_came_back(tmp_path, database_url):
    world = World(tmp_path, spec([], rollout={"watch": "1d"}), database_url)
    world.to_production()
    world.to_production()
    seen = world.store.production

    def rolled_back_meanwhile(model: str):
        world.store.production = seen
        version = seen(model)
        world.store.roll_back(MODEL, "it is bad", world.clock.now(), bad_one=2)
        return version

    world.store.production = rolled_back_meanwhile
    run = world.ask()

    assert (run.parent, run.request["champion"]) == (1, world.store.production(MODEL).manifest)


@pytest.mark.parametrize("plan", [{"cron": "30 2 1 * *"}, {"every": "4w"}])
def test_a_schedule_that_was_a_dry_run_does_not_make_up_for_what_was_due_then(tmp_path, database_url, plan):
    rule = {"name": "monthly", "kind": "schedule", **plan}
    world = World(tmp_path, spec([rule | {"dry_run": True}]), database_url)
    world.to_production()
    world.clock.advance(32 * DAY)
    world.tick()
    assert world.reasons("monthly")[-1] == "WAIT_DRY_RUN"
    world.clock.advance(10 * DAY)
    world.store.apply_model(spec([rule]), RECIPE, world.clock.now())
    world.tick()
    assert world.reasons("monthly")[-1] == "WAIT_NOT_DUE" and world.store.active_run(MODEL) is None

    world.clock.advance(32 * DAY)
    world.tick()
    assert world.reasons("monthly")[-1] == "RETRAIN_DUE"


def test_a_promotion_of_a_clock_that_was_ahead_blinds_no_rule(world):
    world.clock.advance(30 * DAY)
    version = world.to_production()
    world.clock.advance(-30 * DAY)
    world.tick()
    world.clock.advance(DAY)
    world.window(version.number, 1, drifted_share=1.0)
    world.tick()
    assert world.store.firings(MODEL)[0].rule == "drifted"


def test_a_schedule_goes_on_after_a_promotion_of_a_clock_that_was_ahead(tmp_path, database_url):
    hourly = {"name": "hourly", "kind": "schedule", "every": "1h", "cooldown": "0s"}
    world = World(tmp_path, spec(rules=[hourly]), database_url)
    world.clock.advance(DAY)
    world.to_production()
    world.clock.advance(-DAY)
    for _ in range(3):
        world.tick()
        world.clock.advance(timedelta(hours=1))
    assert world.store.firings(MODEL)[0].rule == "hourly"


def test_a_rollout_that_began_while_the_clock_was_ahead_has_its_deadline(tmp_path, database_url):
    world = World(tmp_path, spec(rollout={"deadline": "2d"}), database_url)
    world.clock.advance(30 * DAY)
    world.finish(world.ask().key, world.made(champion=False))
    world.tick()
    world.clock.advance(-30 * DAY)
    world.tick()
    world.clock.advance(2 * DAY)
    world.tick()
    assert world.store.version(MODEL, 1).state is VersionState.REJECTED


@pytest.mark.parametrize("asked_ahead", [True, False])
def test_what_a_run_cost_while_the_clock_was_ahead_is_spent_for_a_month_and_not_until_then(
    tmp_path, database_url, asked_ahead
):
    often = {"name": "often", "kind": "schedule", "every": "1d"}
    world = World(tmp_path, spec([often], budget={"cpu_hours_per_month": 1}), database_url)
    world.to_production()
    if asked_ahead:
        world.clock.advance(300 * DAY)
    run = world.ask()
    if not asked_ahead:
        world.clock.advance(300 * DAY)
    failure = Failure(code="too_few_rows", message="x")
    report = TrainingReport(key=run.key, failure=failure, finished_at=START, seconds=1.0, cpu_seconds=7200.0)
    world.trainer.finish(report)
    world.reconciler().look_after_runs()
    world.clock.advance(-300 * DAY)
    world.tick()
    world.clock.advance(2 * DAY)
    world.tick()
    assert world.reasons("often")[-1] == "WAIT_BUDGET"

    world.clock.advance(29 * DAY)
    world.tick()
    assert world.reasons("often")[-1] == "RETRAIN_DUE"


def test_a_step_that_was_taken_while_the_clock_was_ahead_looks_for_evidence_from_now_on(tmp_path, database_url):
    wall = FakeClock(SystemClock().now())
    world = World(tmp_path, spec(rollout={"canary": [{"share": 0.5, "rows": 10}]}), database_url)
    world.to_production()
    world.store = Store(open_engine(database_url), wall)
    world.finish(world.ask().key, world.made())
    world.tick()
    wall.advance(3 * DAY)
    world.load_staged()
    world.tick()
    assert world.store.rollout_of(MODEL).state is RolloutState.CANARY

    wall.advance(-3 * DAY)
    world.tick()
    rollout = world.store.rollout_of(MODEL)
    assert (rollout.state, rollout.recorded_at) == (RolloutState.CANARY, wall.now())
    before = rollout.recorded_at
    wall.advance(timedelta(minutes=1))
    world.tick()
    assert world.store.rollout_of(MODEL).recorded_at == before


def test_a_run_that_another_release_asked_for_ends_as_it_ends(world):
    run = world.ask()
    with pytest.raises(Crash):
        world.tick(at=crash_at("started"))
    of_another_release(world, run.key)
    world.finish(run.key, world.made(champion=False))
    world.tick()
    assert world.store.run(run.key).state is RunState.SUCCEEDED


def test_a_candidate_that_no_release_here_can_read_is_rejected_when_there_was_time_for_another(world):
    run = world.ask()
    world.finish(run.key, world.made(champion=False))
    with pytest.raises(Crash):
        world.tick(at=crash_at("finished"))
    of_another_release(world, run.key)
    world.tick()
    assert world.store.version(MODEL, 1).state is VersionState.CANDIDATE
    world.tick(wall=Later(world, timedelta(hours=1)))
    version = world.store.version(MODEL, 1)
    assert version.state is VersionState.REJECTED and "cannot be read by this release" in version.note


@pytest.mark.parametrize(("watched", "ends"), [(False, RolloutState.ABORTED), (True, RolloutState.DONE)])
def test_a_rollout_that_no_release_here_can_read_ends_and_production_stays(tmp_path, database_url, watched, ends):
    world = World(tmp_path, spec(rollout={"watch": "30d"}), database_url)
    world.to_production()
    world.clock.advance(2 * DAY)
    if watched:
        world.to_production()
    else:
        world.finish(world.ask().key, world.made())
        world.tick()
        world.tick()
    before = world.store.production(MODEL).number
    of_another_release(world, world.store.version(MODEL, 2).run_key)
    if not watched:
        world.load_staged()
        with pytest.raises(Conflict):
            world.store.promote(MODEL, 2, "I say so", world.clock.now(), ACT)
    world.tick(wall=Later(world, timedelta(hours=1)))
    assert world.store.rollouts(MODEL)[0].state is ends
    assert world.store.production(MODEL).number == before


def test_what_a_release_changed_that_counts_no_changes_is_seen_within_the_hour(world, monkeypatch):
    version = world.to_production()
    world.clock.advance(2 * DAY)
    world.window(version.number, 1, drifted_share=0.0)
    world.tick()
    world.tick()
    with monkeypatch.context() as older:
        older.setattr(Store, "_touch", lambda *_: None)
        world.window(version.number, 2, drifted_share=1.0)
    world.tick()
    assert world.store.active_run(MODEL) is None, "nothing said that it changed"
    world.clock.advance(timedelta(hours=1))
    world.tick()
    assert world.store.firings(MODEL)[0].rule == "drifted"


def test_runs_are_looked_after_however_long_deciding_takes(world):
    run, deciding, on = world.ask(), Event(), Event()

    class Slow:
        def put(self, lines):
            deciding.set()
            assert on.wait(30)

    work = world.reconciler(lines=Slow())
    thread = Thread(target=work.decide)
    thread.start()
    assert deciding.wait(30)
    work.look_after_runs()
    before = world.store.run(run.key)
    work.look_after_runs()
    after = world.store.run(run.key)
    on.set()
    thread.join()
    assert before.state is RunState.RUNNING and before.lease_until < after.lease_until
