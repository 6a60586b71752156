"""Lists come in pages that lose and repeat nothing, filtered by column, and cost the same however much is stored."""

from __future__ import annotations

import base64
import json
import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, text

from controlplane.api.paging import read_cursor, write_cursor
from controlplane.errors import BadCursor
from tests.api_client import add, api_of, decision, firing
from tests.controlplane_world import MODEL, RECIPE, START, World, spec

PATH = f"/api/v1/models/{MODEL}"


@pytest.fixture
def world(tmp_path, database_url):
    return World(tmp_path, database=database_url)


@pytest.fixture
def client(world):
    return api_of(world)


def walk(client, path, noun, meanwhile=lambda: None):
    """Every row, page by page."""
    rows, cursor, sign = [], None, "&" if "?" in path else "?"
    while True:
        page = client.get(f"{path}{sign}limit=7" + (f"&cursor={cursor}" if cursor else "")).json()
        rows += page[noun]
        assert len(page[noun]) == 7 or page["next"] is None
        if (cursor := page["next"]) is None:
            return rows
        meanwhile()


def test_pages_give_every_row_once_also_when_rows_are_added_meanwhile(client, world):
    add(world, *(decision(number) for number in range(21)))
    whole = client.get(f"{PATH}/decisions").json()["decisions"]
    assert len(whole) == 21
    later = iter(range(100, 200))
    assert walk(client, f"{PATH}/decisions", "decisions", lambda: add(world, decision(next(later)))) == whole


def test_windows_that_end_at_the_same_instant_are_all_listed(client, world):
    version = world.to_production().number
    for monitor in (f"m{number}" for number in range(10)):
        world.window(version, 1, monitor)
    rows = walk(client, f"{PATH}/windows", "windows")
    assert len({row["id"] for row in rows}) == len(rows) == 10


def test_windows_are_listed_with_their_segments_or_one_segment_or_whole_ones_only(client, world):
    version = world.to_production().number
    whole, part = (world.window(version, 1, segment=segment).id for segment in ("", "place=x"))

    def listed(query: str) -> list[tuple[str, str]]:
        rows = walk(client, f"{PATH}/windows{query}", "windows")
        return sorted((row["segment"], row["id"]) for row in rows)

    assert listed("") == [("", whole), ("place=x", part)]
    assert listed("?segment=") == [("", whole)]
    assert listed("?segment=place%3Dx") == [("place=x", part)]
    assert listed("?segment=place%3Dy") == []


def test_models_are_paged_by_name_and_filtered_by_team_and_state(client, world):
    for number in range(9):
        world.store.apply_model(spec(model=f"default/m{number}", team="a" if number % 2 else "b"), RECIPE, START)
    world.ask()
    names = [row["model"] for row in walk(client, "/api/v1/models", "models")]
    assert names == sorted(names) and len(names) == 10
    teams = client.get("/api/v1/models?team=a").json()["models"]
    assert [each["model"] for each in teams] == ["default/m1", "default/m3", "default/m5", "default/m7"]
    assert [each["model"] for each in client.get("/api/v1/models?state=training").json()["models"]] == [MODEL]
    assert len(client.get("/api/v1/models?state=new").json()["models"]) == 9
    assert client.get("/api/v1/models?state=other").status_code == 422


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ("rule=other", [3]), ("outcome=fire", [2]), ("reason=WAIT_FEW", [1]), ("version=2", [0]),
        ("since=2021-01-01T02:00:00Z", [3, 2]), ("until=2021-01-01T02:00:00Z", [1, 0]),
        ("since=2021-01-01T02:00:00%2B01:00&until=2021-01-01T02:00:00Z", [1]), ("rule=none", []),
        ("rule=drifted&outcome=wait", [1, 0]),
    ],
)  # fmt: skip
def test_decisions_are_filtered_by_column_and_time(client, world, asked, numbers):
    add(
        world, decision(0, version=2), decision(1, reason="WAIT_FEW"), decision(2, outcome="fire"),
        decision(3, rule="other"),
    )  # fmt: skip
    found = client.get(f"{PATH}/decisions?{asked}").json()["decisions"]
    assert [each["detail"] for each in found] == [f"number {number}" for number in numbers]


