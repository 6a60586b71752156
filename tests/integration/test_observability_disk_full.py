"""A disk that is full: every prediction is answered and counted, nothing is torn, and all goes on without a hand."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from observability.embedded.store import ParquetLogStore
from observability.events import line_of
from observability.ports import LogStoreUnavailable
from observability.spool.dead_letters import DeadLetters
from observability.spool.ledger import ledger
from observability.spool.reader import SpoolReader
from observability.spool.shipper import Shipper
from observability.spool.writer import RESERVE_BYTES, SpoolFull, SpoolWriter
from tests.event_samples import prediction

MEBIBYTE = 1 << 20


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 MiB in memory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], capture_output=True)
    if os.geteuid() != 0 or mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def free(disk) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def fill(disk) -> Path:
    """A file that takes all that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4_096)
    return ballast


def offer(writer: SpoolWriter, done: Callable[[], bool]) -> int:
    """Predictions, ten at a time, until it is done; says how many were offered."""
    offered, give_up_at = 0, time.monotonic() + 60
    while not done():
        assert time.monotonic() < give_up_at
        lines = [line_of(prediction(0, raw={"text": "x" * 4_000})) for _ in range(10)]
        offered += len(lines)
        with contextlib.suppress(SpoolFull):
            writer.write(lines)
    return offered


def test_on_a_full_disk_predictions_are_spooled_or_refused_exactly_and_shipping_makes_room_by_itself(small_disk):
    spool = small_disk / "spool"
    store, letters = ParquetLogStore(small_disk / "logs"), DeadLetters(small_disk / "dead")
    with SpoolWriter(spool / "serving-0", segment_bytes=4 * MEBIBYTE) as writer:
        offered = offer(writer, lambda: writer.refused >= 500)
        assert free(small_disk) >= RESERVE_BYTES - MEBIBYTE
        assert offered == writer.written + writer.refused
        assert ledger(spool).spooled == writer.written

        reader = SpoolReader(spool)
        shipper, written = Shipper(reader, store, letters, batch_lines=1_000), writer.written
        while shipper.ship_once().lines:
            pass
        offered += offer(writer, lambda: writer.written > written)  # there is room again, and nobody did anything

        ballast, refused = fill(small_disk), writer.refused
        writer._reserve_bytes = 0  # to the last byte
        offered += offer(writer, lambda: writer.refused >= refused + 200)
        assert offered == writer.written + writer.refused
        ballast.unlink()
        written = writer.written
        offered += offer(writer, lambda: writer.written > written)
        while shipper.ship_once().lines:
            pass
        book = ledger(spool)
        assert book.spooled == writer.written == offered - writer.refused
        assert (book.indexed, book.dead_lettered, book.unaccounted) == (writer.written, 0, 0), "no line was torn"
    reader.close()
    store.close()


def test_a_shipper_on_a_full_disk_waits_and_loses_nothing(small_disk):
    spool = small_disk / "spool"
    with SpoolWriter(spool / "serving-0") as writer:
        writer.write([line_of(prediction(0, f"p{number}")) for number in range(100)] + [b"poison"])
    store, reader = ParquetLogStore(small_disk / "logs"), SpoolReader(spool)
    shipper = Shipper(reader, store, DeadLetters(small_disk / "dead"))
    ballast = fill(small_disk)
    for _ in range(2):
        with pytest.raises((OSError, LogStoreUnavailable)):
            shipper.ship_once()
        assert ledger(spool).waiting == 101
    ballast.unlink()
    while shipper.ship_once().lines:
        pass
    book = ledger(spool)
    assert (book.indexed, book.dead_lettered, book.waiting, book.unaccounted) == (100, 1, 0, 0)
    reader.close()
    store.close()
