"""Rollups of any span: its whole hours or days are computed once and kept, its ends are computed each time.

What is kept of an hour is valid while the count of its predictions is what it was, and that count is asked each time:
so late events are never missed, whoever shipped them. Where retention took a part of the stream, all is computed anew:
as many late events could have come. Counting is cheap, for Elasticsearch remembers it of the parts of
a stream that do not change; adding up latencies and missing values is not.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch

from observability.elastic import questions, tallies
from observability.elastic.answers import counts_by_time
from observability.elastic.client import answering
from observability.elastic.reading import AnswerTooLarge, Reader
from observability.elastic.tallies import Answer
from observability.ports import Span
from observability.rollups import Rollup
from observability.windows import EPOCH, Cursor

LOG: Final = logging.getLogger(__name__)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
#: longer spans are made of days
HOURS_AT_MOST: Final = timedelta(days=10)
INTERVALS: Final[Mapping[timedelta, str]] = {HOUR: "1h", DAY: "1d"}
#: units in one answer, which holds 65,536 buckets: each has one for every latency and every missing feature that occur
AT_ONCE: Final = 150
_INDEX: Final[Mapping[str, Any]] = {
    "settings": {"index": {"hidden": True, "number_of_shards": 1, "auto_expand_replicas": "0-1"}},
    "mappings": {
        "dynamic": False,
        "properties": {"model": {"type": "keyword"}, "start": {"type": "date"}, "rows": {"type": "long"}},
    },
}
_EXISTS: Final = "resource_already_exists_exception"


@dataclass(frozen=True)
class Units:
    """A span that begins and ends where an hour or a day does."""

    span: Span
    unit: timedelta
    #: what tells the stream from itself after it lost documents
    losses: str = ""

    @property
    def interval(self) -> str:
        return INTERVALS[self.unit]

    def between(self, first: datetime, last: datetime) -> Span:
        """The span from the first of these units to the last."""
        return replace(self.span, after=Cursor.before(first), until=Cursor.before(last + self.unit))

    def id(self, start: datetime) -> str:
        """Of what is kept of one unit: of its model, version and segment, while the stream loses nothing."""
        span = self.span
        named = (self.losses, span.model, span.version, *(span.segment or ()), self.interval, start.isoformat())
        return hashlib.sha256(repr(named).encode()).hexdigest()

    def document(self, start: datetime, rollup: Rollup) -> dict[str, Any]:
        """What is kept of one unit."""
        place = {"model": self.span.model, "start": start.isoformat(), "unit": self.interval}
        return {**place, "rows": rollup.rows, "counts": tallies.written(rollup)}


def parts_of(span: Span) -> tuple[tuple[Span, ...], Units | None]:
    """The ends of a span, and the whole units between them where there are any: days where the span is long.

    A unit is whole where the span holds all of it.
    """
    after, until = span.after, span.until
    unit = HOUR if until.event_time - after.event_time <= HOURS_AT_MOST else DAY
    first, last = _floor(after.event_time, unit), _floor(until.event_time, unit)
    if after != Cursor.before(first):
        first += unit
    if first >= last:
        return (span,), None
    begin, end = Cursor.before(first), Cursor.before(last)
    ends = [replace(span, until=begin)] if after != begin else []
    ends += [replace(span, after=end)] if until != end else []
    return tuple(ends), Units(replace(span, after=begin, until=end), unit)


class Rollups:
    """Counts spans. What it keeps is in an index of its own, which may be deleted at any time."""

    def __init__(self, client: Elasticsearch, reader: Reader, namespace: str) -> None:
        self._client = client
        self._reader = reader
        self.index = f"driftgate-rollups-{namespace}"
        self._made = self._complained = False

    def rows(self, span: Span) -> int:
        """How many predictions the span holds."""
        ends, units = parts_of(span)
        at_ends = sum(self._reader.count("prediction", questions.count(questions.within(end))) for end in ends)
        return at_ends + (sum(self._counts(units).values()) if units else 0)

    def rollup(self, span: Span) -> Rollup:
        """What is exact about the span's predictions."""
        ends, units = parts_of(span)
        if units is None:
            return self._of_span(span)
        # what is left of a day is made of hours
        of_end = self._of_span if units.unit == HOUR else self.rollup
        return sum((*self._of_units(units), *map(of_end, ends)), Rollup())

    def _of_units(self, units: Units) -> list[Rollup]:
        units = replace(units, losses=self._reader.losses("prediction"))
        counts = self._counts(units)
        found = self._kept(units, list(counts))
        valid = {start: rollup for start, rollup in found.items() if rollup.rows == counts[start]}
        for starts in neighbours([start for start in counts if start not in valid], units.unit):
            for computed in self._computed(units, starts):
                self._keep(units, computed)
                valid |= computed
        return list(valid.values())

    def _computed(self, units: Units, starts: Sequence[datetime]) -> Iterator[dict[datetime, Rollup]]:
        """The rollups of a run of units; of its halves where one answer does not hold so many features."""
        try:
            totals, values, names = self._added_up(units.between(starts[0], starts[-1]), units.interval)
        except AnswerTooLarge:
            if len(starts) == 1:
                raise
            for half in (starts[: len(starts) // 2], starts[len(starts) // 2 :]):
                yield from self._computed(units, half)
        else:
            yield tallies.rollups_by_time(totals, values, names) if totals is not None else {}

    def _of_span(self, span: Span) -> Rollup:
        totals, values, names = self._added_up(span, None)
        return tallies.rollup_of(totals, values, names) if totals is not None else Rollup()

    def _added_up(self, span: Span, interval: str | None) -> tuple[Answer | None, Answer | None, list[str]]:
        filters = questions.within(span)
        totals = self._reader.ask("prediction", questions.totals(filters, interval))
        names = tallies.features_that_differ(totals["hits"]["hits"]) if totals is not None else []
        values = self._reader.ask("prediction", questions.values(filters, interval, names)) if names else None
        return totals, values, names

    def _counts(self, units: Units) -> dict[datetime, int]:
        """The predictions of each unit that has any."""
        body = questions.counts(questions.within(units.span), units.interval)
        return counts_by_time(self._reader.ask("prediction", body, repeated=True))

    def _kept(self, units: Units, starts: Sequence[datetime]) -> dict[datetime, Rollup]:
        if not starts:
            return {}
        with answering():
            found = self._client.mget(index=self.index, ids=[units.id(start) for start in starts]).body["docs"]
        self._made = not any("error" in each for each in found)
        documents = {start: each["_source"] for start, each in zip(starts, found, strict=True) if each.get("found")}
        return {start: tallies.read(document["counts"]) for start, document in documents.items()}

    def _keep(self, units: Units, computed: Mapping[datetime, Rollup]) -> None:
        """Keep what was computed; where that cannot be, as with a key that only reads, it is computed again."""
        operations: list[Mapping[str, Any]] = []
        for start, rollup in computed.items():
            operations += [{"index": {"_id": units.id(start)}}, units.document(start, rollup)]
        if not operations:
            return
        try:
            self._make_index()
            answer = self._client.bulk(index=self.index, operations=operations).body
        except (ApiError, TransportError) as error:
            self._complain(error)
        else:
            if answer["errors"]:
                self._complain(next(each["index"]["error"] for each in answer["items"] if "error" in each["index"]))

    def _complain(self, why: object) -> None:
        if not self._complained:
            LOG.warning("rollups are computed again each time: they cannot be kept in %s: %s", self.index, why)
        self._complained = True

    def _make_index(self) -> None:
        if self._made:
            return
        try:
            self._client.indices.create(index=self.index, **_INDEX)
        except ApiError as error:
            if error.error != _EXISTS:
                raise
        self._made = True


def neighbours(starts: Sequence[datetime], unit: timedelta) -> Iterator[list[datetime]]:
    """Runs of units that follow each other without a gap, in order, AT_ONCE at most."""
    run: list[datetime] = []
    for start in starts:
        if run and (start - run[-1] != unit or len(run) == AT_ONCE):
            yield run
            run = []
        run.append(start)
    if run:
        yield run


def _floor(moment: datetime, unit: timedelta) -> datetime:
    return EPOCH + ((moment - EPOCH) // unit) * unit