@pytest.mark.parametrize("what", ["versions?state=production", "runs?state=succeeded", "firings?trigger=manual"])
def test_other_lists_are_filtered_too(client, world, what):
    world.to_production()
    world.to_production()
    world.ask()
    noun, _, asked = what.partition("?")
    (column, value) = asked.split("=")
    everything = client.get(f"{PATH}/{noun}").json()[noun]
    assert client.get(f"{PATH}/{what}").json()[noun] == [row for row in everything if row[column] == value]
    assert client.get(f"{PATH}/{noun}?{column}=nonsense").status_code in (200, 422)


@pytest.mark.parametrize("path", ["since=2021-01-01T00:00:00", "limit=0", "limit=1001", "version=-1", "rule=%00"])
def test_a_filter_that_means_nothing_is_refused(client, path):
    answer = client.get(f"{PATH}/decisions?{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")


def test_a_cursor_of_another_list_is_refused(client):
    own = [write_cursor("decisions", key) for key in ([1, 2], ["\ud800"])]
    for cursor in (write_cursor("firings", ["x"]), "%", "bm8", *own):
        answer = client.get(f"{PATH}/decisions?cursor={cursor}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_cursor")


def said(value) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@given(st.one_of(st.text(max_size=60), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(said)))
def test_no_text_at_all_is_taken_for_a_cursor_that_it_is_not(cursor):
    try:
        key = read_cursor("decisions", cursor, [str])
    except BadCursor:
        return
    assert key is not None and len(key) == 1 and isinstance(key[0], str)


def heard(world, client, path) -> list[tuple[str, object]]:
    """The statements that a request makes the database run."""
    statements = []

    def hear(_connection, _cursor, statement, parameters, *_):
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    event.listen(world.store._engine, "before_cursor_execute", hear)
    try:
        assert client.get(path).status_code == 200
    finally:
        event.remove(world.store._engine, "before_cursor_execute", hear)
    return statements


def test_a_page_of_models_takes_as_many_queries_as_one_model_and_reads_no_recipe(client, world):
    world.to_production()
    world.ask()
    one = heard(world, client, "/api/v1/models")
    for number in range(8):
        world.store.apply_model(spec(model=f"default/m{number}"), RECIPE, START)
    many = heard(world, client, "/api/v1/models")
    assert len(many) == len(one)
    columns = " ".join(statement.partition("FROM")[0] for statement, _ in many)
    assert "recipe," not in columns and "request" not in columns


PAGES = [
    "/api/v1/models", "/api/v1/models?state=serving", PATH, f"{PATH}/versions", f"{PATH}/windows",
    f"{PATH}/windows?monitor=weekly", f"{PATH}/windows?segment=", f"{PATH}/decisions", f"{PATH}/decisions?rule=drifted",
    f"{PATH}/decisions?since=2021-01-01T00:00:00Z", f"{PATH}/firings", f"{PATH}/runs", f"{PATH}/rollouts",
]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_no_page_reads_a_table_of_history_from_end_to_end(tmp_path, path):
    """SQLite's own word for it: SCAN is every row, SEARCH is by an index."""
    world = World(tmp_path)
    client = api_of(world)
    version = world.to_production().number
    fired = [decision(number, outcome="fire") for number in range(50)]
    add(world, *fired, *(firing(each) for each in fired))
    for number in range(20):
        world.window(version, number)
    with world.store._engine.connect() as connection:
        connection.execute(text("ANALYZE"))
    for statement, parameters in heard(world, client, path):
        with world.store._engine.connect() as connection:
            plan = [str(row[-1]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        scans = [step for step in plan if re.match(r"SCAN (decisions|windows|firings|training_runs|versions)\b", step)]
        assert scans == [], statement


def test_one_thing_is_answered_as_its_list_shows_it_and_only_of_its_model(client, world):
    version = world.to_production()
    world.window(version.number, 1)
    world.store.apply_model(spec(model="default/other"), RECIPE, START + timedelta(1))
    for noun, name in (("versions", "number"), ("windows", "id"), ("runs", "key")):
        (row,) = client.get(f"{PATH}/{noun}").json()[noun]
        assert client.get(f"{PATH}/{noun}/{row[name]}").json() == row
        other = client.get(f"/api/v1/models/default/other/{noun}/{row[name]}")
        assert (other.status_code, other.json()["error"]["code"]) == (404, "not_found")
