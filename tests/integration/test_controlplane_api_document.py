"""The OpenAPI document says what the routes do, and every error has the one shape."""

from __future__ import annotations

import re
from importlib import import_module
from pkgutil import iter_modules

import pytest
from fastapi.openapi.models import OpenAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel

from controlplane import api, listings, posting, replays, trials, views
from controlplane.access.auth import is_open
from controlplane.api.document import TAGS, operations
from controlplane.api.examples import EXAMPLES
from controlplane.views import ErrorView
from tests.api_client import api_of
from tests.controlplane_world import World

METHODS = {"GET", "PUT", "POST", "DELETE", "PATCH"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def client(world) -> TestClient:
    return api_of(world, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def document(client) -> dict:
    return client.get("/api/v1/openapi.json").json()


def references(value) -> set[str]:
    if isinstance(value, dict):
        return {value["$ref"]} if "$ref" in value else set().union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_the_document_is_valid_and_refers_to_nothing_that_is_not_there(document):
    OpenAPI.model_validate(document)
    for reference in references(document):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def test_every_operation_is_described_with_its_errors(document):
    listed = list(operations(document))
    assert len(listed) > 20
    for path, method, operation in listed:
        assert operation["summary"][0].isupper() and len(operation["summary"]) > 5, path
        assert operation["tags"] and set(operation["tags"]) <= set(TAGS), path
        if not is_open(path) or path.startswith("/hooks/"):
            assert operation["security"] == ([] if path.startswith("/hooks/") else [{"token": []}])
            assert {"401", "403", "404", "422"} <= set(operation["responses"]), path
            assert method == "get" or {"409", "412", "413"} <= set(operation["responses"]), path
    identities = [operation["operationId"] for _, _, operation in listed]
    assert len(set(identities)) == len(identities)


def classes() -> dict[str, type[BaseModel]]:
    """What the API says and is asked, by the name of its schema."""
    modules = [
        views,
        listings,
        replays,
        trials,
        posting,
        *(import_module(f"{api.__name__}.{each.name}") for each in iter_modules(api.__path__)),
    ]
    found = [each for module in modules for each in vars(module).values() if isinstance(each, type)]
    return {each.__name__: each for each in found if issubclass(each, BaseModel)}


#: said by serving to the control plane and by none else
INSIDE = {"Loaded", "FailedLoad", "InstanceReport", "ErrorBody", "InstanceView", "OnItsWay"}


def test_every_thing_has_an_example_that_is_valid(document):
    schemas = document["components"]["schemas"]
    things = {name for name, schema in schemas.items() if schema.get("type") == "object"} - INSIDE
    assert things <= set(EXAMPLES), things - set(EXAMPLES)
    for name, example in EXAMPLES.items():
        classes()[name].model_validate(example)
        assert set(classes()[name].model_fields) == set(example) or issubclass(classes()[name], api.parts.Asked), name
        assert name not in schemas or schemas[name]["examples"] == [example]


def shaped(answer) -> ErrorView:
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    return ErrorView.model_validate(answer.json())


def filled(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "9", path)


def test_every_route_fails_in_the_one_shape(client, document):
    for path, method, _ in operations(document):
        nobody = client.request(method, filled(path), headers={"Authorization": ""})
        if is_open(path) and not path.startswith("/hooks/"):
            continue
        if not path.startswith("/hooks/"):
            assert (nobody.status_code, shaped(nobody).error.code) == (401, "unauthenticated"), path
        missing = client.request(method, filled(path), content=b"{")
        if missing.status_code >= 400:
            assert shaped(missing).error.code in {"not_found", "invalid", "bad_signature"}, (path, missing.text)
        (wrong, *_) = METHODS - {each.upper() for each in document["paths"][path]}
        if path.startswith("/api/"):
            answer = client.request(wrong, filled(path), json={})
            assert (answer.status_code, shaped(answer).error.code) == (405, "method_not_allowed"), (wrong, path)


def test_what_is_not_there_and_what_breaks_fail_in_the_one_shape_too(client, world, monkeypatch):
    assert shaped(client.get("/api/v1/nothing")).error.code == "not_found"
    assert shaped(client.get("/api/v1/models/a/%00")).error.code == "invalid"
    assert shaped(client.put("/api/v1/clock", content=b"x" * 2_000_000)).error.code == "too_large"
    monkeypatch.setattr(type(world.store), "standings", lambda *_: 1 / 0)
    broken = client.get("/api/v1/models")
    assert (broken.status_code, shaped(broken).error.code) == (500, "internal")
    assert "ZeroDivision" not in broken.text
