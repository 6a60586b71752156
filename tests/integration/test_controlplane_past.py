"""What has ended costs a tick nothing, and writers that meet wait for each other instead of failing."""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import event, text
from sqlmodel import Session

from controlplane.alertfacts import Patience
from controlplane.errors import Busy
from controlplane.lifecycle import VersionState
from controlplane.loop.boundary import apart
from controlplane.store import Store, open_engine
from controlplane.store.answers import Expected, expected
from controlplane.tables import DecisionRecord, Version
from observability.ids import new_id
from tests.controlplane_world import MODEL, RECIPE, START, World, spec

OLD = 300


def statements(world: World, act) -> list[tuple[str, object]]:
    """Every query that reads of what has a past, with its parameters."""
    heard: list[tuple[str, object]] = []

    def listen(_connection, _cursor, statement, parameters, *_) -> None:
        if re.search(r"FROM (versions|rollouts|training_runs)\b", statement):
            heard.append((statement, parameters))

    event.listen(world.store._engine, "before_cursor_execute", listen)
    event.listen(world.store._writing_engine, "before_cursor_execute", listen)
    try:
        act()
    finally:
        event.remove(world.store._engine, "before_cursor_execute", listen)
        event.remove(world.store._writing_engine, "before_cursor_execute", listen)
    return heard


def age(world: World) -> None:
    """Give the model a long past: versions that were rejected, with their runs."""
    with world.store._writing() as session:
        for table, key in (("decisions", "id"), ("firings", "id"), ("training_runs", "key")):
            names = [row[1] for row in session.connection().exec_driver_sql(f"PRAGMA table_info({table})")]
            other = {key: f"{key} || n.i", "cause": "cause || n.i", "state": "'failed'"}
            other |= {name: f"{name} || n.i" for name in ("decision_id", "firing_id")}
            _multiply(session, table, [other.get(name, f'"{name}"') for name in names], names)
        names = [row[1] for row in session.connection().exec_driver_sql("PRAGMA table_info(versions)")]
        other = {"id": "id + n.i", "number": "number + n.i", "state": "'rejected'", "run_key": "run_key || n.i"}
        _multiply(session, "versions", [other.get(name, f'"{name}"') for name in names], names)


def _multiply(session: Session, table: str, values: list[str], names: list[str]) -> None:
    columns, chosen = ", ".join(f'"{name}"' for name in names), ", ".join(values)
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {OLD})"  # noqa: S608
    first = f"SELECT {chosen} FROM (SELECT * FROM {table} LIMIT 1), n"  # noqa: S608 - names of our own tables
    session.execute(text(f"INSERT INTO {table} ({columns}) {numbers} {first}"))


def test_a_tick_with_nothing_to_do_reads_no_version_of_the_past(tmp_path):
    """SQLite's own word for it: SCAN is every row; and what it searches by is an index of what has not ended."""
    world = World(tmp_path)
    world.to_production()
    age(world)
    assert len(world.store.versions(MODEL, 2 * OLD)) == OLD + 1
    world.tick()
    world.tick()
    quiet = statements(world, world.tick) + statements(world, world.store.deployed)
    assert len(quiet) > 4
    for statement, parameters in quiet:
        with world.store._engine.connect() as connection:
            plan = [str(row[-1]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        read = [step for step in plan if re.match(r"(SCAN|SEARCH) (versions|rollouts|training_runs)\b", step)]
        past = [step for step in read if not re.search(r"INDEX (one|versions)_|rowid=|number=", step)]
        assert past == [], statement


def test_the_partial_indexes_hold_exactly_what_the_states_say(tmp_path, database_url):
    world = World(tmp_path, database=database_url)
    first = world.to_production()
    assert [each.number for each in world.store.deployed()] == [first.number]
    run = world.ask()
    world.finish(run.key, world.made())
    with world.store._reading() as session:
        assert session.get(Version, first.id).state is VersionState.PRODUCTION
    world.tick()
    assert [each.number for each in world.store.on_their_way(MODEL)] == [2]
    assert {each.number for each in world.store.deployed()} <= {1, 2}


def test_a_replay_clock_that_many_set_for_the_first_time_is_at_the_latest(database_url):
    stores = [Store(open_engine(database_url)) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: stores[n].move_replay_time(START + timedelta(hours=n)), range(8)))
    assert stores[0].replay_time() == START + timedelta(hours=7)
    assert stores[0].move_replay_time(START) == START + timedelta(hours=7)


def test_a_change_under_if_match_goes_on_while_a_row_that_refers_to_the_model_is_written(tmp_path, postgres):
    """A lock of the whole row would have to wait for each insert that refers to it, and in a ring for ever."""
    world = World(tmp_path, database=postgres)
    other = Store(open_engine(postgres))
    with world.store._writing() as session:
        _refer(session)  # holds the key of the model's row until this ends
        token = expected.set(Expected(MODEL, other.model(MODEL).changes))
        try:
            other.apply_model(spec(team="another"), RECIPE, START)
        finally:
            expected.reset(token)
    assert world.store.model(MODEL).spec["team"] == "another" and world.store.decisions(MODEL)


def test_writers_of_every_kind_meet_at_one_model_and_none_is_a_deadlock(tmp_path, postgres):
    world = World(tmp_path, database=postgres)
    first = world.to_production()

    def work(number: int) -> None:
        store = Store(open_engine(postgres))
        for turn in range(10):
            now = START + timedelta(hours=turn)
            match number % 4:
                case 0:
                    store.apply_model(spec(team=f"team-{number}-{turn}"), RECIPE, now)
                case 1:
                    store.settle_alerts(MODEL, now, Patience())
                case 2:
                    with store._writing() as session:
                        _refer(session)
                        store._touch(session, MODEL)
                case 3:
                    store.begin_rollout(first, now)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def _refer(session: Session) -> None:
    session.add(
        DecisionRecord(
            id=new_id(), model=MODEL, rule="r", kind="drift", cause=new_id(), turn=1, outcome="wait", numbers={},
            reason="WAIT_STABLE", detail="", decided_at=START, recorded_at=START,
        )
    )  # fmt: skip
    session.flush()


def test_a_busy_database_is_one_line_of_warning_and_no_traceback(caplog):
    def busy() -> None:
        raise Busy

    with caplog.at_level(logging.WARNING):
        assert apart("the rules of m", busy) is False
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None) and "the rules of m" in record.message
