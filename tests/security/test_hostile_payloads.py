"""Bodies that are too large, too deep or too wide, at both doors: refused, at no memory, and at no neighbour's cost.

Real processes: the server's own parsing of chunks and lengths is part of the claim.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from bundle.blobs import BlobStore
from bundle.home import Home
from controlplane.access.credentials import read_credentials
from tests.serving_harness import LABELS, PREDICT, ROW, TOKEN, control_plane, free_port, serving, wait_until
from tests.versions import make_version

MODEL = "/api/v1/models/default/hostile"
PIECE = b"x" * 65_536
#: what an endless sender sends at most, should nobody stop it
_ENDLESS = 4_000
GROWTH = 20 << 20


@dataclass(frozen=True)
class Server:
    """A server under attack: where, as whom, and a request that must go on being answered."""

    port: int
    token: str
    process: psutil.Process
    targets: tuple[tuple[str, str], ...]
    ask: Callable[[httpx.Client], httpx.Response]

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=20, trust_env=False)

    def head(self, target: tuple[str, str], framing: str) -> bytes:
        lines = (
            f"{target[0]} {target[1]} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {self.token}",
            "Content-Type: application/json", framing, "", "",
        )  # fmt: skip
        return "\r\n".join(lines).encode()


@contextmanager
def answers(folder: Path) -> Iterator[Server]:
    with control_plane(BlobStore(folder / "blobs")) as control:
        control.want("production", 1, make_version(control.blobs))
        with serving(folder / "home", control.url) as process:
            process.wait_ready()
            yield Server(
                process.port, TOKEN, psutil.Process(process.process.pid), (("POST", PREDICT), ("POST", LABELS)),
                lambda client: client.post(PREDICT, json={"rows": [ROW]}),
            )  # fmt: skip


@contextmanager
def decides(folder: Path) -> Iterator[Server]:
    port = free_port()
    environment = os.environ | {"CONTROLPLANE_HOME": str(folder), "CONTROLPLANE_PORT": str(port)}
    with (folder / "control.log").open("wb") as log:
        command = [sys.executable, "-m", "controlplane", "control"]
        process = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[2], stdout=log, stderr=log)

    def ready() -> bool:
        assert process.poll() is None, (folder / "control.log").read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False

    try:
        wait_until(ready, "the control plane answers", 60)
        token = read_credentials(Home(folder).credentials).admin.get_secret_value()
        yield Server(
            port, token, psutil.Process(process.pid), (("PUT", MODEL), ("POST", f"{MODEL}/runs")),
            lambda client: client.get("/api/v1/models"),
        )  # fmt: skip
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module", params=[answers, decides], ids=["serving", "control plane"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with request.param(tmp_path_factory.mktemp("hostile-payloads")) as running:
        yield running


def send(server: Server, target: tuple[str, str], framing: str, pieces: int, frame: bytes) -> int:
    """The status that answers a body of so many pieces; sending ends where the other side no longer takes any."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as connection:
        connection.sendall(server.head(target, framing))
        try:
            for _ in range(pieces):
                connection.sendall(frame)
        except OSError:
            pass
        try:
            return int(connection.recv(64).split()[1])
        except (ConnectionResetError, IndexError):
            return 0


def declared(server: Server, target: tuple[str, str]) -> int:
    return send(server, target, f"Content-Length: {160 * len(PIECE)}", 160, PIECE)


def declared_huge(server: Server, target: tuple[str, str]) -> int:
    return send(server, target, f"Content-Length: {10 << 30}", 1, PIECE)


def chunked(server: Server, target: tuple[str, str]) -> int:
    return send(server, target, "Transfer-Encoding: chunked", 160, b"10000\r\n" + PIECE + b"\r\n")


def posted(body: bytes) -> Callable[[Server, tuple[str, str]], int]:
    def post(server: Server, target: tuple[str, str]) -> int:
        with server.client() as client:
            return client.request(*target, content=body).status_code

    return post


