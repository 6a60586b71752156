"""Tallies: what the embedded log store counts of each segment's predictions by minute, in a file beside it.

A row says how many predictions of a minute, a version and a role have a measure: `rows` all of them; `present` those
with a value of the feature `name`; `value` those whose text feature `name` is `value`; `latency` those in a bucket of
the sketch. Times are those of the events; those of the measure `pair`, of two versions that scored the same row (`name`
is the other, `value` whether it could), are those of observation, as rollouts are followed by them.

Where traffic is thin a segment is tallied by the hour or by the day, so that a tally is always much shorter than it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import orjson
import pyarrow as pa

from observability.rollups import LatencySketch, Rollup, bucket_of

#: microseconds
MINUTE: Final = 60_000_000
STEPS: Final = (MINUTE, 60 * MINUTE, 24 * 60 * MINUTE)
#: predictions that a step of a segment holds at least, on average
ROWS_IN_A_STEP: Final = 20
#: a feature with more values than this in one file has none of them counted, nor has one with longer values
MOST_VALUES: Final = 500
LONGEST_VALUE: Final = 200
#: what is looked at of a prediction
COLUMNS: Final = (
    *("event_time", "observed_time", "version", "role", "latency_ms", "features", "rival_version", "rival_score"),
)
SCHEMA: Final = pa.schema(
    {
        "start": pa.int64(), "version": pa.int64(), "role": pa.string(),
        "measure": pa.string(), "name": pa.string(), "value": pa.string(), "count": pa.int64(),
    }
)  # fmt: skip
#: so a measure of a feature is one stretch of a file, and a span a part of it
ORDER: Final = "measure, name, start, version, role, value"


class Counted(NamedTuple):
    """What a count is of."""

    #: when the step began, in microseconds
    start: int
    version: int
    role: str
    measure: str
    name: str = ""
    value: str = ""


def start_of(time: int, step: int) -> int:
    """When the step of an instant began."""
    return time // step * step


def whole_steps(after: tuple[int, str], until: tuple[int, str], step: int) -> tuple[int, int]:
    """The start of the first step that lies wholly between two cursors, and the end of the last; equal for none.

    >>> whole_steps((10, ""), (30, ""), 10), whole_steps((10, "a"), (35, "b"), 10), whole_steps((11, ""), (29, ""), 10)
    ((10, 30), (20, 30), (20, 20))
    """
    time, id = after
    first = time if not time % step and not id else start_of(time, step) + step
    return first, max(first, start_of(until[0], step))


def step_for(rows: int, steps: Iterable[tuple[int, int]]) -> int:
    """The finest step in which rows are many enough, given how many steps of each length they are spread over."""
    step = STEPS[-1]
    for step, times in steps:
        if times * ROWS_IN_A_STEP <= rows:
            return step
    return step


def tally_of(rows: pa.Table, step: int) -> Counter[Counted]:
    """What is counted of some predictions, each a row with the COLUMNS."""
    columns = {name: rows[name].to_pylist() for name in COLUMNS}
    counts: Counter[Counted] = Counter()
    groups: defaultdict[tuple[int, int, str], list[int]] = defaultdict(list)
    keys = zip(columns["event_time"], columns["version"], columns["role"], strict=True)
    for place, (time, version, role) in enumerate(keys):
        groups[start_of(time, step), version, role].append(place)
    for group, places in groups.items():
        _count_group(counts, group, places, columns)
    for place, rival in enumerate(columns["rival_version"]):
        if rival is not None:
            start, version = start_of(columns["observed_time"][place], step), columns["version"][place]
            answer = "failed" if columns["rival_score"][place] is None else "scored"
            counts[Counted(start, version, "", "pair", str(rival), answer)] += 1
    return counts


def _count_group(
    counts: Counter[Counted], group: tuple[int, int, str], places: list[int], columns: Mapping[str, list[Any]]
) -> None:
    counts[Counted(*group, "rows")] = len(places)
    for bucket, count in Counter(bucket_of(columns["latency_ms"][place]) for place in places).items():
        counts[Counted(*group, "latency", value=str(bucket))] = count
    features = [orjson.loads(columns["features"][place]) for place in places]
    for name in dict.fromkeys(name for row in features for name in row):
        values = Counter(row.get(name) for row in features)
        counts[Counted(*group, "present", name)] = len(places) - values[None] - values[""]
        for value, count in values.items():
            if isinstance(value, str) and value:
                counts[Counted(*group, "value", name, value)] = count


def tally_table(counts: Mapping[Counted, int]) -> pa.Table:
    """The counts as rows."""
    columns = zip(*((*key, count) for key, count in counts.items()), strict=True) if counts else [()] * len(SCHEMA)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


def too_many(values: Iterable[tuple[str, str]]) -> set[str]:
    """Which features, given all (feature, value), are not counted by value."""
    times: Counter[str] = Counter()
    for name, value in values:
        times[name] += MOST_VALUES + 1 if len(value) > LONGEST_VALUE else 1
    return {name for name, count in times.items() if count > MOST_VALUES}


def rollup_from(counts: Iterable[tuple[str, str, str, int]]) -> Rollup:
    """The rollup that counts by (measure, name, value) make together; a name may come more than once."""
    rows, present, latency = 0, Counter[str](), Counter[int]()
    for measure, name, value, count in counts:
        if measure == "rows":
            rows += count
        elif measure == "present":
            present[name] += count
        elif measure == "latency":
            latency[int(value)] += count
    missing = {name: rows - count for name, count in present.items() if count < rows}
    return Rollup(rows, missing, LatencySketch(latency))
