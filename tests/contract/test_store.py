"""What the state of record promises, on SQLite and on PostgreSQL, also to several that call at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any, TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, NoResultFound, OperationalError
from sqlmodel import col, select, update

from controlplane.access.acts import Act
from controlplane.errors import Busy, StaleEpoch
from controlplane.lifecycle import RunState
from controlplane.loop.outbox import publish
from controlplane.store import Store, open_engine
from controlplane.store.database import connect, database_now
from controlplane.tables import AuditEntry, AuditHead, Instance, OutboxEntry, TrainingRun
from observability.windows import Cursor, Window
from pipeline.contract.training import Failure, TrainingReport
from tests.controlplane_world import MODEL, RECIPE, START, MemoryLines, World, spec

CALLERS = 6
LEASE = timedelta(seconds=60)
Answer = TypeVar("Answer")


@pytest.fixture
def world(tmp_path, database_url):
    return World(tmp_path, database=database_url)


def at_once(world: World, call: Callable[[Store, int], Answer], callers: int = CALLERS) -> list[Answer]:
    """What each of several replicas is answered, each with connections of its own, that call at the same moment."""
    together = Barrier(callers)

    def one(number: int) -> Answer:
        store = Store(open_engine(world.database))
        together.wait()
        try:
            return call(store, number)
        finally:
            store._engine.dispose()

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(one, range(callers)))


def window(number: int = 1) -> Window:
    start = START + timedelta(hours=number)
    return Window(
        model=MODEL, version=1, monitor="weekly", after=Cursor.before(start),
        until=Cursor.before(start + timedelta(hours=1)), spec_digest="s",
    )  # fmt: skip


def test_the_databases_time_has_fractions_of_a_second_and_goes_on_within_a_transaction(world):
    with world.store._reading() as session:
        seen = [database_now(session)]
        while database_now(session) - seen[0] < timedelta(milliseconds=50):
            seen.append(database_now(session))
        seen.append(database_now(session))
    assert any(instant.microsecond % 1_000_000 for instant in seen)
    assert all(instant.utcoffset() == timedelta(0) for instant in seen) and seen == sorted(seen)


def test_a_lease_of_half_a_second_is_held_and_ends(world):
    world.ask()
    run = world.store.claim_next_run("a", timedelta(seconds=0.5))
    assert run is not None and world.store.claim_next_run("b", LEASE) is None
    with world.store._reading() as session:
        while database_now(session) < run.lease_until:
            session.rollback()
    assert world.store.claim_next_run("b", LEASE).lease_owner == "b"


def test_of_many_that_claim_a_run_one_gets_it(world):
    run = world.ask()
    claimed = [each for each in at_once(world, lambda store, n: store.claim_next_run(f"r{n}", LEASE)) if each]
    assert [(each.key, each.epoch) for each in claimed] == [(run.key, 1)]


def test_many_that_claim_share_what_there_is_and_none_waits_for_another(world):
    for number in range(CALLERS):
        other = spec(model=f"default/m{number}")
        world.store.apply_model(other, RECIPE, START)
        asked = world.ask()
        with world.store._writing() as session:  # as if this model had asked
            session.exec(update(TrainingRun).where(col(TrainingRun.key) == asked.key).values(model=other.model))

    def claim(store: Store, number: int) -> list[str]:
        keys, behind = [], ""
        while (run := store.claim_next_run(f"r{number}", LEASE, behind)) is not None:
            keys.append(run.key)
            behind = run.model
        return keys

    keys = [key for each in at_once(world, claim) for key in each]
    assert len(keys) == len(set(keys)) == CALLERS


def test_a_run_is_finished_once_by_the_newest_epoch_whoever_tries(world):
    run = world.ask()
    old = world.store.claim_next_run("a", timedelta(0))
    new = world.store.claim_next_run("b", LEASE)
    world.store.mark_started(run.key, new.epoch, START)
    world.finish(run.key, world.made(champion=False))
    report = world.trainer.report(run.key)

    def finish(store: Store, number: int) -> bool:
        try:
            store.finish_run(run.key, (old if number % 2 else new).epoch, report, START)
        except StaleEpoch:
            return False
        return True

    assert sum(at_once(world, finish)) == 1
    assert [version.number for version in world.store.versions(MODEL)] == [1]


def test_a_cancellation_and_the_end_of_a_run_at_once_leave_one_of_both(world):
    for _ in range(4):
        run = world.ask()
        held = world.store.claim_next_run("a", LEASE)
        world.store.mark_started(run.key, held.epoch, START)
        failed = Failure(code="crashed", message="x")
        report = TrainingReport(key=run.key, failure=failed, finished_at=START, seconds=1.0)

        def either(store: Store, number: int, run=run, held=held, report=report) -> None:
            if number:
                store.finish_run(run.key, held.epoch, report, START)
            else:
                store.cancel_run(run.key, "ann", "why", START)

        try:
            at_once(world, either, 2)
        except Exception as error:  # noqa: BLE001 - asked for by name in the next line
            assert type(error).__name__ == "RunEnded"
        ended = world.store.run(run.key)
        assert (ended.state is RunState.CANCELLED) == (ended.cancel_by == "ann") == (ended.failure_code == "cancelled")


def test_of_many_that_cut_a_window_one_does(world):
    cut = at_once(world, lambda store, _: store.record_window(window(), 9, 0, {}, START, START))
    assert sorted(cut) == [False] * (CALLERS - 1) + [True]
    assert len(world.store.windows(MODEL)) == 1
    told = [entry for entry in world.store.unpublished() if entry.kind == "verdict"]
    assert len(told) == 1


def test_a_window_of_a_model_that_is_not_there_is_an_error_and_not_an_old_one(world):
    stray = window().model_copy(update={"model": "default/unknown"})
    with pytest.raises((IntegrityError, NoResultFound)):
        world.store.record_window(stray, 9, 0, {}, START, START)


def test_each_new_score_of_a_window_counts(world):
    world.store.record_window(window(), 9, 0, {}, START, START)
    at_once(world, lambda store, n: store.rescore_window(window().id, n, {}, False, START))
    assert world.store.windows(MODEL)[0].revision == 1 + CALLERS


def test_what_is_late_is_counted_once_whoever_counts_it_and_never_less_than_before(world):
    for segment in ("", "place=x"):
        cut = window().model_copy(update={"segment": segment})
        world.store.record_window(cut, 9, 0, {}, START, START)
        world.store.rescore_window(cut.id, 20, {}, True, START, 3, START)
        at_once(world, lambda store, n, id=cut.id: store.count_late(id, 24, 5, None))
        world.store.count_late(cut.id, 22, 4, None)
        world.store.rescore_window(cut.id, 26, {}, True, START + timedelta(days=1), 5)

    row = world.store.windows(MODEL)[0]
    assert (row.late_rows, row.late_labels, row.settled_labels, row.labelled) == (5, 6, 20, 26)
    assert (row.error_at, row.revision) == (START, 3), "it was settled when it was settled first"
    assert [(each.monitor, each.predictions, each.labels) for each in world.store.late_events()] == [
        (row.monitor, 5, 6)
    ], "what is late for a segment is late for the whole window"


def test_an_instance_may_report_through_every_replica_at_once(world):
    at_once(world, lambda store, n: store.report_instance("serving-1", [{"n": n}], []))
    with world.store._reading() as session:
        (instance,) = session.exec(select(Instance)).all()
    assert instance.loaded[0]["n"] in range(CALLERS)


def test_facts_of_a_version_may_come_from_several_monitors_at_once(world):
    at_once(world, lambda store, n: store.observe(MODEL, 1, START, n, START))
    assert world.store.observation(MODEL, 1).labelled_new in range(CALLERS)


def test_replicas_that_publish_at_once_lose_nothing_and_wait_for_nobody(world):
    for number in range(40):
        world.store.record_window(window(number), 9, 0, {}, START, START)
    with world.store._reading() as session:
        committed = set(session.exec(select(OutboxEntry.event_id)))
    spools = [MemoryLines() for _ in range(CALLERS)]
    at_once(world, lambda store, n: publish(store, spools[n]))

    assert world.store.unpublished() == []
    lines = b"\n".join(line for spool in spools for line in spool.lines).decode()
    assert all(event in lines for event in committed)


def test_the_audit_chain_has_no_gap_and_no_fork_whoever_appends(world):
    run = world.ask()

    def act(store: Store, number: int) -> None:
        who = Act(actor=f"p{number}", token_id=None, via="api", request_id=str(number))
        with store._writing() as session:
            store._audit(session, who, "run.look", run.key, None, None)

    at_once(world, act)
    with world.store._reading() as session:
        entries = session.exec(select(AuditEntry).order_by(AuditEntry.sequence)).all()
        head = session.get(AuditHead, 1)
    assert [entry.sequence for entry in entries] == list(range(1, CALLERS + 1))
    assert [entry.previous for entry in entries[1:]] == [entry.hash for entry in entries[:-1]]
    assert (head.sequence, head.hash) == (CALLERS, entries[-1].hash)


def test_a_lock_that_is_not_to_be_had_is_busy_and_changes_nothing(world, monkeypatch):
    run = world.ask()
    hurried = Store(_hurried(world.database))
    with world.store._writing() as session:
        session.execute(text("UPDATE training_runs SET attempts = attempts"))
        with pytest.raises(Busy):
            hurried.cancel_run(run.key, "ann", "why", START)
    assert world.store.run(run.key).cancel_by is None
    hurried.cancel_run(run.key, "ann", "why", START)
    hurried._engine.dispose()


def test_an_error_that_does_not_pass_is_not_called_busy(tmp_path):
    store = Store(connect(f"sqlite:///{tmp_path}/empty.db"))
    with pytest.raises(OperationalError, match="no such table"):
        store.models()


def _hurried(url: str) -> Any:
    """An engine that waits for no lock."""
    engine = connect(url)
    wait = "PRAGMA busy_timeout = 50" if url.startswith("sqlite") else "SET lock_timeout = '50ms'"
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute(wait)
        driver.commit()
    return engine
