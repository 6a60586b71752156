"""What is exact about a stretch of predictions: counted from tallies, and from rows only at its ends.

Of a segment that a span holds wholly but for its first and last minutes, the rows of those two minutes are read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from typing import Any, Final, NamedTuple

import orjson

from observability.embedded import queries, tallies
from observability.embedded.manifest import LogSegment
from observability.embedded.reader import View
from observability.embedded.tables import instant_of, microseconds
from observability.ports import Span
from observability.rollups import LatencySketch, Rollup
from observability.windows import Cursor, Segment

#: behind every event
END: Final = Cursor(datetime.max.replace(tzinfo=UTC), "")


@dataclass(frozen=True)
class Stretch:
    """Predictions between two cursors, of one version or of all, of some roles, of one segment or of all."""

    model: str
    after: Cursor
    until: Cursor = END
    version: int | None = None
    roles: tuple[str, ...] = ("production",)
    segment: Segment | None = None

    @classmethod
    def of(cls, span: Span) -> Stretch:
        return cls(span.model, span.after, span.until, span.version, segment=span.segment)

    @cached_property
    def low(self) -> int:
        return microseconds(self.after.event_time)

    @cached_property
    def high(self) -> int:
        return microseconds(self.until.event_time)

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of a query."""
        segment = self.segment
        return {
            "after_time": self.low, "after_id": self.after.id, "until_time": self.high, "until_id": self.until.id,
            "low": self.low, "high": self.high, "roles": list(self.roles), "version": self.version,
            "name": segment.feature if segment else None, "value": segment.value if segment else None,
            "feature": f'$."{segment.feature}"' if segment else None,
        }  # fmt: skip

    def query(self, template: str, more: str = "") -> str:
        """The query over these predictions."""
        return template.replace("{span}", queries.IN_SPAN + (queries.OF_SEGMENT if self.segment else "") + more)

    def segments(self, view: View) -> list[LogSegment]:
        """The files that may hold some of them."""
        return [
            each for each in view.manifest.of("predictions", self.model) if each.happened_within(self.low, self.high)
        ]


class Part(NamedTuple):
    """Files of a stretch that are tallied by one step: the steps that lie wholly in it, and what is left over."""

    segments: list[LogSegment]
    step: int
    first: int
    behind: int
    #: of event times
    rest: list[tuple[int, int]]


def count(view: View, stretch: Stretch) -> int:
    """How many predictions these are."""
    tallied = queries.TALLIED_OF_SEGMENT if stretch.segment else queries.TALLIED_COUNT
    rows = 0
    for part in _parts(view, stretch):
        if part.first < part.behind:
            bounds = stretch.values | {"first": part.first, "behind": part.behind}
            rows += view.ask_tallies(tallied, part.segments, bounds)["rows"][0].as_py() or 0
        for segments, bounds in _rest(stretch, part):
            rows += view.ask(stretch.query(queries.COUNT), "predictions", segments, bounds)["rows"][0].as_py()
    return rows


def rollup(view: View, stretch: Stretch) -> Rollup:
    """The sum of their tallies; not of a segment, of which too little is tallied."""
    return tallies.rollup_from(_counts(view, stretch))


def _counts(view: View, stretch: Stretch) -> Iterator[tuple[str, str, str, int]]:
    for part in _parts(view, stretch):
        if part.first < part.behind:
            bounds = stretch.values | {"first": part.first, "behind": part.behind}
            found = view.ask_tallies(queries.TALLIED, part.segments, bounds)
            yield from zip(*(found[name].to_pylist() for name in ("measure", "name", "value", "count")), strict=True)
        for segments, bounds in _rest(stretch, part):
            rows = view.ask(stretch.query(queries.ROLLED_ROWS), "predictions", segments, bounds)
            yield from counts_of(rows["latency_ms"].to_pylist(), rows["features"].to_pylist())


def counts_of(latencies: Iterable[float], features: Iterable[str]) -> Iterator[tuple[str, str, str, int]]:
    """The counts of predictions one by one, given their latencies and features."""
    rows = [orjson.loads(each) for each in features]
    yield "rows", "", "", len(rows)
    for bucket, times in LatencySketch.of(latencies).counts.items():
        yield "latency", "", str(bucket), times
    empty = Counter(name for row in rows for name, value in row.items() if value is None or value == "")
    for name, times in Counter(chain.from_iterable(rows)).items():
        yield "present", name, "", times - empty[name]


def place_behind(view: View, stretch: Stretch, size: int) -> Cursor | None:
    """The size-th of them in the order of events; None where there are fewer."""
    passed = 0
    for start, behind, rows in _stretches_of_one_step(view, stretch):
        if passed + rows >= size:
            bounds = {"low": max(start, stretch.low), "high": behind - 1, "skip": size - passed - 1}
            segments = [each for each in stretch.segments(view) if each.happened_within(start, behind)]
            values = stretch.values | bounds
            found = view.ask(stretch.query(queries.AT_PLACE), "predictions", segments, values).to_pylist()[0]
            return Cursor(instant_of(found["event_time"]), found["id"])
        passed += rows
    return None


def _stretches_of_one_step(view: View, stretch: Stretch) -> Iterator[tuple[int, int, int]]:
    """How many there are in each step, in order: its start, its end, and the number."""
    parts = list(_parts(view, stretch))
    step = max((part.step for part in parts), default=0) or tallies.MINUTE
    rows: Counter[int] = Counter()
    for part in parts:
        bounds = stretch.values | {"step": step}
        if part.first < part.behind:
            more = bounds | {"first": part.first, "behind": part.behind}
            found = view.ask_tallies(queries.TALLIED_BY_STEP, part.segments, more)
            rows.update(dict(zip(found["start"].to_pylist(), found["rows"].to_pylist(), strict=True)))
        for segments, times in _rest(stretch, part):
            found = view.ask(stretch.query(queries.COUNT_BY_STEP), "predictions", segments, bounds | times)
            rows.update(dict(zip(found["start"].to_pylist(), found["rows"].to_pylist(), strict=True)))
    for start in sorted(rows):
        yield start, start + step, rows[start]


def _parts(view: View, stretch: Stretch) -> Iterator[Part]:
    by_step: defaultdict[int, list[LogSegment]] = defaultdict(list)
    for segment in stretch.segments(view):
        counted = stretch.segment is None or stretch.segment.feature not in segment.uncounted
        by_step[segment.step if counted else 0].append(segment)
    for step, segments in by_step.items():
        if not step:
            yield Part(segments, step, 0, 0, [(stretch.low, stretch.high)])
            continue
        after, until = (stretch.low, stretch.after.id), (stretch.high, stretch.until.id)
        first, behind = tallies.whole_steps(after, until, step)
        rest = [(stretch.low, first - 1), (behind, stretch.high)] if first < behind else [(stretch.low, stretch.high)]
        yield Part(segments, step, first, behind, rest)


def _rest(stretch: Stretch, part: Part) -> Iterator[tuple[list[LogSegment], dict[str, Any]]]:
    """The files whose rows are looked at one by one, and the parameters that say which rows."""
    for low, high in part.rest:
        segments = [each for each in part.segments if each.happened_within(low, high)]
        nothing = low > high or (low == high == stretch.high and not stretch.until.id)
        if segments and not nothing:
            yield segments, stretch.values | {"low": low, "high": high}
