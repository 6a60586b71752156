"""The spool: append-only segment files of JSON lines, one folder and one writing process each.

Errors:

    SpoolError
    ├── SpoolFull     the quota is used up, or the disk but for a rest; counted as refused
    └── SpoolTaken    another living process writes (or reads) here

Layout under `Home.spool`, read by the shipper, or by rsyslog, Filebeat or Logstash:

    <writer>/writer.lock                  held while the writer lives
    <writer>/0000000007-5f2c91aa.jsonl    one segment; only the last of a living writer still grows
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Final

from observability.durable import lock_file, sync_folder

LOG: Final = logging.getLogger(__name__)
LOCK_NAME: Final = "writer.lock"
SUFFIX: Final = ".jsonl"
_MEBIBYTE: Final = 1 << 20
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: how often the folder is measured anew when the quota seems used up, for the shipper may have made room, and the disk
_MEASURE_SECONDS: Final = 0.2
_TELL_SECONDS: Final = 10.0
#: what the spool leaves free of its disk: the shipper needs it to ship, and so to make room again
RESERVE_BYTES: Final = 16 * _MEBIBYTE


class SpoolError(RuntimeError):
    """The spool did not take the lines."""


class SpoolFull(SpoolError):
    """The quota or the disk is full. The call's last `refused` lines were not written; those before were."""

    def __init__(self, refused: int, reason: str) -> None:
        super().__init__(f"{refused} lines refused: {reason}; start the shipper, or give the spool more room")
        self.refused = refused


class SpoolTaken(SpoolError):
    """Another living process holds this folder."""


def segments_of(folder: Path) -> list[Path]:
    """The folder's segments, oldest first."""
    return sorted(path for path in folder.glob("*" + SUFFIX) if path.is_file())


