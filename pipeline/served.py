"""What was served, with its labels, back into RAW: a source as any other, behind the same filter."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow.dataset as ds

from bundle.privacy import filtered
from bundle.ranges import check_moment, check_number
from bundle.signature import RawField
from observability.ports import LogStore
from observability.windows import EPOCH
from pipeline.batches import Batch, Declared, Layers
from pipeline.contract.spec import ModelSpec
from pipeline.ingest import Tally, raw_record
from pipeline.rawtables import LABELS, DayWriter, raw_schema, write_rows
from pipeline.settings import OVERLAP

SOURCE: Final = "served"
_log = logging.getLogger("pipeline.run")
_KINDS: Final = {"integer": int, "number": float, "boolean": bool}


def ingest_served(
    layers: Layers, spec: ModelSpec, store: LogStore, key: bytes, overlap: timedelta = OVERLAP
) -> Batch | None:
    """Add what the log store has and the layers have not; None where there is nothing.

    Reads again a while back, since events arrive out of order, and leaves out what is known by its id. Where the spec
    contradicts the one that rows were taken under, all are read again and take the place of those.
    """
    with layers.lock():
        known = _known(layers, spec)
        reached = max((b.observed_until for b in known if b.observed_until), default=EPOCH)
        since = max(reached - overlap, EPOCH)
        recent = [b for b in known if b.observed_until and b.observed_until >= since]
        with layers.staging() as staging:
            intake = _Intake(layers, recent, reached)
            intake.take_predictions(staging, store.predictions(spec.model, since), spec, key)
            intake.take_labels(staging, store.labels(spec.model, since))
            intake.write_refused(staging)
            if not intake.tally.rows and not intake.tally.labels and not intake.tally.refused:
                return None
            sequence = layers.next_sequence()
            batch = Batch(
                name=f"{SOURCE}-{sequence:06d}", sequence=sequence, source=SOURCE, origin="log store",
                rows=intake.tally.rows, refused=intake.tally.refused, labels=len(intake.tally.labels),
                period=intake.tally.period, label_column=spec.label.name, observed_until=intake.reached,
                whole=not known, declared=Declared(raw=spec.raw),
            )  # fmt: skip
            layers.commit(batch, staging)
    _log.info(
        "served: %d rows, %d labels, %d refused; %d of them had been observed before %s, and were shown since then",
        batch.rows, batch.labels, batch.refused, intake.late, reached.isoformat(),
    )  # fmt: skip
    return batch


def _known(layers: Layers, spec: ModelSpec) -> list[Batch]:
    """The batches that reading goes on from; none where it begins anew."""
    known = [batch for batch in layers.batches() if batch.source == SOURCE]
    contradicted = any(batch.declared is not None and batch.declared.conflict(spec) for batch in known)
    return [] if contradicted else known


class _Intake:
    """Sorts out what is new, and keeps aside what cannot be used."""

    def __init__(self, layers: Layers, recent: list[Batch], reached: datetime) -> None:
        self.tally, self.reached = Tally(), reached
        self._before, self.late = reached, 0
        self._rows = {r["id"] for b in recent for r in _read(layers.raw(b.name), ["id"])}
        self._labels = {_label_key(r) for b in recent for r in _read(layers.labels(b.name), LABELS.names)}
        self._known_refused = {_refused_key(r) for b in recent for r in _read_refused(layers.refused(b.name))}
        self._refused: list[dict[str, str]] = []

    def take_predictions(self, staging: Path, frames: Iterator[pd.DataFrame], spec: ModelSpec, key: bytes) -> None:
        writer = DayWriter(staging / "raw", raw_schema(spec.raw))
        for row in _rows_of(frames):
            self._saw(row["observed_time"])
            if row["id"] in self._rows:
                continue
            try:
                event_time = _moment(row["event_time"], "event_time")
                values = {field.name: _value(row.get(field.name), field) for field in spec.raw}
            except ValueError as error:
                self._refuse("row", row["id"], str(error))
                continue
            self._rows.add(row["id"])
            self.late += row["observed_time"] < self._before
            self.tally.saw(event_time)
            writer.add(raw_record(row["id"], event_time, filtered(values, spec.raw, key), spec.raw))
        writer.flush()
        (staging / "raw").mkdir(exist_ok=True)

    def take_labels(self, staging: Path, frames: Iterator[pd.DataFrame]) -> None:
        for row in _rows_of(frames):
            self._saw(row["observed_time"])
            try:
                label = _label(row)
            except ValueError as error:
                self._refuse("label", row["prediction_id"], str(error))
                continue
            if _label_key(label) not in self._labels:
                self._labels.add(_label_key(label))
                self.late += row["observed_time"] < self._before
                self.tally.labels.append(label)
        write_rows(staging / "labels" / "labels.parquet", LABELS, self.tally.labels)

    def write_refused(self, staging: Path) -> None:
        """Keep aside which rows and labels were refused, and why; never what was in them."""
        lines = "".join(json.dumps(refused) + "\n" for refused in self._refused)
        (staging / "refused.jsonl").write_text(lines, encoding="utf-8")

    def _refuse(self, kind: str, identity: str, reason: str) -> None:
        refused = {"kind": kind, "id": identity, "reason": reason}
        if _refused_key(refused) not in self._known_refused:
            self.tally.refuse(reason)
            self._refused.append(refused)

    def _saw(self, observed: pd.Timestamp) -> None:
        self.reached = max(self.reached, observed.to_pydatetime())


def _rows_of(frames: Iterator[pd.DataFrame]) -> Iterator[dict[str, Any]]:
    for frame in frames:
        for name in ("event_time", "observed_time", "label_time"):
            if name in frame:
                frame = frame.assign(**{name: pd.to_datetime(frame[name], utc=True, errors="coerce")})
        for row in frame.to_dict("records"):
            yield {str(name): value for name, value in row.items()}


def _value(value: Any, field: RawField) -> Any:  # noqa: ANN401 - what pandas made of a value
    """The value as it was served: pandas has no missing integer and no missing boolean. Raises ValueError."""
    if value is None or (isinstance(value, float) and pd.isna(value)) or value is pd.NA:
        if field.required:
            raise ValueError(f"{field.name}: is required")
        return None
    if field.type == "string":
        return str(value)
    try:
        typed = _KINDS[field.type](value)
    except (TypeError, ValueError, OverflowError):
        typed = None
    if typed != value:
        raise ValueError(f"{field.name}: expected {field.type}")
    try:
        check_number(typed)
    except ValueError as error:
        raise ValueError(f"{field.name}: {error}") from None
    return typed


def _moment(value: pd.Timestamp, name: str) -> datetime:
    if pd.isna(value):
        raise ValueError(f"{name}: lies outside the years 1900 to 2200")
    moment: datetime = value.to_pydatetime()
    try:
        check_moment(moment)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return moment


def _label(row: dict[str, Any]) -> dict[str, Any]:
    if row["label"] not in (0, 1):
        raise ValueError("label: expected 0 or 1")
    times = {name: _moment(row[name], name) for name in ("label_time", "observed_time")}
    return {"id": row["prediction_id"], "label": int(row["label"]), **times, "source": SOURCE}


def _label_key(label: dict[str, Any]) -> tuple[str, int, datetime]:
    return (label["id"], label["label"], label["label_time"])


def _refused_key(refused: dict[str, str]) -> tuple[str, str]:
    return (refused["kind"], refused["id"])


def _read_refused(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _read(folder: Path, columns: list[str]) -> list[dict[str, Any]]:
    files = sorted(folder.rglob("*.parquet"))
    rows: list[dict[str, Any]] = ds.dataset(files).to_table(columns=columns).to_pylist() if files else []
    return rows
