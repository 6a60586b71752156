"""A spec that no database can keep, or no JSON can say again, is refused as a whole; the list of models answers on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.access.acts import GENESIS, Act, chained
from controlplane.errors import SpecRefused
from controlplane.trials import try_rule
from tests.api_client import api_of
from tests.controlplane_world import MODEL, RECIPE, START, World, spec

PATH = f"/api/v1/models/{MODEL}"
METRIC = {"name": "worse", "kind": "metric", "monitor": "weekly", "metric": "error", "above": 0.5}
NO_NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999")
NO_TEXTS = (r'"a\u0000b"', r'"\ud800"', r'"\udc00\ud800"')


@pytest.fixture
def world(tmp_path, database_url):
    return World(tmp_path, database=database_url)


def places(said: Any, path: tuple = ()) -> Iterator[tuple]:
    if isinstance(said, dict | list):
        for key, value in said.items() if isinstance(said, dict) else enumerate(said):
            yield from places(value, (*path, key))
    else:
        yield path


def poisoned(said: dict, path: tuple, poison: str) -> str:
    copy = json.loads(json.dumps(said))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = "@poison@"
    return json.dumps(copy).replace('"@poison@"', poison)


def test_no_field_of_a_spec_takes_what_cannot_be_kept_and_the_list_answers_as_before(world):
    client = api_of(world)
    before = client.get("/api/v1/models").json()
    declared = spec([METRIC], description="d", alert_labels={"team": "x"}).model_dump(mode="json", by_alias=True)
    said = {"spec": declared, "recipe": RECIPE}
    for number, path in enumerate(places(said)):
        poisons = (NO_NUMBERS, NO_TEXTS)
        for poison in (kind[number % len(kind)] for kind in poisons):
            body = poisoned(said, path, poison)
            answer = client.put(PATH, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 422, (path, poison, answer.text)
    assert client.get("/api/v1/models").json() == before
    assert client.get("/api/v1/audit").json()["audit"] == []
    assert client.put(PATH, json=said).status_code == 200


@pytest.mark.parametrize("poison", [*NO_NUMBERS, *NO_TEXTS])
def test_what_is_refused_is_named_by_its_place(tmp_path, poison):
    client = api_of(World(tmp_path))
    said = {"rule": METRIC | {"above": "@poison@"}}
    body = json.dumps(said).replace('"@poison@"', poison)
    answer = client.post(f"{PATH}/rules/try", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, "above" in answer.text) == (422, True), answer.text


def test_names_of_fields_are_looked_at_too(tmp_path):
    world = World(tmp_path)
    with pytest.raises(SpecRefused, match="rule: the name"):
        try_rule(world.store, MODEL, METRIC | {"\ud800": 1}, START, world.clock.now())


def test_an_entry_that_an_export_could_not_say_is_not_written():
    act = Act("ana", None, "api", "1")
    with pytest.raises(ValueError, match="Out of range"):
        chained(GENESIS, 1, START, act, {"after": {"above": float("nan")}})
