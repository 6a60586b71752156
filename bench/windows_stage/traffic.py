"""Traffic of one model: ten features, some of them missing; a few events late; half of the predictions labelled."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
import pyarrow as pa

from bundle.signature import Feature, RawField, Signature
from observability.embedded.tables import SCHEMAS, microseconds
from observability.ids import sample_key
from observability.monitors.reference import Reference

MODEL: Final = "bench/windows"
START: Final = datetime(2024, 1, 1, tzinfo=UTC)
#: predictions a second
RATE: Final = 100
NUMERIC: Final = tuple(f"n{number}" for number in range(6))
#: how many values each has
CATEGORICAL: Final = {"carrier": 12, "weekday": 7, "airport": 300, "place": 3_000}
SIGNATURE: Final = Signature(
    model=MODEL,
    task="binary",
    raw=(RawField(name="n0", type="number"),),
    features=tuple(
        [Feature(name=name, type="numeric") for name in NUMERIC]
        + [Feature(name=name, type="categorical") for name in CATEGORICAL]
    ),
    label="label",
)
LABELLED: Final = 0.5
_MISSING: Final = 0.02
_LATE: Final = 0.005
_LATENESS: Final = 1_800_000_000
_LABEL_DELAY: Final = 3_600_000_000


def features(rows: int, rng: np.random.Generator, shift: float = 0.0) -> pd.DataFrame:
    """The features of so many rows; `shift` is how far they are from the reference's, in standard deviations."""
    columns: dict[str, npt.NDArray[np.object_]] = {}
    for name in NUMERIC:
        columns[name] = np.round(rng.lognormal(shift, 1.0, rows), 4).astype(object)
    for name, values in CATEGORICAL.items():
        places = np.minimum(rng.zipf(1.3 + shift / 5, rows), values).astype(int)
        columns[name] = np.array([f"{name} {value}" for value in range(values + 1)], object)[places]
    for column in columns.values():
        column[rng.random(rows) < _MISSING] = None
    return pd.DataFrame(columns)


def reference(rows: int = 5_000) -> Reference:
    """What windows are compared with."""
    rng = np.random.default_rng(1)
    scores = rng.random(rows)
    return Reference(features(rows, rng), scores, (rng.random(rows) < scores).astype(float))


def pieces(rows: int) -> list[int]:
    """How many events the segments of a store of so many hold, after compaction: most in full ones, the last in few."""
    sizes = []
    while rows > 1_000_000:
        sizes.append(1_000_000)
        rows -= 1_000_000
    while rows > 40_000:
        sizes.append(rows * 3 // 5)
        rows -= sizes[-1]
    return [*sizes, *([5_000] * (rows // 5_000)), *([rows % 5_000] if rows % 5_000 else [])]


def traffic(sizes: list[int]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Predictions and labels, a piece at a time."""
    start, rng = microseconds(START), np.random.default_rng(2)
    for size in sizes:
        observed = start + np.sort(rng.integers(0, size * 1_000_000 // RATE, size))
        start += size * 1_000_000 // RATE
        predictions = _predictions(observed, rng)
        yield predictions, _labels(predictions, rng)


def _predictions(observed: npt.NDArray[np.int64], rng: np.random.Generator) -> pa.Table:
    rows = len(observed)
    late = np.where(rng.random(rows) < _LATE, rng.integers(0, _LATENESS, rows), 0)
    ids = _ids(observed, rng)
    scores = np.round(rng.random(rows), 6)
    texts = _texts(features(rows, rng, 0.05))
    columns = {
        "id": ids,
        "event_time": observed - late,
        "observed_time": observed,
        "schema_version": np.ones(rows, np.int64),
        "version": np.ones(rows, np.int64),
        "role": ["production"] * rows,
        "sample_key": [sample_key(each) for each in ids],
        "latency_ms": np.round(rng.lognormal(1.0, 0.6, rows), 3),
        "score": scores,
        "prediction": (scores > 0.5).astype(np.int64),
        "raw": ["{}"] * rows,
        "features": texts,
    }
    return _table("predictions", columns, rows)


def _texts(frame: pd.DataFrame) -> list[str]:
    """The rows as JSON."""
    columns = [[orjson.dumps(value).decode() for value in frame[name]] for name in frame]
    form = "{" + ", ".join(f'"{name}": %s' for name in frame) + "}"
    return [form % row for row in zip(*columns, strict=True)]


def _labels(predictions: pa.Table, rng: np.random.Generator) -> pa.Table:
    known = predictions.filter(pa.array(rng.random(predictions.num_rows) < LABELLED))
    rows, observed = known.num_rows, known["observed_time"].to_numpy() + _LABEL_DELAY
    columns = {
        "id": _ids(observed, rng),
        "event_time": observed,
        "observed_time": observed,
        "schema_version": np.ones(rows, np.int64),
        "prediction_id": known["id"],
        "label": (rng.random(rows) < known["score"].to_numpy()).astype(np.int64),
        "sample_key": known["sample_key"],
    }
    return _table("labels", columns, rows)


def _table(name: str, columns: dict[str, object], rows: int) -> pa.Table:
    schema = SCHEMAS[name]  # type: ignore[index]
    return pa.table(
        [columns[field.name] if field.name in columns else pa.nulls(rows, field.type) for field in schema],
        schema=schema,
    )


def _ids(observed: npt.NDArray[np.int64], rng: np.random.Generator) -> list[str]:
    """UUIDs of version 7 of these instants, in microseconds."""
    low, high = rng.integers(0, 1 << 60, len(observed)), rng.integers(0, 1 << 12, len(observed))
    return [
        f"{(ms := f'{time // 1000:012x}')[:8]}-{ms[8:]}-7{a:03x}-8{(b := f'{x:015x}')[:3]}-{b[3:]}"
        for time, a, x in zip(observed.tolist(), high.tolist(), low.tolist(), strict=True)
    ]
