"""The embedded log store: immutable Parquet segments, a manifest, and an in-memory DuckDB for each reader.

One process writes (it takes a lock at its first append); any number read, without lock and writer: a
reader asks the segments that the manifest names, and reads the manifest again when it has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import orjson
import pandas as pd
import pyarrow as pa

from observability.clock import Clock, SystemClock
from observability.embedded import queries
from observability.embedded.manifest import LogSegment, ManifestFile
from observability.embedded.tables import (
    SCHEMAS,
    TableName,
    event_of,
    instant_of,
    json_columns,
    microseconds,
    refusal_reason,
    table_of,
)
from observability.embedded.writer import SegmentWriter
from observability.events import Event
from observability.ports import LogStoreUnavailable, Paired, Refusal, Sample, Span
from observability.rollups import LatencySketch, Rollup
from observability.windows import Cursor

_ATTEMPTS: Final = 4
#: segments of any age as one table: a column that one of them, or all of them, lacks is null
_READ: Final = "(SELECT * FROM read_parquet(${table}, union_by_name = true) UNION ALL BY NAME SELECT * FROM no_{table})"


class ParquetLogStore:
    """A LogStore in a folder. Threads may share it.

    `clock` dates the deletion of merged files, so it is the machine's also in a replay.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock | None = None,
        small_rows: int = 50_000,
        small_segments: int = 16,
        grace: timedelta = timedelta(minutes=10),
    ) -> None:
        self._folder = root / "segments"
        self._manifest = ManifestFile(root / "manifest.json")
        writing = ManifestFile(root / "manifest.json")
        self._writer = SegmentWriter(root, writing, clock or SystemClock(), small_rows, small_segments, grace)
        self._duckdb = duckdb.connect(
            ":memory:",
            config={"threads": 2, "autoinstall_known_extensions": False, "parquet_metadata_cache": True},
        )
        for table, schema in SCHEMAS.items():
            self._duckdb.from_arrow(schema.empty_table()).create(f"no_{table}")

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
            except (OSError, pa.ArrowException) as error:
                raise LogStoreUnavailable(f"the log store {self._folder.parent} cannot be written: {error}") from error
        return refusals

    def close(self) -> None:
        """Give up the writer's lock and the memory of the reader."""
        self._writer.close()
        self._duckdb.close()

    def watermark(self, model: str) -> datetime | None:
        segments = self._manifest.read().of("predictions", model)
        return instant_of(max(s.last_event_time for s in segments)) if segments else None

    def cut(self, model: str, version: int, after: Cursor, size: int) -> Cursor | None:
        return self._cursor_behind(model, version, after, size)

    def first(self, model: str, version: int, after: Cursor) -> Cursor | None:
        return self._cursor_behind(model, version, after, 1)

    def _cursor_behind(self, model: str, version: int, after: Cursor, size: int) -> Cursor | None:
        time = microseconds(after.event_time)
        values = {"version": version, "time": time, "id": after.id, "skip": size - 1}
        rows = self._ask(model, queries.BEHIND, values, time_from=time).to_pylist()
        return Cursor(instant_of(rows[0]["event_time"]), rows[0]["id"]) if rows else None

    def sample(self, span: Span, k: int) -> Sample:
        exact = self._ask_span(span, queries.COUNTS).to_pylist()[0]
        rows = self._ask_span(span, queries.SAMPLE, k=k)
        return Sample(frame=_sample_frame(rows), rows=exact["rows"], labelled=exact["labelled"])

    def rollup(self, span: Span) -> Rollup:
        rows = self._ask_span(span, queries.ROLLUP_ROWS)
        return rollup_of(rows["latency_ms"].to_pylist(), rows["features"].to_pylist())

    def labelled_after(self, model: str, event_time: datetime) -> int:
        time = microseconds(event_time)
        answer = self._ask(model, queries.LABELLED_AFTER, {"time": time}, time_from=time).to_pylist()
        return int(answer[0]["labelled"])

    def compare(self, model: str, champion: int, challenger: int, since: datetime, k: int) -> Paired:
        time = microseconds(since)
        values = {"champion": champion, "challenger": challenger, "time": time}
        exact = self._ask(model, queries.PAIR_COUNTS, values, observed_from=time).to_pylist()[0]
        rows = self._ask(model, queries.PAIRED_ROWS, values | {"k": k}, observed_from=time)
        return Paired(frame=rows.to_pandas(), **exact)

    def predictions(self, model: str, observed_from: datetime) -> Iterator[pd.DataFrame]:
        for rows in self._each_segment("predictions", model, queries.SERVED_ROWS, observed_from):
            times = {name: _instants(rows[name]) for name in ("event_time", "observed_time")}
            yield pd.DataFrame(json_columns(rows["raw"].to_pylist()) | {"id": rows["id"].to_pylist()} | times)

    def labels(self, model: str, observed_from: datetime) -> Iterator[pd.DataFrame]:
        for rows in self._each_segment("labels", model, queries.LABEL_ROWS, observed_from):
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
        values = {"limit": limit} | ({"kind": kind} if table == "control" else {})
        rows = self._ask(model, queries.NEWEST[table], values).to_pylist()
        return [event_of(table, model, {"kind": kind} | row) for row in rows]

    def _ask_span(self, span: Span, query: str, **values: int) -> pa.Table:
        after_time, until_time = microseconds(span.after.event_time), microseconds(span.until.event_time)
        segment = span.segment
        bounds = {
            "version": span.version, "after_time": after_time, "after_id": span.after.id,
            "until_time": until_time, "until_id": span.until.id,
            "feature": f'$."{segment.feature}"' if segment else None, "value": segment.value if segment else None,
        }  # fmt: skip
        return self._ask(span.model, query, bounds | values, after_time, until_time)

    def _ask(
        self,
        model: str,
        query: str,
        values: dict[str, Any],
        time_from: int | None = None,
        time_until: int | None = None,
        observed_from: int | None = None,
    ) -> pa.Table:
        """The answer over the model's segments; predictions outside the time bounds may be left out."""
        for attempt in range(_ATTEMPTS):
            manifest = self._manifest.read()
            predictions = [
                segment
                for segment in manifest.of("predictions", model)
                if (time_from is None or segment.last_event_time >= time_from)
                and (time_until is None or segment.first_event_time <= time_until)
                and (observed_from is None or segment.last_observed_time >= observed_from)
            ]
            sources = {table: manifest.of(table, model) for table in SCHEMAS} | {"predictions": predictions}
            try:
                return self._run(query, sources, values)
            except duckdb.IOException as error:  # merged and deleted since: the manifest has its successor
                if attempt == _ATTEMPTS - 1:
                    raise LogStoreUnavailable(f"the log store cannot be read: {error}") from error
        raise AssertionError("unreachable")

    def _each_segment(self, table: TableName, model: str, query: str, since: datetime) -> Iterator[pa.Table]:
        time = microseconds(since)
        for segment in self._manifest.read().of(table, model):
            if segment.last_observed_time < time:
                continue
            try:
                rows = self._run(query, {table: [segment]}, {"time": time})
            except duckdb.IOException as error:
                raise LogStoreUnavailable(f"{segment.file} was merged while it was read: begin again") from error
            if rows.num_rows:
                yield rows

    def _run(self, query: str, sources: Mapping[TableName, list[LogSegment]], values: dict[str, Any]) -> pa.Table:
        for table in SCHEMAS:
            if "{" + table + "}" not in query:
                continue
            if segments := sources[table]:
                query = query.replace("{" + table + "}", _READ.format(table=table))
                values = values | {table: [str(self._folder / segment.file) for segment in segments]}
            else:
                query = query.replace("{" + table + "}", f"no_{table}")
        with self._duckdb.cursor() as cursor:
            return cursor.sql(query, params=values).to_arrow_table()


def _instants(column: pa.ChunkedArray) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(column.to_numpy(), unit="us", utc=True))


def _sample_frame(rows: pa.Table) -> pd.DataFrame:
    fixed = {
        "id": rows["id"].to_pylist(),
        "event_time": _instants(rows["event_time"]),
        "version": rows["version"].to_numpy(),
        "score": rows["score"].to_numpy(),
        "prediction": rows["prediction"].to_numpy(),
        "label": rows["label"].cast(pa.float64()).to_numpy(),
    }
    features = json_columns(rows["features"].to_pylist())
    return pd.DataFrame(fixed | {name: column for name, column in features.items() if name not in fixed})


def rollup_of(latencies: list[float], features: list[str]) -> Rollup:
    """The rollup of predictions, given their latencies and features; empty text is a missing value too."""
    present: Counter[str] = Counter()
    for row in map(orjson.loads, features):
        present.update({name: value is not None and value != "" for name, value in row.items()})
    missing = {name: len(features) - count for name, count in present.items() if count < len(features)}
    return Rollup(len(features), missing, LatencySketch.of(latencies))
