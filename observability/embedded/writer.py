"""The writing side of the embedded log store: one process at a time, one new segment for each append."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from observability.clock import Clock
from observability.durable import lock_file, sync_folder
from observability.embedded.manifest import LogManifest, LogSegment, ManifestFile
from observability.embedded.tables import SCHEMAS, TableName, rows_table
from observability.events import Event
from observability.ids import new_id
from observability.ports import LogStoreUnavailable

#: events by table and model, then by id
Groups: TypeAlias = Mapping[tuple[TableName, str], Mapping[str, Event]]
_ROW_GROUP: Final = 20_000


class LogStoreTaken(LogStoreUnavailable):
    """Another living process writes this store."""


class SegmentWriter:
    """Appends segments and merges small ones. Nothing is locked before the first append."""

    def __init__(
        self,
        root: Path,
        manifest: ManifestFile,
        clock: Clock,
        small_rows: int,
        small_segments: int,
        grace: timedelta,
    ) -> None:
        self._root = root
        self._folder = root / "segments"
        self._manifest = manifest
        self._clock = clock
        self._small_rows = small_rows
        self._small_segments = small_segments
        self._grace = grace
        self._threads = threading.Lock()
        self._lock_descriptor: int | None = None

    def store(self, groups: Groups) -> None:
        """Store each event whose id is not there yet, all at once. Raises LogStoreTaken or OSError."""
        with self._threads:
            self._take_lock()
            manifest = self._manifest.read()
            added = [segment for group in groups for segment in self._write_new(manifest, group, groups[group])]
            if added:
                sync_folder(self._folder)
                manifest = manifest.changed(removed=(), added=added)
                self._manifest.replace(manifest)
            for table, model in dict.fromkeys((segment.table, segment.model) for segment in added):
                manifest = self._compact(manifest, table, model)

    def close(self) -> None:
        """Let another process write."""
        with self._threads:
            if self._lock_descriptor is not None:
                os.close(self._lock_descriptor)
                self._lock_descriptor = None

    def _take_lock(self) -> None:
        if self._lock_descriptor is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        sync_folder(self._root)
        self._lock_descriptor = lock_file(self._root / "writer.lock")
        if self._lock_descriptor is None:
            raise LogStoreTaken(f"{self._root} is written by another process: stop it, only one may")
        self._sweep(self._manifest.read())

    def _write_new(
        self, manifest: LogManifest, group: tuple[TableName, str], events: Mapping[str, Event]
    ) -> list[LogSegment]:
        table, model = group
        known = _known_ids(self._folder, manifest.of(table, model), sorted(events))
        fresh = [event for event_id, event in events.items() if event_id not in known]
        return [self._write(table, model, rows_table(table, fresh))] if fresh else []

    def _write(self, table: TableName, model: str, rows: pa.Table) -> LogSegment:
        rows = rows.sort_by([("event_time", "ascending"), ("id", "ascending")])
        name = f"{table}-{new_id()}.parquet"
        with (self._folder / name).open("wb") as file:
            pq.write_table(rows, file, compression="zstd", row_group_size=_ROW_GROUP)
            file.flush()
            os.fsync(file.fileno())
        bounds = {column: pc.min_max(rows[column]).as_py() for column in ("id", "event_time", "observed_time")}
        return LogSegment(
            file=name,
            table=table,
            model=model,
            rows=rows.num_rows,
            first_id=bounds["id"]["min"],
            last_id=bounds["id"]["max"],
            first_event_time=bounds["event_time"]["min"],
            last_event_time=bounds["event_time"]["max"],
            first_observed_time=bounds["observed_time"]["min"],
            last_observed_time=bounds["observed_time"]["max"],
        )

    def _compact(self, manifest: LogManifest, table: TableName, model: str) -> LogManifest:
        """Merge the small segments once there are many. Their files stay for readers of the old manifest."""
        small = [segment for segment in manifest.of(table, model) if segment.rows < self._small_rows]
        if len(small) <= self._small_segments:
            return manifest
        paths = [self._folder / segment.file for segment in small]
        rows = pa.concat_tables([pq.read_table(path, schema=SCHEMAS[table]) for path in paths])
        merged = self._write(table, model, rows)
        sync_folder(self._folder)
        manifest = manifest.changed(removed=small, added=[merged])
        self._manifest.replace(manifest)
        now = self._clock.now().timestamp()
        for path in paths:
            os.utime(path, (now, now))  # the grace begins now
        self._sweep(manifest)
        return manifest

    def _sweep(self, manifest: LogManifest) -> None:
        """Delete files that no manifest has named for a while: merged ones, and those of a killed append."""
        named = {segment.file for segment in manifest.segments}
        old = (self._clock.now() - self._grace).timestamp()
        for path in self._folder.glob("*.parquet"):
            if path.name not in named and path.stat().st_mtime < old:
                path.unlink()


def _known_ids(folder: Path, segments: Sequence[LogSegment], ids: Sequence[str]) -> set[str]:
    """Which of the sorted ids are stored. Ids grow with time, so a fresh batch overlaps few segments."""
    first, last = ids[0], ids[-1]
    wanted = pa.array(ids, pa.string())
    known: set[str] = set()
    for segment in segments:
        if segment.first_id <= last and segment.last_id >= first:
            overlap = [("id", ">=", first), ("id", "<=", last)]
            column = pq.read_table(folder / segment.file, columns=["id"], filters=overlap)["id"]
            known.update(column.filter(pc.is_in(column, value_set=wanted)).to_pylist())
    return known
