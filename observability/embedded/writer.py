"""The writing side of the embedded log store: one process at a time, one new segment for each append."""

from __future__ import annotations

import os
import shutil
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from observability.clock import Clock
from observability.durable import lock_file, sync_folder
from observability.embedded import compaction
from observability.embedded.layout import SegmentFiles
from observability.embedded.manifest import LogManifest, LogSegment, ManifestFile
from observability.embedded.tables import TableName, rows_table
from observability.events import Event
from observability.ports import LogStoreUnavailable

#: events by table and model, then by id
Groups: TypeAlias = Mapping[tuple[TableName, str], Mapping[str, Event]]
#: memory that sorting and merging may take before it goes on in files
MEMORY_LIMIT: Final = "384MB"


class LogStoreTaken(LogStoreUnavailable):
    """Another living process writes this store."""


@dataclass(frozen=True)
class Upkeep:
    """How the files are kept few, and for how long."""

    #: segments of one size that may stand beside each other
    small_segments: int
    #: rows of a segment that is full
    full_rows: int
    #: how long a file is kept that has been merged, for readers of the old manifest
    grace: timedelta
    #: how long events are kept, by table; for ever where nothing is said
    retention: Mapping[TableName, timedelta]


class SegmentWriter:
    """Appends segments and merges small ones. Nothing is locked before the first append."""

    def __init__(self, root: Path, manifest: ManifestFile, clock: Clock, upkeep: Upkeep) -> None:
        self._root = root
        self._folder = root / "segments"
        self._manifest = manifest
        self._clock = clock
        self._upkeep = upkeep
        self._threads = threading.Lock()
        self._lock_descriptor: int | None = None
        self._files: SegmentFiles | None = None

    def store(self, groups: Groups) -> None:
        """Store each event whose id is not there yet, all at once. Raises LogStoreTaken or OSError."""
        with self._threads:
            files = self._take_lock()
            manifest = self._manifest.read()
            added = [segment for group in groups for segment in self._write_new(files, manifest, group, groups[group])]
            if added:
                sync_folder(self._folder)
                manifest = manifest.changed(removed=(), added=added)
                self._manifest.replace(manifest)
            for table, model in dict.fromkeys((segment.table, segment.model) for segment in added):
                manifest = self._compact(files, manifest, table, model)

    def close(self) -> None:
        """Let another process write."""
        with self._threads:
            if self._files is not None:
                self._files.close()
                self._files = None
            if self._lock_descriptor is not None:
                os.close(self._lock_descriptor)
                self._lock_descriptor = None

    def _take_lock(self) -> SegmentFiles:
        if self._files is not None:
            return self._files
        self._folder.mkdir(parents=True, exist_ok=True)
        sync_folder(self._root)
        self._lock_descriptor = lock_file(self._root / "writer.lock")
        if self._lock_descriptor is None:
            raise LogStoreTaken(f"{self._root} is written by another process: stop it, only one may")
        spill = self._root / "spill"
        shutil.rmtree(spill, ignore_errors=True)  # of a writer that was killed
        self._files = SegmentFiles(self._folder, spill, MEMORY_LIMIT)
        self._sweep(self._manifest.read())
        return self._files

    def _write_new(
        self, files: SegmentFiles, manifest: LogManifest, group: tuple[TableName, str], events: Mapping[str, Event]
    ) -> list[LogSegment]:
        table, model = group
        known = _known_ids(self._folder, manifest.of(table, model), sorted(events))
        fresh = [event for event_id, event in events.items() if event_id not in known]
        return [files.write(table, model, rows_table(table, fresh))] if fresh else []

    def _compact(self, files: SegmentFiles, manifest: LogManifest, table: TableName, model: str) -> LogManifest:
        """Merge what is due, forget what has expired. The files stay for readers of the old manifest."""
        upkeep = self._upkeep
        while merged := compaction.due(manifest.of(table, model), upkeep.small_segments, upkeep.full_rows):
            segment = files.merge(table, model, merged)
            sync_folder(self._folder)
            gone = [*merged, *compaction.expired(manifest, upkeep.retention, self._clock.now())]
            manifest = manifest.changed(removed=gone, added=[segment])
            self._manifest.replace(manifest)
            self._start_grace(gone)
            self._sweep(manifest)
            if len(merged) == 1:  # of an earlier release: one for each append, so that none takes long
                break
        return manifest

    def _start_grace(self, segments: Sequence[LogSegment]) -> None:
        now = self._clock.now().timestamp()
        for segment in segments:
            for name in (segment.file, *((segment.tally_file,) if segment.step else ())):
                os.utime(self._folder / name, (now, now))

    def _sweep(self, manifest: LogManifest) -> None:
        """Delete files that no manifest has named for a while: merged ones, and those of a killed append."""
        named = manifest.files
        old = (self._clock.now() - self._upkeep.grace).timestamp()
        for path in self._folder.glob("*.parquet"):
            if path.name not in named and path.stat().st_mtime < old:
                path.unlink()


def _known_ids(folder: Path, segments: Sequence[LogSegment], ids: Sequence[str]) -> set[str]:
    """Which of the sorted ids are stored. Ids grow with time, so a fresh batch is within few row groups' bounds."""
    known: set[str] = set()
    for segment in segments:
        if wanted := _within(ids, segment.first_id, segment.last_id):
            known.update(_stored_ids(folder / segment.file, wanted))
    return known


def _stored_ids(path: Path, wanted: Sequence[str]) -> list[str]:
    with pq.ParquetFile(path) as file:
        column = file.schema_arrow.names.index("id")
        groups = []
        for group in range(file.num_row_groups):
            bounds = file.metadata.row_group(group).column(column).statistics
            if bounds is None or not bounds.has_min_max or _within(wanted, bounds.min, bounds.max):
                groups.append(group)
        stored = file.read_row_groups(groups, columns=["id"])["id"]
    found: list[str] = stored.filter(pc.is_in(stored, value_set=pa.array(wanted, pa.string()))).to_pylist()
    return found


def _within(ids: Sequence[str], first: str, last: str) -> Sequence[str]:
    return ids[bisect_left(ids, first) : bisect_right(ids, last)]
