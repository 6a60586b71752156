"""The embedded log store: immutable Parquet segments, a manifest, and an in-memory DuckDB for each reader.

One process writes (it takes a lock at its first append); any number read, without lock and writer: a
reader asks the segments that the manifest names, and reads the manifest again when it has changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa

from observability.clock import Clock, SystemClock
from observability.embedded import comparing, counting, queries, sampling
from observability.embedded.counting import Stretch
from observability.embedded.manifest import LogSegment, ManifestFile
from observability.embedded.reader import SegmentReader, View
from observability.embedded.tables import (
    TableName,
    event_of,
    instant_of,
    json_columns,
    microseconds,
    refusal_reason,
    table_of,
    text_columns,
)
from observability.embedded.writer import SegmentWriter, Upkeep
from observability.events import Event
from observability.ports import LogStoreUnavailable, Paired, Refusal, Sample, Span
from observability.rollups import Rollup
from observability.windows import Cursor

_ANSWERED = ("production", "canary")
_INSTANT = timedelta(microseconds=1)


class ParquetLogStore:
    """A LogStore in a folder. Threads may share it.

    `clock` dates the deletion of merged files and bounds what is called old, so it is the machine's also in a replay.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock | None = None,
        small_segments: int = 8,
        full_rows: int = 1_000_000,
        grace: timedelta = timedelta(minutes=10),
        retention: Mapping[TableName, timedelta] | None = None,
    ) -> None:
        self._folder = root
        self._manifest = ManifestFile(root / "manifest.json")
        writing = ManifestFile(root / "manifest.json")
        upkeep = Upkeep(small_segments, full_rows, grace, retention or {})
        self._writer = SegmentWriter(root, writing, clock or SystemClock(), upkeep)
        self._reader = SegmentReader(root, self._manifest)

    def append(
        self, events: Sequence[Event], lines: Sequence[bytes] | None = None, *, fresh: bool = False
    ) -> list[Refusal]:
        refusals = []
        groups: dict[tuple[TableName, str], dict[str, Event]] = {}
        for event in events:
            if reason := refusal_reason(event):
                refusals.append(Refusal(event.id, reason))
            else:
                groups.setdefault((table_of(event.kind), event.model), {}).setdefault(event.id, event)
        if groups:
            try:
                self._writer.store(groups)
            except (OSError, pa.ArrowException, duckdb.IOException, duckdb.OutOfMemoryException) as error:
                raise LogStoreUnavailable(f"the log store {self._folder} cannot be written: {error}") from error
        return refusals

    def close(self) -> None:
        """Give up the writer's lock and the memory of the reader."""
        self._writer.close()
        self._reader.close()

    def watermark(self, model: str) -> datetime | None:
        segments = self._manifest.read().of("predictions", model)
        return instant_of(max(s.last_event_time for s in segments)) if segments else None

    def cut(self, model: str, version: int, after: Cursor, size: int) -> Cursor | None:
        stretch = Stretch(model, after, version=version)
        return self._reader.answer(lambda view: counting.place_behind(view, stretch, size))

    def first(self, model: str, version: int, after: Cursor) -> Cursor | None:
        return self.cut(model, version, after, 1)

    def sample(self, span: Span, k: int, texts: Sequence[str] = ()) -> Sample:
        return self._reader.answer(lambda view: _sample(view, Stretch.of(span), k, texts))

    def rollup(self, span: Span) -> Rollup:
        ask = sampling.rollup_of_segment if span.segment else counting.rollup
        return self._reader.answer(lambda view: ask(view, Stretch.of(span)))

    def labelled_after(self, model: str, event_time: datetime) -> int:
        stretch = Stretch(model, Cursor.before(event_time + _INSTANT), roles=_ANSWERED)
        return self._reader.answer(lambda view: sampling.labelled_of(view, stretch))

    def compare(self, model: str, champion: int, challenger: int, since: datetime, k: int) -> Paired:
        ask = partial(
            comparing.compare, model=model, champion=champion, challenger=challenger, since=microseconds(since), k=k
        )
        return self._reader.answer(ask)

    def predictions(self, model: str, observed_from: datetime) -> Iterator[pd.DataFrame]:
        for rows in self._each_batch("predictions", model, queries.SERVED_ROWS, observed_from):
            times = {name: _instants(rows[name]) for name in ("event_time", "observed_time")}
            yield pd.DataFrame(json_columns(rows["raw"].to_pylist()) | {"id": rows["id"].to_pylist()} | times)

    def labels(self, model: str, observed_from: datetime) -> Iterator[pd.DataFrame]:
        for rows in self._each_batch("labels", model, queries.LABEL_ROWS, observed_from):
            yield pd.DataFrame(
                {
                    "prediction_id": rows["prediction_id"].to_pylist(),
                    "label": rows["label"].to_numpy(),
                    "label_time": _instants(rows["event_time"]),
                    "observed_time": _instants(rows["observed_time"]),
                }
            )

    def events(self, model: str, kind: str, limit: int) -> list[Event]:
        table = table_of(kind)
        rows = self._reader.answer(lambda view: _newest(view, table, model, kind, limit))
        return [event_of(table, model, {"kind": kind} | row) for row in rows.to_pylist()]

    def _each_batch(self, table: TableName, model: str, query: str, since: datetime) -> Iterator[pa.Table]:
        view, time = self._reader.view(), microseconds(since)
        for segment in sorted(view.manifest.of(table, model), key=lambda each: each.first_observed_time):
            if segment.last_observed_time < time:
                continue
            try:
                for rows in view.each_batch(query, table, segment, {"time": time}):
                    if rows.num_rows:
                        yield rows
            except duckdb.IOException as error:
                raise LogStoreUnavailable(f"{segment.file} was merged while it was read: begin again") from error


