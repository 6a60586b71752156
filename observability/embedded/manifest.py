"""The manifest of the embedded log store: which Parquet segments are the store, and what each may hold."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pydantic

from bundle.signature import Frozen
from observability.durable import replace_durably
from observability.embedded.tables import TableName

#: of the files that are written today; 0 are those before it, in the order of event time
LAYOUT: Final = 1


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
    #: how its rows lie
    layout: int = 0
    #: by which step, in microseconds, it is tallied in the file beside it; 0: its rows are counted one by one
    step: int = 0
    #: features of more values than a tally counts
    uncounted: tuple[str, ...] = ()
    #: of labels: the predictions that they are about; None where it is not known
    first_prediction_id: str | None = None
    last_prediction_id: str | None = None

    @property
    def tally_file(self) -> str:
        return self.file.removesuffix(".parquet") + ".tally.parquet"

    def happened_within(self, low: int, high: int) -> bool:
        """Whether it may hold events of these event times."""
        return self.first_event_time <= high and self.last_event_time >= low

    def may_label(self, first: str, last: str) -> bool:
        """Whether it may hold labels of predictions with these ids."""
        if self.first_prediction_id is None or self.last_prediction_id is None:
            return True
        return self.first_prediction_id <= last and self.last_prediction_id >= first


class LogManifest(Frozen):
    """The store at one moment. Replaced whole: a reader sees all of an append or nothing of it."""

    schema_version: int = 1
    generation: int = 0
    segments: tuple[LogSegment, ...] = ()

    def of(self, table: TableName, model: str) -> list[LogSegment]:
        return [s for s in self.segments if s.table == table and s.model == model]

    @property
    def files(self) -> set[str]:
        """The names of all files that are the store."""
        return {s.file for s in self.segments} | {s.tally_file for s in self.segments if s.step}

    def changed(self, removed: Iterable[LogSegment], added: Iterable[LogSegment]) -> LogManifest:
        """The next manifest: without some segments and with others."""
        gone = {segment.file for segment in removed}
        kept = tuple(segment for segment in self.segments if segment.file not in gone)
        return LogManifest(generation=self.generation + 1, segments=(*kept, *added))


class ManifestCorrupt(RuntimeError):
    """The manifest file is not a manifest."""


class ManifestFile:
    """The manifest on the disk, read again only where it has changed. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        #: replaced as one: a thread between two assignments would leave the manifest of another file
        self._known: tuple[tuple[int, int, int] | None, LogManifest] = (None, LogManifest())

    def read(self) -> LogManifest:
        """The manifest as it is now; an empty one before the first append. Raises ManifestCorrupt."""
        try:
            status = os.stat(self._path)  # noqa: PTH116 - one call, on every query
        except FileNotFoundError:
            return LogManifest()
        now = (status.st_ino, status.st_mtime_ns, status.st_size)
        seen, manifest = self._known
        if seen != now:
            try:
                manifest = LogManifest.model_validate_json(self._path.read_bytes())
            except pydantic.ValidationError as error:
                raise ManifestCorrupt(f"{self._path} is damaged: restore it from a backup") from error
            self._known = (now, manifest)
        return manifest

    def replace(self, manifest: LogManifest) -> None:
        """Make this the manifest, durably and at once for every reader."""
        replace_durably(self._path, manifest.model_dump_json().encode())
