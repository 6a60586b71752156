"""Two versions on the rows that both scored: how many, and what a bounded number of them says."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from observability.embedded import queries
from observability.embedded.manifest import LogSegment
from observability.embedded.reader import View
from observability.embedded.sampling import bound_for, key_at, latest_labels, scaled
from observability.ports import EXACT_LABELS, Paired

#: how many more rows are looked at where too few of the first have a label
_WIDER: Final = 8
_END: Final = 1 << 62


def compare(view: View, model: str, champion: int, challenger: int, since: int, k: int) -> Paired:
    """The comparison of the rows observed since an instant, in microseconds."""
    segments = [each for each in view.manifest.of("predictions", model) if each.last_observed_time >= since]
    versions = {"champion": champion, "challenger": challenger}
    rows, failed = _count(view, segments, versions, since)
    wanted = EXACT_LABELS
    while True:
        pairs, bound = _drawn(view, segments, versions | {"low": since, "behind": _END}, wanted, rows)
        told = _labelled(pairs, latest_labels(view, model, pairs, bound))
        if len(told) >= k or pairs.num_rows == rows or wanted > EXACT_LABELS:
            break
        wanted *= _WIDER
    return Paired(
        rows=rows,
        failed=failed,
        labelled=scaled(len(told), pairs.num_rows, rows),
        frame=told.head(k),
        champion_ms_p99=_p99(pairs["champion_ms"]),
        challenger_ms_p99=_p99(pairs["challenger_ms"]),
    )


def _count(view: View, segments: list[LogSegment], versions: dict[str, Any], since: int) -> tuple[int, int]:
    by_step: defaultdict[int, list[LogSegment]] = defaultdict(list)
    for segment in segments:
        by_step[segment.step].append(segment)
    rows = failed = 0
    for step, alike in by_step.items():
        first = -(-since // step) * step if step else _END
        found = [
            view.ask(queries.PAIR_COUNTS, "predictions", alike, versions | {"low": since, "behind": first}),
            *([view.ask_tallies(queries.TALLIED_PAIRS, alike, versions | {"first": first})] if step else []),
        ]
        rows += sum(each["rows"][0].as_py() or 0 for each in found)
        failed += sum(each["failed"][0].as_py() or 0 for each in found)
    return rows, failed


def _drawn(
    view: View, segments: list[LogSegment], values: dict[str, Any], wanted: int, of: int
) -> tuple[pa.Table, str]:
    """The pairs with the smallest sample keys, and the key up to which all are among them."""
    share = bound_for(wanted, of)
    while True:
        bound = key_at(share)
        pairs = view.ask(queries.PAIRS, "predictions", segments, values | {"bound": bound, "k": wanted})
        if pairs.num_rows >= min(wanted, of) or share >= 1:
            return pairs, bound
        share = min(1.0, share * 2)


def _labelled(pairs: pa.Table, labels: pa.Table) -> pd.DataFrame:
    """The label and both scores, of the pairs that have all three, in their order."""
    scored = pairs.filter(pc.and_(pc.is_valid(pairs["champion"]), pc.is_valid(pairs["challenger"])))
    rows = scored.select(["id", "champion", "challenger"]).to_pandas()
    known = labels.rename_columns(["id", "label"]).to_pandas()
    told: pd.DataFrame = rows.merge(known, on="id", how="inner")[["label", "champion", "challenger"]]
    return told


def _p99(milliseconds: pa.ChunkedArray) -> float | None:
    value: float | None = pc.quantile(milliseconds, q=0.99)[0].as_py()
    return value
