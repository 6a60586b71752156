"""A database of release 0.1.0, with the rows that it wrote, comes to the present schema and loses nothing."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, inspect, text

from controlplane.lifecycle import RolloutState, RunState, VersionState
from controlplane.migrations import HEAD, Migrated, migrate
from controlplane.migrations.columns import complete
from controlplane.migrations.versions.r0001_release_0_1_0 import SCHEMA
from controlplane.store import Store, open_engine
from controlplane.store.database import connect
from pipeline.contract.training import Failure
from tests.controlplane_world import MODEL, START, World
from tests.migration.test_schema import described
from tests.servers.postgres import Postgres

DUMP = Path(__file__).with_name("release_0_1_0.sql")
#: brings a database to the present schema, in a process that is killed before it sends its nth statement
MIGRATE = """
import os, signal, sys
from sqlalchemy import Engine, event
from controlplane.store import migrate_database
left = int(sys.argv[2])

@event.listens_for(Engine, "before_cursor_execute")
def count(*_):
    global left
    left -= 1
    left or os.kill(os.getpid(), signal.SIGKILL)

migrate_database(sys.argv[1])
"""
#: more than a migration has
NEVER = 10_000


def rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, by column."""
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: [dict(row) for row in database.execute(f"SELECT * FROM {table}")] for table in tables}  # noqa: S608


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "control.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(DUMP.read_text())
    return path


@pytest.fixture
def old_url(postgres_server: Postgres) -> str:
    """An empty PostgreSQL as release 0.1.0 would have made it."""
    url = postgres_server.empty()
    engine = connect(url)
    with engine.begin() as connection:
        complete(connection, SCHEMA)
    engine.dispose()
    return url


def test_every_row_is_there_as_it_was(old):
    before = rows(old)
    assert all(before[table] for table in ("models", "versions", "training_runs", "windows", "tokens", "outbox"))
    engine = connect(f"sqlite:///{old}")
    assert migrate(engine) == Migrated(None, HEAD)
    engine.dispose()
    after = rows(old)
    for table, found in before.items():
        kept = [{column: row[column] for column in found[0]} for row in after[table]] if found else after[table]
        assert kept == found, table


def test_the_schema_is_that_of_a_new_database(old, tmp_path):
    new, moved = open_engine(f"sqlite:///{tmp_path}/new.db"), open_engine(f"sqlite:///{old}")
    assert described(moved) == described(new)
    for engine in (new, moved):
        engine.dispose()


LACKED = (
    "DROP INDEX windows_to_judge", "DROP INDEX windows_awaiting_labels", "DROP TABLE schedule_starts",
    "ALTER TABLE windows DROP COLUMN look_at", "ALTER TABLE windows DROP COLUMN late_rows",
)  # fmt: skip


@pytest.mark.parametrize("ended", LACKED)
def test_what_a_state_before_it_lacked_is_added(old, tmp_path, ended):
    with closing(sqlite3.connect(old)) as database:
        if "COLUMN" in ended:
            database.execute("DROP INDEX windows_awaiting_labels")
        database.execute(ended)
    new, moved = open_engine(f"sqlite:///{tmp_path}/new.db"), open_engine(f"sqlite:///{old}")
    assert described(moved) == described(new)
    assert [window.late_rows for window in Store(moved).windows(MODEL)] == [0, 0]
    for engine in (new, moved):
        engine.dispose()


def test_the_loop_goes_on_where_release_0_1_0_left_it(old, tmp_path):
    world = World(tmp_path)
    assert world.database == f"sqlite:///{old}"
    store = world.store
    assert [(each.number, each.state) for each in store.versions(MODEL)] == [
        (2, VersionState.PRODUCTION), (1, VersionState.RETIRED),
    ]  # fmt: skip
    run = store.active_run(MODEL)
    assert run is not None and run.state is RunState.RUNNING and run.cpu_seconds is None
    world.tick(owner="control-2", lease=world.reconciler().lease * 100)
    world.finish(run.key, failure=Failure(code="crashed", message="x"))
    world.tick(owner=store.run(run.key).lease_owner)
    assert store.run(run.key).state is RunState.FAILED