def _sample(view: View, stretch: Stretch, k: int, texts: Sequence[str]) -> Sample:
    found = sampling.drawn(view, stretch, k, queries.SAMPLE_WITH_RAW if texts else queries.SAMPLE)
    labels = sampling.latest_labels(view, stretch.model, found.rows, found.bound)
    known = dict(zip(labels["prediction_id"].to_pylist(), labels["label"].to_pylist(), strict=True))
    labelled = sampling.scaled(len(known), found.rows.num_rows, found.of)
    return Sample(frame=_sample_frame(found.rows, known, texts), rows=found.of, labelled=labelled)


def _sample_frame(rows: pa.Table, labels: dict[str, float], texts: Sequence[str]) -> pd.DataFrame:
    ids = rows["id"].to_pylist()
    fixed = {
        "id": ids,
        "event_time": _instants(rows["event_time"]),
        "version": rows["version"].to_numpy(),
        "score": rows["score"].to_numpy(),
        "prediction": rows["prediction"].to_numpy(),
        "label": pd.array([labels.get(id) for id in ids], "Float64").to_numpy(float, na_value=float("nan")),
    }
    features = json_columns(rows["features"].to_pylist())
    fixed |= {name: column for name, column in features.items() if name not in fixed}
    return pd.DataFrame(fixed | (text_columns(rows["raw"].to_pylist(), texts) if texts else {}))


def _newest(view: View, table: TableName, model: str, kind: str, limit: int) -> pa.Table:
    segments = view.manifest.of(table, model)
    if table == "control":
        return view.ask(queries.NEWEST_CONTROL, table, segments, {"kind": kind, "limit": limit})
    query = queries.NEWEST.format(table=table)
    return view.ask(query, table, _with_the_newest(segments, limit), {"limit": limit})


def _with_the_newest(segments: Sequence[LogSegment], limit: int) -> list[LogSegment]:
    """Those that may hold one of the newest events, given that those with the latest beginnings hold enough."""
    rows, bound = 0, None
    for segment in sorted(segments, key=lambda each: each.first_observed_time, reverse=True):
        if rows >= limit:
            break
        rows, bound = rows + segment.rows, segment.first_observed_time
    return [each for each in segments if bound is not None and each.last_observed_time >= bound]


def _instants(column: pa.ChunkedArray) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(column.to_numpy(), unit="us", utc=True))
