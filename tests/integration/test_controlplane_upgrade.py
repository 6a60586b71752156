"""A state of record that an older release made."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import inspect

from controlplane.store import Store, open_engine
from tests.controlplane_world import MODEL, START, World

LATER = {"windows": ("late_rows", "look_at")}


@pytest.fixture
def older(tmp_path):
    world = World(tmp_path)
    world.window(world.to_production().number, 1)
    world.store._engine.dispose()
    with sqlite3.connect(tmp_path / "control.db") as database:
        database.execute("DROP INDEX windows_to_judge")
        database.execute("DROP INDEX windows_awaiting_labels")
        database.execute("DROP TABLE schedule_starts")
        for column in LATER["windows"]:
            database.execute(f"ALTER TABLE windows DROP COLUMN {column}")
    database.close()
    return tmp_path


def test_a_database_of_an_older_release_gets_what_it_lacks_and_keeps_what_it_has(older):
    engine = open_engine(f"sqlite:///{older}/control.db")
    store = Store(engine)
    (window,) = store.windows(MODEL)
    assert (window.rows, window.late_rows, window.look_at) == (100, 0, None)
    assert [row.id for row in store.to_judge(store.version(MODEL, 1), START, "drifted", "weekly", False)] == [window.id]
    assert store.schedule_starts(MODEL) == {}
    names = {index["name"] for index in inspect(engine).get_indexes("windows")}
    assert names == {"windows_in_order", "windows_to_judge", "windows_awaiting_labels"}