def test_a_version_that_release_0_1_0_had_staged_goes_on_into_production(old, tmp_path):
    """That release knew no rollouts: the version is there, and nothing that says how far it is."""
    with closing(sqlite3.connect(old)) as database:
        database.execute("UPDATE versions SET state = 'staging', parent = 2, promoted_at = NULL WHERE number = 1")
        database.commit()
    world = World(tmp_path)
    world.tick()
    (rollout,) = world.store.rollouts(MODEL)
    assert (rollout.version, rollout.champion, rollout.state) == (1, 2, RolloutState.LOADING)
    world.load_staged()
    world.tick()
    assert [(each.number, each.state) for each in world.store.versions(MODEL)] == [
        (2, VersionState.RETIRED), (1, VersionState.PRODUCTION),
    ]  # fmt: skip


def test_what_release_0_1_0_writes_is_taken_by_the_new_schema_on_postgresql(old, old_url):
    """Both releases run side by side while one takes over: the old one names the old columns only."""
    engine = open_engine(old_url)
    tables, found = MetaData(), rows(old)
    tables.reflect(engine)
    source = connect(f"sqlite:///{old}")
    with engine.begin() as target, source.connect() as connection:
        for table in SCHEMA.sorted_tables:
            told = [dict(row._mapping) for row in connection.execute(table.select())]
            assert len(told) == len(found[table.name])
            if told:
                target.execute(table.insert(), told)
        assert target.execute(text("SELECT changes, due_at < now() FROM models")).all() == [(0, True)]
    store = Store(engine)
    assert [version.cost for version in store.versions(MODEL)] == [{}, {}]
    assert store.due_models(START)
    for each in (engine, source):
        each.dispose()


def test_what_release_0_1_0_writes_is_taken_by_the_new_schema_on_sqlite(old, tmp_path):
    source, engine = connect(f"sqlite:///{old}"), open_engine(f"sqlite:///{tmp_path}/new.db")
    with engine.execution_options(writes=True).begin() as target, source.connect() as connection:
        for table in SCHEMA.sorted_tables:
            told = [dict(row._mapping) for row in connection.execute(table.select())]
            if told:
                target.execute(table.insert(), told)
    assert [version.cost for version in Store(engine).versions(MODEL)] == [{}, {}]
    for each in (engine, source):
        each.dispose()


def killed_at(url: str, statement: int) -> bool:
    """Whether the migration had so many statements that the process was killed."""
    process = subprocess.run([sys.executable, "-c", MIGRATE, url, str(statement)], check=False, capture_output=True)
    assert process.returncode in (0, -signal.SIGKILL), process.stderr
    return process.returncode != 0


def statements(kills: int) -> list[int]:
    """Where to kill: so many times, from the first statement to the last of about a hundred."""
    return [1 + number * 96 // (kills - 1) for number in range(kills)]


FEW_OR_MANY = pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.nightly)])


@FEW_OR_MANY
def test_a_kill_in_the_middle_leaves_the_old_schema_and_the_next_start_ends_it_on_sqlite(old, tmp_path, kills):
    before, killed = rows(old), 0
    for statement in statements(kills):
        path = tmp_path / f"{statement}.db"
        shutil.copy(old, path)
        killed += killed_at(f"sqlite:///{path}", statement)
        with closing(sqlite3.connect(path)) as database:
            (left,) = database.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('holds', 'audit')").fetchone()
        engine = connect(f"sqlite:///{path}")
        moved = migrate(engine)
        assert (left, moved.before) in ((0, None), (2, HEAD)), "never something in between"
        engine.dispose()
        assert len(rows(path)["decisions"]) == len(before["decisions"])
    assert killed >= kills * 0.7


@FEW_OR_MANY
def test_a_kill_in_the_middle_leaves_the_old_schema_and_the_next_start_ends_it_on_postgresql(postgres_server, kills):
    killed = 0
    for statement in statements(kills):
        url = postgres_server.empty()
        killed += killed_at(url, statement)
        engine = connect(url)
        left = {"holds", "audit"} & set(inspect(engine).get_table_names())
        moved = migrate(engine)
        assert (len(left), moved.before) in ((0, None), (2, HEAD)), "never something in between"
        engine.dispose()
        postgres_server.drop(url)
    assert killed >= kills * 0.7


def test_replicas_that_start_at_once_migrate_once(database_url, postgres_server, tmp_path):
    url = postgres_server.empty() if database_url.startswith("postgresql") else f"sqlite:///{tmp_path}/fresh.db"
    processes = [subprocess.Popen([sys.executable, "-c", MIGRATE, url, str(NEVER)]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    engine = connect(url)
    assert migrate(engine) == Migrated(HEAD, HEAD)
    engine.dispose()
