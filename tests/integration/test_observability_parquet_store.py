"""What the embedded log store promises beyond the contract: processes, crashes, compaction, size."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observability.embedded import counting, layout, queries, tallies
from observability.embedded.counting import Stretch
from observability.embedded.sampling import bound_for, key_at
from observability.embedded.store import ParquetLogStore
from observability.embedded.writer import LogStoreTaken
from observability.events import PredictionEvent
from observability.ports import LogStoreUnavailable, Span
from observability.rollups import LatencySketch
from observability.windows import Cursor, Segment
from tests.event_samples import MODEL, START, at, label, line, prediction

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


def test_labels_of_a_release_that_knew_only_whole_ones_are_read_beside_decimals_and_merged_with_them(tmp_path):
    store = ParquetLogStore(tmp_path, small_segments=2)
    store.append([prediction(number, f"p{number}") for number in range(4)])
    store.append([label("p1", 1, 5), label("p2", 0, 5), label("p3", 1, 5)])
    for path in (tmp_path / "segments").glob("labels-*.parquet"):
        whole = pq.read_table(path)
        place = whole.schema.get_field_index("label")
        pq.write_table(whole.set_column(place, "label", whole["label"].cast(pa.int64())), path)
    fresh = ParquetLogStore(tmp_path, small_segments=2)

    def known() -> dict[str, float]:
        frame = fresh.sample(EVERYTHING, 9).frame.dropna(subset=["label"])
        told = pd.concat(fresh.labels(MODEL, START)).groupby("prediction_id")["label"].last()
        assert told.to_dict() == dict(zip(frame["id"], frame["label"], strict=True))
        return told.to_dict()

    assert known() == {"p1": 1, "p2": 0, "p3": 1}
    store.append([label("p0", 3.7, 6)])
    assert known() == {"p0": 3.7, "p1": 1, "p2": 0, "p3": 1}
    store.append([label("p2", -0.25, 7)])
    assert known() == {"p0": 3.7, "p1": 1, "p2": -0.25, "p3": 1}
    assert len(fresh._manifest.read().of("labels", MODEL)) == 1, "merged with the segments of before"


def counted_one_by_one(events: list[PredictionEvent]) -> tuple[int, dict[str, int], dict[int, int]]:
    names = {name for event in events for name in event.features}
    missing = {name: sum(event.features.get(name) in (None, "") for event in events) for name in names}
    latency = LatencySketch.of(event.latency_ms for event in events).counts
    return len(events), {name: count for name, count in missing.items() if count}, dict(latency)


EVENTS = st.lists(
    st.builds(
        lambda seconds, version, role, latency, features, rival: prediction(
            seconds, version=version, role=role, latency_ms=latency, features=features, score_ms=1.0,
            rival_version=3 - version if rival else None, rival_score=rival, observed_time=at(abs(seconds) % 500),
        ),
        st.integers(-90, 90).map(lambda minute: minute * 60) | st.floats(-1e4, 1e4) | st.just(-2e9),
        st.sampled_from([1, 1, 2]),
        st.sampled_from(["production", "production", "canary", "shadow"]),
        st.sampled_from([0.5, 3.0, 70.0]),
        st.dictionaries(st.sampled_from(["place", "n"]), st.sampled_from(["A", "B", "C", "", None, 1.5]), max_size=2),
        st.sampled_from([None, 0.5]),
    ),
    min_size=1, max_size=60,
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, data=st.data())
def test_what_is_told_from_tallies_is_what_counting_each_prediction_gives(tmp_path_factory, monkeypatch, events, data):
    monkeypatch.setattr(layout, "TALLIED_FROM", 3)
    monkeypatch.setattr(tallies, "ROWS_IN_A_STEP", 2)
    monkeypatch.setattr(tallies, "MOST_VALUES", data.draw(st.sampled_from([1, 500])))
    labels = [label(event.id, i % 2, 9) for i, event in enumerate(events) if i % 3]
    store = ParquetLogStore(tmp_path_factory.mktemp("logs"), small_segments=2, full_rows=40)
    for start in range(0, len(events), 7):
        store.append([*events[start : start + 7], *labels[start : start + 7]])
    cursors = [Cursor(each.event_time, each.id) for each in events] + [
        Cursor.before(each.event_time) for each in events
    ]
    after, until = sorted(data.draw(st.tuples(st.sampled_from(cursors), st.sampled_from(cursors))))
    version = data.draw(st.sampled_from([None, 1, 2]))
    segment = data.draw(st.sampled_from([None, Segment("place", "A")]))
    inside = [
        each for each in sorted(events, key=lambda each: (each.event_time, each.id))
        if each.role == "production" and version in (None, each.version)
        and after < (each.event_time, each.id) <= until and segment in (None, ("place", each.features.get("place")))
    ]  # fmt: skip
    span = Span(MODEL, version, after, until, segment)
    rollup, sample = store.rollup(span), store.sample(span, 9)
    assert (rollup.rows, dict(rollup.missing), dict(rollup.latency.counts)) == counted_one_by_one(inside)
    assert sample.rows == len(inside)
    assert sample.frame["id"].tolist() == [each.id for each in sorted(inside, key=lambda e: (e.sample_key, e.id))[:9]]
    if version is not None and segment is None and inside:
        size = data.draw(st.integers(1, len(inside)))
        assert store.cut(MODEL, version, after, size) == (inside[size - 1].event_time, inside[size - 1].id)
    answered = {each.id for each in events if each.role != "shadow" and each.event_time > after.event_time}
    assert store.labelled_after(MODEL, after.event_time) == len(answered & {each.prediction_id for each in labels})
    pairs = [each for each in events if each.rival_version and each.observed_time >= at(120)]
    paired = store.compare(MODEL, 1, 2, at(120), 99)
    assert (paired.rows, paired.failed) == (len(pairs), sum(p.version == 1 and p.rival_score is None for p in pairs))
    store.close()


def test_a_full_segment_is_never_written_again_and_files_stay_few(tmp_path):
    store = ParquetLogStore(tmp_path, small_segments=2, full_rows=100)
    full: set[str] = set()
    for start in range(0, 1200, 10):
        store.append([prediction(i, f"p{i:05}") for i in range(start, start + 10)])
        segments = store._manifest.read().of("predictions", MODEL)
        assert full <= {each.file for each in segments}
        full = {each.file for each in segments if each.rows > 50}
        assert all(each.rows <= 100 for each in segments)
    assert len(segments) <= 1200 / 50 + 3
    spans = sorted((each.first_event_time, each.last_event_time) for each in segments)
    assert all(one[1] < other[0] for one, other in pairwise(spans)), "each holds a stretch of time of its own"
    assert store.sample(EVERYTHING, 1).rows == 1200


def test_what_is_older_than_the_retention_is_forgotten_by_whole_segments_and_by_table(tmp_path):
    kept = {"predictions": timedelta(hours=1), "service": timedelta(minutes=1)}
    store = ParquetLogStore(tmp_path, small_segments=2, full_rows=4, retention=kept)
    store.append([line(i, f"line {i}") for i in range(3)])
    for hour in range(8):
        store.append([prediction(hour * 3600 + i, f"p{hour}{i}") for i in range(3)])
        store.append([label(f"p{hour}{i}", 1, hour * 3600 + i) for i in range(3)])
    for i in range(4):
        store.append([prediction(8 * 3600 + i, f"p8{i}")])
    ids = set(store.sample(EVERYTHING, 99).frame["id"])
    assert {"p70", "p71", "p72", "p80", "p83"} <= ids and not {id for id in ids if id < "p7"}
    assert store.events("", "service", 9) == []
    assert sum(map(len, store.labels(MODEL, START))) == 24, "nothing was said about labels: they stay"


def test_an_event_of_a_host_whose_clock_is_years_ahead_makes_nothing_old(tmp_path):
    kept = {"predictions": timedelta(days=30)}
    store = ParquetLogStore(tmp_path, small_segments=2, full_rows=4, retention=kept, clock=StoppedClock(at(99)))
    store.append([prediction(i, f"p{i}") for i in range(4)])
    store.append([prediction(4, "wrong", observed_time=at(0) + timedelta(days=1000))])
    for i in range(5, 10):
        store.append([prediction(i, f"p{i}")])
    assert store.sample(EVERYTHING, 1).rows == 10


def test_an_old_id_is_found_again_among_many_and_little_is_read_for_it(tmp_path, monkeypatch):
    store = ParquetLogStore(tmp_path, small_segments=99)
    for start in range(0, 30_000, 10_000):
        store.append([prediction(i / 10, f"p{i:06}") for i in range(start, start + 10_000)])
    read: list[int] = []
    whole = pq.ParquetFile.read_row_groups

    def counted(file: pq.ParquetFile, groups: list[int], **how: object) -> pa.Table:
        read.append(whole(file, groups, **how).num_rows)
        return whole(file, groups, **how)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    store.append([prediction(7, "p000007"), prediction(9_000, "p900000")])
    assert store.sample(EVERYTHING, 1).rows == 30_001
    assert sum(read) <= 10_000
    store.append([prediction(9_001, "p900001")])
    assert len(read) == 1, "what is newer than all that is stored needs no look"


def test_full_segments_of_an_earlier_release_are_tallied_one_at_a_time(tmp_path):
    store = ParquetLogStore(tmp_path, full_rows=1_000)
    for start in (0, 1_200):
        store.append([prediction(i, f"p{i:05}", latency_ms=2.0) for i in range(start, start + 1_200)])
    before = store.rollup(EVERYTHING)
    store.close()
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for segment in manifest["segments"]:
        for name in ("layout", "step", "uncounted", "first_prediction_id", "last_prediction_id"):
            del segment[name]
        path = tmp_path / "segments" / segment["file"]
        pq.write_table(pq.read_table(path).drop_columns(["rival_version", "request_id"]).sort_by("event_time"), path)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    store = ParquetLogStore(tmp_path, full_rows=1_000)
    assert store.rollup(EVERYTHING) == before
    for appends in (1, 2):
        store.append([prediction(9_000 + appends, f"q{appends}", latency_ms=2.0)])
        tallied = [each for each in store._manifest.read().of("predictions", MODEL) if each.step]
        assert len(tallied) == appends
    assert store.rollup(EVERYTHING).rows == store.rollup(EVERYTHING).latency.count == before.rows + 2


def test_a_sample_reads_one_row_group_of_each_segment_however_many_there_are(tmp_path):
    store = ParquetLogStore(tmp_path)
    for start in range(0, 40_000, 20_000):
        store.append([prediction(i / 10, f"p{i:06}") for i in range(start, start + 20_000)])
    stretch = Stretch(MODEL, Cursor.before(START), Cursor.before(START + timedelta(hours=1)), 1)
    view = store._reader.view()
    assert counting.count(view, stretch) == 36_000
    sql = stretch.query(queries.SAMPLE, queries.BELOW)
    values = stretch.values | {"bound": key_at(bound_for(200, 36_000)), "k": 200}
    plan = view.ask("EXPLAIN ANALYZE " + sql, "predictions", stretch.segments(view), values)["explain_value"][0].as_py()
    read, all_groups = re.search(r"Row Groups Scanned: (\d+) / (\d+)", plan).groups()
    assert (int(read), int(all_groups)) == (2, 6)


def test_a_store_that_cannot_be_written_says_try_again(tmp_path):
    (tmp_path / "logs").write_text("a file where the folder should be")
    with pytest.raises(LogStoreUnavailable):
        ParquetLogStore(tmp_path / "logs").append([prediction(1)])


def test_a_killed_writer_leaves_no_event_twice_and_no_half_append(tmp_path):
    script = (
        "import sys\nfrom pathlib import Path\nfrom observability.embedded.store import ParquetLogStore\n"
        "from tests.event_samples import prediction\n"
        "store = ParquetLogStore(Path(sys.argv[1]), small_segments=3)\n"
        "for start in range(0, 5000, 10):\n"
        "    store.append([prediction(i, f'p{i}') for i in range(start, start + 10)])\n"
        "    print('appended', flush=True)\n"
    )
    chance = random.Random(3)
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
        ) as writer:
            for _ in range(chance.randint(1, 20)):
                writer.stdout.readline()
            time.sleep(chance.uniform(0, 0.02))
            os.kill(writer.pid, signal.SIGKILL)
        rows = ParquetLogStore(tmp_path).sample(EVERYTHING, 5000)
        assert rows.rows % 10 == 0
        assert rows.frame["id"].is_unique
    assert rows.rows > 0
    store = ParquetLogStore(tmp_path)
    store.append([prediction(i, f"p{i}") for i in range(rows.rows)])
    assert store.sample(EVERYTHING, 1).rows == rows.rows
