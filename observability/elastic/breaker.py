"""Keeps callers from waiting again and again for something that does not answer."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import Final

from observability.ports import LogStoreUnavailable

#: failures in a row after which calls are refused at once
_FAILURES: Final = 3
_LONGEST_REST_SECONDS: Final = 15.0


class Breaker:
    """After three failures in a row the next calls fail at once for a while; then one is let through to try.

    The while doubles from one second to fifteen, with jitter, so that many callers do not come back together.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
        rest_seconds: float = 1.0,
    ) -> None:
        self._clock, self._draw, self._rest_seconds = clock, draw, rest_seconds
        self._failures = 0
        self._closed_until = 0.0
        self._last: LogStoreUnavailable | None = None

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Call inside. Raises LogStoreUnavailable at once while the last calls are too fresh in memory."""
        rest = self._closed_until - self._clock()
        if rest > 0:
            said = f"left alone for another {rest:.1f} s after {self._failures} failures in a row"
            raise LogStoreUnavailable(f"{said}; the last: {self._last}") from self._last
        try:
            yield
        except LogStoreUnavailable as error:
            self._failures += 1
            self._last = error
            if self._failures >= _FAILURES:
                rest = min(self._rest_seconds * 2.0 ** (self._failures - _FAILURES), _LONGEST_REST_SECONDS)
                self._closed_until = self._clock() + rest * (0.5 + self._draw() / 2)
            raise
        self._failures, self._closed_until, self._last = 0, 0.0, None
