"""How the embedded log store lays its files out, so that a question reads little of them.

The rows of a segment lie by the level of their sample key (how many leading zero bits it has: each level holds half as
many predictions as the one before), and within a level by time. A sample of k predictions of a span is in few levels,
and in each of them in one place, however long the span is and however large the file: row groups have bounds of both.
Labels lie by level and the id of their prediction (which begins with a time), so those of a sample are found likewise.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from observability.embedded import tallies
from observability.embedded.manifest import LAYOUT, LogSegment
from observability.embedded.tables import SCHEMAS, TableName
from observability.ids import new_id

_LEVEL: Final = "floor(log2(('0x' || left(sample_key, 12))::BIGINT + 1))"
_ORDER: Final[dict[TableName, str]] = {
    "predictions": f"{_LEVEL}, event_time, id",
    "labels": f"{_LEVEL}, prediction_id, id",
    "control": "event_time, id",
    "service": "event_time, id",
}
#: rows of a row group, the least that is read
_ROW_GROUP: Final = 8_192
#: predictions below which no tally is written: their rows are counted as quickly
TALLIED_FROM: Final = 1_000
#: rows that are held at once where a tally is made from a file
_BATCH: Final = 20_000
_BOUNDS: Final = """
    SELECT
        count(*) AS rows, min(id) AS first_id, max(id) AS last_id,
        min(event_time) AS first_event_time, max(event_time) AS last_event_time,
        min(observed_time) AS first_observed_time, max(observed_time) AS last_observed_time
        {labels}
    FROM read_parquet($file)
