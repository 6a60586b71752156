"""A well-behaved caller in a process of its own, so that what it waits for is the server and not the attacker's thread.

`python -m bench.hostile_stage.neighbour URL METHOD PATH TOKEN BODY` asks at a steady pace until its stdin ends, and
then prints every request as one JSON list of [begun, seconds, status]; instants are on the machine's monotonic clock.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import httpx

_PAUSE: Final = 0.004


class Asked(NamedTuple):
    """One request of the neighbour."""

    begun: float
    seconds: float
    status: int


@dataclass
class Neighbour:
    """The caller's process, and after its end all that it asked."""

    process: subprocess.Popen[str]
    asked: list[Asked] = field(default_factory=list)

    def within(self, begun: float, ended: float) -> list[Asked]:
        """The requests that were begun in this time."""
        return [each for each in self.asked if begun <= each.begun < ended]


@contextmanager
def neighbour(port: int, token: str, method: str, path: str, body: str = "") -> Iterator[Neighbour]:
    """A neighbour that asks for as long as this is open. What it asked is there afterwards."""
    command = [
        sys.executable,
        "-m",
        "bench.hostile_stage.neighbour",
        f"http://127.0.0.1:{port}",
        method,
        path,
        token,
        body,
    ]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    made = Neighbour(process)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it has been answered once
        yield made
        said, _ = process.communicate(timeout=30)
        made.asked = [Asked(*each) for each in json.loads(said)]
    finally:
        process.kill()
        process.wait(10)


def _wait_for_the_end(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


def main() -> int:
    url, method, path, token, body = sys.argv[1:6]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    over = threading.Event()
    asked: list[Asked] = []
    with httpx.Client(base_url=url, headers=headers, timeout=20, trust_env=False) as client:
        client.request(method, path, content=body)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        threading.Thread(target=_wait_for_the_end, args=(over,), daemon=True).start()
        while not over.wait(_PAUSE):
            begun = time.monotonic()
            status = client.request(method, path, content=body).status_code
            asked.append(Asked(begun, time.monotonic() - begun, status))
    sys.stdout.write(json.dumps(asked))
    return 0


if __name__ == "__main__":
    sys.exit(main())