class SpoolWriter:
    """Appends lines to one folder; any number of threads may call it.

    `write` returns after write(2): the lines survive the death of the process, and are on the disk at most
    `sync_every_seconds` later. What a power cut can take is those last 50 ms.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = 8 * _MEBIBYTE,
        quota_bytes: int = 1024 * _MEBIBYTE,
        sync_every_seconds: float = 0.05,
        patience_seconds: float = 0.5,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        _make_durably(folder)
        lock = lock_file(folder / LOCK_NAME, patience_seconds)
        if lock is None:
            raise SpoolTaken(f"{folder} is written by another process: give each process a folder of its own")
        self.folder = folder
        self.written = 0
        self.refused = 0
        self._lock_descriptor = lock
        self._segment_bytes = segment_bytes
        self._quota_bytes = quota_bytes
        self._sync_every_seconds = sync_every_seconds
        self._descriptor = -1
        self._size = 0
        self._used = self._measure()
        self._measured_at = time.monotonic()
        self._reserve_bytes = reserve_bytes
        self._free, self._used_then = 0, self._used
        self._looked_until = 0.0
        #: bytes that may be appended before anything but their length is looked at
        self._allowance = 0
        self._told_until = 0.0
        self._condition = threading.Condition()
        self._dirty = False
        self._closing = False
        self._full_segments: list[int] = []
        self._new_names = False
        self._waiting: list[Future[None]] = []
        self._thread = threading.Thread(target=self._sync_loop, name=f"spool-sync-{folder.name}", daemon=True)
        self._thread.start()

    @classmethod
    def claim(cls, root: Path, name: str, *, quota_bytes: int = 1024 * _MEBIBYTE) -> SpoolWriter:
        """A writer in the first free folder of name-0, name-1, ...: for a server with several workers."""
        for number in range(256):
            with contextlib.suppress(SpoolTaken):
                return cls(root / f"{name}-{number}", quota_bytes=quota_bytes, patience_seconds=0)
        raise SpoolTaken(f"256 processes write under {root} as {name}: stop some")

    def write(self, lines: Sequence[bytes]) -> None:
        """Append the lines; now they survive kill -9, and 50 ms later a power cut.

        Raises SpoolFull, or OSError where the disk fails; what is not written is counted in `refused` either way.
        """
        data = _encode(lines)
        with self._condition:
            self._append(data, lines)
            if not self._dirty:
                self._dirty = True
                self._condition.notify()

    def write_durably(self, lines: Sequence[bytes]) -> Future[None]:
        """Append the lines; the future is done when they are on the disk. Raises SpoolFull at once.

        Calls that wait together share one fsync. In a thread: `.result()`; in asyncio:
        `await asyncio.wrap_future(writer.write_durably(lines))`. A failed fsync is the future's OSError.
        """
        data = _encode(lines)
        done: Future[None] = Future()
        with self._condition:
            self._append(data, lines)
            self._waiting.append(done)
            self._dirty = True
            self._condition.notify()
        return done

    def close(self) -> None:
        """Put everything on the disk and give the folder free. Closing twice does nothing."""
        with self._condition:
            if self._closing:
                return
            self._closing, self._allowance = True, 0
            self._condition.notify()
        self._thread.join()
        if self._descriptor >= 0:
            os.close(self._descriptor)
        os.close(self._lock_descriptor)

    def __enter__(self) -> SpoolWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, data: bytes, lines: Sequence[bytes]) -> None:
        size = len(data)
        if not size:  # a wait for what was written: it needs no room
            self._check_open()
            return
        try:
            if size > self._allowance:
                self._allow(size, len(lines))
            written = os.write(self._descriptor, data)
            if written < size:
                written += self._write_rest(data[written:])
        except OSError as error:
            self._allowance = 0
            if error.errno not in _FULL:
                self.refused += len(lines)
                self._leave_segment()
                self._tell(error)
                raise
            written = 0
        if written == size:
            self._note(size, len(lines))
        else:
            self._take_back(data, written, len(lines))

    def _note(self, size: int, count: int) -> None:
        self._size += size
        self._used += size
        self._allowance -= size
        self.written += count

    def _take_back(self, data: bytes, written: int, count: int) -> None:
        """Keep the whole lines of what was written, and refuse the others."""
        whole = data.rfind(b"\n", 0, written) + 1
        if whole < written:  # half a line: nobody reads it, because it has no end
            os.ftruncate(self._descriptor, self._size + whole)
        taken = data.count(b"\n", 0, whole)
        self._note(whole, taken)
        self._allowance = 0
        self._refuse(count - taken, "the disk is full")

    def _allow(self, size: int, count: int) -> None:
        """See to it that there is room, and note how much may be written before this is asked again.

        Most writes look at nothing else: a prediction waits for them.
        """
        self._check_open()
        self._make_room(size, count)
        if self._descriptor < 0 or self._size >= self._segment_bytes:
            self._open_segment()
        room = (self._segment_bytes - self._size, self._quota_bytes - self._used, self._free_of_disk())
        self._allowance = max(size, min(room))

    def _check_open(self) -> None:
        if self._closing:
            raise SpoolError(f"the writer of {self.folder} is closed")

    def _tell(self, error: OSError) -> None:
        """Say that the disk fails, but not with every line."""
        if time.monotonic() >= self._told_until:
            self._told_until = time.monotonic() + _TELL_SECONDS
            LOG.error("the spool %s cannot be written: %s; %d lines refused so far", self.folder, error, self.refused)

    def _write_rest(self, data: bytes) -> int:
        """How much of what the disk did not take at once it takes after all."""
        written = 0
        while written < len(data):
            try:
                written += os.write(self._descriptor, data[written:])
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                break
        return written

    def _make_room(self, size: int, count: int) -> None:
        now = time.monotonic()
        if now >= self._looked_until:
            disk = os.statvfs(self.folder)
            self._free, self._used_then = disk.f_bavail * disk.f_frsize, self._used
            self._looked_until = now + _MEASURE_SECONDS
        if size > self._free_of_disk():  # the shipper could not note what it did, nor make room
            self._refuse(count, f"the disk of {self.folder} is full but for {self._reserve_bytes} bytes")
        if self._used + size <= self._quota_bytes:
            return
        if now - self._measured_at >= _MEASURE_SECONDS:
            used, self._used, self._measured_at = self._used, self._measure(), now
            self._used_then += self._used - used
            if self._used + size <= self._quota_bytes:
                return
        self._refuse(count, f"the spool {self.folder} holds its quota of {self._quota_bytes} bytes")

    def _free_of_disk(self) -> int:
        return self._free - (self._used - self._used_then) - self._reserve_bytes

    def _refuse(self, count: int, reason: str) -> None:
        self.refused += count
        raise SpoolFull(count, reason)

    def _measure(self) -> int:
        sizes = 0
        for path in segments_of(self.folder):
            with contextlib.suppress(FileNotFoundError):  # the shipper deleted it just now
                sizes += path.stat().st_size
        return sizes

    def _open_segment(self) -> None:
        existing = segments_of(self.folder)
        number = int(existing[-1].name.partition("-")[0]) + 1 if existing else 1
        # The random part keeps a name from ever coming back: the shipper remembers offsets by name.
        path = self.folder / f"{number:010d}-{secrets.token_hex(4)}{SUFFIX}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._leave_segment()
        self._descriptor, self._size, self._new_names = descriptor, 0, True

    def _leave_segment(self) -> None:
        if self._descriptor >= 0:
            self._full_segments.append(self._descriptor)
        self._descriptor, self._allowance = -1, 0

    def _sync_loop(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._dirty or self._closing)
                if not self._waiting and not self._closing:
                    self._condition.wait_for(lambda: self._waiting or self._closing, self._sync_every_seconds)
                waiting, self._waiting = self._waiting, []
                full, self._full_segments = self._full_segments, []
                new_names, self._new_names = self._new_names, False
                self._dirty, self._allowance = False, 0
                current, last_round = self._descriptor, self._closing
            error = self._sync(current, full, new_names)
            for future in waiting:
                if future.set_running_or_notify_cancel():
                    future.set_exception(error) if error else future.set_result(None)
            if last_round:
                return

    def _sync(self, current: int, full: list[int], new_names: bool) -> OSError | None:
        try:
            for descriptor in full:
                os.fsync(descriptor)
                os.close(descriptor)
            if current >= 0:
                os.fsync(current)
            if new_names:
                sync_folder(self.folder)
        except OSError as error:
            LOG.exception(
                "fsync of the spool %s failed: what was written last may not survive a power cut", self.folder
            )
            return error
        return None


def _make_durably(folder: Path) -> None:
    """Make the folder, and put its name, and those of the folders made above it, on the disk."""
    if not folder.parent.is_dir():
        _make_durably(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)  # also where it was there: its maker may have been killed before this


def _encode(lines: Sequence[bytes]) -> bytes:
    data = lines[0] + b"\n" if len(lines) == 1 else b"\n".join([*lines, b""]) if lines else b""
    if data.count(b"\n") != len(lines):
        raise ValueError("a spool line must not contain a line break: encode the event as one line of JSON")
    return data
