"""The reading side of the spool: every line once, in batches, with durable offsets for each segment."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from observability.durable import is_locked, lock_file, replace_durably, sync_folder
from observability.spool.offsets import OFFSETS_NAME, SpoolOffsets, read_offsets
from observability.spool.writer import LOCK_NAME, SpoolTaken, segments_of

_CHUNK: Final = 4 << 20


@dataclass(frozen=True)
class SpoolLine:
    """One line, without its line break, and where it stands."""

    writer: str
    segment: str
    offset: int
    data: bytes
    #: half a line, left by a writer that died; it will never be whole
    torn: bool = False

    @property
    def key(self) -> str:
        return f"{self.writer}/{self.segment}"


@dataclass(frozen=True)
class Batch:
    """Lines that were read together, and how far each segment was read."""

    lines: tuple[SpoolLine, ...] = ()
    ends: Mapping[str, int] = field(default_factory=dict)


def writer_folders(root: Path) -> list[Path]:
    """One folder for each writer that there ever was."""
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def open_and_closed(folder: Path) -> Iterator[tuple[Path, bool]]:
    """The writer's segments, each with whether it still grows: only the last of a living writer does."""
    segments = segments_of(folder)
    alive = is_locked(folder / LOCK_NAME)  # after listing: what a dead writer left, nobody will ever touch
    for segment in segments:
        yield segment, alive and segment == segments[-1]


class SpoolReader:
    """Reads all writers' segments. One at a time: the second one raises SpoolTaken."""

    def __init__(self, root: Path, patience_seconds: float = 1.0) -> None:
        root.mkdir(parents=True, exist_ok=True)
        lock = lock_file(root / "reader.lock", patience_seconds)
        if lock is None:
            raise SpoolTaken(f"{root} is read by another shipper: stop it, only one may")
        self.root = root
        self._lock_descriptor = lock
        self._offsets = read_offsets(root).settled(root)

    def close(self) -> None:
        os.close(self._lock_descriptor)

    def next_batch(self, limit: int = 5_000) -> Batch:
        """Up to about `limit` unread lines, shared fairly among the writers; empty when all is read."""
        folders = [folder for folder in writer_folders(self.root) if segments_of(folder)]
        share = max(1, limit // max(1, len(folders)))
        lines: list[SpoolLine] = []
        ends: dict[str, int] = {}
        for folder in folders:
            left = share
            for segment, growing in open_and_closed(folder):
                if left <= 0:
                    break
                taken, end = self._read(folder.name, segment, growing, left)
                left -= len(taken)
                lines += taken
                if taken:
                    ends[taken[0].key] = end
        return Batch(tuple(lines), ends)

    def commit(self, batch: Batch, dead_lettered: Counter[str]) -> None:
        """The batch is accounted for, durably; `dead_lettered` counts its refused lines by segment key."""
        counts = Counter(line.key for line in batch.lines)
        moved = {
            key: self._offsets.progress(key).moved(end, counts[key], dead_lettered[key])
            for key, end in batch.ends.items()
        }
        self._save(self._offsets.updated(moved))

    def delete_shipped(self) -> int:
        """Delete the segments that are read to the end and grow no more; says how many."""
        done: dict[str, Path] = {}
        for folder in writer_folders(self.root):
            for segment, growing in open_and_closed(folder):
                key = f"{folder.name}/{segment.name}"
                if not growing and self._offsets.progress(key).offset >= segment.stat().st_size:
                    done[key] = segment
        if not done:
            return 0
        # First the count, then the file, then the sums: killed anywhere between, no line is counted twice.
        counted = {key: self._offsets.progress(key).counted(lines_of(path)) for key, path in done.items()}
        self._save(self._offsets.updated(counted))
        for path in done.values():
            path.unlink()
            sync_folder(path.parent)
        self._save(self._offsets.settled(self.root))
        return len(done)

    def _save(self, offsets: SpoolOffsets) -> None:
        replace_durably(self.root / OFFSETS_NAME, offsets.model_dump_json().encode())
        self._offsets = offsets

    def _read(self, writer: str, segment: Path, growing: bool, limit: int) -> tuple[list[SpoolLine], int]:
        offset = self._offsets.progress(f"{writer}/{segment.name}").offset
        lines: list[SpoolLine] = []
        with segment.open("rb") as file:
            file.seek(offset)
            data = file.read(_CHUNK)
            at_end = len(data) < _CHUNK
            if b"\n" not in data and not at_end:  # one line larger than a chunk
                data, at_end = data + file.read(), True
        *whole, rest = data.split(b"\n")
        for piece in whole[:limit]:
            lines.append(SpoolLine(writer, segment.name, offset, piece))
            offset += len(piece) + 1
        if rest and at_end and not growing and len(whole) < limit:
            lines.append(SpoolLine(writer, segment.name, offset, rest, torn=True))
            offset += len(rest)
        return lines, offset


def lines_of(segment: Path, offset: int = 0, growing: bool = False) -> int:
    """How many lines stand behind the offset; half a line counts where it can never be finished."""
    count, last = 0, b"\n"
    with segment.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(_CHUNK):
            count += chunk.count(b"\n")
            last = chunk[-1:]
    return count + (last != b"\n" and not growing)
