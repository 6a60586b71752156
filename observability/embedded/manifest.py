"""The manifest of the embedded log store: which Parquet segments are the store, and what each may hold."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pydantic

from bundle.signature import Frozen
from observability.durable import replace_durably
from observability.embedded.tables import TableName


class LogSegment(Frozen):
    """One immutable Parquet file. The bounds tell which queries can skip it."""

    file: str
    table: TableName
    model: str
    rows: int
    first_id: str
    last_id: str
    first_event_time: int
    last_event_time: int
    first_observed_time: int
    last_observed_time: int


class LogManifest(Frozen):
    """The store at one moment. Replaced whole: a reader sees all of an append or nothing of it."""

    schema_version: int = 1
    generation: int = 0
    segments: tuple[LogSegment, ...] = ()

    def of(self, table: TableName, model: str) -> list[LogSegment]:
        return [s for s in self.segments if s.table == table and s.model == model]

    def changed(self, removed: Iterable[LogSegment], added: Iterable[LogSegment]) -> LogManifest:
        """The next manifest: without some segments and with others."""
        gone = {segment.file for segment in removed}
        kept = tuple(segment for segment in self.segments if segment.file not in gone)
        return LogManifest(generation=self.generation + 1, segments=(*kept, *added))


class ManifestCorrupt(RuntimeError):
    """The manifest file is not a manifest."""


class ManifestFile:
    """The manifest on the disk, read again only where it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._manifest = LogManifest()

    def read(self) -> LogManifest:
        """The manifest as it is now; an empty one before the first append. Raises ManifestCorrupt."""
        try:
            status = os.stat(self._path)  # noqa: PTH116 - one call, on every query
        except FileNotFoundError:
            return LogManifest()
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            try:
                self._manifest = LogManifest.model_validate_json(self._path.read_bytes())
            except pydantic.ValidationError as error:
                raise ManifestCorrupt(f"{self._path} is damaged: restore it from a backup") from error
            self._seen = seen
        return self._manifest

    def replace(self, manifest: LogManifest) -> None:
        """Make this the manifest, durably and at once for every reader."""
        replace_durably(self._path, manifest.model_dump_json().encode())
