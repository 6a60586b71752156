"""A log store filled with traffic. How long that takes is not measured."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from bench.windows_stage.traffic import MODEL, pieces, traffic
from observability.embedded.layout import SegmentFiles
from observability.embedded.manifest import LogManifest, ManifestFile
from observability.embedded.tables import TableName, event_of
from observability.events import line_of
from observability.ports import LogStore

_BATCH: Final = 5_000


def fill_files(root: Path, rows: int) -> None:
    """An embedded store of so many predictions, laid out as the store itself would after compaction."""
    (root / "segments").mkdir(parents=True)
    files = SegmentFiles(root / "segments", root / "spill", "1GB")
    segments = []
    for predictions, labels in traffic(pieces(rows)):
        segments.append(files.write("predictions", MODEL, predictions))
        segments.append(files.write("labels", MODEL, labels))
    ManifestFile(root / "manifest.json").replace(LogManifest(generation=1, segments=tuple(segments)))
    files.close()


def fill_store(store: LogStore, rows: int) -> None:
    """The same events through the door of any store."""
    sizes = [50_000] * (rows // 50_000) + ([rows % 50_000] if rows % 50_000 else [])
    for predictions, labels in traffic(sizes):
        events = itertools.chain(_events("predictions", predictions), _events("labels", labels))
        while batch := list(itertools.islice(events, _BATCH)):
            refused = store.append(batch, [line_of(event) for event in batch], fresh=True)
            if refused:
                raise RuntimeError(f"the store refuses {refused[0].event_id}: {refused[0].reason}")


def _events(table: TableName, rows: pa.Table) -> Iterator[Any]:
    for row in rows.to_pylist():
        yield event_of(table, MODEL, row)
