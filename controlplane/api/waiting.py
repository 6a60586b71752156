"""Long polls: an answer that the caller has already is held back until it changes.

Who waits holds neither a thread nor a connection to the database. Every fifth of a second it looks at the pulse of the
model, one small query that all who wait for the model share, and makes the answer anew only where that moved.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs

import anyio
from anyio import to_thread
from starlette.types import Scope

LONGEST: Final = 60.0
Answer = TypeVar("Answer")


class Waiters:
    """Those who wait, bounded in number: who comes when it is full is answered at once."""

    def __init__(
        self,
        pulse: Callable[[str], Any],
        bound: int = 64,
        every: float = 0.2,
        look_every: float = 2.0,
        look_without_pulse: float = 0.5,
    ) -> None:
        self._pulse = pulse
        self._bound = bound
        self._every = every
        #: not everything that an answer says moves the pulse: it is made anew after so long in any case
        self._look_every = look_every
        self._look_without_pulse = look_without_pulse
        self._waiting = 0
        self._closed = False
        self._pulses: dict[str, tuple[float, Any]] = {}

    def close(self) -> None:
        """Answer everybody now: the process ends. May be called from a signal handler."""
        self._closed = True

    @property
    def full(self) -> bool:
        return self._closed or self._waiting >= self._bound

    async def wait(
        self, model: str | None, seconds: float, look: Callable[[], Awaitable[Answer]], done: Callable[[Answer], bool]
    ) -> Answer:
        """The first answer that is `done`, or the last one when the time is over."""
        self._waiting += 1
        try:
            return await self._wait(model, time.monotonic() + seconds, look, done)
        finally:
            self._waiting -= 1
            if self._waiting == 0:
                self._pulses.clear()

    async def _wait(
        self, model: str | None, deadline: float, look: Callable[[], Awaitable[Answer]], done: Callable[[Answer], bool]
    ) -> Answer:
        longest = self._look_every if model else self._look_without_pulse
        while True:
            # the pulse first: what changes while the answer is made is seen the next time
            pulse, looked = await self._shared_pulse(model), time.monotonic()
            answer = await look()
            if done(answer):
                return answer
            while True:
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    return answer
                await anyio.sleep(min(self._every, left))
                if time.monotonic() - looked >= longest or await self._shared_pulse(model) != pulse:
                    break

    async def _shared_pulse(self, model: str | None) -> Any:  # noqa: ANN401 - only compared
        if model is None:
            return None
        at, known = self._pulses.get(model, (float("-inf"), None))
        if time.monotonic() - at < self._every / 2:
            return known
        found = await to_thread.run_sync(self._pulse, model)
        self._pulses[model] = (time.monotonic(), found)
        return found


def asked_seconds(scope: Scope) -> float | None:
    """How long the caller would wait: nothing unless it says so. None where what it says is no time from 0 to 60."""
    said = parse_qs(scope["query_string"].decode("latin-1")).get("wait", ["0"])[-1]
    try:
        seconds = float(said)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= LONGEST else None


@contextmanager
def ending_at_signals(waiters: Waiters) -> Iterator[None]:
    """Whoever waits is answered when the process is told to end: the server itself says so only after the last answer.

    In a thread that cannot take signals nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ends(number: int, frame: Any) -> None:  # noqa: ANN401 - the interpreter's
        waiters.close()
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in before:
        signal.signal(number, ends)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
