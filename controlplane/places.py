"""Places for what keeps a processor busy: so many at a time in one process, and whoever comes meanwhile comes again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from controlplane.errors import Occupied


class Places:
    """So many at a time; nobody waits for a place."""

    def __init__(self, number: int, refusal: type[Occupied], retry_after: int = 1) -> None:
        self.number = number
        self._free = threading.BoundedSemaphore(number)
        self._refusal, self._retry_after = refusal, retry_after

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place for as long as this lasts. Raises the refusal where none is free."""
        if not self._free.acquire(blocking=False):
            raise self._refusal(retry_after=self._retry_after)
        try:
            yield
        finally:
            self._free.release()
