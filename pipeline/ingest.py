"""Sources to RAW and labels: one file is taken in whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TextIO

from bundle.signature import RawField
from pipeline.batches import Batch, Declared, Layers
from pipeline.contract.spec import ModelSpec
from pipeline.csvsource import CsvSource, RefusedRow, SourceRow
from pipeline.errors import BadSource
from pipeline.rawtables import LABELS, RAW_PREFIX, DayWriter, raw_schema, write_rows

REFUSED_SHARE: Final = 0.05
REFUSED_ROWS: Final = 20


@dataclass
class Tally:
    """What has passed so far."""

    rows: int = 0
    refused: int = 0
    first: datetime | None = None
    last: datetime | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    labels: list[dict[str, Any]] = field(default_factory=list)

    def saw(self, event_time: datetime) -> None:
        self.rows += 1
        self.first = event_time if self.first is None else min(self.first, event_time)
        self.last = event_time if self.last is None else max(self.last, event_time)

    def refuse(self, reason: str) -> None:
        self.refused += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    @property
    def period(self) -> tuple[datetime, datetime] | None:
        return None if self.first is None or self.last is None else (self.first, self.last)


def ingest_csv(
    layers: Layers, spec: ModelSpec, path: Path, key: bytes, until: datetime | None = None
) -> tuple[Batch, bool]:
    """Add a file's rows, those before `until` where it is given. Returns the batch, and whether it is new.

    The same file again changes nothing; under another declaration of its fields, label or columns it takes the place
    of what it was. Raises BadSource, and then nothing has changed either.
    """
    digest, declared = file_digest(path), Declared.of_file(spec)
    name = f"csv-{digest[:20]}-{declared.digest[:8]}" + (f"-until-{until:%Y%m%dT%H%M%S%f}" if until else "")
    with layers.lock():
        if (known := layers.find(name)) is not None:
            return (known, False) if known in layers.batches() else (layers.renew(known), True)
        source = CsvSource(path, spec, key)
        with layers.staging() as staging:
            tally = _stage(staging, spec, source, until)
            _check_tally(path, tally)
            batch = Batch(
                name=name, sequence=layers.next_sequence(), source="csv", origin=path.name, sha256=digest,
                rows=tally.rows, refused=tally.refused, labels=len(tally.labels), period=tally.period,
                label_column=source.label_column.column, declared=declared,
            )  # fmt: skip
            layers.commit(batch, staging)
    return batch, True


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises BadSource where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadSource(f"{path}: cannot be read: {error.strerror}") from error


def _stage(staging: Path, spec: ModelSpec, source: CsvSource, until: datetime | None) -> Tally:
    tally = Tally()
    writer = DayWriter(staging / "raw", raw_schema(spec.raw))
    with (staging / "refused.jsonl").open("w", encoding="utf-8") as refused:
        for row in source.rows():
            if isinstance(row, RefusedRow):
                _refuse(row, tally, refused)
            elif until is None or row.event_time < until:
                tally.saw(row.event_time)
                writer.add(raw_record(row.id, row.event_time, row.raw, spec.raw))
                _note_label(row, spec, source.label_column.column, tally)
    writer.flush()
    (staging / "raw").mkdir(exist_ok=True)
    write_rows(staging / "labels" / "labels.parquet", LABELS, tally.labels)
    return tally


def _refuse(row: RefusedRow, tally: Tally, file: TextIO) -> None:
    tally.refuse(row.reason)
    file.write(json.dumps({"row": row.row, "line": row.line, "reason": row.reason}) + os.linesep)


def _note_label(row: SourceRow, spec: ModelSpec, column: str, tally: Tally) -> None:
    if row.label is None:
        return
    known_at = row.event_time + spec.label.horizon
    times = {"label_time": known_at, "observed_time": known_at}
    tally.labels.append({"id": row.id, "label": row.label, **times, "source": column})


def raw_record(identity: str, event_time: datetime, raw: dict[str, Any], fields: Iterable[RawField]) -> dict[str, Any]:
    """A row of RAW."""
    columns = {RAW_PREFIX + field.name: raw.get(field.name) for field in fields}
    return {"id": identity, "event_time": event_time, **columns}


def _check_tally(path: Path, tally: Tally) -> None:
    total = tally.rows + tally.refused
    too_many = tally.refused >= REFUSED_ROWS and tally.refused > REFUSED_SHARE * total
    if too_many or (tally.refused and not tally.rows):
        worst = sorted(tally.reasons.items(), key=lambda item: -item[1])[:3]
        reasons = "; ".join(f"{count:,} x {reason}" for reason, count in worst)
        raise BadSource(f"{path}: {tally.refused:,} of {total:,} rows cannot be used: {reasons}")
