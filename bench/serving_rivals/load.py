"""Loads an HTTP server from a process of its own: keep-alive callers that each ask again when they were answered.

`python -m bench.serving_rivals.load HOST:PORT PATH CALLERS SECONDS TOKEN < request.json` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, cast

import uvloop


class Caller(asyncio.Protocol):
    """One connection with one request in flight."""

    def __init__(self, request: bytes, until: float, taken: list[float], failed: list[str]) -> None:
        self._request, self._until = request, until
        self._taken, self._failed = taken, failed
        self._buffer = b""
        self._asked = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < _length(head):
            return
        now = time.perf_counter()
        self._taken.append(now - self._asked)
        if head[9:12] != b"200":
            self._failed.append((head[:32] + body[:300]).decode(errors="replace"))
        self._buffer = b""
        if now >= self._until:
            self._transport.close()
        else:
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if error:
            self._failed.append(repr(error))
        if not self.done.done():
            self.done.set_result(None)

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._request)


def _length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.index(b"content-length:") + 15
    end = lowered.find(b"\r\n", start)
    return int(lowered[start : end if end >= 0 else None])


async def load(address: str, request: bytes, callers: int, seconds: float) -> dict[str, Any]:
    """Requests a second and latencies in milliseconds."""
    host, _, port = address.rpartition(":")
    taken: list[float] = []
    failed: list[str] = []
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    made = [
        await loop.create_connection(lambda: Caller(request, begun + seconds, taken, failed), host, int(port))
        for _ in range(callers)
    ]
    async with asyncio.timeout(seconds + 30):
        await asyncio.gather(*(caller.done for _, caller in made))
    elapsed = time.perf_counter() - begun
    taken.sort()
    return {
        "requests": len(taken),
        "rps": len(taken) / elapsed,
        "p50_ms": taken[len(taken) // 2] * 1000,
        "p99_ms": taken[int(len(taken) * 0.99)] * 1000,
        "failed": len(failed),
        "first_failure": failed[0] if failed else "",
    }


def main() -> None:
    address, path, callers, seconds, token = sys.argv[1:6]
    body = sys.stdin.buffer.read()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    answer = uvloop.run(load(address, head.encode() + body, int(callers), float(seconds)))
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
