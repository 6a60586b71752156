"""The account of the spool: spooled = indexed + dead-lettered + waiting."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bundle.signature import Frozen
from observability.spool.offsets import SpoolOffsets, read_offsets
from observability.spool.reader import lines_of, open_and_closed, writer_folders

_ATTEMPTS: Final = 5


class Ledger(Frozen):
    """Every line ever spooled, and what became of it. Half a line that nobody will finish is a line."""

    spooled: int
    indexed: int
    dead_lettered: int
    waiting: int

    @property
    def unaccounted(self) -> int:
        """Zero, or the log path has lost or invented lines."""
        return self.spooled - self.indexed - self.dead_lettered - self.waiting


def ledger(spool: Path) -> Ledger:
    """The account of everything ever spooled under this folder; may be asked while all is running.

    Spooled lines are counted in the segment files themselves (in a deleted one just before), indexed and
    dead-lettered ones by the shipper, which saves them with its offsets: the identity is a finding.
    """
    for _ in range(_ATTEMPTS):
        offsets = read_offsets(spool).settled(spool)
        try:
            counted = _count(spool, offsets)
        except FileNotFoundError:  # shipped and deleted meanwhile: the offsets know more now
            continue
        if read_offsets(spool).settled(spool).deleted_lines == offsets.deleted_lines:
            return counted
    raise RuntimeError(f"the segments of {spool} vanish faster than they are counted: ask again")


def _count(spool: Path, settled: SpoolOffsets) -> Ledger:
    spooled, waiting = settled.deleted_lines, 0
    for folder in writer_folders(spool):
        for segment, growing in open_and_closed(folder):
            offset = settled.progress(f"{folder.name}/{segment.name}").offset
            behind = lines_of(segment, offset, growing)
            waiting += behind
            spooled += _lines_before(segment, offset) + behind
    return Ledger(
        spooled=spooled,
        indexed=settled.deleted_indexed + sum(p.indexed for p in settled.segments.values()),
        dead_lettered=settled.deleted_dead_lettered + sum(p.dead_lettered for p in settled.segments.values()),
        waiting=waiting,
    )


def _lines_before(segment: Path, offset: int) -> int:
    with segment.open("rb") as file:
        read = file.read(offset)
    return read.count(b"\n") + (read[-1:] not in (b"", b"\n"))
