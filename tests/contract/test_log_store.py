"""What every log store promises. For another adapter, add its name and how to open it to ADAPTERS."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from observability.elastic.store import ElasticLogStore
from observability.embedded.store import ParquetLogStore
from observability.events import PredictionEvent
from observability.ids import new_id
from observability.ports import LogStore, Span
from observability.rollups import Rollup
from observability.windows import Cursor, Segment
from tests.event_samples import MODEL, START, at, decision, label, line, prediction

OpenStore = Callable[..., LogStore]


def embedded(folder: Path, _request: pytest.FixtureRequest) -> LogStore:
    return ParquetLogStore(folder / "logs", small_segments=4)


def elasticsearch(folder: Path, request: pytest.FixtureRequest) -> LogStore:
    server = request.getfixturevalue("elasticsearch")
    return ElasticLogStore.connect(server.settings(namespace=f"{server.namespace}_{folder.name}"), refresh=True)


ADAPTERS = {"embedded": embedded, "elasticsearch": elasticsearch}
BEFORE, AFTER = Cursor.before(START - timedelta(days=1)), Cursor.before(START + timedelta(days=1))
EVERYTHING = Span(MODEL, 1, BEFORE, AFTER)


@pytest.fixture(params=ADAPTERS)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens the store of a name again and again, each time as another reader."""
    opened = []

    def opener(name: str = "one") -> LogStore:
        opened.append(ADAPTERS[request.param](tmp_path / name, request))
        return opened[-1]

    yield opener
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> LogStore:
    return open_store()


def plain(frame: pd.DataFrame) -> list[dict]:
    return json.loads(frame.to_json(orient="records", date_format="iso"))


def test_an_empty_store_answers_with_nothing(store):
    assert store.watermark(MODEL) is None
    assert store.first(MODEL, 1, BEFORE) is None
    assert store.cut(MODEL, 1, BEFORE, 1) is None
    assert store.labelled_after(MODEL, START) == 0
    assert list(store.predictions(MODEL, START)) == []
    assert list(store.labels(MODEL, START)) == []
    assert store.events(MODEL, "decision", 10) == []
    empty = store.sample(EVERYTHING, 10)
    assert (empty.rows, empty.labelled, len(empty.frame)) == (0, 0, 0)
    assert {"id", "event_time", "version", "score", "prediction", "label"} <= set(empty.frame.columns)
    assert store.rollup(EVERYTHING) == Rollup()


def test_appending_an_event_again_changes_nothing(store):
    events = [prediction(1, "p1"), prediction(2, "p2"), label("p1", 1, 5, "l1")]
    assert store.append(events + events[:1]) == []
    assert store.append(events[::-1]) == []
    sample = store.sample(EVERYTHING, 10)
    assert (sample.rows, sample.labelled) == (2, 1)
    assert sum(map(len, store.labels(MODEL, START))) == 1


def test_the_first_content_under_an_id_stays(store):
    store.append([prediction(1, "p1", score=0.1), prediction(1, "p1", score=0.2)])
    store.append([prediction(1, "p1", score=0.3)])
    assert store.sample(EVERYTHING, 10).frame["score"].tolist() == [0.1]


def test_order_and_duplicates_do_not_change_a_sample(open_store):
    events = [prediction(i % 7, f"p{i}", score=i / 100) for i in range(60)]
    events += [label(f"p{i}", i % 2, 100 + i, f"l{i}") for i in range(0, 60, 3)]
    events += [label(f"p{i}", 1 - i % 2, 200 + i, f"m{i}") for i in range(0, 60, 6)]
    one, other = open_store(), open_store("shuffled")
    one.append(events)
    shuffled = random.Random(7).sample(events + events[:20], len(events) + 20)
    for start in range(0, len(shuffled), 9):
        other.append(shuffled[start : start + 9])
    a, b = one.sample(EVERYTHING, 25), other.sample(EVERYTHING, 25)
    assert a.rows == b.rows == 60
    assert a.labelled == b.labelled
    assert plain(a.frame) == plain(b.frame)


def test_a_sample_holds_the_k_smallest_keys_in_their_order(store):
    events = [prediction(i, f"p{i}") for i in range(50)]
    store.append(events)
    smallest = sorted(events, key=lambda event: event.sample_key)[:12]
    sample = store.sample(EVERYTHING, 12)
    assert sample.frame["id"].tolist() == [event.id for event in smallest]
    assert sample.rows == 50


