"""What does not get in: no token, a foreign content type, too much, too deep. On a real BentoML process."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from bundle.blobs import BlobStore
from serving import door
from serving.door import MAX_BODY, OPEN, Door
from tests.serving_harness import (
    EXPIRED_TOKEN,
    LABELS,
    PREDICT,
    READ_TOKEN,
    ROW,
    TOKEN,
    ServingProcess,
    control_plane,
    serving,
)
from tests.versions import make_version

#: what BentoML 1.4 brings along, and what FastAPI-like applications usually have
BENTOML_ROUTES = [
    "/", "/metrics", "/docs.json", "/schema.json", "/livez", "/static_content/index.css", "/assets/index.js",
    "/docs", "/openapi.json", "/submit", "/status",
]  # fmt: skip

HEAD = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingProcess]:
    folder: Path = tmp_path_factory.mktemp("serving-door")
    blobs = BlobStore(folder / "blobs")
    with control_plane(blobs) as control:
        control.want("production", 1, make_version(blobs))
        with serving(folder / "home", control.url) as process:
            yield process.wait_ready()


@pytest.fixture
def client(service: ServingProcess) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


def paths_of_bentoml() -> list[str]:
    """Every path of the application that BentoML builds around the service, its mounts included."""
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    from serving.service import DriftgateService

    return sorted({str(getattr(route, "path", "")) or "/" for route in DriftgateService.to_asgi().routes})


def test_every_route_of_bentoml_and_ours_asks_for_a_token(service: ServingProcess) -> None:
    ours = [PREDICT, LABELS, "/v1/loaded", "/v1/models/a/b/other"]
    found = paths_of_bentoml()
    assert {"/healthz", "/readyz", "/livez", "/schema.json"} <= set(found)
    with service.client(token=None) as stranger:
        for path in sorted({*found, *BENTOML_ROUTES, *ours} - OPEN):
            for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"):
                response = stranger.request(method, path)
                assert response.status_code == 401, (method, path)
                assert response.headers["WWW-Authenticate"] == "Bearer"


def test_bentoml_routes_answer_nobody_even_with_a_token(client: httpx.Client) -> None:
    for path in {*paths_of_bentoml(), *BENTOML_ROUTES} - OPEN:
        response = client.get(path)
        assert response.status_code == 404, path
        assert response.json()["error"]["code"] == "no_such_route"


def test_open_routes_are_ours_and_say_little(service: ServingProcess) -> None:
    with service.client(token=None) as stranger:
        assert stranger.get("/healthz").json() == {"status": "alive"}
        assert stranger.get("/readyz").json() == {"status": "ready"}
        assert stranger.get("/healthz/").status_code == 401
        assert stranger.get("//healthz").status_code == 401
        assert stranger.get("/healthz/../v1/loaded").status_code == 401


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {READ_TOKEN}", 403),
        (f"Bearer {EXPIRED_TOKEN}", 401),
        ("Bearer", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {'x' * 5000}", 401),
        (f"bearer {TOKEN}", 200),
    ],
)
def test_only_a_living_token_of_the_right_scope_is_heard(service: ServingProcess, header: str, status: int) -> None:
    with service.client(token=None) as stranger:
        response = stranger.post(PREDICT, json={"rows": [ROW]}, headers={"Authorization": header})
    assert response.status_code == status


@pytest.mark.parametrize(
    "content_type",
    [
        "application/vnd.bentoml+pickle",
        "application/octet-stream",
        "multipart/form-data; boundary=x",
        "text/json",
        "",
    ],
)
def test_nothing_but_json_is_read(client: httpx.Client, content_type: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    response = client.post(PREDICT, content=pickle.dumps(Bomb(str(canary))), headers={"Content-Type": content_type})

    assert response.status_code == 415
    assert response.json()["error"]["code"] == "unsupported_media_type"
    assert not canary.exists()


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)


def test_a_compressed_body_is_refused(client: httpx.Client) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert client.post(PREDICT, content=b"{}", headers=headers).status_code == 415


def test_large_bodies_are_refused_early_and_cost_no_memory(service: ServingProcess) -> None:
    memory = psutil.Process(service.process.pid)
    before = memory.memory_info().rss
    for _ in range(5):
        assert refused_after(service, chunked=False) == 413
        assert refused_after(service, chunked=True) == 413
    assert memory.memory_info().rss - before < 20 << 20
    with service.client() as client:
        assert client.post(PREDICT, json={"rows": [ROW]}).status_code == 200


def refused_after(service: ServingProcess, *, chunked: bool) -> int:
    """Send 10 MB and read what is answered."""
    piece = b"x" * 65536
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {160 * len(piece)}"
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(f"{HEAD}{framing}\r\n\r\n".encode())
        for _ in range(160):
            connection.sendall(b"10000\r\n" + piece + b"\r\n" if chunked else piece)
        if chunked:
            connection.sendall(b"0\r\n\r\n")
        return int(connection.recv(64).split()[1])


def test_a_refusal_of_a_large_body_does_not_wait_for_it(service: ServingProcess) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(f"{HEAD}Content-Length: 10000000000\r\n\r\n".encode())
        begun = time.perf_counter()
        assert connection.recv(64).split()[1] == b"413"
        assert time.perf_counter() - begun < 0.5


def test_a_body_that_never_comes_keeps_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_BODY_SECONDS", 0.05)
    monkeypatch.setattr(door, "_DRAIN_SECONDS", 0.05)
    answers: list[Any] = []

    class Open:
        def check(self, authorization: bytes | None) -> None:
            pass

    async def nothing(*_: Any) -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        answers.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"20")]
    scope = {"type": "http", "method": "POST", "path": PREDICT, "headers": headers}
    asyncio.run(asyncio.wait_for(Door(nothing, nothing, Open())(scope, nothing, send), 5))
    assert answers[0]["status"] == 408 and (b"connection", b"close") in answers[0]["headers"]
    assert answers[-1]["more_body"] is False


def test_a_body_of_exactly_the_limit_is_read(client: httpx.Client) -> None:
    filler = b'{"rows": [{"followers": 1}], "x": "'
    body = filler + b"y" * (MAX_BODY - len(filler) - 2) + b'"}'
    headers = {"Content-Type": "application/json"}
    assert client.post(PREDICT, content=body, headers=headers).status_code == 200
    assert client.post(PREDICT, content=body + b" ", headers=headers).status_code == 413


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"[" * 10_000 + b"]" * 10_000, 422, "too_deep"),
        (b'{"rows": ' + b"[" * 500 + b"]" * 500 + b"}", 422, "bad_row"),
        (b'{"rows": [{"followers": {"a": [1]}}]}', 422, "bad_row"),
        (b'{"rows": [{"followers": 1e999}]}', 400, "bad_json"),
        (b'{"rows": [{"followers": NaN}]}', 400, "bad_json"),
        (b'{"rows": [{"followers": true}]}', 422, "bad_row"),
        (b'{"rows": [{"followers": 1, "text": 5}]}', 422, "bad_row"),
        (b'{"rows": [{}]}', 422, "bad_row"),
        (b'{"rows": []}', 422, "bad_request"),
        (b'{"rows": {"followers": 1}}', 422, "bad_request"),
        (b'{"rows": [' + b",".join([b"{}"] * 1001) + b"]}", 422, "too_many"),
        (b"[]", 422, "bad_request"),
        (b"", 400, "bad_json"),
        (b"\xff", 400, "bad_json"),
        (b'{"rows": [{"followers": 1}], "event_times": ["2021-01-01T00:00:00"]}', 422, "bad_row"),
        (b'{"rows": [{"followers": 1}], "event_times": ["2999-01-01T00:00:00Z"]}', 422, "bad_row"),
        (b'{"rows": [{"followers": 1}], "event_times": []}', 422, "bad_request"),
        (b'{"rows": [{"followers": 1}], "event_times": ["0001-01-01T00:00:00+14:00"]}', 422, "bad_row"),
    ],
)
def test_a_bad_body_is_named_in_the_one_error_shape(client: httpx.Client, body: bytes, status: int, code: str) -> None:
    response = client.post(PREDICT, content=body, headers={"Content-Type": "application/json"})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert set(response.json()) == {"error"}
    assert set(error) == {"code", "message", "details"}
    if code == "bad_row":
        assert {"row", "field"} <= set(error["details"])


@pytest.mark.parametrize(
    "label",
    [{"prediction_id": "x", "label": 2}, {"prediction_id": "x", "label": "1"}, {"prediction_id": "", "label": 1},
     {"prediction_id": "x" * 65, "label": 1}, {"label": 1}, {"prediction_id": "x"},
     {"prediction_id": "x", "label": 1, "label_time": "yesterday"},
     {"prediction_id": "x", "label": 1, "other": 1}, {"prediction_id": "x", "label": 0.5}],
)  # fmt: skip
def test_a_bad_label_is_refused_with_its_field(client: httpx.Client, label: dict[str, Any]) -> None:
    good = {"prediction_id": "good", "label": 1}
    response = client.post(LABELS, json={"labels": [good, label]})
    assert response.status_code == 422
    assert response.json()["error"]["details"]["row"] == 1


@pytest.mark.parametrize(("fields", "status"), [(1_999, 200), (2_000, 422), (90_000, 422)])
def test_undeclared_fields_are_dropped_and_too_many_are_refused(
    client: httpx.Client, service: ServingProcess, fields: int, status: int
) -> None:
    row = {"followers": 1, **{f"f{n}": 0 for n in range(fields)}}
    assert client.post(PREDICT, json={"rows": [row]}).status_code == status
    assert b"f1998" not in service.spooled()[-1]


def test_a_batch_of_the_most_rows_is_answered_whatever_its_texts_and_undeclared_fields_look_like(
    client: httpx.Client,
) -> None:
    extra = {f"f{number}": number for number in range(90)} | {"g": [1, {"h": []}], "i": '{"a": [:,\\"'}
    rows = [{"followers": 1, "text": ':"{[', **extra}] * 1_000
    body = json.dumps({"rows": rows, "event_times": ["2021-01-01T00:00:00Z"] * 1_000}, separators=(",", ":"))
    assert len(body) > MAX_BODY * 3 // 4
    answer = client.post(PREDICT, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, len(answer.json()["predictions"])) == (200, 1_000)


def test_an_unknown_model_is_said_to_be_unknown(client: httpx.Client) -> None:
    for action in ("predict", "labels"):
        body = {"rows": [ROW], "labels": [{"prediction_id": "x", "label": 1}]}
        response = client.post(f"/v1/models/default/other/{action}", json=body)
        assert (response.status_code, response.json()["error"]["code"]) == (404, "no_such_model")


def test_wrong_methods_and_websockets_are_refused(client: httpx.Client, service: ServingProcess) -> None:
    response = client.get(PREDICT)
    assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    assert client.get("/v1/loaded", headers=upgrade).status_code in (400, 403)


def test_neighbours_are_answered_while_someone_sends_too_much(service: ServingProcess) -> None:
    async def both() -> list[float]:
        flood = [asyncio.to_thread(refused_after, service, chunked=True) for _ in range(4)]
        running = asyncio.gather(*flood)
        taken: list[float] = []
        async with httpx.AsyncClient(base_url=service.url, trust_env=False) as client:
            for _ in range(50):
                begun = time.perf_counter()
                headers = {"Authorization": f"Bearer {TOKEN}"}
                response = await client.post(PREDICT, json={"rows": [ROW]}, headers=headers)
                assert response.status_code == 200
                taken.append(time.perf_counter() - begun)
        assert await running == [413] * 4
        return taken

    assert sorted(asyncio.run(both()))[-2] < 1.0
