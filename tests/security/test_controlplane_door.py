"""Nobody gets in without a token, and whatever goes wrong is said in one shape."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote
from uuid import UUID

import anyio
import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Mount, Route

from controlplane.access.auth import OPEN, OPEN_FOLDERS, Authenticator, digest_of_token, is_open, new_token
from controlplane.api import Parts, create_app
from controlplane.api.failures import TOLD_PROBLEMS
from controlplane.api.limits import APPLY_BYTES, BODY_BYTES
from controlplane.processes import admin_pages
from tests.controlplane_world import MODEL, START, FakeClock, World

SCOPES = ("read", "operate", "apply", "service", "predict", "admin")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def tokens(world):
    made = {scope: new_token() for scope in SCOPES}
    for scope, token in made.items():
        world.store.add_token(scope, digest_of_token(token), [scope])
    return made


@pytest.fixture
def app(world):
    parts = Parts(world.store, world.blobs, world.clock, Authenticator(world.store))
    return create_app(parts, admin_pages())


@pytest.fixture
def client(app):
    return TestClient(app, raise_server_exceptions=False)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def leaves(routes) -> Iterator[Route | APIRoute]:
    """The routes of a table, through every table inside it."""
    for route in routes:
        if isinstance(route, Route | APIRoute):
            yield route
        elif isinstance(route, Mount):
            assert route.path + "/" in OPEN_FOLDERS, f"a folder that is not on the list: {route.path}"
        else:
            yield from leaves(route.original_router.routes)


def routes(app) -> list[tuple[str, str]]:
    """Every method and path of the app's own route table, with values for the parameters."""
    values = {"sha256": "0" * 64, "instance_id": "serving-1", "slug": "tweets"}
    return [
        (method, re.sub(r"{(\w+)}", lambda name: values.get(name[1], "default"), route.path))
        for route in leaves(app.routes)
        for method in sorted(route.methods)
    ]


