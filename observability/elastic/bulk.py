"""Events into their data streams: each once, each accounted for.

A document is written with `create` under its event's id, so an id that is there already is answered with 409 and counts
as stored. That holds within one backing index of a stream; where a call's outcome is unknown, the stream may have been
rolled over since, so the ids are looked for in all of it before they are written again.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC
from itertools import repeat
from typing import Any, Final

from elasticsearch import ApiError, Elasticsearch

from observability.clock import Clock, SystemClock
from observability.elastic.breaker import Breaker
from observability.elastic.client import answering
from observability.elastic.operations import Operation, chunks, operation_of
from observability.events import Event, EventRefused
from observability.ports import LogStoreUnavailable, Refusal

#: calls beside each other
AT_ONCE: Final = 2
#: calls that a batch is cut into at least, where it is large: two for each thread, so that none waits long for the last
_CALLS: Final = 2 * AT_ONCE
#: how long items that are turned away are offered again within one `append`
PATIENCE_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0
#: ids that are looked for in one question, below the 10,000 hits that an index gives
_LOOKED_FOR: Final = 5_000
_TOLD: Final = ("items.*.status", "items.*.error.type", "items.*.error.reason", "items.*.error.caused_by.reason")
#: a call, or an item of one, that certainly was not done and may be asked for again
_BUSY: Final = frozenset({429, 503})
_TOO_LARGE: Final = 413
#: answered with 400, and yet no fault of the document: the cluster has no room for the stream
_NOT_ITS_FAULT: Final = frozenset({"validation_exception", "index_closed_exception", "invalid_index_name_exception"})


@dataclass(frozen=True)
class _Outcome:
    """What became of one operation."""

    operation: Operation
    status: int
    reason: str = ""
    error: str = ""

    @property
    def stored(self) -> bool:
        return self.status < 300 or self.status == 409

    @property
    def busy(self) -> bool:
        return self.status == 429 or self.status >= 500

    @property
    def refused(self) -> bool:
        return self.status in {400, _TOO_LARGE} and self.error not in _NOT_ITS_FAULT


class Bulk:
    """The writing side of the log store; calls of one instance follow each other."""

    def __init__(
        self,
        client: Elasticsearch,
        namespace: str,
        *,
        clock: Clock | None = None,
        breaker: Breaker | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        #: a repetition that nobody knows of would be a call of unknown outcome
        self._client = client.options(max_retries=0)
        self._namespace = namespace
        self._clock = clock or SystemClock()
        self._breaker = breaker or Breaker()
        self._patience_seconds = patience_seconds
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="bulk")

    def append(
        self, events: Sequence[Event], lines: Sequence[bytes] | None = None, *, fresh: bool = False
    ) -> list[Refusal]:
        """Store the events durably; see LogStore.append. Raises LogStoreUnavailable; some may be stored then."""
        refusals, operations = self._operations(events, lines)
        with self._breaker.guard():
            if not fresh:
                operations = self._without_stored(operations)
            refusals += self._send_all(operations)
        place = {event.id: place for place, event in enumerate(events)}
        return sorted(refusals, key=lambda refusal: place[refusal.event_id])

    def close(self) -> None:
        """End the threads; the client is the caller's."""
        self._threads.shutdown()

    def _operations(
        self, events: Sequence[Event], lines: Sequence[bytes] | None
    ) -> tuple[list[Refusal], list[Operation]]:
        """What can be sent, each id once: of two events with one id the first stays."""
        ingested = self._clock.now().astimezone(UTC).isoformat()
        refusals: list[Refusal] = []
        operations: dict[tuple[str, str], Operation] = {}
        for event, line in zip(events, lines or repeat(None, len(events)), strict=True):
            try:
                operation = operation_of(event, line, self._namespace, ingested)
            except EventRefused as error:
                refusals.append(Refusal(event.id, str(error)))
            else:
                operations.setdefault((operation.stream, operation.id), operation)
        return refusals, list(operations.values())

    def _without_stored(self, operations: Sequence[Operation]) -> list[Operation]:
        """Those whose id is in no backing index of their stream."""
        by_stream: dict[str, list[Operation]] = defaultdict(list)
        for operation in operations:
            by_stream[operation.stream].append(operation)
        stored = {
            (stream, id)
            for stream, group in by_stream.items()
            for start in range(0, len(group), _LOOKED_FOR)
            for id in self._stored(stream, [each.id for each in group[start : start + _LOOKED_FOR]])
        }
        return [each for each in operations if (each.stream, each.id) not in stored]

    def _stored(self, stream: str, ids: Sequence[str]) -> list[str]:
        with answering():
            # what the call of unknown outcome wrote may not be visible yet
            self._client.indices.refresh(index=stream, ignore_unavailable=True)
            found = self._client.search(
                index=stream, query={"ids": {"values": ids}}, size=len(ids), source=False, ignore_unavailable=True,
                allow_partial_search_results=False, track_total_hits=False,
                filter_path="hits.hits._id",
            )  # fmt: skip
        return [hit["_id"] for hit in found.body.get("hits", {}).get("hits", [])]

    def _send_all(self, operations: Sequence[Operation]) -> list[Refusal]:
        calls = list(chunks(operations, _CALLS))
        if len(calls) < 2:
            return [refusal for call in calls for refusal in self._send(call)]
        under_way = [self._threads.submit(self._send, call) for call in calls]
        failed = [error for future in under_way if (error := future.exception())]
        if failed:
            raise failed[0]
        return [refusal for future in under_way for refusal in future.result()]

    def _send(self, operations: Sequence[Operation]) -> list[Refusal]:
        """Offer the operations until each is stored or refused. Raises LogStoreUnavailable when patience ends."""
        refusals: list[Refusal] = []
        give_up_at, pause = time.monotonic() + self._patience_seconds, _FIRST_PAUSE_SECONDS
        while True:
            outcomes = self._call(operations)
            refusals += [Refusal(each.operation.id, each.reason) for each in outcomes if each.refused]
            open_ones = [each for each in outcomes if not each.stored and not each.refused]
            if not open_ones:
                return refusals
            operations = [each.operation for each in open_ones]
            if not all(each.busy for each in open_ones) or time.monotonic() + pause > give_up_at:
                raise LogStoreUnavailable(_turned_away(open_ones))
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter, no secret
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _call(self, operations: Sequence[Operation]) -> list[_Outcome]:
        """One call, and what became of each of its operations."""
        body: Any = b"".join(each.data for each in operations)
        with answering():
            try:
                answer = self._client.bulk(operations=body, filter_path=_TOLD)
            except ApiError as error:
                if error.status_code in _BUSY or (error.status_code == _TOO_LARGE and len(operations) == 1):
                    return [_Outcome(each, error.status_code, str(error)) for each in operations]
                if error.status_code != _TOO_LARGE:
                    raise
            else:
                return _outcomes(operations, answer.body.get("items", []))
        middle = len(operations) // 2
        return [*self._call(operations[:middle]), *self._call(operations[middle:])]


def _outcomes(operations: Sequence[Operation], items: Sequence[Any]) -> list[_Outcome]:
    if len(items) != len(operations):  # then nobody knows which was meant
        told = (
            f"Elasticsearch: it answered for {len(items)} documents of {len(operations)}; is there a proxy in between?"
        )
        raise LogStoreUnavailable(told)
    return [_outcome(each, item["create"]) for each, item in zip(operations, items, strict=True)]


def _outcome(operation: Operation, item: Any) -> _Outcome:  # noqa: ANN401 - JSON
    error = item.get("error", {})
    reasons = (error.get("reason"), error.get("caused_by", {}).get("reason"))
    return _Outcome(operation, item["status"], ": ".join(filter(None, reasons))[:500], error.get("type", ""))


def _turned_away(open_ones: Sequence[_Outcome]) -> str:
    first = next((each for each in open_ones if not each.busy), open_ones[0])
    advice = "the call is made again later" if first.busy else "run `driftgate logs setup`, or see docs/operations.md"
    return f"Elasticsearch: it turns {len(open_ones)} documents away ({first.status} {first.reason}); {advice}"
