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

from bundle.blobs import digest_of
from bundle.signature import Frozen, RawField
from observability.durable import replace_durably, sync_folder
from observability.events import Instant
from pipeline.contract.spec import Label, ModelSpec, Source
from pipeline.errors import BadSource


class Declared(Frozen):
    """What a batch's rows depend on of the spec that it was added under."""

    raw: tuple[RawField, ...]
    #: of a file; what was served has ids and labels of its own
    source: Source | None = None
    label: Label | None = None

    @classmethod
    def of_file(cls, spec: ModelSpec) -> Declared:
        return cls(raw=spec.raw, source=spec.source, label=spec.label)

    @property
    def digest(self) -> str:
        return digest_of(self.model_dump_json(by_alias=True).encode())

    def conflict(self, spec: ModelSpec) -> str | None:
        """Why rows that were added under this cannot be used under the spec; None where they can."""
        if self.source is not None and self.source != spec.source:
            return "the columns of id and time were others"
        if self.label is not None and (self.label.horizon, self.label.sources) != (
            spec.label.horizon,
            spec.label.sources,
        ):
            return "the label was declared otherwise"
        before = {field.name: field for field in self.raw}
        conflicts = (_conflict(before.get(field.name), field) for field in spec.raw)
        return next((conflict for conflict in conflicts if conflict), None)


def _conflict(before: RawField | None, now: RawField) -> str | None:
    if before is None:
        return f"{now.name}, which is required now, was not declared" if now.required else None
    if before.type != now.type:
        return f"{now.name} was of type {before.type}"
    if before.privacy != now.privacy:
        return f"{now.name} had the privacy {before.privacy}"
    return f"{now.name} was not required" if now.required and not before.required else None


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
    #: served rows were read from the beginning, so that earlier batches of them no longer count
    whole: bool = False
    #: None in batches of before it was kept
    declared: Declared | None = None

    def replaces(self, earlier: Batch) -> bool:
        """Whether this batch holds what the earlier one held, as it is declared now."""
        if self.sequence <= earlier.sequence or self.source != earlier.source:
            return False
        if self.source == "served":
            return self.whole
        return self.sha256 == earlier.sha256 and self.declared != earlier.declared


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
        """The batches that were added whole and that no later one replaces, in order."""
        added = self._added()
        return [batch for batch in added if not any(later.replaces(batch) for later in added)]

    def usable(self, spec: ModelSpec) -> list[Batch]:
        """The batches that count. Raises BadSource where one was added under a spec that this one contradicts."""
        batches = self.batches()
        for batch in batches:
            if batch.declared is not None and (conflict := batch.declared.conflict(spec)):
                raise BadSource(
                    f"{batch.origin} was ingested under another spec: {conflict}: ingest it again, or delete "
                    f"{self._record(batch.name)} to go without it"
                )
        return batches

    def find(self, name: str) -> Batch | None:
        """The batch of this name, whether it counts or has been replaced."""
        path = self._record(name)
        return Batch.model_validate_json(path.read_bytes()) if path.exists() else None

    def next_sequence(self) -> int:
        return max((batch.sequence for batch in self._added()), default=-1) + 1

    def renew(self, batch: Batch) -> Batch:
        """Make a batch that was replaced the latest again."""
        batch = batch.model_copy(update={"sequence": self.next_sequence()})
        self._write_record(batch)
        return batch

    def commit(self, batch: Batch, staging: Path) -> None:
        """Move a staged batch into the layers, on the disk; its record comes last and makes it count."""
        sync_tree(staging)
        moves = {
            staging / "raw": self.raw(batch.name),
            staging / "labels": self.labels(batch.name),
            staging / "refused.jsonl": self.refused(batch.name),
        }
        for source, target in moves.items():
            if source.exists():
                replace_tree(source, target)
        self._write_record(batch)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One process at a time adds to the layers."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder beside the layers that is gone afterwards. Under the lock: what a killed process left goes, too."""
        parent = self.root / "staging"
        shutil.rmtree(parent, ignore_errors=True)
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _added(self) -> list[Batch]:
        files = (self.root / "batches").glob("*.json")
        return sorted((Batch.model_validate_json(f.read_bytes()) for f in files), key=lambda b: b.sequence)

    def _write_record(self, batch: Batch) -> None:
        path = self._record(batch.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_durably(path, batch.model_dump_json(indent=1, by_alias=True).encode())

    def _record(self, name: str) -> Path:
        return self.root / "batches" / f"{name}.json"


def replace_tree(source: Path, target: Path) -> None:
    """Rename a file or a folder into its place; what an earlier, broken attempt left there goes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    source.replace(target)
    sync_folder(target.parent)


def sync_tree(folder: Path) -> None:
    """Put a folder's files and their names on the disk."""
    for path in folder.rglob("*"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(folder)
