"""The predictions of a stretch with the smallest sample keys, and their labels, at a cost that follows their number."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from observability.embedded import queries
from observability.embedded.counting import Stretch, count, counts_of
from observability.embedded.manifest import LogSegment
from observability.embedded.reader import View
from observability.embedded.tallies import rollup_from
from observability.ports import EXACT_LABELS, READ_ROWS
from observability.rollups import LatencySketch, Rollup

_KEYS: Final = 1 << 64
#: standard deviations by which more keys are expected below a bound than are wanted: it fails once in 3,000,000 times
_MARGIN: Final = 5


def bound_for(k: int, rows: int) -> float:
    """The share of the sample keys below which, with near certainty, k of so many predictions lie.

    >>> round(bound_for(5_000, 1_000_000), 6), bound_for(5_000, 5_100)
    (0.005379, 1.0)
    """
    return min(1.0, (k + _MARGIN * math.sqrt(k) + _MARGIN**2) / rows) if rows else 1.0


def key_at(share: float) -> str:
    """The sample key below which this share of all lies."""
    return f"{min(_KEYS - 1, int(share * _KEYS)):016x}"


@dataclass(frozen=True)
class Drawn:
    """Predictions in the order of their sample keys."""

    rows: pa.Table
    #: all keys of the stretch up to this are among them
    bound: str
    #: predictions of the whole stretch
    of: int


def drawn(view: View, stretch: Stretch, k: int, query: str = queries.SAMPLE) -> Drawn:
    """The k of the stretch with the smallest keys; fewer of a rare segment, where that would mean reading too many."""
    of = count(view, stretch)
    if not of or not k:
        nothing = view.ask(stretch.query(query, queries.BELOW), "predictions", [], stretch.values | _below(0, 1))
        return Drawn(nothing, key_at(0), of)
    share, most = bound_for(k, of), 1.0
    if stretch.segment:
        most = bound_for(READ_ROWS, count(view, replace(stretch, segment=None)))
    segments = stretch.segments(view)
    while True:
        share = min(share, most)
        rows = view.ask(stretch.query(query, queries.BELOW), "predictions", segments, stretch.values | _below(share, k))
        if rows.num_rows >= min(k, of) or share >= most:
            return Drawn(rows, key_at(share), of)
        share *= 2


def _below(share: float, k: int) -> dict[str, Any]:
    return {"bound": key_at(share), "k": k}


def latest_labels(view: View, model: str, chosen: pa.Table, bound: str) -> pa.Table:
    """The last label of each chosen prediction that has one: prediction_id, label."""
    segments: list[LogSegment] = []
    bounds = pc.min_max(chosen["id"]).as_py() if chosen.num_rows else {"min": "", "max": ""}
    if chosen.num_rows:
        segments = [each for each in view.manifest.of("labels", model) if each.may_label(bounds["min"], bounds["max"])]
    values = {"bound": bound, "first": bounds["min"], "last": bounds["max"]}
    return view.ask(queries.LATEST_LABELS, "labels", segments, values, chosen=chosen.select(["id"]))


def labelled_of(view: View, stretch: Stretch) -> int:
    """How many of the stretch have a label: counted, or estimated where there are many."""
    found = drawn(view, stretch, EXACT_LABELS, queries.KEYS)
    labelled = latest_labels(view, stretch.model, found.rows, found.bound).num_rows
    return scaled(labelled, found.rows.num_rows, found.of)


def scaled(some: int, looked_at: int, of: int) -> int:
    """How many of all have what so many of those that were looked at have."""
    return some if looked_at == of or not looked_at else round(some * of / looked_at)


def rollup_of_segment(view: View, stretch: Stretch) -> Rollup:
    """The rollup of a segment: of the EXACT_LABELS predictions with the smallest keys, scaled up to all."""
    found = drawn(view, stretch, EXACT_LABELS, queries.ROLLED_BELOW)
    rows = found.rows
    part = rollup_from(counts_of(rows["latency_ms"].to_pylist(), rows["features"].to_pylist()))
    return Rollup(
        rows=found.of,
        missing={name: scaled(times, part.rows, found.of) for name, times in part.missing.items()},
        latency=LatencySketch({at: scaled(n, part.rows, found.of) for at, n in part.latency.counts.items()}),
    )
