"""Alerts: once for what holds, told once for each change, and never twice by two replicas."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from controlplane.access.acts import Act
from controlplane.alertfacts import Patience
from controlplane.errors import Conflict, Refused
from controlplane.lifecycle import AlertState, VersionState
from controlplane.loop.alerting import reconcile_alerts
from controlplane.loop.triggers import apply_rules
from controlplane.rules.facts import Decision, Reason
from controlplane.store import Store, open_engine
from controlplane.tables import Version
from observability.clock import SystemClock
from pipeline.contract.training import Failure
from tests.controlplane_world import DRIFT, MODEL, RECIPE, FakeClock, World, spec

CHANNELS = ("alertmanager", "webhook:ops")
COOL = DRIFT | {"cooldown": "1d"}


@pytest.fixture
def world(tmp_path, database_url) -> World:
    made = World(tmp_path, spec([COOL], alert_labels={"tier": "gold", "model": "not ours"}), database_url)
    made.wall = FakeClock(SystemClock().now())
    made.store = Store(open_engine(database_url), made.wall)
    made.store.channels = CHANNELS
    return made


def in_service(world: World) -> None:
    world.to_production()
    world.store.report_instance("serving-1", [loaded(world)], [])


def loaded(world: World) -> dict:
    version = world.store.production(MODEL)
    return {"model": MODEL, "version": version.number, "manifest": version.manifest}


def states(world: World) -> dict[str, str]:
    return {alert.name: alert.state.value for alert in world.store.open_alerts(MODEL)}


def waiting(world: World, channel: str = CHANNELS[0]) -> list[tuple[str, str, int]]:
    """What the channel would take now; it takes it."""
    claimed = world.store.claim_notifications(channel, "d", timedelta(seconds=30), 100)
    world.store.mark_delivered(claimed, "d")
    return [(row.body["name"], row.body["state"], row.revision) for row in claimed]


def drift(world: World, share: float = 0.9, number: int = 0) -> None:
    world.window(world.store.production(MODEL).number, number, drifted_share=share)
    world.tick()


def test_drift_that_cannot_be_answered_yet_is_told_once_to_each_channel_until_it_is_gone(world):
    in_service(world)

    drift(world)
    world.tick()

    assert states(world) == {"DriftDetected": "firing"}
    assert waiting(world) == [("DriftDetected", "firing", 1)]
    assert waiting(world, CHANNELS[1]) == [("DriftDetected", "firing", 1)]
    (alert,) = world.store.open_alerts(MODEL)
    assert alert.labels | {"fingerprint": ""} == {
        "alertname": "DriftDetected", "severity": "warning", "model": MODEL, "team": "t", "data_owner": "o",
        "rule": "drifted", "tier": "gold", "fingerprint": "",
    }  # fmt: skip

    drift(world, 0.0, number=2)

    assert states(world) == {}
    assert waiting(world) == [("DriftDetected", "resolved", 2)]


def test_a_retraining_that_answers_drift_keeps_it_quiet_and_ends_it_in_silence(world):
    in_service(world)
    world.clock.advance(timedelta(days=2))

    drift(world)

    (alert,) = world.store.open_alerts(MODEL)
    assert alert.inhibited_by is not None and waiting(world) == []

    world.finish(world.store.active_run(MODEL).key, world.made())
    for _ in range(4):
        world.tick()
        world.load_staged()

    assert world.store.production(MODEL).number == 2
    assert states(world) == {} and waiting(world) == []


def test_drift_is_told_where_the_retraining_that_answered_it_failed(world):
    in_service(world)
    world.clock.advance(timedelta(days=2))
    drift(world)

    world.finish(world.store.active_run(MODEL).key, failure=Failure(code="too_few_rows", message="none"))
    world.tick()
    world.tick()

    assert sorted(waiting(world)) == [("DriftDetected", "firing", 1), ("RetrainingFailed", "firing", 1)]


def test_drift_is_told_while_the_version_that_could_answer_it_is_frozen(world):
    world.store.apply_model(spec([COOL], rollout={"canary": [{"share": 0.1, "rows": 10}]}), RECIPE, world.clock.now())
    in_service(world)
    world.finish(world.ask().key, world.made())
    world.tick()
    world.load_staged()
    drift(world)
    assert waiting(world) == [], "a version that may answer it is on its way"

    world.store.put_hold(MODEL, "rollout", "the fair", None, world.clock.now(), "ann")
    world.tick()

    assert waiting(world) == [("DriftDetected", "firing", 1)]
    (alert,) = world.store.open_alerts(MODEL)
    assert "version 2 is canary, frozen by ann: the fair" in alert.description


def test_a_failed_retraining_is_over_with_the_next_that_succeeds_even_if_the_gate_turns_its_version_down(world):
    in_service(world)
    world.finish(world.ask().key, failure=Failure(code="parity", message="none"))
    world.tick()
    assert states(world) == {"RetrainingFailed": "firing"}

    world.finish(world.ask().key, world.made(better=False))
    for _ in range(3):
        world.tick()

    assert states(world) == {"RetrainingRejected": "firing"}
    assert sorted(waiting(world)) == [("RetrainingFailed", "resolved", 2), ("RetrainingRejected", "firing", 1)]


def test_people_acknowledge_and_silence_and_a_silence_ends_by_itself(world):
    in_service(world)
    drift(world)
    (alert,) = world.store.open_alerts(MODEL)
    act = Act("ann", "t1", "api", "r1", "looking")
    now = world.clock.now()

    world.store.acknowledge(alert.id, "looking", now, "ann", act)
    world.store.acknowledge(alert.id, "looking", now, "ann", act)
    assert waiting(world) == [("DriftDetected", "acknowledged", 2)]
    until = world.wall.now() + timedelta(hours=1)
    world.store.silence(alert.id, until, "tonight", now, "ann", act)
    assert waiting(world) == [("DriftDetected", "silenced", 3)]
    world.tick()
    assert waiting(world) == []

    world.wall.advance(timedelta(hours=1))
    world.store.report_instance("serving-1", [loaded(world)], [])
    world.tick()

    assert waiting(world) == [("DriftDetected", "firing", 4)]
    world.store.silence(alert.id, world.wall.now() + timedelta(hours=1), "again", now, "ann", act)
    world.store.unsilence(alert.id, "no", now, "ann", act)
    assert waiting(world) == [("DriftDetected", "firing", 6)]
    drift(world, 0.0, number=2)
    with pytest.raises(Conflict):
        world.store.acknowledge(alert.id, "late", now, "ann", act)


def test_a_silence_holds_until_its_end_though_the_alert_was_gone_for_a_while(world):
    in_service(world)
    drift(world)
    (alert,) = world.store.open_alerts(MODEL)
    world.store.silence(alert.id, world.wall.now() + timedelta(days=7), "known", world.clock.now(), "ann")
    drift(world, 0.0, number=2)
    waiting(world)

    drift(world, 0.9, number=4)
    (back,) = world.store.open_alerts(MODEL)
    assert back.id != alert.id and (back.state, back.by, back.why) == ("silenced", "ann", "known")
    assert waiting(world) == []

    world.wall.advance(timedelta(days=7))
    world.store.report_instance("serving-1", [loaded(world)], [])
    world.tick()
    assert waiting(world) == [("DriftDetected", "firing", 1)]
    world.store.silence(back.id, world.wall.now() + timedelta(days=7), "known", world.clock.now(), "ann")
    world.store.unsilence(back.id, "not any more", world.clock.now(), "ann")
    drift(world, 0.0, number=6)
    drift(world, 0.9, number=8)
    assert states(world) == {"DriftDetected": "firing"}


def test_a_silence_that_ends_during_a_retraining_pages_when_that_has_mended_nothing(world):
    in_service(world)
    drift(world)
    (alert,) = world.store.open_alerts(MODEL)
    world.store.silence(alert.id, world.wall.now() + timedelta(minutes=5), "looking", world.clock.now(), "ann")
    run = world.ask()
    world.tick()
    waiting(world)
    world.wall.advance(timedelta(minutes=6))
    for _ in range(2):
        world.store.report_instance("serving-1", [loaded(world)], [])
        world.tick()
    assert waiting(world) == []

    world.finish(run.key, failure=Failure(code="too_few_rows", message="none"))
    world.tick()
    assert ("DriftDetected", "firing", 3) in waiting(world)


def test_a_silence_that_has_ended_before_it_begins_is_refused(world):
    in_service(world)
    drift(world)
    (alert,) = world.store.open_alerts(MODEL)

    with pytest.raises(Refused):
        world.store.silence(alert.id, world.wall.now(), "why", world.clock.now(), "ann")


def test_a_model_that_nobody_serves_is_told_after_a_while_and_over_when_an_instance_has_it(world):
    in_service(world)
    work = world.reconciler(wall=world.wall)
    work.tick()
    for seconds in (30, 1, 30, 30):
        assert states(world) == {}
        world.wall.advance(timedelta(seconds=seconds))
        work.tick()
    assert states(world) == {"NoServingInstance": "firing"}

    world.reconciler(wall=world.wall).tick()
    assert states(world) == {"NoServingInstance": "firing"}, "a replica that has just started takes nothing back"

    world.store.report_instance("serving-2", [loaded(world)], [])
    work.tick()
    assert states(world) == {}


def test_a_monitor_that_stands_still_is_told_and_over_when_it_looks_again(world):
    in_service(world)
    work, patience = world.reconciler(wall=world.wall), Patience()
    world.store.observe(MODEL, 1, world.clock.now(), 0, world.clock.now())
    work.tick()

    world.clock.advance(patience.monitor + timedelta(seconds=1))
    reconcile_alerts(work, world.clock.now())
    assert states(world) == {"MonitorBehind": "firing"}

    world.store.observe(MODEL, 1, world.clock.now(), 0, world.clock.now())
    reconcile_alerts(work, world.clock.now())
    assert states(world) == {}


def test_a_version_that_came_back_gives_the_monitor_its_time(world):
    in_service(world)
    patience, now = Patience(), world.clock.now
    world.store.observe(MODEL, 1, now(), 0, now())
    world.to_production()
    for _ in range(2):
        world.clock.advance(patience.monitor)
        world.store.observe(MODEL, 2, now(), 0, now())
    work = world.reconciler(wall=world.wall)
    work.tick()
    world.clock.advance(timedelta(minutes=1))
    world.store.roll_back(MODEL, "it is bad", now())
    work.tick()
    reconcile_alerts(work, now())
    assert "MonitorBehind" not in states(world)

    world.clock.advance(patience.monitor + timedelta(seconds=1))
    reconcile_alerts(work, now())
    assert "MonitorBehind" in states(world)


def test_a_spent_budget_is_told_however_much_else_is_decided(world):
    often = {"name": "often", "kind": "schedule", "every": "1h"}
    world.store.apply_model(spec([COOL, often], budget={"runs_per_day": 1}), RECIPE, world.clock.now())
    in_service(world)
    world.clock.advance(timedelta(hours=1))
    world.tick()
    assert states(world) == {"BudgetExhausted": "firing"}

    quiet = [Decision("drifted", "drift", f"w-{n}", "wait", Reason.WAIT_STABLE, "0% drifted") for n in range(250)]
    world.store.record_waits(MODEL, quiet, 1, world.clock.now())
    world.store.put_hold(MODEL, "rule:drifted", "why", None, world.clock.now(), "ann")
    world.tick()
    assert states(world) == {"BudgetExhausted": "firing"}

    world.clock.advance(timedelta(days=1))
    world.tick()
    assert states(world) == {}


def test_a_frozen_rollout_is_not_said_to_wait_for_an_instance(world):
    in_service(world)
    work = world.reconciler(wall=world.wall)
    world.store.put_hold(MODEL, "rollout", "the fair", None, world.clock.now(), "ann")
    world.finish(world.ask().key, world.made())
    for _ in range(2 * 12):
        world.wall.advance(timedelta(seconds=30))
        world.load_staged()
        work.tick()
    assert world.store.rollout_of(MODEL).reason == "STAY_FROZEN" and states(world) == {}


def test_a_version_that_its_gate_cannot_judge_is_told_and_keeps_no_alert_quiet(world, monkeypatch):
    in_service(world)
    world.clock.advance(timedelta(days=2))
    world.finish(world.ask().key, world.made())
    world.window(1, 0, drifted_share=0.9)
    work = world.reconciler(wall=world.wall)
    with monkeypatch.context() as patched:
        patched.setattr(world.blobs, "get", full)
        for _ in range(2 * 11):
            assert waiting(world) == []
            work.tick()
            world.wall.advance(timedelta(seconds=30))
            world.store.report_instance("serving-1", [loaded(world)], [])
        work.tick()
        assert sorted(waiting(world)) == [("DriftDetected", "firing", 1), ("GateStuck", "firing", 1)]

    work.tick()
    work.tick()
    assert world.store.version(MODEL, 2).state is VersionState.STAGING and "GateStuck" not in states(world)


def test_events_that_do_not_reach_the_spool_are_told_for_the_installation(world):
    in_service(world)
    world.ask()
    world.wall.advance(timedelta(minutes=6))

    for _ in range(2):
        world.store.settle_installation(world.clock.now(), Patience())

    assert [alert.name for alert in world.store.open_alerts(None)] == ["OutboxStuck"]
    world.tick()
    world.tick()
    assert world.store.open_alerts(None) == []


def test_replicas_that_look_at_once_open_one_alert_and_tell_it_once(world):
    in_service(world)
    world.window(1, 0, drifted_share=0.9)
    stores = [Store(open_engine(world.database), world.wall) for _ in range(6)]
    for store in stores:
        store.channels = CHANNELS
    apply_rules(world.store, world.store.model(MODEL), world.clock.now())

    with ThreadPoolExecutor(6) as pool:
        changes = list(pool.map(lambda store: store.settle_alerts(MODEL, world.clock.now(), Patience()), stores))

    assert sum(changes) == 1 and len(world.store.open_alerts(MODEL)) == 1
    assert waiting(world) == [("DriftDetected", "firing", 1)]


def test_deliverers_that_claim_at_once_share_the_work_and_never_hold_the_same_alert(world):
    in_service(world)
    drift(world)
    (alert,) = world.store.open_alerts(MODEL)
    stores = [Store(open_engine(world.database), world.wall) for _ in range(6)]

    with ThreadPoolExecutor(6) as pool:
        lease = timedelta(seconds=30)
        claims = list(pool.map(lambda store: store.claim_notifications(CHANNELS[0], str(id(store)), lease), stores))
    assert sorted(len(each) for each in claims) == [0, 0, 0, 0, 0, 1]

    world.store.acknowledge(alert.id, "seen", world.clock.now(), "ann")
    assert world.store.claim_notifications(CHANNELS[0], "other", lease) == [], "the first is still on its way"


def test_a_later_change_takes_the_place_of_one_that_was_not_taken_and_hopeless_ones_are_given_up(world):
    in_service(world)
    drift(world)
    (alert,) = world.store.open_alerts(MODEL)
    world.store.acknowledge(alert.id, "seen", world.clock.now(), "ann")

    assert waiting(world) == [("DriftDetected", "acknowledged", 2)]
    assert waiting(world) == []

    world.wall.advance(timedelta(days=3, seconds=1))
    assert world.store.tidy_notifications() == 2, "the other channel took nothing"
    assert waiting(world, CHANNELS[1]) == []


def test_what_was_not_taken_waits_and_is_then_tried_again(world):
    in_service(world)
    drift(world)
    (row,) = world.store.claim_notifications(CHANNELS[0], "d", timedelta(seconds=30))
    world.store.mark_failed({row.id: timedelta(minutes=1)}, "d", "it is down")

    assert waiting(world) == []
    world.wall.advance(timedelta(minutes=1))
    assert waiting(world) == [("DriftDetected", "firing", 1)]


def test_every_change_is_in_the_outbox_too(world):
    in_service(world)
    drift(world)

    world.tick()

    assert any(b'"kind":"alert"' in line and b"DriftDetected" in line for line in world.lines.lines)
    assert world.store.open_alerts(MODEL)[0].state is AlertState.FIRING


def test_a_rollout_that_the_system_stopped_is_told_with_its_reason_and_one_that_a_person_stopped_is_not(world):
    in_service(world)
    for stops in (lambda: world.store.reject(MODEL, 2, "I know why", world.clock.now()), lambda: fail_to_load(world)):
        run = world.ask()
        world.finish(run.key, world.made())
        world.tick()
        assert "RolloutAborted" not in states(world)
        stops()
        world.tick()
    (alert,) = [each for each in world.store.open_alerts(MODEL) if each.name == "RolloutAborted"]
    assert alert.summary == f"{MODEL}: the rollout of version 3 was stopped: an instance could not load it"
    assert alert.description.startswith("serving-1 could not load it: no memory. Version 1 goes on answering")


def nobody_approves(world: World) -> None:
    world.clock.advance(timedelta(days=2))


def lose_the_evidence(world: World) -> None:
    world.blobs.path(world.store.version(MODEL, 2).gate_rows).unlink()


def overtake(world: World) -> None:
    with world.store._writing() as session:  # what a rollback at the last instant of the run leaves
        session.get_one(Version, world.store.version(MODEL, 2).id).parent = None


@pytest.mark.parametrize(
    ("happens", "approval", "why"),
    [
        (nobody_approves, True, "nobody approved it in time"),
        (lose_the_evidence, False, "the rows that its gate judges are missing or corrupt"),
        (overtake, False, "made to replace a version that is not in production any more"),
    ],
)
def test_whatever_the_system_rejects_by_itself_is_told_and_what_a_person_rejects_is_not(world, happens, approval, why):
    in_service(world)
    gate, plan = {"resamples": 200, "approval": approval}, {"deadline": "1d"}
    world.store.apply_model(spec([COOL], gate=gate, rollout=plan), RECIPE, world.clock.now())
    world.finish(world.ask().key, world.made())
    world.reconciler().look_after_runs()
    if approval:
        world.tick()
    happens(world)
    world.tick()

    (alert,) = [each for each in world.store.open_alerts(MODEL) if each.name == "RetrainingRejected"]
    assert alert.summary == f"{MODEL}: version 2 was rejected: {why}"
    assert ("RetrainingRejected", "firing", 1) in waiting(world)

    world.finish(world.ask().key, world.made())
    world.reconciler().look_after_runs()
    world.store.reject(MODEL, 3, "I know why", world.clock.now())
    world.tick()
    assert "RetrainingRejected" not in states(world)


def fail_to_load(world: World) -> None:
    world.store.report_instance("serving-1", [loaded(world)], [{"model": MODEL, "version": 3, "reason": "no memory"}])


def test_what_was_written_while_the_clock_was_ahead_is_told_all_the_same(world):
    in_service(world)
    world.wall.advance(timedelta(days=1))
    drift(world)
    world.wall.advance(-timedelta(days=1))
    assert ("DriftDetected", "firing", 1) in waiting(world)


def test_a_deliverer_that_was_overtaken_puts_off_nothing(world):
    """Its lease ended while it asked a channel; another holds the notification by the time it says that it failed."""
    in_service(world)
    drift(world)
    (row,) = world.store.claim_notifications(CHANNELS[0], "slow", timedelta(0))
    (same,) = world.store.claim_notifications(CHANNELS[0], "next", timedelta(seconds=30))
    assert row.id == same.id
    world.store.mark_failed({row.id: timedelta(0)}, "slow", "it timed out")
    assert waiting(world) == [], "the next one holds it still"
    world.store.mark_delivered([same], "next")
    assert waiting(world) == []


def late_for_everything(world: World) -> None:
    """A version in production that a monitor looks at, another that nobody loads, and an event on its way."""
    in_service(world)
    world.clock.advance(timedelta(days=2))
    world.finish(world.ask().key, world.made())
    world.tick(wall=world.wall)
    world.tick(wall=world.wall)
    world.store.observe(MODEL, 1, world.clock.now(), 0, world.clock.now())
    world.store.put_hold(MODEL, "rule:drifted", "why", None, world.clock.now(), "ann")


def passes(world: World, by: timedelta) -> None:
    world.wall.advance(by)
    world.clock.advance(by)


@pytest.mark.parametrize("night", [timedelta(minutes=16), timedelta(hours=8)])
@pytest.mark.parametrize("again", [True, False])
def test_who_was_away_or_whose_clock_was_set_pages_for_nothing_that_had_no_time(world, night, again):
    late_for_everything(world)
    work = world.reconciler(wall=world.wall)
    if not again:
        work.tick()
        world.store.put_hold(MODEL, "rule:drifted", "why now", None, world.clock.now(), "ann")
    passes(world, night)
    work.tick()
    assert states(world) == {} and world.store.open_alerts(None) == [] and waiting(world) == []


def test_what_stays_late_after_a_night_is_told_when_it_had_its_time(world):
    late_for_everything(world)
    passes(world, timedelta(hours=8))
    work = world.reconciler(wall=world.wall)
    for _ in range(2 * 16):
        work.tick()
        passes(world, timedelta(seconds=30))
    assert set(states(world)) == {"NoServingInstance", "RolloutStuck", "MonitorBehind"}

    other = world.reconciler(wall=world.wall)
    other.tick()
    assert set(states(world)) == {"NoServingInstance", "RolloutStuck", "MonitorBehind"}, "nothing is taken back"


def test_a_replica_whose_neighbour_died_finds_what_nobody_serves(world):
    in_service(world)
    work = world.reconciler(wall=world.wall, owner="control-2")
    old = loaded(world)
    work.tick()
    world.clock.advance(timedelta(days=2))
    world.to_production()
    for number in range(5):  # the other one, which decided on the promotion, is gone
        world.store.report_instance("serving-1", [old], [])
        work.tick()
        assert ("NoServingInstance" in states(world)) == (number >= 3)
        world.wall.advance(timedelta(seconds=30))


def full(_request) -> None:
    raise OSError(28, "No space left on device")


def test_a_run_that_cannot_be_started_is_told_then_fails(world):
    run = world.ask()
    world.trainer.start = full
    work = world.reconciler(wall=world.wall, lease=timedelta(0))
    for _ in range(25):
        work.tick()
        world.wall.advance(timedelta(seconds=30))
    assert states(world) == {"RunStuck": "firing"}
    for _ in range(20):
        work.tick()
        world.wall.advance(timedelta(seconds=30))
    ended = world.store.run(run.key)
    assert (ended.failure_code, "No space left" in ended.failure_message) == ("not_started", True)
    assert states(world) == {"RetrainingFailed": "firing"}


def test_a_run_that_can_neither_be_started_nor_written_about_can_be_cancelled(world):
    run = world.ask()
    world.trainer.start = full
    world.trainer.stop = lambda _key, _failure: full(None)
    work = world.reconciler(wall=world.wall, lease=timedelta(0))
    work.tick()
    world.store.cancel_run(run.key, "ann", "the disk is full", world.clock.now())
    work.tick()
    assert world.store.run(run.key).state == "cancelled" and world.store.active_run(MODEL) is None
