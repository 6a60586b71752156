"""A proxy in front of Elasticsearch that does to bulk calls what networks and busy clusters do, as a plan says."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import select
import socket
import struct
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

import pytest


class Fault(StrEnum):
    """What can happen to a call."""

    #: Elasticsearch never sees it, and the caller waits for nothing
    TIMEOUT_BEFORE = "time-out before it was applied"
    #: Elasticsearch has done it, and the caller waits for nothing
    TIMEOUT_AFTER = "time-out after it was applied"
    #: the connection breaks before Elasticsearch sees it
    RESET_BEFORE = "reset before it was applied"
    #: the connection breaks after Elasticsearch has done it
    RESET_AFTER = "reset after it was applied"
    #: 429 for the whole call
    BUSY = "429"
    #: 429 for some items; the others are applied
    BUSY_ITEMS = "429 for items"
    #: 503 for the whole call
    UNAVAILABLE = "503"


#: what happens to the next bulk call; None: it passes
Plan = Callable[[], Fault | None]
#: the share of a call's items that BUSY_ITEMS turns away
BUSY_SHARE: Final = 0.3
#: of one connection only; `accept-encoding` too, so that answers can be read and changed here
_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host", "accept-encoding"})
_BUSY: Final = {"type": "es_rejected_execution_exception", "reason": "rejected execution of a write: the queue is full"}


class FaultyProxy:
    """Passes requests on to `target`; bulk calls meet what the plan says, everything meets an outage."""

    def __init__(self, target: str, seed: int = 7) -> None:
        self.random = random.Random(seed)
        #: how often each fault happened
        self.happened: Counter[Fault] = Counter()
        #: bulk calls that came, whatever became of them
        self.calls = 0
        self._target = urlsplit(target)
        self._next: deque[Fault | None] = deque()
        self._plan: Plan | None = None
        self._lock = threading.Lock()
        self._down = threading.Event()
        self._closed = threading.Event()
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def next(self, *faults: Fault | None) -> None:
        """What happens to the next bulk calls, one each; after them the plan goes on."""
        with self._lock:
            self._next.extend(faults)

    def plan(self, plan: Plan | None) -> None:
        """Ask `plan` about each bulk call from now on; None: they pass."""
        self._plan = plan

    def at_random(self, shares: Mapping[Fault, float]) -> None:
        """Each bulk call meets a fault with its probability, drawn from the seed."""

        def draw() -> Fault | None:
            drawn = self.random.random()
            for fault, share in shares.items():
                drawn -= share
                if drawn < 0:
                    return fault
            return None

        self.plan(draw)

    def down(self) -> None:
        """An outage: every call, of whatever kind, is reset."""
        self._down.set()

    def up(self) -> None:
        self._down.clear()

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def fault(self) -> Fault | None:
        """What happens to the bulk call that has just come."""
        with self._lock:
            self.calls += 1
            fault = self._next.popleft() if self._next else self._plan() if self._plan else None
            if fault is not None:
                self.happened[fault] += 1
            return fault

    @property
    def is_down(self) -> bool:
        return self._down.is_set()

    def connect(self) -> http.client.HTTPConnection:
        """A connection to what is behind it."""
        return http.client.HTTPConnection(self._target.hostname or "", self._target.port or 9200, timeout=120)

    def hang(self, connection: socket.socket) -> None:
        """Say nothing until the caller gives up."""
        while not self._closed.is_set():
            ready, _, _ = select.select([connection], [], [], 0.05)
            with contextlib.suppress(OSError):
                if ready and connection.recv(1, socket.MSG_PEEK):
                    continue
            if ready:
                return


class _Server(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True

    def __init__(self, proxy: FaultyProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, *_: object) -> None:
        """A caller that gave up is no error here: it is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    _behind: http.client.HTTPConnection | None = None

    @property
    def proxy(self) -> FaultyProxy:
        assert isinstance(self.server, _Server)
        return self.server.proxy

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.fault() if urlsplit(self.path).path.endswith("/_bulk") and not self.proxy.is_down else None
        if self.proxy.is_down or fault is Fault.RESET_BEFORE:
            self._reset()
        elif fault is Fault.TIMEOUT_BEFORE:
            self._hang()
        elif fault in {Fault.BUSY, Fault.UNAVAILABLE}:
            status = 429 if fault is Fault.BUSY else 503
            self._answer(status, {}, json.dumps({"error": _BUSY, "status": status}).encode())
        else:
            self._apply(body, fault)

    def _apply(self, body: bytes, fault: Fault | None) -> None:
        try:
            if fault is Fault.BUSY_ITEMS:
                status, headers, answer = _without_some(body, self.proxy.random, self._forward)
            else:
                status, headers, answer = self._forward(body)
        except (OSError, http.client.HTTPException):
            self._reset()
            return
        if fault is Fault.TIMEOUT_AFTER:
            self._hang()
        elif fault is Fault.RESET_AFTER or self.proxy.is_down:
            self._reset()
        else:
            self._answer(status, headers, answer)

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self._behind is None:
            self._behind = self.proxy.connect()
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        try:
            self._behind.request(self.command, self.path, body or None, headers)
            answer = self._behind.getresponse()
            return answer.status, dict(answer.headers.items()), answer.read()
        except (OSError, http.client.HTTPException):
            self._behind.close()
            self._behind = None
            raise

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        told = {"X-elastic-product": "Elasticsearch", "content-type": "application/json"} | dict(headers)
        for name, value in told.items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _hang(self) -> None:
        self.proxy.hang(self.connection)
        self.close_connection = True

    def _reset(self) -> None:
        """Break the connection with RST, as a dead host or a firewall would."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        pass

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _pass


Answer = tuple[int, dict[str, str], bytes]


def _without_some(body: bytes, choice: random.Random, forward: Callable[[bytes], Answer]) -> Answer:
    """The answer to a bulk body of which some items never came to Elasticsearch and are answered with 429."""
    lines = body.splitlines(keepends=True)
    pairs = list(zip(lines[::2], lines[1::2], strict=True))
    busy = {place for place in range(len(pairs)) if choice.random() < BUSY_SHARE} or {0}
    passing = [pair for place, pair in enumerate(pairs) if place not in busy]
    status, headers, answer = 200, {}, b'{"took": 0, "errors": true, "items": []}'
    if passing:
        status, headers, answer = forward(b"".join(part for pair in passing for part in pair))
        if status != 200:
            return status, headers, answer
    told = json.loads(answer)
    told["errors"], told["items"] = True, list(_merged(pairs, busy, iter(told["items"])))
    return status, headers, json.dumps(told).encode()


def _merged(pairs: Sequence[tuple[bytes, bytes]], busy: set[int], answered: Iterator[Any]) -> Iterator[Any]:
    for place, (action, _) in enumerate(pairs):
        if place not in busy:
            yield next(answered)
            continue
        ((verb, target),) = json.loads(action).items()
        yield {verb: {**target, "status": 429, "error": _BUSY}}


@pytest.fixture
def faulty_proxy(request: pytest.FixtureRequest) -> Iterator[FaultyProxy]:
    """A proxy in front of the session's Elasticsearch; without a plan everything passes."""
    proxy = FaultyProxy(request.getfixturevalue("elasticsearch").url)
    yield proxy
    proxy.close()
