"""What the spool promises its writers and its reader."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from concurrent.futures import wait
from pathlib import Path

import pytest

from observability.spool import writer as spool_module
from observability.spool.ledger import Ledger, ledger
from observability.spool.reader import SpoolReader
from observability.spool.writer import SpoolError, SpoolFull, SpoolTaken, SpoolWriter, segments_of


def lines(*numbers: int) -> list[bytes]:
    return [f'{{"n":{number}}}'.encode() for number in numbers]


def spooled(folder: Path) -> list[bytes]:
    return [line for path in segments_of(folder) for line in path.read_bytes().splitlines()]


def read_all(reader: SpoolReader, limit: int = 100) -> list[bytes]:
    seen = []
    while (batch := reader.next_batch(limit)).lines:
        seen += [line.data for line in batch.lines]
        reader.commit(batch, Counter())
    return seen


@pytest.fixture
def reader(tmp_path):
    reader = SpoolReader(tmp_path)
    yield reader
    reader.close()


def test_lines_are_in_the_file_when_write_returns(tmp_path):
    with SpoolWriter(tmp_path / "a") as writer:
        writer.write(lines(1, 2))
        writer.write([])
        writer.write(lines(3))
        assert spooled(tmp_path / "a") == lines(1, 2, 3)
        assert (writer.written, writer.refused) == (3, 0)


def test_a_durable_write_is_done_only_after_fsync(tmp_path, monkeypatch):
    allow, synced = threading.Event(), []

    def slow_fsync(descriptor: int) -> None:
        allow.wait(5)
        synced.append(descriptor)

    monkeypatch.setattr(spool_module.os, "fsync", slow_fsync)
    with SpoolWriter(tmp_path / "a") as writer:
        done = writer.write_durably(lines(1))
        assert spooled(tmp_path / "a") == lines(1)
        assert not done.done()
        allow.set()
        assert done.result(5) is None
        assert synced


def test_a_new_writers_folder_is_on_the_disk_before_its_first_line(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(spool_module, "sync_folder", synced.append)
    with SpoolWriter(tmp_path / "spool" / "a") as writer:
        assert synced == [tmp_path, tmp_path / "spool"]
        writer.write_durably(lines(1)).result(5)
    assert synced[2:] == [tmp_path / "spool" / "a"]


def test_durable_writes_that_wait_together_share_an_fsync(tmp_path, monkeypatch):
    calls, real = [], os.fsync
    monkeypatch.setattr(spool_module.os, "fsync", lambda descriptor: (calls.append(1), real(descriptor)))
    with SpoolWriter(tmp_path / "a") as writer:
        futures = [writer.write_durably(lines(number)) for number in range(500)]
        assert not wait(futures, 10).not_done
    assert len(calls) < 100


def test_plain_writes_are_on_the_disk_soon_without_being_asked(tmp_path, monkeypatch):
    synced = threading.Event()
    monkeypatch.setattr(spool_module.os, "fsync", lambda descriptor: synced.set())
    with SpoolWriter(tmp_path / "a") as writer:
        writer.write(lines(1))
        assert synced.wait(2)


def test_a_failed_fsync_fails_those_who_wait_and_nobody_later(tmp_path, monkeypatch):
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")

    with SpoolWriter(tmp_path / "a") as writer:
        with monkeypatch.context() as patch:
            patch.setattr(spool_module.os, "fsync", broken)
            with pytest.raises(OSError, match="broken"):
                writer.write_durably(lines(1)).result(5)
        writer.write_durably(lines(2)).result(5)


def test_threads_share_a_writer_without_tearing_lines(tmp_path):
    with SpoolWriter(tmp_path / "a", segment_bytes=2_000) as writer:

        def write(start: int) -> None:
            for number in range(start, start + 200):
                writer.write(lines(number))

        threads = [threading.Thread(target=write, args=(1000 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(spooled(tmp_path / "a")) == sorted(lines(*(1000 * n + i for n in range(4) for i in range(200))))


def test_a_line_break_inside_a_line_is_refused(tmp_path):
    with SpoolWriter(tmp_path / "a") as writer, pytest.raises(ValueError, match="line break"):
        writer.write([b"one\ntwo"])


def test_segments_rotate_by_size_and_begin_anew_at_each_start(tmp_path):
    with SpoolWriter(tmp_path / "a", segment_bytes=30) as writer:
        for number in range(10):
            writer.write(lines(number))
    assert len(segments_of(tmp_path / "a")) == 3
    with SpoolWriter(tmp_path / "a") as writer:
        assert len(segments_of(tmp_path / "a")) == 3
        writer.write(lines(10))
    assert len(segments_of(tmp_path / "a")) == 4
    assert spooled(tmp_path / "a") == lines(*range(11))


def test_a_folder_has_one_writer_and_a_second_one_claims_the_next(tmp_path):
    with SpoolWriter.claim(tmp_path, "serving") as one, SpoolWriter.claim(tmp_path, "serving") as two:
        assert (one.folder.name, two.folder.name) == ("serving-0", "serving-1")
        with pytest.raises(SpoolTaken):
            SpoolWriter(one.folder, patience_seconds=0)
    with SpoolWriter.claim(tmp_path, "serving") as again:
        assert again.folder.name == "serving-0"


def test_a_closed_writer_takes_nothing(tmp_path):
    writer = SpoolWriter(tmp_path / "a")
    writer.close()
    writer.close()
    for some in (lines(1), []):
        with pytest.raises(SpoolError, match="closed"):
            writer.write_durably(some)


def test_beyond_the_quota_lines_are_refused_and_counted_until_there_is_room(tmp_path, reader, monkeypatch):
    monkeypatch.setattr(spool_module, "_MEASURE_SECONDS", 0)
    with SpoolWriter(tmp_path / "a", quota_bytes=40, segment_bytes=10) as writer:
        offered = 0
        for number in range(10):
            offered += 1
            try:
                writer.write(lines(number))
            except SpoolFull as full:
                assert full.refused == 1
        assert offered == writer.written + writer.refused
        assert writer.written == len(spooled(tmp_path / "a")) == 5
        read_all(reader)
        assert reader.delete_shipped() > 0
        writer.write(lines(11))


def test_a_full_disk_leaves_no_half_line_and_counts_exactly(tmp_path, monkeypatch):
    real, room = os.write, [20]

    def nearly_full(descriptor: int, data: bytes) -> int:
        taken = min(len(data), room[0])
        if not taken:
            raise OSError(errno.ENOSPC, "full")
        room[0] -= taken
        return real(descriptor, data[:taken])

    with SpoolWriter(tmp_path / "a") as writer:
        monkeypatch.setattr(spool_module.os, "write", nearly_full)
        with pytest.raises(SpoolFull) as full:
            writer.write(lines(1, 2, 3, 4))
        assert full.value.refused == 2
        assert (writer.written, writer.refused) == (2, 2)
        room[0] = 100
        writer.write(lines(5))
    assert spooled(tmp_path / "a") == lines(1, 2, 5)


def test_the_last_of_the_disk_is_left_for_the_shipper(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "_MEASURE_SECONDS", 0)
    disk = os.statvfs(tmp_path)
    free = disk.f_bavail * disk.f_frsize
    with SpoolWriter(tmp_path / "a", reserve_bytes=free + (1 << 40)) as writer:
        with pytest.raises(SpoolFull, match="full but for"):
            writer.write(lines(1, 2))
        assert (writer.written, writer.refused) == (0, 2)
        writer._reserve_bytes = free // 2
        writer.write(lines(3))
    assert spooled(tmp_path / "a") == lines(3)


def test_after_a_write_error_the_next_line_starts_a_new_segment(tmp_path, monkeypatch):
    def broken(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EIO, "broken")

    with SpoolWriter(tmp_path / "a") as writer:
        writer.write(lines(1))
        with monkeypatch.context() as patch:
            patch.setattr(spool_module.os, "write", broken)
            with pytest.raises(OSError, match="broken"):
                writer.write(lines(2))
        writer.write(lines(3))
        assert (writer.written, writer.refused) == (2, 1)
    assert len(segments_of(tmp_path / "a")) == 2


def test_every_writers_lines_are_read_once_and_in_order(tmp_path, reader):
    with SpoolWriter(tmp_path / "a", segment_bytes=50) as a, SpoolWriter(tmp_path / "b") as b:
        for number in range(40):
            a.write(lines(number))
            b.write(lines(100 + number))
        seen = read_all(reader, limit=7)
        assert [line for line in seen if line in lines(*range(40))] == lines(*range(40))
        assert [line for line in seen if line in lines(*range(100, 140))] == lines(*range(100, 140))
        assert len(seen) == 80
        a.write(lines(40))
        assert read_all(reader) == lines(40)


def test_a_busy_writer_fills_a_batch_alone_beside_idle_ones(tmp_path, reader):
    for name in "bcdefgh":
        with SpoolWriter(tmp_path / name) as idle:
            idle.write(lines(0))
    read_all(reader)
    with SpoolWriter(tmp_path / "a") as writer, SpoolWriter(tmp_path / "b") as little:
        writer.write(lines(*range(1_000)))
        little.write(lines(7, 8))
        batch = reader.next_batch(500)
        assert (len(batch.lines), batch.more) == (500, True)
        assert {line.writer for line in batch.lines} == {"a", "b"}
        behind = reader.next_batch(2_000, batch)
        assert (len(behind.lines), behind.more) == (502, False)
        assert {line.offset for line in behind.lines}.isdisjoint(
            line.offset for line in batch.lines if line.writer == "a"
        )
        assert reader.waiting_bytes() == sum(len(line.data) + 1 for line in batch.lines + behind.lines)


def test_what_was_not_committed_is_read_again_also_by_the_next_reader(tmp_path):
    with SpoolWriter(tmp_path / "a") as writer:
        writer.write(lines(1, 2, 3))
        first = SpoolReader(tmp_path)
        first.commit(first.next_batch(2), Counter())
        assert [line.data for line in first.next_batch().lines] == lines(3)
        first.close()
        second = SpoolReader(tmp_path)
        assert read_all(second) == lines(3)
        second.close()


def test_a_spool_has_one_reader(tmp_path, reader):
    with pytest.raises(SpoolTaken):
        SpoolReader(tmp_path, patience_seconds=0)


def test_an_unfinished_line_waits_while_its_writer_lives_and_is_torn_when_it_is_gone(tmp_path, reader):
    writer = SpoolWriter(tmp_path / "a")
    writer.write(lines(1))
    with segments_of(tmp_path / "a")[0].open("ab") as file:
        file.write(b'{"half')
    batch = reader.next_batch()
    assert [line.data for line in batch.lines] == lines(1)
    reader.commit(batch, Counter())
    assert reader.next_batch().lines == ()
    assert ledger(tmp_path) == Ledger(spooled=1, indexed=1, dead_lettered=0, waiting=0)
    writer.close()
    (torn,) = reader.next_batch().lines
    assert (torn.data, torn.torn) == (b'{"half', True)
    assert ledger(tmp_path).waiting == 1


def test_the_segment_of_a_living_writer_stays_and_shipped_older_ones_go(tmp_path, reader):
    with SpoolWriter(tmp_path / "a", segment_bytes=30) as writer:
        for number in range(10):
            writer.write(lines(number))
        read_all(reader)
        assert reader.delete_shipped() == 2
        assert len(segments_of(tmp_path / "a")) == 1
        assert reader.delete_shipped() == 0
    assert reader.delete_shipped() == 1
    assert ledger(tmp_path) == Ledger(spooled=10, indexed=10, dead_lettered=0, waiting=0)


def test_a_line_larger_than_a_read_comes_whole(tmp_path, reader):
    large = b'"' + b"x" * (9 << 20) + b'"'
    with SpoolWriter(tmp_path / "a", segment_bytes=1 << 20) as writer:
        writer.write([*lines(1), large, *lines(2)])
    assert read_all(reader) == [*lines(1), large, *lines(2)]


def test_damaged_offsets_are_an_error_and_not_a_fresh_start(tmp_path, reader):
    (tmp_path / "offsets.json").write_text("{")
    with pytest.raises(RuntimeError, match="damaged"):
        ledger(tmp_path)