def test_the_last_label_by_label_time_wins_even_when_it_arrives_first(store):
    store.append([prediction(1, "p1"), label("p1", 1, 50, observed_time=at(50))])
    store.append([label("p1", 0, 20, observed_time=at(60))])
    assert store.sample(EVERYTHING, 1).frame["label"].tolist() == [1]


def test_labels_of_one_label_time_are_decided_by_arrival_and_then_by_id(store):
    store.append([prediction(1, "p1"), prediction(2, "p2")])
    store.append([label("p1", 1, 50, observed_time=at(61)), label("p1", 0, 50, observed_time=at(60))])
    store.append([label("p2", 0, 50, "a"), label("p2", 1, 50, "b")])
    frame = store.sample(EVERYTHING, 2).frame
    assert dict(zip(frame["id"], frame["label"], strict=True)) == {"p1": 1, "p2": 1}


def test_a_late_label_reaches_a_window_that_was_sampled_before(store):
    store.append([prediction(1, "p1")])
    before = store.sample(EVERYTHING, 1)
    store.append([label("p1", 1, 10_000)])
    after = store.sample(EVERYTHING, 1)
    assert (before.labelled, after.labelled) == (0, 1)
    assert before.frame["label"].isna().all()
    assert after.frame["label"].tolist() == [1]


def test_a_label_without_its_prediction_waits_for_it(store):
    store.append([label("p1", 1, 5)])
    assert store.sample(EVERYTHING, 1).rows == 0
    store.append([prediction(1, "p1")])
    assert store.sample(EVERYTHING, 1).labelled == 1


def test_a_cut_follows_event_time_and_then_id(store):
    events = [prediction(second, id) for second, id in ((5, "c"), (5, "a"), (5, "b"), (4, "z"), (6, "0"))]
    store.append(events)
    order = [
        Cursor(at(4), "z"),
        Cursor(at(5), "a"),
        Cursor(at(5), "b"),
        Cursor(at(5), "c"),
        Cursor(at(6), "0"),
    ]
    assert [store.cut(MODEL, 1, BEFORE, size) for size in range(1, 6)] == order
    assert store.cut(MODEL, 1, BEFORE, 6) is None
    assert store.cut(MODEL, 1, order[1], 2) == order[3]
    assert store.first(MODEL, 1, order[3]) == order[4]
    assert store.first(MODEL, 1, order[4]) is None