def raw(app, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and body for a path as it stands on the wire, which a client of good manners would tidy up."""
    scope = {
        "type": "http", "method": method, "path": unquote(path), "raw_path": path.encode(), "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": ("10.0.0.1", 1), "server": ("testserver", 80), "scheme": "http", "http_version": "1.1",
    }  # fmt: skip
    said: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        said.append(message)

    anyio.run(app, scope, receive, send)
    body = b"".join(message.get("body", b"") for message in said)
    return said[0]["status"], body.decode()


def assert_error(response, status: int) -> dict:
    assert response.status_code == status
    (error,) = response.json().values()
    assert set(response.json()) == {"error"}
    assert set(error) == {"code", "message", "details"}
    assert error["code"] and error["message"] and isinstance(error["details"], dict)
    return error


def test_every_route_without_a_token_answers_401_but_those_on_the_list(app, client):
    paths = routes(app)
    assert len(paths) > 15
    for method, path in paths:
        response = client.request(method, path)
        if path.startswith("/hooks/"):
            assert response.status_code != 200
        elif path in OPEN:
            assert response.status_code == 200 or (method, path) == ("POST", "/login")
        else:
            assert response.status_code == 401, (method, path)
            assert method == "HEAD" or assert_error(response, 401)["code"] == "unauthenticated"


@pytest.mark.parametrize("path", ["/", "/docs", "/nowhere", "/api/v1/openapi.json", "/statical", "/healthz/x"])
def test_what_is_no_route_is_closed_too(client, path):
    assert_error(client.get(path), 401)


@pytest.mark.parametrize("path", ["/static/../api/v1/models", "/static/%2e%2e/api/v1/models"])
def test_the_open_folder_is_no_way_around_the_door(client, path):
    assert client.get(path).status_code in (401, 404)


@pytest.mark.parametrize(
    "token", ["", "wrong", "dg_" + "x" * 43, "Bearer", "\x00"], ids=["none", "short", "like", "word", "nul"]
)
def test_a_wrong_token_opens_nothing(client, token):
    assert_error(client.get("/api/v1/models", headers=bearer(token)), 401)


def needed(method: str, path: str) -> str:
    """What a route needs, said apart from the code."""
    if path.startswith(("/api/v1/serving", "/api/v1/blobs")):
        return "service"
    if path.removeprefix("/api/v1").startswith(("/tokens", "/audit")) or path.endswith("/hook-secret"):
        return "admin"
    if "/do/" in path:  # the page that asks for the reason of a change
        return "operate"
    if method == "PUT" and re.fullmatch(r"/api/v1/models/[^/]+/[^/]+", path):  # a recipe is code
        return "apply"
    if method == "POST" and re.fullmatch(r"/api/v1/models/[^/]+/[^/]+/versions", path):  # what it is compared with
        return "apply"
    return "read" if method in ("GET", "HEAD") or path.endswith(("/rules/try", "/replay")) else "operate"


def test_each_scope_opens_its_own_routes_only(app, client, tokens):
    allowed = {
        "read": {"read", "operate", "apply", "admin"}, "operate": {"operate", "apply", "admin"},
        "apply": {"apply", "admin"}, "service": {"service", "admin"}, "admin": {"admin"},
    }  # fmt: skip
    for method, path in routes(app):
        if is_open(path):
            continue
        for scope, token in tokens.items():
            response = client.request(method, path, headers=bearer(token))
            forbidden = response.status_code == 403
            assert forbidden == (scope not in allowed[needed(method, path)]), (scope, method, path)


def test_a_viewer_changes_nothing_by_any_method_on_any_path(app, client, tokens):
    for path in sorted({path for _, path in routes(app)} | {"/", "/nowhere", "/api/v1/nowhere"}):
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"):
            if is_open(path) or needed(method, path) == "read":
                continue
            assert client.request(method, path, headers=bearer(tokens["read"])).status_code == 403, (method, path)


def test_the_open_list_is_exactly_this(app):
    opened = {path for _, path in routes(app) if is_open(path)}
    assert {path for path in opened if not path.startswith("/hooks/")} == {"/healthz", "/readyz", "/login"}
    assert OPEN_FOLDERS == ("/static/", "/hooks/")


SMUGGLED = [
    "//api/v1/tokens", "/api//v1/tokens", "/api/v1/tokens%0A", "/api/v1/tokens%00", "/api/v1/tokens%3F",
    "/static/%2e%2e/api/v1/tokens", "/static/..%2fapi/v1/tokens", "/static%2f..%2fapi/v1/tokens",
    "/hooks/../api/v1/tokens", "/hooks/%2e%2e/api/v1/tokens", "/hooks/./../api/v1/tokens", "/hooks//../api/v1/tokens",
    "/healthz/../api/v1/tokens", "/login/../api/v1/tokens", "/%2e/api/v1/tokens", "/%252e%252e/api/v1/tokens",
    "/API/V1/TOKENS", "/Api/v1/tokens", "/api/v1/tokens/", "/api/v1/tokens//", "/api/v1%2ftokens", "/api/v1/./tokens",
    "/api/v1/tokens;a=1", "/api%5cv1%5ctokens", "/api/v1/models/default/tweets/hook-secret%0A", "/login/",
    "/healthz%00", "/api/v1/audit%0A", "/api/v1/audit/%2e%2e/tokens",
]  # fmt: skip


def test_a_smuggled_path_leads_neither_in_nor_to_more_than_the_scope(app, tokens):
    for path in SMUGGLED:
        assert raw(app, "GET", path)[0] == 401, path
        for method in ("GET", "POST", "DELETE"):
            status, body = raw(app, method, path, bearer(tokens["read"]))
            assert status in (307, 403, 404, 405, 422) and '"tokens"' not in body, (method, path, status, body)


def test_a_forwarded_host_or_root_path_opens_nothing(client):
    for headers in ({"X-Forwarded-Prefix": "/static"}, {"X-Original-URL": "/healthz"}, {"X-Rewrite-URL": "/healthz"},
                    {"X-HTTP-Method-Override": "GET"}, {"Host": "localhost"}):  # fmt: skip
        assert_error(client.get("/api/v1/models", headers=headers), 401)


def test_every_answer_names_its_request_and_believes_only_a_plain_name(client, tokens):
    given = client.get("/healthz", headers={"X-Request-Id": "trace-7.a_B"})
    assert given.headers["x-request-id"] == "trace-7.a_B"
    for said in ("", "a b", "x" * 65, "<script>", "\u00e9"):
        made = client.get("/api/v1/models", headers={"X-Request-Id": said.encode()})
        assert UUID(made.headers["x-request-id"]).version == 7


def test_an_expired_token_is_a_wrong_one(world, client):
    token = new_token()
    past = datetime.now(UTC) - timedelta(seconds=1)
    world.store.add_token("old", digest_of_token(token), ["admin"], past)
    assert "expired" in assert_error(client.get("/api/v1/models", headers=bearer(token)), 401)["message"]


def test_after_ten_wrong_tokens_in_a_minute_an_address_is_told_to_wait_but_a_valid_one_is_let_in(client, tokens):
    for _ in range(10):
        assert client.get("/api/v1/models", headers=bearer("wrong")).status_code == 401
    refused = client.get("/api/v1/models", headers=bearer("wrong"))
    assert_error(refused, 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert client.get("/api/v1/models", headers=bearer(tokens["admin"])).status_code == 200
    assert_error(client.get("/api/v1/models", headers=bearer("wrong")), 429)


def test_expired_tokens_are_counted_and_throttled_like_wrong_ones_and_missing_ones_are_not(world, client):
    token = new_token()
    world.store.add_token("old", digest_of_token(token), ["admin"], datetime.now(UTC) - timedelta(seconds=1))
    codes = [client.get("/api/v1/models", headers=bearer(token)).status_code for _ in range(11)]
    assert codes == [401] * 10 + [429]
    assert client.get("/api/v1/models").status_code == 401


def test_forwarded_addresses_are_not_believed(client):
    codes = [
        client.get("/api/v1/models", headers=bearer("wrong") | {"X-Forwarded-For": f"10.0.0.{number}"})
        for number in range(11)
    ]
    assert codes[-1].status_code == 429


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/v1/nowhere", None, 404),
        ("GET", "/api/v1/models/default/nothing", None, 404),
        ("GET", "/api/v1/models/default/nothing/runs", None, 404),
        ("DELETE", "/api/v1/models/default/tweets", None, 405),
        ("GET", "/api/v1/models/default/tweets/runs?limit=0", None, 422),
        ("POST", "/api/v1/models/default/tweets/runs", {"request_id": "x"}, 422),
        ("POST", "/api/v1/models/default/tweets/runs", {"request_id": "0" * 36, "more": 1}, 422),
        ("POST", "/api/v1/models/default/tweets/rollback", {"reason": "why"}, 409),
        ("POST", "/api/v1/models/default/tweets/rollback", {"reason": ""}, 422),
        ("PUT", "/api/v1/models/default/tweets", {"spec": {}, "recipe": {"a.py": ""}}, 422),
        ("PUT", "/api/v1/clock", {"now": "2021-01-01T00:00:00Z"}, 409),
        ("PUT", "/api/v1/clock", {"now": "2021-01-01T00:00:00"}, 422),
        ("GET", f"/api/v1/blobs/{'0' * 64}", None, 404),
        ("GET", "/api/v1/blobs/..%2F..%2Fcontrol.db", None, 422),
        ("GET", "/api/v1/blobs/abc", None, 422),
        ("PUT", "/api/v1/serving/instances/a%20b", {"loaded": []}, 422),
    ],
)
def test_every_error_has_one_shape(client, tokens, method, path, body, status):
    assert_error(client.request(method, path, json=body, headers=bearer(tokens["admin"])), status)


def test_a_body_that_is_no_json_has_the_same_shape(client, tokens):
    headers = bearer(tokens["admin"]) | {"Content-Type": "application/json"}
    assert_error(client.put("/api/v1/clock", content=b"{", headers=headers), 422)


def test_an_unexpected_error_says_nothing_of_its_cause_and_has_the_same_shape(client, tokens, world, monkeypatch):
    def broken() -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(world.store, "tokens", broken)
    response = client.get("/api/v1/serving/desired", headers=bearer(tokens["admin"]))
    assert assert_error(response, 500)["code"] == "internal"
    assert "secret" not in response.text and "Content-Security-Policy" in response.headers


def test_a_door_whose_database_fails_lets_nobody_in_and_says_so_in_the_one_shape(app, tokens, world, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(world.store, "token", broken)
    response = TestClient(app).get("/api/v1/models", headers=bearer(tokens["admin"]))
    assert assert_error(response, 500)["code"] == "internal" and "secret" not in response.text


def test_a_body_beyond_the_limit_is_refused_whether_it_says_its_length_or_not(client, tokens):
    headers = bearer(tokens["admin"]) | {"Content-Type": "application/json"}
    long = b" " * (BODY_BYTES + 1)
    path = f"/api/v1/models/{MODEL}"
    assert_error(client.post(f"{path}/runs", content=long, headers=headers), 413)
    assert_error(client.post(f"{path}/runs", content=iter([long]), headers=headers), 413)
    assert_error(client.put(path, content=long, headers=headers), 422)
    assert_error(client.put(path, content=b" " * (APPLY_BYTES + 1), headers=headers), 413)


def test_a_large_recipe_is_applied_whatever_its_text_looks_like(client, tokens, world):
    recipe = world.store.model(MODEL).recipe | {"more.py": '# {[:,"\\\n' * 250_000}
    body = {"spec": world.spec.model_dump(mode="json", by_alias=True), "recipe": recipe}
    response = client.put(f"/api/v1/models/{MODEL}", json=body, headers=bearer(tokens["apply"]))
    assert (response.status_code, response.json()["changed"]) == (200, True)


def test_a_length_beyond_the_limit_is_refused_before_a_token_is_looked_up(client, world, monkeypatch):
    monkeypatch.setattr(world.store, "token", None)
    headers = bearer("wrong") | {"Content-Type": "application/json"}
    assert_error(client.post(f"/api/v1/models/{MODEL}/runs", content=b" " * (BODY_BYTES + 1), headers=headers), 413)


def test_of_many_problems_the_first_are_named_and_the_rest_is_counted(client, tokens, world):
    declared = world.spec.model_dump(mode="json", by_alias=True) | {"rules": [{"name": "x"}] * 50}
    of_a_spec = {"spec": declared, "recipe": {"a.py": ""}}
    of_fields = {"request_id": "0" * 36} | {f"f{number}": 1 for number in range(50)}
    path, headers = f"/api/v1/models/{MODEL}", bearer(tokens["admin"])
    for response in (
        client.put(path, json=of_a_spec, headers=headers),
        client.post(f"{path}/runs", json=of_fields, headers=headers),
    ):
        details = assert_error(response, 422)["details"]
        assert (len(details["problems"]), details["more"]) == (TOLD_PROBLEMS, 50 - TOLD_PROBLEMS)


def test_every_answer_carries_the_security_headers(app, client, tokens):
    for method, path in [*routes(app), ("GET", "/nowhere")]:
        for headers in ({}, bearer(tokens["admin"])):
            response = client.request(method, path, headers=headers)
            assert "default-src 'none'" in response.headers["content-security-policy"]
            assert response.headers["x-content-type-options"] == "nosniff"


def test_a_browser_without_a_session_is_sent_to_the_login_page(client):
    response = client.get("/", headers={"Accept": "text/html"}, follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "/login")
    deep = client.get("/models/default/tweets?every=1&q=a%26b", headers={"Accept": "text/html"}, follow_redirects=False)
    assert deep.headers["location"] == "/login?next=/models/default/tweets%3Fevery%3D1%26q%3Da%2526b"
    assert_error(client.get("/api/v1/models", headers={"Accept": "text/html"}), 401)


def test_the_spec_of_one_model_cannot_be_applied_as_another_nor_with_files_elsewhere(client, tokens, world):
    declared = world.spec.model_dump(mode="json", by_alias=True)
    recipe = world.store.model(MODEL).recipe
    headers = bearer(tokens["apply"])
    for path, files in (
        ("default/other", recipe),
        ("default/tweets", recipe | {"../evil.py": ""}),
        ("default/tweets", {"features.py": ""}),
    ):
        body = {"spec": declared, "recipe": files}
        assert assert_error(client.put(f"/api/v1/models/{path}", json=body, headers=headers), 422)
    assert len(world.store.models()) == 1
    assert isinstance(world.clock, FakeClock) and world.clock.now() == START
