"""What the embedded log store promises beyond the contract: processes, crashes, compaction, size."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from observability.embedded.store import ParquetLogStore
from observability.embedded.writer import LogStoreTaken
from observability.ports import LogStoreUnavailable, Span
from observability.windows import Cursor
from tests.event_samples import MODEL, START, at, label, prediction

ROOT = Path(__file__).parents[2]
BEFORE, AFTER = Cursor.before(START - timedelta(days=1)), Cursor.before(START + timedelta(days=9))
EVERYTHING = Span(MODEL, 1, BEFORE, AFTER)


class StoppedClock:
    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


def files(root: Path) -> set[str]:
    return {path.name for path in (root / "segments").glob("*.parquet")}


def test_a_reader_in_another_process_sees_what_was_appended(tmp_path):
    store = ParquetLogStore(tmp_path)
    store.append([prediction(i, f"p{i}") for i in range(3)])
    script = (
        "import sys\nfrom pathlib import Path\nfrom observability.embedded.store import ParquetLogStore\n"
        "store = ParquetLogStore(Path(sys.argv[1]))\n"
        "for _ in sys.stdin: print(store.watermark('default/tweets').second, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as reader:  # fmt: skip
        answers = []
        for seconds in (7, 8):
            store.append([prediction(seconds)])
            reader.stdin.write("ask\n")
            reader.stdin.flush()
            answers.append(int(reader.stdout.readline()))
    assert answers == [7, 8]


def test_only_one_process_writes_and_the_next_may_once_it_is_closed(tmp_path):
    one, two = ParquetLogStore(tmp_path), ParquetLogStore(tmp_path)
    one.append([prediction(1, "p1")])
    with pytest.raises(LogStoreTaken):
        two.append([prediction(2, "p2")])
    assert two.sample(EVERYTHING, 9).rows == 1
    one.close()
    assert two.append([prediction(1, "p1"), prediction(2, "p2")]) == []
    assert two.sample(EVERYTHING, 9).rows == 2


def test_many_small_segments_become_one_and_nothing_changes(tmp_path):
    store = ParquetLogStore(tmp_path, small_segments=5)
    for i in range(23):
        store.append([prediction(i, f"p{i}"), label(f"p{i}", i % 2, i, f"l{i}")])
    assert len(files(tmp_path)) > 23
    store.append([prediction(i, f"p{i}") for i in range(23)])
    sample = store.sample(EVERYTHING, 100)
    assert (sample.rows, sample.labelled, len(sample.frame)) == (23, 23, 23)
    assert len(store._manifest.read().of("predictions", MODEL)) <= 6


def test_a_reader_with_an_old_manifest_survives_the_deletion_of_merged_segments(tmp_path):
    later = StoppedClock(datetime.now(START.tzinfo) + timedelta(days=1))
    store = ParquetLogStore(tmp_path, small_segments=3, clock=later, grace=timedelta(0))
    reader = ParquetLogStore(tmp_path)
    for i in range(3):
        store.append([prediction(i, f"p{i}")])
    assert reader.sample(EVERYTHING, 9).rows == 3
    old = reader._manifest.read()
    stale = [old]
    current = reader._manifest.read
    reader._manifest.read = lambda: stale.pop() if stale else current()
    store.append([prediction(3, "p3")])
    for path in (tmp_path / "segments").glob("*.parquet"):
        if path.name in {segment.file for segment in old.segments}:
            path.unlink()
    assert reader.sample(EVERYTHING, 9).rows == 4


def test_merged_segments_are_deleted_after_the_grace_period_and_not_before(tmp_path):
    now = datetime.now(START.tzinfo)
    store = ParquetLogStore(tmp_path, small_segments=2, clock=StoppedClock(now))
    for i in range(3):
        store.append([prediction(i)])
    store.close()
    assert len(files(tmp_path)) == 4
    for minutes, left in ((9, 5), (11, 3)):
        store = ParquetLogStore(tmp_path, clock=StoppedClock(now + timedelta(minutes=minutes)))
        store.append([prediction(minutes)])
        store.close()
        assert len(files(tmp_path)) == left


def test_segments_of_an_earlier_release_are_read_beside_new_ones_and_merged_with_them(tmp_path):
    store = ParquetLogStore(tmp_path, small_segments=2)
    store.append([prediction(1, "p1")])
    for path in (tmp_path / "segments").glob("*.parquet"):
        old = pq.read_table(path).drop_columns(["score_ms", "rival_version", "rival_score", "rival_ms"])
        pq.write_table(old, path)
    fresh = ParquetLogStore(tmp_path, small_segments=2)
    assert fresh.events(MODEL, "prediction", 9)[0].rival_version is None
    assert fresh.compare(MODEL, 1, 2, at(0), 9).rows == 0
    rival = {"rival_version": 2, "rival_score": 0.5, "score_ms": 1.5, "rival_ms": 2.5}
    store.append([prediction(2, "p2", **rival)])
    assert fresh.sample(EVERYTHING, 9).rows == 2
    assert fresh.compare(MODEL, 1, 2, at(0), 9).rows == 1
    store.append([prediction(3, "p3")])
    merged = {event.id: event.rival_score for event in fresh.events(MODEL, "prediction", 9)}
    assert merged == {"p1": None, "p2": 0.5, "p3": None}
    assert len(fresh._manifest.read().of("predictions", MODEL)) == 1


def test_a_store_that_cannot_be_written_says_try_again(tmp_path):
    (tmp_path / "logs").write_text("a file where the folder should be")
    with pytest.raises(LogStoreUnavailable):
        ParquetLogStore(tmp_path / "logs").append([prediction(1)])


def test_a_killed_writer_leaves_no_event_twice_and_no_half_append(tmp_path):
    script = (
        "import sys\nfrom pathlib import Path\nfrom observability.embedded.store import ParquetLogStore\n"
        "from tests.event_samples import prediction\n"
        "store = ParquetLogStore(Path(sys.argv[1]), small_segments=3)\n"
        "print('ready', flush=True)\n"
        "for start in range(0, 5000, 10):\n"
        "    store.append([prediction(i, f'p{i}') for i in range(start, start + 10)])\n"
    )
    pauses = random.Random(3)
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
        ) as writer:
            writer.stdout.readline()
            time.sleep(pauses.uniform(0.05, 0.3))
            os.kill(writer.pid, signal.SIGKILL)
        rows = ParquetLogStore(tmp_path).sample(EVERYTHING, 5000)
        assert rows.rows % 10 == 0
        assert rows.frame["id"].is_unique
    assert rows.rows > 0
    store = ParquetLogStore(tmp_path)
    store.append([prediction(i, f"p{i}") for i in range(rows.rows)])
    assert store.sample(EVERYTHING, 1).rows == rows.rows


def test_a_window_of_many_events_is_cut_and_sampled_quickly(tmp_path):
    store = ParquetLogStore(tmp_path)
    for start in range(0, 40_000, 5_000):
        store.append([prediction(i / 10) for i in range(start, start + 5_000)])
    began = time.perf_counter()
    until = store.cut(MODEL, 1, BEFORE, 40_000)
    sample = store.sample(Span(MODEL, 1, BEFORE, until), 5_000)
    seconds = time.perf_counter() - began
    assert (sample.rows, len(sample.frame), until.event_time) == (40_000, 5_000, at(3999.9))
    assert seconds < 2
