"""The schema that the revisions make is the schema that the code works on, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from controlplane import tables
from controlplane.errors import SchemaBehind
from controlplane.migrations import FOLDER, HEAD, Migrated, migrate
from controlplane.store import open_engine
from controlplane.store.database import connect


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request, tmp_path):
    """Gives the URL of a new database without any table."""
    if request.param == "sqlite":
        made = iter(range(9))
        return lambda: f"sqlite:///{tmp_path}/{next(made)}.db"
    return request.getfixturevalue("postgres_server").empty


def described(engine: Engine) -> dict[str, Any]:
    """Everything that the database says of the tables of the state of record."""
    there = inspect(engine)
    return {table.name: _table(there, table.name) for table in tables.ALL}


def _table(there, name: str) -> dict[str, Any]:
    columns = {
        each["name"]: (str(each["type"]), each["nullable"], each["default"], each.get("autoincrement"))
        for each in there.get_columns(name)
    }
    keys = [
        (each["constrained_columns"], each["referred_table"], each["options"]) for each in there.get_foreign_keys(name)
    ]
    indexes = [
        (
            each["name"],
            each["column_names"],
            bool(each["unique"]),
            sorted(f"{key} {value}" for key, value in each["dialect_options"].items()),
        )
        for each in there.get_indexes(name)
        if not each.get("duplicates_constraint")
    ]
    uniques = [each["column_names"] for each in there.get_unique_constraints(name)]
    return {
        "columns": columns, "primary": there.get_pk_constraint(name)["constrained_columns"],
        "foreign": sorted(keys, key=str), "indexes": sorted(indexes), "unique": sorted(uniques),
        "checks": there.get_check_constraints(name),
    }  # fmt: skip


def test_the_migrated_schema_is_that_of_the_models(empty):
    declared, migrated = connect(empty()), open_engine(empty())
    with declared.execution_options(writes=True).begin() as connection:
        SQLModel.metadata.create_all(connection, tables=tables.ALL)
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []
    wanted, found = described(declared), described(migrated)
    for table in wanted:
        assert found[table] == wanted[table], table
    assert any("where" in str(index) for index in found["training_runs"]["indexes"]), "conditions were compared"
    for engine in (declared, migrated):
        engine.dispose()


def test_a_state_is_a_word_that_a_later_release_may_add_to(empty):
    engine = open_engine(empty())
    assert not any(table["checks"] for table in described(engine).values())
    engine.dispose()


def test_head_is_the_newest_revision_and_there_is_one_line_of_them():
    script = ScriptDirectory(str(FOLDER))
    assert script.get_heads() == [HEAD]
    assert [each.revision for each in script.walk_revisions()] == sorted(
        (each.revision for each in script.walk_revisions()), reverse=True
    )


def test_migrating_says_from_where_to_where_and_twice_changes_nothing(empty):
    engine = connect(empty())
    assert migrate(engine) == Migrated(None, HEAD)
    before = described(engine)
    assert migrate(engine) == Migrated(HEAD, HEAD)
    assert described(engine) == before
    engine.dispose()


def test_a_schema_that_is_behind_is_refused_where_migrating_is_left_to_people(empty):
    url = empty()
    with pytest.raises(SchemaBehind, match="driftgate migrate"):
        open_engine(url, migrating=False)
    open_engine(url).dispose()
    open_engine(url, migrating=False).dispose()


def test_a_schema_of_a_later_release_is_left_alone_so_that_both_may_run(empty):
    url = empty()
    engine = open_engine(url)
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert migrate(engine) == Migrated("9999", "9999")
    open_engine(url, migrating=False).dispose()
    engine.dispose()


@pytest.mark.parametrize("change", ["UPDATE audit SET actor = 'another'", "DELETE FROM audit"])
def test_what_is_in_the_audit_chain_cannot_be_changed_or_taken_out(empty, change):
    engine = open_engine(empty())
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(
            text(
                "INSERT INTO audit (sequence, at, actor, via, action, subject, why, request_id, previous, hash)"
                " VALUES (1, '2021-01-01 00:00:00', 'ann', 'api', 'x', 'y', '', 'r', 'p', 'h')"
            )
        )
    with pytest.raises(DBAPIError, match="only grows"), engine.execution_options(writes=True).begin() as connection:
        connection.execute(text(change))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT actor FROM audit")).all() == [("ann",)]
        assert connection.execute(text("SELECT sequence, hash FROM audit_head")).all() == [(0, "0" * 64)]
    engine.dispose()
