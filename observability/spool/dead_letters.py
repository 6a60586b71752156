"""Lines that can never be indexed, kept with the reason: one file for each spool segment that had any."""

from __future__ import annotations

import base64
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from bundle.signature import Frozen
from observability.durable import sync_folder, write_fully
from observability.spool.reader import SpoolLine


class DeadLetter(Frozen):
    """One refused line: why, where it stood, and its bytes, as text or (where not UTF-8) as base64."""

    reason: str
    writer: str
    segment: str
    offset: int
    text: str | None = None
    base64: str | None = None

    @classmethod
    def of(cls, line: SpoolLine, reason: str) -> DeadLetter:
        where = {"writer": line.writer, "segment": line.segment, "offset": line.offset}
        try:
            return cls(reason=reason, text=line.data.decode(), **where)
        except UnicodeDecodeError:
            return cls(reason=reason, base64=base64.b64encode(line.data).decode(), **where)

    @property
    def data(self) -> bytes:
        return base64.b64decode(self.base64) if self.base64 is not None else (self.text or "").encode()


class DeadLetters:
    """The folder of dead letters. A line that is added again is there once."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Keep the letters; durable on return."""
        by_segment: dict[tuple[str, str], list[DeadLetter]] = defaultdict(list)
        for letter in letters:
            by_segment[letter.writer, letter.segment].append(letter)
        for (writer, segment), group in by_segment.items():
            folder = self._root / writer
            folder.mkdir(parents=True, exist_ok=True)
            _append_new(folder / segment, group)
            sync_folder(folder)
            sync_folder(self._root)

    def __iter__(self) -> Iterator[DeadLetter]:
        """All letters, by writer, in the order of the spool."""
        for path in sorted(self._root.glob("*/*.jsonl")):
            for line in _whole_lines(path.read_bytes()):
                yield DeadLetter.model_validate_json(line)

    def count(self) -> int:
        return sum(len(_whole_lines(path.read_bytes())) for path in self._root.glob("*/*.jsonl"))


def _append_new(path: Path, letters: Sequence[DeadLetter]) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        lines = _whole_lines(path.read_bytes())
        os.ftruncate(descriptor, sum(len(line) + 1 for line in lines))  # without half a letter of a killed shipper
        known = {orjson.loads(line)["offset"] for line in lines}
        fresh = [letter.model_dump_json().encode() for letter in letters if letter.offset not in known]
        write_fully(descriptor, b"".join(line + b"\n" for line in fresh))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _whole_lines(data: bytes) -> list[bytes]:
    return data.split(b"\n")[:-1]