"""
_LABEL_BOUNDS: Final = ", min(prediction_id) AS first_prediction_id, max(prediction_id) AS last_prediction_id"
#: how many steps of each length there are counts of
_SPREAD: Final = """
    SELECT step, count(DISTINCT start // step) AS times
    FROM (SELECT DISTINCT start FROM {tallies} WHERE measure = 'rows'), (SELECT unnest($steps::BIGINT[]) AS step)
    GROUP BY step ORDER BY step
"""
_VALUES: Final = "SELECT DISTINCT name, value FROM {tallies} WHERE measure = 'value'"
_COPY: Final = "COPY ({query}) TO $path (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {rows})"
_SUMS: Final = """
    SELECT
        start - (start % $step + $step) % $step AS start, version, role, measure, name, value,
        sum(count)::BIGINT AS count
    FROM {tallies}
    WHERE measure <> 'value' OR NOT list_contains($uncounted::VARCHAR[], name)
    GROUP BY ALL
    ORDER BY {order}
"""
_SORTED: Final = "SELECT * FROM {rows} ORDER BY {order}"
#: segments of any age as one table: a column that one of them, or all of them, lacks is null
_MERGED: Final = "(SELECT * FROM read_parquet($merged, union_by_name = true) UNION ALL BY NAME SELECT * FROM nothing)"
_TALLIES: Final = "(SELECT * FROM counted UNION ALL BY NAME SELECT * FROM read_parquet($tallied))"


class Rows(NamedTuple):
    """A table to read from: what stands for it in a query, and the parameters of that."""

    sql: str
    values: dict[str, Any]


class Tally(NamedTuple):
    """What is to stand beside a segment."""

    counts: Rows
    step: int
    uncounted: list[str]


class SegmentFiles:
    """Writes segments into a folder, each durable when the call ends (its name, once the folder is synced)."""

    def __init__(self, folder: Path, spill: Path, memory_limit: str) -> None:
        self._folder = folder
        self._duckdb = duckdb.connect(
            ":memory:",
            config={
                "threads": 2, "memory_limit": memory_limit, "temp_directory": str(spill),
                "autoinstall_known_extensions": False,
            },
        )  # fmt: skip

    def close(self) -> None:
        self._duckdb.close()

    def write(self, table: TableName, model: str, rows: pa.Table) -> LogSegment:
        """A segment of these rows."""
        with self._duckdb.cursor() as cursor:
            cursor.register("rows", rows)
            tally = None
            if table == "predictions" and rows.num_rows >= TALLIED_FROM:
                cursor.register("counted", tallies.tally_table(tallies.tally_of(rows, tallies.MINUTE)))
                tally = _tally(cursor, Rows("counted", {}), rows.num_rows, tallies.MINUTE, set())
            return self._write(cursor, table, model, Rows("rows", {}), tally)

    def merge(self, table: TableName, model: str, segments: Sequence[LogSegment]) -> LogSegment:
        """A segment of all that these hold; they stay."""
        with self._duckdb.cursor() as cursor:
            cursor.register("nothing", SCHEMAS[table].empty_table())
            rows = Rows(_MERGED, {"merged": [str(self._folder / each.file) for each in segments]})
            tally = None
            if table == "predictions" and sum(each.rows for each in segments) >= TALLIED_FROM:
                tally = self._merged_tally(cursor, segments)
            return self._write(cursor, table, model, rows, tally)

    def _write(
        self, cursor: duckdb.DuckDBPyConnection, table: TableName, model: str, rows: Rows, tally: Tally | None
    ) -> LogSegment:
        name = f"{table}-{new_id()}.parquet"
        self._copy(cursor, _SORTED.format(rows=rows.sql, order=_ORDER[table]), rows.values, name)
        query = _BOUNDS.format(labels=_LABEL_BOUNDS if table == "labels" else "")
        bounds = cursor.sql(query, params={"file": str(self._folder / name)}).to_arrow_table().to_pylist()[0]
        segment = LogSegment(file=name, table=table, model=model, layout=LAYOUT, **bounds)
        if tally is None:
            return segment
        values = tally.counts.values | {"step": tally.step, "uncounted": tally.uncounted}
        self._copy(cursor, _SUMS.format(tallies=tally.counts.sql, order=tallies.ORDER), values, segment.tally_file)
        return segment.model_copy(update={"step": tally.step, "uncounted": tuple(tally.uncounted)})

    def _copy(self, cursor: duckdb.DuckDBPyConnection, query: str, values: dict[str, Any], name: str) -> None:
        path = self._folder / name
        cursor.execute(_COPY.format(query=query, rows=_ROW_GROUP), values | {"path": str(path)})
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _merged_tally(self, cursor: duckdb.DuckDBPyConnection, segments: Sequence[LogSegment]) -> Tally:
        """The sum of the segments' tallies; made of the rows of those that have none."""
        step = max(each.step or _step_of(each) for each in segments)
        bare = [each for each in segments if not each.step]
        cursor.register("counted", tallies.tally_table(self._counts_of(bare, step)))
        tallied = [str(self._folder / each.tally_file) for each in segments if each.step]
        counts = Rows(_TALLIES, {"tallied": tallied}) if tallied else Rows("counted", {})
        uncounted = {name for each in segments for name in each.uncounted}
        return _tally(cursor, counts, sum(each.rows for each in segments), step, uncounted)

    def _counts_of(self, segments: Sequence[LogSegment], step: int) -> Counter[tallies.Counted]:
        counts: Counter[tallies.Counted] = Counter()
        for segment in segments:
            file = pq.ParquetFile(self._folder / segment.file)
            columns = [name for name in tallies.COLUMNS if name in file.schema_arrow.names]
            for batch in file.iter_batches(_BATCH, columns=columns):
                rows = pa.Table.from_batches([batch])
                for name in set(tallies.COLUMNS) - set(columns):
                    rows = rows.append_column(name, pa.nulls(rows.num_rows))
                counts.update(tallies.tally_of(rows, step))
        return counts


def _tally(cursor: duckdb.DuckDBPyConnection, counts: Rows, rows: int, step: int, uncounted: set[str]) -> Tally:
    """What to write of these counts: by the finest step, but not a finer one than this, that is not too fine."""
    steps = [each for each in tallies.STEPS if each >= step]
    spread = cursor.execute(_SPREAD.format(tallies=counts.sql), counts.values | {"steps": steps}).fetchall()
    values = cursor.execute(_VALUES.format(tallies=counts.sql), counts.values).fetchall()
    return Tally(counts, tallies.step_for(rows, spread), sorted(uncounted | tallies.too_many(values)))


def _step_of(segment: LogSegment) -> int:
    """By which step to tally a segment that has no tally, as if its rows were spread evenly."""
    length = segment.last_event_time - segment.first_event_time
    return tallies.step_for(segment.rows, ((step, length // step + 1) for step in tallies.STEPS))
