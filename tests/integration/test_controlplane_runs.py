"""Runs: claimed by one holder, started once, and never lost."""

from __future__ import annotations

from datetime import timedelta
from threading import Event, Thread

import pytest
from sqlmodel import select, update

from controlplane.access.acts import Act
from controlplane.errors import Changed, RunEnded, StaleEpoch
from controlplane.lifecycle import RunState
from controlplane.loop.trainer import MemoryTrainer
from controlplane.store import Store, open_engine
from controlplane.store.answers import Expected, expected
from controlplane.tables import AuditEntry, TrainingRun
from pipeline.contract.training import Failure, Phase, Progress, TrainingReport
from tests.controlplane_world import MODEL, RECIPE, START, FakeClock, World, spec

ANN = Act(actor="ann", token_id="t", via="api", request_id="r")
CANCELLED = RunState.CANCELLED


@pytest.fixture
def world(tmp_path, database_url):
    return World(tmp_path, database=database_url)


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


def test_a_run_that_a_person_cancels_is_ended_and_makes_no_version(world):
    run = world.ask()
    world.tick()
    world.store.cancel_run(run.key, "ann", "wrong data", START, ANN)
    world.store.cancel_run(run.key, "bob", "me too", START, ANN)
    world.finish(run.key, world.made(champion=False))
    world.tick()

    ended = world.store.run(run.key)
    assert (ended.state, ended.failure_code, ended.failure_message) == (CANCELLED, "cancelled", "ann: wrong data")
    assert world.store.versions(MODEL) == [] and world.store.active_run(MODEL) is None
    assert [entry.action for entry in _audited(world)] == ["run.cancel"], "told once"
    with pytest.raises(RunEnded):
        world.store.cancel_run(run.key, "ann", "again", START)


def test_a_run_that_is_cancelled_before_it_was_started_never_starts(world):
    run = world.ask()
    world.store.cancel_run(run.key, "ann", "wrong data", START)
    world.tick()
    assert (world.store.run(run.key).state, dict(world.trainer.started)) == (CANCELLED, {})


def test_a_cancel_of_what_was_seen_and_the_end_of_the_run_do_not_wait_for_each_other(tmp_path, postgres):
    world = World(tmp_path, database=postgres)
    run = world.ask()
    world.tick()
    world.finish(run.key, world.made(champion=False))
    run, other = world.store.run(run.key), Store(open_engine(postgres))
    seen, started, really = Expected(MODEL, world.store.pulse(MODEL)[0]), Event(), world.store._candidate

    def slowly(*asked):
        started.set()
        cancelling.join(0.5)  # it waits for the model's row, and so is not there yet
        return really(*asked)

    def cancel() -> None:
        started.wait()
        token = expected.set(seen)
        try:
            with pytest.raises(Changed):
                other.cancel_run(run.key, "ann", "wrong data", START)
        finally:
            expected.reset(token)
        ended.set()

    world.store._candidate, ended = slowly, Event()
    cancelling = Thread(target=cancel)
    cancelling.start()
    done = world.store.finish_run(run.key, run.epoch, world.trainer.report(run.key), START)
    cancelling.join()
    assert done.state is RunState.SUCCEEDED and ended.is_set()


def test_a_run_that_takes_longer_than_its_spec_allows_has_failed(world):
    wall = FakeClock()
    trainer = MemoryTrainer(wall)
    run = world.ask()
    world.tick(trainer=trainer)
    world.clock.advance(timedelta(days=30))
    world.tick(trainer=trainer)
    assert world.store.run(run.key).state is RunState.RUNNING, "a replay that is fast costs no run its time"
    wall.advance(world.spec.train.deadline + timedelta(seconds=1))
    world.tick(trainer=trainer)

    ended = world.store.run(run.key)
    assert (ended.state, ended.failure_code) == (RunState.FAILED, "deadline")
    assert "6h" in ended.failure_message


def test_a_request_that_cannot_be_read_fails_its_run_and_holds_nothing_up(world):
    run = world.ask()
    with world.store._writing() as session:
        session.exec(update(TrainingRun).values(request={"of": "another release"}))
    world.tick()

    ended = world.store.run(run.key)
    assert (ended.state, ended.failure_code) == (RunState.FAILED, "unreadable_request")
    assert world.trainer.started == {}
    assert world.ask().key != run.key


def test_a_run_on_its_way_whose_request_this_release_cannot_read_ends_by_itself(world):
    run = world.ask()
    world.tick()
    with world.store._writing() as session:
        session.exec(update(TrainingRun).values(request={"of": "another release"}))
    world.tick()
    assert world.store.run(run.key).state is RunState.RUNNING
    world.finish(run.key, world.made(champion=False))
    world.tick()
    assert world.store.run(run.key).state is RunState.SUCCEEDED


def test_a_run_whose_machine_is_gone_is_started_by_its_next_holder(world):
    run = world.ask()
    world.tick(lease=timedelta(0))
    elsewhere = MemoryTrainer()
    world.tick(owner="control-2", trainer=elsewhere)

    assert list(elsewhere.started) == [run.key]
    assert world.store.run(run.key).lease_owner == "control-2"


def test_what_a_run_cost_is_kept_and_one_that_died_without_a_word_cost_what_was_last_seen(world):
    run = world.ask()
    world.tick()
    failure = Failure(code="too_few_rows", message="x")
    world.trainer.finish(TrainingReport(key=run.key, failure=failure, finished_at=START, seconds=1.0, cpu_seconds=41.5))
    world.tick()
    other = world.ask()
    world.tick()
    for took in (30.0, 95.0, 2.0):  # the last on another machine, where it began anew
        world.trainer.take(other.key, took)
        world.tick()
    world.trainer.crash(other.key)
    world.tick()
    assert [world.store.run(each.key).cpu_seconds for each in (run, other)] == [41.5, 95.0]


def test_runs_that_die_without_a_word_spend_the_budget_too(tmp_path, database_url):
    hourly = {"name": "hourly", "kind": "schedule", "every": "1h"}
    world = World(tmp_path, spec([hourly], budget={"cpu_hours_per_month": 1}), database_url)
    world.to_production()
    for _ in range(2):
        world.clock.advance(timedelta(hours=1))
        world.tick()
        if (run := world.store.active_run(MODEL)) is not None:
            world.tick()
            world.trainer.take(run.key, 3600.0)
            world.tick()
            world.trainer.crash(run.key)
        world.tick()
    assert (len(world.store.runs(MODEL)), world.reasons("hourly")[-1]) == (2, "WAIT_BUDGET")


def _audited(world: World) -> list[AuditEntry]:
    with world.store._reading() as session:
        return list(session.exec(select(AuditEntry)))


def _half() -> Progress:
    phase: Phase = "fit"
    return Progress(phase=phase, fraction=0.5, message="fitting", at=START)


def _tick_in_threads(world: World, count: int) -> list[BaseException]:
    errors: list[BaseException] = []

    def tick(number: int) -> None:
        try:
            store = Store(open_engine(world.database))
            world.tick(store=store, owner=f"ticker-{number}")
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    threads = [Thread(target=tick, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors
