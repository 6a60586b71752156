"""The reading side of the spool: every line once, in batches, with durable offsets for each segment."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from observability.durable import is_locked, lock_file, replace_durably, sync_folder
from observability.spool.offsets import OFFSETS_NAME, SpoolOffsets, read_offsets
from observability.spool.writer import LOCK_NAME, SpoolTaken, segments_of

_CHUNK: Final = 4 << 20
#: writers that may write a line a second time, `retrying` and the control plane's outbox: killed between line and mark
_REPEATING: Final = ("retry-", "controlplane-")
#: where a shipper can be killed: something was just done, and what comes next was not
CrashPoint: TypeAlias = Literal[
    "announced", "stored", "set aside", "committed", "counted", "deleted one", "deleted all", "settled"
]


def pass_by(_point: CrashPoint) -> None:
    """In production nothing happens at a crash point."""


class SpoolLine(NamedTuple):
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
    #: none of its lines can have been offered before
    fresh: bool = True
    #: there are more lines than it could hold
    more: bool = False


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

    def __init__(self, root: Path, patience_seconds: float = 1.0, at: Callable[[CrashPoint], None] = pass_by) -> None:
        root.mkdir(parents=True, exist_ok=True)
        lock = lock_file(root / "reader.lock", patience_seconds)
        if lock is None:
            raise SpoolTaken(f"{root} is read by another shipper: stop it, only one may")
        self.root = root
        self._lock_descriptor = lock
        self._at = at
        self._offsets = _known_offsets(root)

    def close(self) -> None:
        os.close(self._lock_descriptor)

    def next_batch(self, limit: int = 5_000, behind: Batch | None = None) -> Batch:
        """Up to about `limit` unread lines, shared fairly among the writers; empty when all is read.

        `behind` is a batch that is read and not committed yet: this one begins where it ends.
        """
        ends: dict[str, int] = {}
        start = behind.ends if behind else {}
        lines: list[SpoolLine] = []
        folders = writer_folders(self.root)
        while folders and len(lines) < limit:
            share = max(1, (limit - len(lines)) // len(folders))
            folders = [folder for folder in folders if self._read_some(folder, share, {**start, **ends}, lines, ends)]
        fresh = all(
            line.offset >= self._offsets.progress(line.key).announced and not line.writer.startswith(_REPEATING)
            for line in _firsts(lines)
        )
        return Batch(tuple(lines), ends, fresh, more=bool(folders))

    def announce(self, batch: Batch) -> None:
        """Note durably that the batch's lines are about to be offered to the store. Said already, nothing is done.

        Only so can the next shipper know which lines were never offered before.
        """
        changed = self._offsets.announced(batch.ends)
        if changed is not self._offsets:
            self._save(changed)
            self._at("announced")

    @property
    def outcomes(self) -> str:
        """What the last commit said of the last lines."""
        return self._offsets.outcomes

    def commit(
        self, batch: Batch, dead_lettered: Counter[str], following: Batch | None = None, outcomes: str = ""
    ) -> None:
        """The batch is accounted for, durably; `dead_lettered` counts its refused lines by segment key.

        By the same write `following` is announced, and `outcomes` kept for the next shipper.
        """
        counts = Counter(line.key for line in batch.lines)
        moved = {
            key: self._offsets.progress(key).moved(end, counts[key], dead_lettered[key])
            for key, end in batch.ends.items()
        }
        offsets = self._offsets.updated(moved).announced(following.ends if following else {})
        self._save(offsets.model_copy(update={"outcomes": outcomes}))
        self._at("committed")

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
        self._at("counted")
        for path in done.values():
            path.unlink()
            sync_folder(path.parent)
            self._at("deleted one")
        self._at("deleted all")
        self._save(self._offsets.settled(self.root))
        self._at("settled")
        return len(done)

    def waiting_bytes(self) -> int:
        """How much of the spool is not shipped yet: a look at the sizes of files, not a count of lines."""
        waiting = 0
        for folder in writer_folders(self.root):
            for segment in segments_of(folder):
                offset = self._offsets.progress(f"{folder.name}/{segment.name}").offset
                waiting += max(0, segment.stat().st_size - offset)
        return waiting

    def _read_some(
        self, folder: Path, share: int, start: Mapping[str, int], lines: list[SpoolLine], ends: dict[str, int]
    ) -> bool:
        """Add up to a share of one writer's lines, and how far that is; says whether there are more."""
        for segment, growing in open_and_closed(folder):
            key = f"{folder.name}/{segment.name}"
            offset = start.get(key, self._offsets.progress(key).offset)
            taken, ends_at, more = _read(folder.name, segment, growing, share, offset)
            lines += taken
            if taken:
                ends[key] = ends_at
            share -= len(taken)
            if more:
                return True
        return False

    def _save(self, offsets: SpoolOffsets) -> None:
        replace_durably(self.root / OFFSETS_NAME, offsets.model_dump_json().encode())
        self._offsets = offsets


def _known_offsets(root: Path) -> SpoolOffsets:
    """The offsets of a spool. Without their file all that is there counts as announced: it may have been deleted."""
    if (root / OFFSETS_NAME).exists():
        return read_offsets(root).settled(root)
    segments = [segment for folder in writer_folders(root) for segment in segments_of(folder)]
    return SpoolOffsets().announced({f"{path.parent.name}/{path.name}": path.stat().st_size for path in segments})


def _read(writer: str, segment: Path, growing: bool, limit: int, offset: int) -> tuple[list[SpoolLine], int, bool]:
    """Up to so many lines of a segment from an offset on, where they end, and whether there are more."""
    with segment.open("rb") as file:
        file.seek(offset)
        data = file.read(_CHUNK)
        at_end = len(data) < _CHUNK
        if b"\n" not in data and not at_end:  # one line larger than a chunk
            data, at_end = data + file.read(), True
    *whole, rest = data.split(b"\n")
    lines = []
    for piece in whole[:limit]:
        lines.append(SpoolLine(writer, segment.name, offset, piece))
        offset += len(piece) + 1
    if len(whole) > limit or not at_end:
        return lines, offset, True
    if not rest or growing:
        return lines, offset, False
    if len(whole) == limit:
        return lines, offset, True
    lines.append(SpoolLine(writer, segment.name, offset, rest, torn=True))
    return lines, offset + len(rest), False


def _firsts(lines: Sequence[SpoolLine]) -> Iterator[SpoolLine]:
    """The first line of each segment."""
    seen = None
    for line in lines:
        if (line.writer, line.segment) != seen:
            seen = line.writer, line.segment
            yield line


def lines_of(segment: Path, offset: int = 0, growing: bool = False) -> int:
    """How many lines stand behind the offset; half a line counts where it can never be finished."""
    count, last = 0, b"\n"
    with segment.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(_CHUNK):
            count += chunk.count(b"\n")
            last = chunk[-1:]
    return count + (last != b"\n" and not growing)
