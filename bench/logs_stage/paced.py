"""Asks so many times a second, whatever the answers take, from a process of its own.

`python -m bench.logs_stage.paced PORT PATH PER_SECOND SECONDS TOKEN < request.json` prints one JSON object. A request
that had to wait for a free connection is timed from when it was due.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Final

import uvloop

CONNECTIONS: Final = 8


async def ask(port: int, request: bytes, per_second: float, seconds: float) -> dict[str, Any]:
    """Latencies in milliseconds."""
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    taken: list[float] = []
    failed = 0

    async def one(due: float) -> None:
        nonlocal failed
        reader, writer = await free.get()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(_length(head))
        taken.append((time.perf_counter() - due) * 1000)
        failed += not head.startswith(b"HTTP/1.1 200")
        free.put_nowait((reader, writer))

    begun = time.perf_counter()
    asked = []
    for number in range(int(per_second * seconds)):
        due = begun + number / per_second
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        asked.append(asyncio.create_task(one(due)))
    async with asyncio.timeout(seconds + 30):
        await asyncio.gather(*asked)
    taken.sort()
    return {"requests": len(taken), "failed": failed, "p50_ms": _at(taken, 0.5), "p99_ms": _at(taken, 0.99)}


def _length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.index(b"content-length:") + 15
    return int(lowered[start : lowered.index(b"\r\n", start)])


def _at(taken: list[float], share: float) -> float:
    return taken[int(len(taken) * share)]


def main() -> None:
    port, path, per_second, seconds, token = sys.argv[1:6]
    body = sys.stdin.buffer.read()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    answer = uvloop.run(ask(int(port), head.encode() + body, float(per_second), float(seconds)))
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