def _fields(count: int) -> bytes:
    return b"{" + b",".join(b'"%d":0' % number for number in range(count)) + b"}"


_FIELDS = _fields(100_000)
ATTACKS = {
    "10 MB declared": (declared, {413}),
    "10 GB declared": (declared_huge, {413}),
    "10 MB in chunks": (chunked, {413}),
    "lists 10,000 deep": (posted(b"[" * 10_000 + b"]" * 10_000), {413, 422}),
    "objects 10,000 deep": (posted(b'{"rows":' * 10_000 + b"0" + b"}" * 10_000), {413, 422}),
    "100,000 fields": (posted(_FIELDS), {413, 422}),
    "a text that never ends": (posted(b'{"rows":"' + b'\\"' * 400_000), {400, 413, 422}),
    "as many fields as are read": (posted(_fields(4_900)), {413, 422}),
    "100,000 fields in a row": (posted(b'{"rows":[' + _FIELDS + b'],"labels":[' + _FIELDS + b"]}"), {413, 422}),
    "80,000 fields in a row": (posted(b'{"rows":[' + _fields(80_000) + b"]}"), {413, 422}),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_body_is_refused(server: Server, attack: str) -> None:
    attempt, expected = ATTACKS[attack]
    for target in server.targets:
        assert attempt(server, target) in expected, target


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_a_body_that_is_too_wide_is_refused_while_it_still_comes(server: Server, framing: str) -> None:
    begins = _FIELDS[: len(PIECE)]
    frame = begins if framing.startswith("Content-Length") else b"%x\r\n%b\r\n" % (len(begins), begins)
    for target in server.targets:
        assert send(server, target, framing, 1, frame) == 422


def test_who_was_refused_may_ask_again_on_the_same_connection(server: Server) -> None:
    with server.client() as client:
        for target in server.targets:
            refused = client.request(*target, content=_FIELDS)
            assert refused.status_code == 422
            assert "fields" in refused.json()["error"]["message"]
            assert server.ask(client).status_code == 200


class Watch:
    """Asks as a neighbour, and looks at the server's memory, for as long as it is open."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self.statuses: list[int] = []
        self.peak = 0
        self._threads = [threading.Thread(target=self._ask), threading.Thread(target=self._look)]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with self._server.client() as client:
            while not self._over.is_set():
                self.statuses.append(self._server.ask(client).status_code)

    def _look(self) -> None:
        while not self._over.is_set():
            self.peak = max(self.peak, self._server.process.memory_info().rss)
            time.sleep(0.005)


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_bodies_cost_no_memory_and_neighbours_are_answered(server: Server, attack: str) -> None:
    attempt, _ = ATTACKS[attack]
    attempt(server, server.targets[-1])
    before = server.process.memory_info().rss
    with Watch(server) as watch:
        for _ in range(3):
            attempt(server, server.targets[-1])
        wait_until(lambda: len(watch.statuses) > 1, "neighbours are answered")

    assert watch.peak - before <= GROWTH
    assert set(watch.statuses) == {200}


def test_a_body_that_never_ends_is_cut_off(server: Server) -> None:
    before = server.process.memory_info().rss
    with Watch(server) as watch:
        status = send(server, server.targets[0], "Transfer-Encoding: chunked", _ENDLESS, b"10000\r\n" + PIECE + b"\r\n")
        wait_until(lambda: len(watch.statuses) > 1, "neighbours are answered")

    assert status in (413, 0)  # the answer, or a connection that was closed on the sender
    assert watch.peak - before <= GROWTH
    assert set(watch.statuses) == {200}


def test_many_callers_that_send_a_byte_and_wait_hinder_nobody(server: Server) -> None:
    waiting = []
    with Watch(server) as watch:
        for _ in range(100):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=15)
            connection.sendall(server.head(server.targets[0], "Content-Length: 1000") + b"{")
            waiting.append(connection)
        wait_until(lambda: len(watch.statuses) > 20, "neighbours are answered")
    for connection in waiting:
        connection.close()
    assert set(watch.statuses) == {200}
