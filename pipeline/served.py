"""What was served, with its labels, back into RAW: a source as any other, behind the same filter."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow.dataset as ds

from bundle.privacy import filtered
from bundle.signature import RawField
from observability.ports import LogStore
from observability.windows import EPOCH
from pipeline.batches import Batch, Layers
from pipeline.contract.spec import ModelSpec
from pipeline.ingest import Tally, raw_record
from pipeline.rawtables import LABELS, DayWriter, raw_schema, write_rows

#: the log store may show an event this long after it was observed
OVERLAP: Final = timedelta(minutes=15)
SOURCE: Final = "served"


def ingest_served(layers: Layers, spec: ModelSpec, store: LogStore, key: bytes) -> Batch | None:
    """Add what the log store has and the layers have not; None where there is nothing.

    Reads again a while back, since events arrive out of order, and leaves out what is known by its id.
    """
    with layers.lock():
        known = [batch for batch in layers.batches() if batch.source == SOURCE]
        reached = max((b.observed_until for b in known if b.observed_until), default=EPOCH)
        since = max(reached - OVERLAP, EPOCH)
        recent = [b for b in known if b.observed_until and b.observed_until >= since]
        with layers.staging() as staging:
            intake = _Intake(layers, recent, reached)
            intake.take_predictions(staging, store.predictions(spec.model, since), spec, key)
            intake.take_labels(staging, store.labels(spec.model, since))
            if not intake.tally.rows and not intake.tally.labels:
                return None
            sequence = len(layers.batches())
            batch = Batch(
                name=f"{SOURCE}-{sequence:06d}", sequence=sequence, source=SOURCE, origin="log store",
                rows=intake.tally.rows, labels=len(intake.tally.labels), period=intake.tally.period,
                label_column=spec.label.name, observed_until=intake.reached,
            )  # fmt: skip
            layers.commit(batch, staging)
    return batch


class _Intake:
    """Sorts out what is new."""

    def __init__(self, layers: Layers, recent: list[Batch], reached: datetime) -> None:
        self.tally, self.reached = Tally(), reached
        self._rows = {r["id"] for b in recent for r in _read(layers.raw(b.name), ["id"])}
        self._labels = {_label_key(r) for b in recent for r in _read(layers.labels(b.name), LABELS.names)}

    def take_predictions(self, staging: Path, frames: Iterator[pd.DataFrame], spec: ModelSpec, key: bytes) -> None:
        writer = DayWriter(staging / "raw", raw_schema(spec.raw))
        for row in _rows_of(frames):
            self._saw(row["observed_time"])
            if row["id"] in self._rows:
                continue
            self._rows.add(row["id"])
            event_time = row["event_time"].to_pydatetime()
            self.tally.saw(event_time)
            raw = filtered({f.name: _value(row.get(f.name), f) for f in spec.raw}, spec.raw, key)
            writer.add(raw_record(row["id"], event_time, raw, spec.raw))
        writer.flush()
        (staging / "raw").mkdir(exist_ok=True)

    def take_labels(self, staging: Path, frames: Iterator[pd.DataFrame]) -> None:
        for row in _rows_of(frames):
            self._saw(row["observed_time"])
            label = {
                "id": row["prediction_id"],
                "label": int(row["label"]),
                "label_time": row["label_time"].to_pydatetime(),
                "observed_time": row["observed_time"].to_pydatetime(),
                "source": SOURCE,
            }
            if _label_key(label) not in self._labels:
                self._labels.add(_label_key(label))
                self.tally.labels.append(label)
        write_rows(staging / "labels" / "labels.parquet", LABELS, self.tally.labels)

    def _saw(self, observed: pd.Timestamp) -> None:
        self.reached = max(self.reached, observed.to_pydatetime())


def _rows_of(frames: Iterator[pd.DataFrame]) -> Iterator[dict[str, Any]]:
    for frame in frames:
        for name in ("event_time", "observed_time", "label_time"):
            if name in frame:
                frame = frame.assign(**{name: pd.to_datetime(frame[name], utc=True)})
        for row in frame.to_dict("records"):
            yield {str(name): value for name, value in row.items()}


def _value(value: Any, field: RawField) -> Any:  # noqa: ANN401 - what pandas made of a value
    """The value as it was served: pandas has no missing integer and no missing boolean."""
    if value is None or (isinstance(value, float) and pd.isna(value)) or value is pd.NA:
        return None
    kinds = {"string": str, "integer": int, "number": float, "boolean": bool}
    return kinds[field.type](value)


def _label_key(label: dict[str, Any]) -> tuple[str, int, datetime]:
    return (label["id"], label["label"], label["label_time"])


def _read(folder: Path, columns: list[str]) -> list[dict[str, Any]]:
    files = sorted(folder.rglob("*.parquet"))
    rows: list[dict[str, Any]] = ds.dataset(files).to_table(columns=columns).to_pylist() if files else []
    return rows