def test_consecutive_cuts_hold_every_prediction_once(store):
    store.append([prediction(i // 5, f"p{i:03}") for i in range(100)])
    after, seen = BEFORE, []
    while until := store.cut(MODEL, 1, after, 7):
        sample = store.sample(Span(MODEL, 1, after, until), 100)
        assert sample.rows == 7
        seen += sample.frame["id"].tolist()
        after = until
    assert len(seen) == len(set(seen)) == 98


def roles(store: LogStore) -> None:
    store.append(
        [
            prediction(1, "p1"),
            prediction(2, "p2", role="shadow"),
            prediction(3, "p3", role="canary"),
            prediction(4, "p4", version=2),
            prediction(5, "p5", model="default/flights"),
            *(label(f"p{i}", 1, 10) for i in (1, 2, 3, 4)),
        ]
    )


def test_only_production_predictions_of_the_version_make_windows(store):
    roles(store)
    assert store.sample(EVERYTHING, 10).frame["id"].tolist() == ["p1"]
    assert sorted(store.sample(Span(MODEL, None, BEFORE, AFTER), 10).frame["id"]) == ["p1", "p4"]
    assert store.cut(MODEL, 1, BEFORE, 2) is None


def test_retraining_gets_what_a_canary_answered_and_counts_its_labels(store):
    roles(store)
    assert [frame["id"].tolist() for frame in store.predictions(MODEL, at(0))] == [["p1", "p3", "p4"]]
    assert store.labelled_after(MODEL, at(0)) == 3


def both(seconds: float, id: str, champion: float, challenger: float | None, **changes: object) -> PredictionEvent:
    """Version 1 answered, version 2 scored the row as well."""
    values = {"score": champion, "score_ms": 1.0, "rival_version": 2, "rival_score": challenger, "rival_ms": 3.0}
    return prediction(seconds, id, **values | changes)


def canary(seconds: float, id: str, champion: float | None, challenger: float) -> PredictionEvent:
    """Version 2 answered, version 1 scored the row as well."""
    return prediction(
        seconds, id, version=2, role="canary", score=challenger, score_ms=3.0,
        rival_version=1, rival_score=champion, rival_ms=1.0,
    )  # fmt: skip


def test_two_versions_are_compared_on_the_rows_of_both_whoever_answered(store):
    store.append([both(1, "p1", 0.1, 0.2), canary(2, "p2", 0.3, 0.4)])
    store.append([label("p1", 1, 9), label("p2", 0, 9)])
    paired = store.compare(MODEL, 1, 2, at(0), 10)
    assert (paired.rows, paired.failed, paired.labelled) == (2, 0, 2)
    rows = sorted(paired.frame[["label", "champion", "challenger"]].values.tolist())
    assert rows == [[0, 0.3, 0.4], [1, 0.1, 0.2]]
    assert (paired.champion_ms_p99, paired.challenger_ms_p99) == (1.0, 3.0)
    turned = store.compare(MODEL, 2, 1, at(0), 10)
    assert sorted(turned.frame["champion"]) == [0.2, 0.4]
    assert (turned.champion_ms_p99, turned.challenger_ms_p99) == (3.0, 1.0)


def test_a_comparison_of_nothing_has_no_rows_and_no_latency(store):
    empty = store.compare(MODEL, 1, 2, at(0), 10)
    assert (empty.rows, empty.failed, empty.labelled, len(empty.frame)) == (0, 0, 0, 0)
    assert list(empty.frame.columns) == ["label", "champion", "challenger"]
    assert (empty.champion_ms_p99, empty.challenger_ms_p99) == (None, None)


def test_only_rows_of_these_two_versions_since_the_instant_are_compared(store):
    store.append(
        [
            both(1, "before", 0.1, 0.2),
            both(9, "came late", 0.1, 0.2, event_time=at(0)),
            both(9, "another challenger", 0.1, 0.2, rival_version=3),
            both(9, "another champion", 0.1, 0.2, version=4),
            both(9, "another model", 0.1, 0.2, model="default/flights"),
            prediction(9, "alone"),
        ]
    )
    assert store.compare(MODEL, 1, 2, at(2), 10).rows == 1
    assert store.compare(MODEL, 1, 2, at(9), 10).rows == 1
    assert store.compare(MODEL, 1, 2, at(9.000001), 10).rows == 0


def test_a_row_that_the_challenger_could_not_score_is_counted_and_not_compared(store):
    store.append([both(1, "p1", 0.1, None, rival_ms=None), both(2, "p2", 0.1, 0.2), canary(3, "p3", None, 0.4)])
    store.append([label(f"p{i}", 1, 9) for i in (1, 2, 3)])
    paired = store.compare(MODEL, 1, 2, at(0), 10)
    assert (paired.rows, paired.failed, paired.labelled) == (3, 1, 1)
    assert paired.frame["challenger"].tolist() == [0.2]
    assert store.compare(MODEL, 2, 1, at(0), 10).failed == 1


def test_a_comparison_takes_the_labelled_rows_with_the_smallest_keys_and_the_last_label(store):
    events = [both(i, f"p{i}", i / 100, 0.5) for i in range(40)]
    store.append(events)
    store.append([label(event.id, 0, 50) for event in events[::2]])
    store.append([label(event.id, 1, 60) for event in events[::4]])
    paired = store.compare(MODEL, 1, 2, at(0), 8)
    smallest = sorted(events[::2], key=lambda event: event.sample_key)[:8]
    assert (paired.rows, paired.labelled) == (40, 20)
    assert paired.frame["champion"].tolist() == [event.score for event in smallest]
    assert paired.frame["label"].tolist() == [int(event in events[::4]) for event in smallest]


def test_a_prediction_comes_back_with_its_rival(store):
    event = both(1, "p1", 0.1, 0.2)
    store.append([event, prediction(0, "p0")])
    assert store.events(MODEL, "prediction", 1) == [event]


def test_the_watermark_is_the_latest_event_time_and_never_moves_back(store):
    store.append([prediction(9.000001, "p1")])
    store.append([prediction(3, "p2")])
    assert store.watermark(MODEL) == at(9.000001)


def test_labelled_after_counts_predictions_and_not_labels(store):
    store.append([prediction(i, f"p{i}") for i in range(5)])
    store.append([label("p3", 1, 9), label("p3", 0, 10), label("p4", 1, 9), label("p0", 1, 9)])
    assert store.labelled_after(MODEL, at(0)) == 2
    assert store.labelled_after(MODEL, at(3)) == 1


def test_features_that_nobody_declared_and_missing_ones_survive(store):
    store.append(
        [
            prediction(1, "p1", features={"followers": 3.5, "place": None}),
            prediction(2, "p2", features={"place": "Köln \x00 'x' </script>", "new": True}),
        ]
    )
    frame = store.sample(EVERYTHING, 10).frame.set_index("id")
    assert frame.loc["p1", "followers"] == 3.5
    assert frame.loc["p1", "place"] is None
    assert frame.loc["p2", "place"] == "Köln \x00 'x' </script>"
    assert frame.loc["p2", "new"] is True
    assert pd.isna(frame.loc["p2", "followers"])


def told(rollup: Rollup) -> tuple[int, dict[str, int], int]:
    """What of a rollup is the same number in every store: a feature that no row lacks may be left out."""
    return rollup.rows, {name: count for name, count in rollup.missing.items() if count}, rollup.latency.count


def test_a_rollup_counts_rows_missing_values_and_latencies(store):
    store.append(
        [
            *(prediction(i, f"p{i}", latency_ms=1.0) for i in range(90)),
            prediction(90, "null", features={"followers": None, "place": "Rome"}, latency_ms=80.0),
            prediction(91, "empty", features={"followers": 0.0, "place": ""}, latency_ms=80.0),
            prediction(92, "absent", features={"followers": 1.5}, latency_ms=80.0),
        ]
    )
    rollup = store.rollup(EVERYTHING)
    assert told(rollup) == (93, {"followers": 1, "place": 2}, 93)
    assert rollup.latency.quantile(0.5) == pytest.approx(1.0, rel=0.03)
    assert rollup.latency.quantile(0.99) == pytest.approx(80.0, rel=0.03)


def test_a_rollup_is_of_production_predictions_of_the_version(store):
    roles(store)
    assert store.rollup(EVERYTHING).rows == 1
    assert store.rollup(Span(MODEL, 2, BEFORE, AFTER)).rows == 1
    assert store.rollup(Span(MODEL, None, BEFORE, AFTER)).rows == 2


def test_the_rollup_of_a_span_is_the_sum_of_its_parts_whatever_came_twice_or_in_disorder(open_store):
    events = [
        prediction(i * 37, f"p{i:03}", latency_ms=1 + i % 50, features={"followers": None if i % 9 else 1.0})
        for i in range(300)
    ]
    one, other = open_store(), open_store("shuffled")
    one.append(events)
    shuffled = random.Random(5).sample(events + events[:90], len(events) + 90)
    for start in range(0, len(shuffled), 30):
        other.append(shuffled[start : start + 30])
    whole = one.rollup(EVERYTHING)
    assert told(whole) == told(other.rollup(EVERYTHING)) == (300, {"followers": 266}, 300)
    ends = [BEFORE, Cursor.before(at(1800)), one.cut(MODEL, 1, BEFORE, 123), Cursor.before(at(7201)), AFTER]
    parts = [other.rollup(Span(MODEL, 1, after, until)) for after, until in pairwise(ends)]
    assert [part.rows for part in parts] == [49, 74, 72, 105]
    total = sum(parts, Rollup())
    assert told(total) == told(whole)
    for share in (0.5, 0.99):
        assert total.latency.quantile(share) == pytest.approx(whole.latency.quantile(share), rel=0.03)


def test_a_late_prediction_is_in_every_window_that_is_asked_for_after_it(store):
    store.append([prediction(i * 60, f"p{i:03}") for i in range(200)])
    span = Span(MODEL, 1, Cursor.before(at(3600)), Cursor.before(at(7200)))
    assert store.rollup(span).rows == store.sample(span, 5).rows == 60
    store.append([prediction(3600, "late", observed_time=at(90_000), latency_ms=400.0)])
    assert store.rollup(span).rows == store.sample(span, 5).rows == 61
    assert store.rollup(span).latency.quantile(1.0) == pytest.approx(400.0, rel=0.03)
    assert "late" in store.sample(span, 100).frame["id"].tolist()
    assert store.cut(MODEL, 1, span.after, 1) == Cursor(at(3600), "late")


def test_a_long_span_is_cut_counted_and_sampled_like_a_short_one(store):
    events = [prediction(i * 5 + (i % 7) / 8, f"p{i:04}", features={"n": None if i % 3 else 1.0}) for i in range(3000)]
    for start in range(0, 3000, 750):
        store.append(events[start : start + 750])
    after, until = Cursor(events[17].event_time, events[17].id), store.cut(MODEL, 1, BEFORE, 2900)
    assert until == Cursor(events[2899].event_time, events[2899].id)
    span = Span(MODEL, 1, after, until)
    sample = store.sample(span, 40)
    smallest = sorted(events[18:2900], key=lambda event: event.sample_key)[:40]
    assert sample.frame["id"].tolist() == [event.id for event in smallest]
    assert sample.rows == 2882
    assert told(store.rollup(span)) == (2882, {"n": sum(i % 3 > 0 for i in range(18, 2900))}, 2882)
    assert store.cut(MODEL, 1, after, 2982) == Cursor(events[2999].event_time, events[2999].id)
    assert store.cut(MODEL, 1, after, 2983) is None


def in_places(store: LogStore) -> list[PredictionEvent]:
    places = ["Paris", "Rome", "Köln 'x' \\", None]
    events = [
        prediction(
            i, f"p{i:03}", latency_ms=2.0 + i % 2, features={"place": places[i % 4], "n": None if i % 8 == 1 else 1.0}
        )
        for i in range(240)
    ]
    store.append([*events, prediction(5, "number", features={"place": 3.5})])
    return events


def test_a_segment_is_the_predictions_whose_feature_has_the_value(store):
    events = in_places(store)
    store.append([label(event.id, 1, 500) for event in events[1::4]])
    rome = Span(MODEL, 1, Cursor.before(at(4)), Cursor.before(at(204)), Segment("place", "Rome"))
    inside = events[5:204:4]
    sample = store.sample(rome, 20)
    assert (sample.rows, sample.labelled) == (50, 50)
    assert sample.frame["id"].tolist() == [e.id for e in sorted(inside, key=lambda event: event.sample_key)[:20]]
    assert set(sample.frame["place"]) == {"Rome"} and set(sample.frame["label"]) == {1}
    assert told(store.rollup(rome)) == (50, {"n": 25}, 50)
    assert store.rollup(rome).latency.quantile(0.0) == pytest.approx(3.0, rel=0.03)


def test_a_segment_may_have_any_text_for_its_value_or_no_predictions(store):
    in_places(store)
    for segment, rows in ((Segment("place", "Köln 'x' \\"), 60), (Segment("place", "Bern"), 0), (Segment("m", "1"), 0)):
        span = Span(MODEL, 1, BEFORE, AFTER, segment)
        sample = store.sample(span, 100)
        assert (sample.rows, len(sample.frame), store.rollup(span).rows) == (rows, rows, rows)


def test_how_many_of_a_window_have_a_label_is_told_from_its_sample(store):
    events = [prediction(i, f"p{i:03}") for i in range(400)]
    store.append([*events, *(label(event.id, 1, 900) for event in events[:200])])
    assert store.sample(EVERYTHING, 400).labelled == 200
    share = store.sample(EVERYTHING, 100).frame["label"].notna().mean()
    assert store.sample(EVERYTHING, 100).labelled == round(400 * share)
    assert store.sample(EVERYTHING, 100).labelled == pytest.approx(200, abs=4 * 400 * (0.25 / 100) ** 0.5)
    assert store.sample(Span(MODEL, 1, Cursor.before(at(200)), AFTER), 50).labelled == 0


def test_lines_of_a_process_come_back_as_they_were_whether_of_a_model_or_of_none(store):
    lines = [
        line(1, "ready", host="h1", process_id=7),
        line(2, "lost", level="error", error_type="OSError", error_message="gone", stack_trace="at 1", request_id="r"),
    ]
    about = line(3, "loaded", model=MODEL)
    store.append([*lines, about])
    assert store.events("", "service", 5) == lines[::-1]
    assert store.events(MODEL, "service", 5) == [about]


def test_a_prediction_and_its_request_come_back(store):
    event = prediction(1, new_id(), request_id="request 1")
    store.append([event])
    assert store.events(MODEL, "prediction", 5) == [event]


def test_served_rows_and_labels_come_back_from_an_instant_on(store):
    store.append([prediction(i, f"p{i}", raw={"text": f"t{i}", "followers": i}) for i in range(4)])
    store.append([label(f"p{i}", i % 2, 10 + i) for i in range(4)])
    rows = pd.concat(store.predictions(MODEL, at(2)))
    assert rows[["id", "text", "followers"]].values.tolist() == [["p2", "t2", 2], ["p3", "t3", 3]]
    assert rows["event_time"].tolist() == rows["observed_time"].tolist() == [at(2), at(3)]
    labels = pd.concat(store.labels(MODEL, at(12)))
    assert labels[["prediction_id", "label"]].values.tolist() == [["p2", 0], ["p3", 1]]
    assert labels["label_time"].tolist() == labels["observed_time"].tolist() == [at(12), at(13)]


def test_labels_that_are_decimals_come_back_exactly_beside_those_that_are_classes(store):
    told = {"p0": 1, "p1": 3.7, "p2": -0.1, "p3": 1e-300, "p4": 123456789.123456789, "p5": 3e38}
    rivals = {"rival_version": 2, "rival_score": 0.5}
    store.append([prediction(number, id, score=number - 3.5, **rivals) for number, id in enumerate(told)])
    store.append([label("p1", 3, 10), *(label(id, value, 20, f"l{id}") for id, value in told.items())])
    sample = store.sample(EVERYTHING, 10)
    assert dict(zip(sample.frame["id"], sample.frame["label"], strict=True)) == told
    assert sorted(sample.frame["score"]) == [number - 3.5 for number in range(6)]
    arrived = pd.concat(store.labels(MODEL, at(20)))
    assert dict(zip(arrived["prediction_id"], arrived["label"], strict=True)) == told
    assert sorted(store.compare(MODEL, 1, 2, START, 10).frame["label"]) == sorted(told.values())
    assert {event.prediction_id: event.label for event in store.events(MODEL, "label", 6)} == told
    assert store.labelled_after(MODEL, START - timedelta(days=1)) == len(told)


def test_a_sample_shows_raw_texts_where_they_are_asked_for(store):
    texts = ["Grüße, @me 5", "", None]
    store.append([prediction(i, f"p{i}", raw={"text": text, "followers": i}) for i, text in enumerate(texts)])
    store.append([prediction(3, "p3", raw={"followers": 3}), label("p0", 1, 9)])
    without = store.sample(EVERYTHING, 10)
    asked = store.sample(EVERYTHING, 10, ("text", "followers"))
    assert not [name for name in without.frame if name.startswith("text:")]
    frame = asked.frame.set_index("id").sort_index()
    assert frame["text:text"].tolist()[:2] == texts[:2]
    assert frame["text:text"].isna().tolist() == [False, False, True, True]
    assert frame["text:followers"].isna().all()
    assert (asked.rows, asked.labelled) == (4, 1)
    assert plain(asked.frame[list(without.frame)]) == plain(without.frame)
    assert "text:text" in store.sample(Span(MODEL, 9, BEFORE, AFTER), 10, ("text",)).frame


def test_events_come_back_as_they_were_newest_first(store):
    decisions = [decision(i, reason="stable", numbers={"share": i / 10}) for i in range(5)]
    others = [prediction(1, "p1"), label("p1", 1, 7, "l1")]
    store.append([*decisions, *others])
    assert store.events(MODEL, "decision", 3) == decisions[:1:-1]
    assert store.events(MODEL, "firing", 3) == []
    assert store.events(MODEL, "prediction", 3) == [others[0]]
    assert store.events(MODEL, "label", 3) == [others[1]]


def test_what_can_never_be_stored_is_refused_with_the_reason_and_hinders_nothing(store):
    refusals = store.append(
        [
            prediction(1, "p1"),
            prediction(1, "big", version=10**30),
            prediction(1, "nan").model_copy(update={"score": float("nan")}),  # the schema refuses it: a store must too
            label("p1", 1, 1, "endless label").model_copy(update={"label": float("inf")}),
            prediction(1, "kept", raw={"count": 10**30}),
        ]
    )
    assert [refusal.event_id for refusal in refusals] == ["big", "nan", "endless label"]
    assert "version" in refusals[0].reason
    assert "score" in refusals[1].reason
    assert "label" in refusals[2].reason
    assert store.sample(EVERYTHING, 10).rows == 2
    assert pd.concat(store.predictions(MODEL, at(0)))["count"].dropna().tolist() == [1e30]


def test_another_reader_sees_what_was_appended_since_it_was_opened(open_store):
    writer, reader = open_store(), open_store()
    for number in range(1, 15):
        writer.append([prediction(number, f"p{number}"), label(f"p{number}", 1, number)])
        sample = reader.sample(EVERYTHING, 100)
        assert (sample.rows, sample.labelled) == (number, number)
        assert reader.watermark(MODEL) == at(number)
