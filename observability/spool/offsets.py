"""How far the spool was read: one JSON file, replaced whole and durably."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pydantic

from bundle.signature import Frozen

OFFSETS_NAME: Final = "offsets.json"


class OffsetsCorrupt(RuntimeError):
    """The offsets file is not one."""


class Progress(Frozen):
    """What became of one segment's lines up to an offset."""

    offset: int = 0
    indexed: int = 0
    dead_lettered: int = 0
    #: up to here lines may have been offered to the store, whatever came of it
    announced: int = 0
    #: all its lines, counted from the file just before it is deleted
    lines: int | None = None

    def moved(self, offset: int, lines: int, dead_lettered: int) -> Progress:
        return Progress(
            offset=offset,
            indexed=self.indexed + lines - dead_lettered,
            dead_lettered=self.dead_lettered + dead_lettered,
            announced=max(self.announced, offset),
        )

    def counted(self, lines: int) -> Progress:
        return self.model_copy(update={"lines": lines})


class SpoolOffsets(Frozen):
    """Progress by `writer/segment`, the sums over the segments that are deleted, and what became of the last lines."""

    schema_version: int = 1
    deleted_lines: int = 0
    deleted_indexed: int = 0
    deleted_dead_lettered: int = 0
    #: which of the last lines were refused, as `PoisonWindow.saved` has it
    outcomes: str = ""
    segments: Mapping[str, Progress] = {}

    def progress(self, key: str) -> Progress:
        return self.segments.get(key, Progress())

    def updated(self, changes: Mapping[str, Progress]) -> SpoolOffsets:
        return self.model_copy(update={"segments": {**self.segments, **changes}})

    def announced(self, ends: Mapping[str, int]) -> SpoolOffsets:
        """With the lines up to these ends announced; itself where they are."""
        changes = {
            key: self.progress(key).model_copy(update={"announced": end})
            for key, end in ends.items()
            if end > self.progress(key).announced
        }
        return self.updated(changes) if changes else self

    def settled(self, root: Path) -> SpoolOffsets:
        """Without the segments whose file is gone: their counts move into the sums."""
        gone = {key: progress for key, progress in self.segments.items() if not (root / key).exists()}
        kept = {key: progress for key, progress in self.segments.items() if key not in gone}
        lines = sum(p.indexed + p.dead_lettered if p.lines is None else p.lines for p in gone.values())
        return SpoolOffsets(
            deleted_lines=self.deleted_lines + lines,
            deleted_indexed=self.deleted_indexed + sum(p.indexed for p in gone.values()),
            deleted_dead_lettered=self.deleted_dead_lettered + sum(p.dead_lettered for p in gone.values()),
            outcomes=self.outcomes,
            segments=kept,
        )


def read_offsets(root: Path) -> SpoolOffsets:
    """The offsets of a spool; none before the first batch. Raises OffsetsCorrupt."""
    path = root / OFFSETS_NAME
    try:
        return SpoolOffsets.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return SpoolOffsets()
    except pydantic.ValidationError as error:
        raise OffsetsCorrupt(
            f"{path} is damaged: delete it to ship the spool again (the store takes no event twice)"
        ) from error
