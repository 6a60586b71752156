"""Who has shown no token takes little of the memory, and of the time, that bodies wait in; who goes away leaves no
trace."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import psutil
import pytest
import uvicorn

from controlplane.access.auth import Authenticator, digest_of_token, new_token
from controlplane.access.hooks import ID, SIGNATURE, TIMESTAMP
from controlplane.api import Parts, create_app
from controlplane.api.door import FORM, Door
from controlplane.api.limits import OPEN_BYTES
from controlplane.processes import admin_pages
from controlplane.receiving import BODY_LIMIT
from tests.controlplane_world import MODEL, World

SIGNED = {ID: "a", TIMESTAMP: "1700000000", SIGNATURE: "v1,x"}
HOOK = f"/hooks/{MODEL}"
SECONDS = 1.0


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def door(world):
    authenticator = Authenticator(world.store)
    parts = Parts(world.store, world.blobs, world.clock, authenticator, hook_key=b"k" * 32)
    return Door(create_app(parts, admin_pages()), authenticator, seconds=SECONDS)


@pytest.fixture(scope="module")
def port(door) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        server = uvicorn.Server(uvicorn.Config(door, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(30)


def post(port: int, path: str, headers: dict[str, str], first: bytes) -> socket.socket:
    """A request whose body does not end."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    wire = socket.create_connection(("127.0.0.1", port))
    wire.settimeout(30)
    wire.sendall(f"POST {path} HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n{lines}\r\n".encode())
    if first:
        wire.sendall(b"%x\r\n%b\r\n" % (len(first), first))
    return wire


def answer(wire: socket.socket) -> bytes:
    """All that is answered, until the other side closes."""
    said = b""
    with wire:
        while piece := wire.recv(1 << 16):
            said += piece
    return said


@pytest.mark.parametrize("path", [HOOK, "/login"])
def test_bodies_that_never_end_take_little_memory_and_are_closed_in_time(port, path):
    headers = SIGNED if path == HOOK else {"Content-Type": FORM}
    answer(post(port, path, headers, b"x"))
    before = psutil.Process().memory_info().rss
    first = b"x" * (BODY_LIMIT - 100 if path == HOOK else 4_000)
    wires = [post(port, path, headers, first) for _ in range(150)]
    assert psutil.Process().memory_info().rss - before < 20 << 20
    said = [answer(wire) for wire in wires]
    assert {each.partition(b"\r\n")[0] for each in said} == {b"HTTP/1.1 408 Request Timeout"}
    assert all(b"connection: close" in each.lower() for each in said)


@pytest.mark.parametrize(("path", "limit"), [(HOOK, BODY_LIMIT), ("/login", OPEN_BYTES)])
def test_a_body_without_a_token_may_be_no_longer_than_such_bodies_are(port, path, limit):
    headers = SIGNED if path == HOOK else {"Content-Type": FORM}
    assert answer(post(port, path, headers, b"x" * (limit + 1))).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("missing", SIGNED)
def test_a_call_that_is_not_signed_is_refused_before_its_body_comes(port, missing):
    headers = {name: value for name, value in SIGNED.items() if name != missing}
    wire = post(port, HOOK, headers, b"")
    assert wire.recv(1 << 16).startswith(b"HTTP/1.1 401")
    wire.close()


def abandoned(door: Door, path: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    """What is said to somebody who goes away in the middle of a form."""
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("10.0.0.1", 1), "server": ("here", 80), "scheme": "http", "http_version": "1.1",
    }  # fmt: skip
    messages = iter([{"type": "http.request", "body": b"token=x", "more_body": True}])
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    anyio.run(door, scope, receive, send)
    return said


def test_forms_that_are_given_up_leave_no_line_in_the_log(world, door, caplog):
    token = new_token()
    world.store.add_token("ana", digest_of_token(token), ["operate"])
    paths = ("/login", f"/models/{MODEL}/do/pause", HOOK, "/api/v1/clock", f"/api/v1/models/{MODEL}/runs")
    for path in paths * 4:
        abandoned(door, path, {**SIGNED, "Content-Type": FORM, "Authorization": f"Bearer {token}"})
    assert caplog.text == ""
