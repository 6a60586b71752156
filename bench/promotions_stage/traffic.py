"""Requests at a steady pace through a small proxy over a fleet, and a look at its readiness ten times a second.

The proxy does what any in front of serving does: it asks the instances in turn, first those that said they are ready,
and one that breaks the connection or answers 503 makes it ask the other. What a caller gets is counted after that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import httpx

from tests.serving_harness import PREDICT, ROW

SAMPLE_SECONDS: Final = 0.1
_CALLERS: Final = 16


@dataclass
class Counted:
    """What callers got, and what the fleet said of itself."""

    requests: int = 0
    non_2xx: int = 0
    #: the first that were not answered
    refusals: list[str] = field(default_factory=list)
    asked_again: int = 0
    samples: int = 0
    never_ready_samples: int = 0
    #: versions that answers named
    versions: set[int] = field(default_factory=set)


class Traffic:
    """So many requests a second from when it is begun until it is ended."""

    def __init__(self, urls: Sequence[str], token: str, per_second: float) -> None:
        self.counted = Counted()
        self._urls = list(urls)
        self._ready = dict.fromkeys(urls, True)
        self._gap = 1 / per_second
        self._turn = count()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(headers=headers, timeout=10, trust_env=False)
        self._threads = [threading.Thread(target=work) for work in (self._pace, self._sample)]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> Counted:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._client.close()
        return self.counted

    def _pace(self) -> None:
        """Whatever answers take, the next request comes in time: callers do not wait for each other."""
        due = time.monotonic()
        with ThreadPoolExecutor(_CALLERS) as callers:
            while not self._ended.is_set():
                callers.submit(self._request)
                due += self._gap
                self._ended.wait(max(0.0, due - time.monotonic()))

    def _request(self) -> None:
        first = next(self._turn) % len(self._urls)
        turns = self._urls[first:] + self._urls[:first]
        turns.sort(key=lambda url: not self._ready[url])  # stable: in turn among those that are ready
        said = ""
        for tried, url in enumerate(turns):
            said, version = self._ask(url)
            if version is not None or said != "again":
                break
            with self._lock:
                self.counted.asked_again += tried == 0
        with self._lock:
            self.counted.requests += 1
            if version is not None:
                self.counted.versions.add(version)
            else:
                self.counted.non_2xx += 1
                self.counted.refusals = [*self.counted.refusals, said][:5]

    def _ask(self, url: str) -> tuple[str, int | None]:
        try:
            answer = self._client.post(url + PREDICT, json={"rows": [ROW]})
        except httpx.TransportError:
            return "again", None
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return "again", None
        if not answer.is_success:
            return f"{answer.status_code} {answer.text[:200]}", None
        return "", int(answer.json()["predictions"][0]["version"])

    def _sample(self) -> None:
        with ThreadPoolExecutor(len(self._urls)) as pool:
            while not self._ended.is_set():
                begun = time.monotonic()
                for url, ready in zip(self._urls, pool.map(self._is_ready, self._urls), strict=True):
                    self._ready[url] = ready
                self.counted.samples += 1
                self.counted.never_ready_samples += not any(self._ready.values())
                self._ended.wait(max(0.0, begun + SAMPLE_SECONDS - time.monotonic()))

    def _is_ready(self, url: str) -> bool:
        try:
            return self._client.get(url + "/readyz", timeout=2).is_success
        except httpx.TransportError:
            return False
