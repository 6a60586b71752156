"""The data layers of a model: folders of immutable batches. A batch counts once its record is written."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from bundle.signature import Frozen
from observability.events import Instant


class Batch(Frozen):
    """What one ingest added."""

    name: str
    #: the order in which batches were added; a row that comes again is taken from the later one
    sequence: int
    source: Literal["csv", "served"]
    #: file name, or the log store
    origin: str
    #: SHA-256 of the file; empty for served rows
    sha256: str = ""
    rows: int
    refused: int = 0
    labels: int
    #: event times of the first and the last row
    period: tuple[Instant, Instant] | None = None
    #: the source's column that holds the label
    label_column: str
    #: served rows were read up to this instant of observation
    observed_until: Instant | None = None


class Layers:
    """RAW, labels, PROCESSED and REFINED of one model under one folder, each with a folder a batch."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def raw(self, batch: str) -> Path:
        return self.root / "raw" / batch

    def labels(self, batch: str) -> Path:
        return self.root / "labels" / batch

    def refused(self, batch: str) -> Path:
        return self.root / "refused" / f"{batch}.jsonl"

    def processed(self, batch: str, fields: str) -> Path:
        """A batch's rows, typed by one declaration of the raw fields."""
        return self.root / "processed" / fields[:16] / batch

    def refined(self, batch: str, recipe: str) -> Path:
        """The feature columns that one recipe made of a batch."""
        return self.root / "refined" / recipe[:16] / batch

    def batches(self) -> list[Batch]:
        """The batches that were added whole, in order."""
        files = (self.root / "batches").glob("*.json")
        return sorted((Batch.model_validate_json(f.read_bytes()) for f in files), key=lambda b: b.sequence)

    def find(self, name: str) -> Batch | None:
        path = self._record(name)
        return Batch.model_validate_json(path.read_bytes()) if path.exists() else None

    def commit(self, batch: Batch, staging: Path) -> None:
        """Move a staged batch into the layers; its record comes last and makes it count."""
        moves = {
            staging / "raw": self.raw(batch.name),
            staging / "labels": self.labels(batch.name),
            staging / "refused.jsonl": self.refused(batch.name),
        }
        for source, target in moves.items():
            if source.exists():
                replace_tree(source, target)
        record = staging / "batch.json"
        record.write_text(batch.model_dump_json(indent=1), encoding="utf-8")
        replace_tree(record, self._record(batch.name))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One process at a time adds to the layers."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder beside the layers that is gone afterwards, whatever happens."""
        parent = self.root / "staging"
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _record(self, name: str) -> Path:
        return self.root / "batches" / f"{name}.json"


def replace_tree(source: Path, target: Path) -> None:
    """Rename a file or a folder into its place; what an earlier, broken attempt left there goes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    source.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
