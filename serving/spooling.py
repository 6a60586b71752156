"""Remembers what was answered: one write into the spool for all requests that the event loop handled in one turn.

A line that is built and written among the other work of a request costs several times what it costs right behind
the line of another request, because the code and the data for it have left the processor's caches in between.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from observability.spool.writer import SpoolWriter
from serving.reporting import Answered, prediction_lines, spool_predictions

#: of one write, but for the last request's; as many as one request may have
MOST_LINES: Final = 1_000


class _Request(NamedTuple):
    batch: Answered
    ids: Sequence[str]
    done: asyncio.Future[None]


class Spooling:
    """Collects what was answered in this turn of the event loop, and writes it at the beginning of the next.

    There is no timer: a request that is alone waits for no other, only for the loop to come round.
    """

    def __init__(self, spool: SpoolWriter) -> None:
        #: predictions by model, written or refused, since the start
        self.predicted: Counter[str] = Counter()
        self._spool = spool
        self._requests: list[_Request] = []
        self._lines = 0

    async def remember(self, batch: Answered, ids: Sequence[str]) -> None:
        """Returns when write(2) of the lines has returned, or they were refused; who is cancelled is remembered, too.

        Raises what stood against building the lines or, where the spool is closed, SpoolError.
        """
        loop = asyncio.get_running_loop()
        if not self._requests:
            loop.call_soon(self._write)
        done = loop.create_future()
        self._requests.append(_Request(batch, ids, done))
        self._lines += len(ids)
        if self._lines >= MOST_LINES:
            self._write()
        await done

    def _write(self) -> None:
        requests, self._requests, self._lines = self._requests, [], 0
        lines: list[bytes] = []
        built = []
        for request in requests:
            try:
                lines += prediction_lines(request.batch, request.ids)
            except Exception as error:  # noqa: BLE001 - its own request raises it, and the others go on
                _end(request, error)
            else:
                built.append(request)
        failure = self._failure_of(lines) if built else None
        for request in built:
            if failure is None:
                self.predicted[request.batch.model] += len(request.ids)
            _end(request, failure)

    def _failure_of(self, lines: Sequence[bytes]) -> Exception | None:
        try:
            spool_predictions(self._spool, lines)
        except Exception as error:  # noqa: BLE001 - each request raises it
            return error
        return None


def _end(request: _Request, error: Exception | None) -> None:
    if request.done.done():  # cancelled meanwhile
        return
    if error is None:
        request.done.set_result(None)
    else:
        request.done.set_exception(error)
