"""How rows and labels are laid down: Arrow schemas of the layers, and Parquet written by day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from bundle.signature import FieldType, RawField, Signature

RAW_PREFIX: Final = "raw_"
FEATURE_PREFIX: Final = "feature_"
TIME: Final = pa.timestamp("us", tz="UTC")
LABELS: Final = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.int64()),
        ("label_time", TIME),
        ("observed_time", TIME),
        ("source", pa.string()),
    ]
)
_ARROW: Final[dict[FieldType, pa.DataType]] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
}
_COLUMN: Final[dict[FieldType, pa.DataType]] = {
    "string": pa.string(),
    "integer": pa.float64(),
    "number": pa.float64(),
    "boolean": pa.float64(),
}


def raw_schema(fields: Iterable[RawField]) -> pa.Schema:
    """RAW: as the source typed it."""
    columns = [(RAW_PREFIX + field.name, _ARROW[field.type]) for field in fields]
    return pa.schema([("id", pa.string()), ("event_time", TIME), *columns])


def processed_schema(fields: Iterable[RawField]) -> pa.Schema:
    """PROCESSED: the columns that a feature function is given, and the day."""
    columns = [(RAW_PREFIX + field.name, _COLUMN[field.type]) for field in fields]
    return pa.schema([("id", pa.string()), ("event_time", TIME), *columns, ("day", pa.string())])


def refined_schema(signature: Signature) -> pa.Schema:
    """REFINED: what the model sees, beside the raw columns that golden rows are taken from."""
    features = [
        (FEATURE_PREFIX + f.name, pa.float32() if f.type == "numeric" else pa.string()) for f in signature.features
    ]
    *raw, day = processed_schema(signature.raw)
    return pa.schema([*raw, *features, day])


class DayWriter:
    """Writes rows into day=YYYY-MM-DD folders, one file a day and portion, and holds one portion."""

    def __init__(self, root: Path, schema: pa.Schema, portion: int = 20_000) -> None:
        self._root, self._schema, self._portion = root, schema, portion
        self._rows: list[dict[str, Any]] = []
        self._portions = 0

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= self._portion:
            self.flush()

    def flush(self) -> None:
        days: dict[str, list[dict[str, Any]]] = {}
        for row in self._rows:
            days.setdefault(day_of(row["event_time"]), []).append(row)
        for day, rows in days.items():
            folder = self._root / f"day={day}"
            folder.mkdir(parents=True, exist_ok=True)
            write_rows(folder / f"part-{self._portions:05d}.parquet", self._schema, rows)
        self._rows, self._portions = [], self._portions + 1


def day_of(event_time: datetime) -> str:
    return event_time.date().isoformat()


def write_rows(path: Path, schema: pa.Schema, rows: Sequence[dict[str, Any]]) -> None:
    """One Parquet file of these rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
