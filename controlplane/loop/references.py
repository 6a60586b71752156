"""What a window is compared with: its version's training rows, or what was served in another span.

Features of a span are those of all versions' production predictions: a feature says what came in, whoever answered,
and after a promotion the season before was answered by the version before. Scores are those of the same version only:
another version scores the same rows differently, so to compare with its scores would tell of the model and not of the
data. Errors are always compared with the version's own out-of-time rows: only those say how good it was when proven.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from controlplane.tables import Json
from observability.ids import sample_key
from observability.monitors.reference import Reference
from observability.ports import TEXT_PREFIX, LogStore, Span
from observability.windows import Cursor, Segment, Window, directly_before, seasons_before
from pipeline.contract.monitorspec import PinnedReference, ReferenceSpec, SeasonalReference, TrailingReference

Spans: TypeAlias = Sequence[tuple[Cursor, Cursor]]


def reference_of(
    logs: LogStore,
    declared: ReferenceSpec,
    own: Reference,
    window: Window,
    begins: Cursor,
    k: int,
    texts: Sequence[str] = (),
) -> tuple[Reference, Json]:
    """The reference of a window, of the same segment, and what a verdict tells of it.

    `own` is the version's; `begins` is where the window begins; of served rows at most k are read in all.
    """
    segment = window.part
    own = own.of(segment) if segment is not None else own
    spans = spans_of(declared, begins, window.until)
    if not spans:
        found, rows = own, len(own.features)
    else:
        frame, rows = _pooled(logs, window.model, None, segment, spans, k, texts)
        scores = _scores(logs, window, segment, spans, k, frame)
        kept = dict.fromkeys([*own.features.columns, *(TEXT_PREFIX + name for name in texts)])
        in_time = frame.sort_values(["event_time", "id"]) if len(frame) else frame  # tells how long a value stays
        found = own.served(in_time.reindex(columns=list(kept)).reset_index(drop=True), scores)
    found = found.judged()
    told: Json = {
        "kind": declared.kind,
        "spans": [{"after": after.event_time.isoformat(), "until": end.event_time.isoformat()} for after, end in spans],
        "rows": rows,
        "sampled": len(found.features),
        "reason": found.reason,
    }
    return found, told


def spans_of(declared: ReferenceSpec, begins: Cursor, until: Cursor) -> Spans:
    """The spans of served rows that a window between these cursors is compared with; none for training rows."""
    match declared:
        case PinnedReference():
            return ((Cursor.before(declared.start), Cursor.before(declared.end)),)
        case SeasonalReference():
            return seasons_before(begins, until, declared.period, declared.seasons)
        case TrailingReference():
            return (directly_before(begins, declared.length),)
        case _:
            return ()


def _pooled(
    logs: LogStore,
    model: str,
    version: int | None,
    segment: Segment | None,
    spans: Spans,
    k: int,
    texts: Sequence[str] = (),
) -> tuple[pd.DataFrame, int]:
    """The k rows of all spans together with the smallest sample keys, and how many rows the spans hold.

    So it is a sample of the pooled rows: a span with more traffic has more of them.
    """
    samples = [logs.sample(Span(model, version, after, until, segment), k, texts) for after, until in spans]
    rows = sum(sample.rows for sample in samples)
    frames = [sample.frame for sample in samples if len(sample.frame)]
    if not frames:
        return samples[0].frame, rows
    pooled = pd.concat(frames, ignore_index=True).drop_duplicates("id") if len(frames) > 1 else frames[0]
    keys = pooled["id"].map(sample_key).rename("key")
    order = pd.concat([keys, pooled["id"]], axis=1).sort_values(["key", "id"]).index[:k]
    return pooled.loc[order].reset_index(drop=True), rows


def _scores(
    logs: LogStore, window: Window, segment: Segment | None, spans: Spans, k: int, pooled: pd.DataFrame
) -> npt.NDArray[np.float64]:
    """The scores of the window's own version in the spans; asked for apart where others answered there too."""
    if len(pooled) and not (pooled["version"] == window.version).all():
        pooled, _ = _pooled(logs, window.model, window.version, segment, spans, k)
    return pooled["score"].to_numpy(np.float64) if len(pooled) else np.empty(0)
