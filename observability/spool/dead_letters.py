"""Lines that can never be indexed, kept with the reason: one file for each spool segment that had any.

<writer>/<segment>.jsonl    the letters, in the order of the spool
<writer>/<segment>.sent     offsets of those that were sent again, one a line
"""

from __future__ import annotations

import base64
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import orjson

from bundle.signature import Frozen
from observability.durable import sync_folder, write_fully
from observability.spool.reader import SpoolLine

_SENT: Final = ".sent"


class DeadLettersFull(RuntimeError):
    """The folder holds its quota: shipping waits rather than drop a letter or let the disk fill."""


class DeadLetter(Frozen):
    """One refused line: why, where it stood, and its bytes, as text or (where not UTF-8) as base64."""

    reason: str
    writer: str
    segment: str
    offset: int
    text: str | None = None
    base64: str | None = None
    #: half a line, left by a writer that died
    torn: bool = False

    @classmethod
    def of(cls, line: SpoolLine, reason: str) -> DeadLetter:
        where = {"writer": line.writer, "segment": line.segment, "offset": line.offset, "torn": line.torn}
        try:
            return cls(reason=reason, text=line.data.decode(), **where)
        except UnicodeDecodeError:
            return cls(reason=reason, base64=base64.b64encode(line.data).decode(), **where)

    @property
    def data(self) -> bytes:
        return base64.b64decode(self.base64) if self.base64 is not None else (self.text or "").encode()

    @property
    def id(self) -> str:
        """The place in the spool where it stood: no other letter has it."""
        return f"{self.writer}/{self.segment}:{self.offset}"

    @property
    def line(self) -> SpoolLine:
        return SpoolLine(self.writer, self.segment, self.offset, self.data, self.torn)


class DeadLetters:
    """The folder of dead letters. A line that is added again is there once."""

    def __init__(self, root: Path, quota_bytes: int = 1 << 30) -> None:
        self._root = root
        self._quota_bytes = quota_bytes

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Keep the letters; durable on return. Raises DeadLettersFull, and then keeps none of them."""
        by_file: dict[Path, list[DeadLetter]] = defaultdict(list)
        for letter in letters:
            by_file[self._root / letter.writer / letter.segment].append(letter)
        fresh = {path: _without_kept(path, group) for path, group in by_file.items()}
        self._hold_quota([letter for group in fresh.values() for letter in group])
        for path, group in fresh.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _append(path, [letter.model_dump_json().encode() for letter in group])
            sync_folder(path.parent)
            sync_folder(self._root)

    def __iter__(self) -> Iterator[DeadLetter]:
        """All letters, by writer, in the order of the spool; those that were sent again among them."""
        for path in self._files():
            for line in _whole_lines(path.read_bytes()):
                yield DeadLetter.model_validate_json(line)

    def waiting(self) -> Iterator[DeadLetter]:
        """The letters that were not sent again."""
        for path in self._files():
            sent = _offsets_sent(path)
            for line in _whole_lines(path.read_bytes()):
                letter = DeadLetter.model_validate_json(line)
                if letter.offset not in sent:
                    yield letter

    def mark_sent(self, letters: Sequence[DeadLetter]) -> None:
        """Note durably that the letters were sent again: they are kept, and wait no more."""
        by_file: dict[Path, list[int]] = defaultdict(list)
        for letter in letters:
            by_file[self._root / letter.writer / letter.segment].append(letter.offset)
        for path, offsets in by_file.items():
            _append(path.with_suffix(_SENT), [b"%d" % offset for offset in offsets])
            sync_folder(path.parent)

    def count(self) -> int:
        return sum(len(_whole_lines(path.read_bytes())) for path in self._files())

    def _files(self) -> list[Path]:
        return sorted(self._root.glob("*/*.jsonl"))

    def _hold_quota(self, letters: Sequence[DeadLetter]) -> None:
        if not letters:
            return
        held = sum(path.stat().st_size for path in self._root.glob("*/*") if path.is_file())
        if held + sum(len(letter.data) for letter in letters) > self._quota_bytes:
            raise DeadLettersFull(
                f"the dead letters in {self._root} hold their quota of {self._quota_bytes} bytes: mend what writes such"
                " lines, send the letters again, and move the folder's files away, or give them more room"
                " (OBSERVABILITY_DEAD_LETTER_QUOTA_BYTES)"
            )


def _append(path: Path, lines: Sequence[bytes]) -> None:
    """Add the lines durably, in the place of half a line of a process that was killed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.ftruncate(descriptor, path.read_bytes().rfind(b"\n") + 1)
        write_fully(descriptor, b"".join(line + b"\n" for line in lines))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _without_kept(path: Path, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
    """Those that the file does not hold already."""
    kept = {orjson.loads(line)["offset"] for line in _whole_lines(path.read_bytes())} if path.exists() else set()
    return [letter for letter in letters if letter.offset not in kept]


def _offsets_sent(path: Path) -> set[int]:
    marks = path.with_suffix(_SENT)
    return {int(mark) for mark in _whole_lines(marks.read_bytes())} if marks.exists() else set()


def _whole_lines(data: bytes) -> list[bytes]:
    return data.split(b"\n")[:-1]
