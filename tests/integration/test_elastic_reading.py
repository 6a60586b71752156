"""The reading side of the log store on a real Elasticsearch: what the contract of all log stores does not show."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from observability.documents import document_of
from observability.elastic import rollups
from observability.elastic.reading import Reader
from observability.elastic.store import ElasticLogStore
from observability.elastic.streams import stream_of
from observability.events import PredictionEvent
from observability.ports import LogStore, LogStoreUnavailable, Span
from observability.rollups import LatencySketch, Rollup
from observability.windows import Cursor, Segment
from tests.event_samples import MODEL, START, at, decision, label, prediction
from tests.servers.elastic import Elastic

BEFORE, AFTER = Cursor.before(START - timedelta(days=2)), Cursor.before(START + timedelta(days=2))
EVERYTHING = Span(MODEL, 1, BEFORE, AFTER)
DAY = 86_400


@pytest.fixture
def store(elasticsearch: Elastic) -> Iterator[ElasticLogStore]:
    store = ElasticLogStore.connect(elasticsearch.settings(), refresh=True)
    yield store
    store.close()


def rollup_of(events: list[PredictionEvent]) -> Rollup:
    missing = {
        name: count
        for name in ("followers", "place")
        if (count := sum(event.features.get(name) in (None, "") for event in events))
    }
    return Rollup(len(events), missing, LatencySketch.of(event.latency_ms for event in events))


def traffic(count: int, days: float, **changes: Any) -> list[PredictionEvent]:
    chance = random.Random(count)
    return [
        prediction(
            chance.uniform(0, days * DAY),
            latency_ms=round(chance.lognormvariate(1, 1), 6),
            features={"followers": chance.choice([None, 1.5]), "place": chance.choice(["", "Paris", "Rome"])},
            **changes,
        )
        for _ in range(count)
    ]


def questions_of(store: LogStore) -> list[Callable[[], object]]:
    return [
        lambda: store.watermark(MODEL),
        lambda: store.first(MODEL, 1, BEFORE),
        lambda: store.cut(MODEL, 1, BEFORE, 20_000),
        lambda: store.sample(EVERYTHING, 10).rows,
        lambda: store.rollup(EVERYTHING),
        lambda: store.labelled_after(MODEL, START),
        lambda: store.compare(MODEL, 1, 2, START, 10).rows,
        lambda: [len(frame) for frame in store.predictions(MODEL, START)],
        lambda: [len(frame) for frame in store.labels(MODEL, START)],
        lambda: store.events(MODEL, "decision", 10),
    ]


def test_while_the_cluster_is_away_no_question_has_an_answer_and_then_it_is_what_it_was(store, elasticsearch):
    store.append([*traffic(20, 1), label("p1", 1, 5), decision(1, reason="stable")])
    answers = [ask() for ask in questions_of(store)]
    elasticsearch.stop()
    for ask in questions_of(store):
        with pytest.raises(LogStoreUnavailable):
            ask()
    elasticsearch.start()
    assert [ask() for ask in questions_of(store)] == answers


def test_pages_of_served_rows_hold_each_once_and_break_off_with_an_error_when_the_cluster_goes(store, elasticsearch):
    events = [prediction(second % 7, raw={"number": second}) for second in range(10_050)]
    store.append(events)
    frames = list(store.predictions(MODEL, START))
    assert [len(frame) for frame in frames] == [10_000, 50]
    rows = pd.concat(frames)
    assert sorted(rows["number"]) == list(range(10_050))
    assert rows["observed_time"].is_monotonic_increasing
    pages = store.predictions(MODEL, START)
    next(pages)
    elasticsearch.server.kill()
    with pytest.raises(LogStoreUnavailable):
        next(pages)


def test_predictions_that_come_while_pages_are_read_do_not_change_them(store, monkeypatch):
    monkeypatch.setattr("observability.elastic.reading.PAGE", 10)
    store.append([prediction(second) for second in range(25)])
    pages = store.predictions(MODEL, START)
    first = next(pages)
    store.append([prediction(second) for second in range(25)])
    assert [len(first), *map(len, pages)] == [10, 10, 5]


@pytest.mark.parametrize("days", [0.01, 1.5, 12.0])
def test_a_rollup_is_exact_when_it_is_computed_when_it_was_kept_and_after_late_events(store, days):
    events = traffic(300, days)
    span = Span(MODEL, 1, Cursor(at(60), "x"), Cursor(at(days * DAY - 60), "x"))

    def inside(some: list[PredictionEvent]) -> list[PredictionEvent]:
        return [event for event in some if span.after < Cursor(event.event_time, event.id) <= span.until]

    store.append(events)
    assert store.rollup(span) == store.rollup(span) == rollup_of(inside(events))
    late = traffic(20, days, observed_time=at(20 * DAY))
    store.append(late)
    assert store.rollup(span) == store.rollup(span) == rollup_of(inside([*events, *late]))
    assert store.sample(span, 10).rows == len(inside([*events, *late]))


def test_of_a_span_that_was_counted_before_only_the_hours_with_late_events_are_computed(store, monkeypatch):
    computed: list[list[Any]] = []
    runs = rollups.neighbours

    def watched(starts: Any, unit: timedelta) -> list[list[Any]]:
        computed.append(list(starts))
        return list(runs(starts, unit))

    monkeypatch.setattr(rollups, "neighbours", watched)
    day = Span(MODEL, 1, Cursor.before(START), Cursor.before(START + timedelta(days=1)))
    store.append([prediction(3_600 * hour + 1) for hour in range(24)])
    for _ in range(2):
        assert store.rollup(day).rows == 24
    store.append([prediction(3_600 * 5 + 2)])
    assert store.rollup(day).rows == 25
    assert [len(starts) for starts in computed] == [24, 0, 1]
    assert computed[2] == [START + timedelta(hours=5)]


def test_a_rollup_is_right_where_none_can_be_kept_or_what_was_kept_is_gone(store, elasticsearch, caplog):
    events = traffic(50, 1)
    store.append(events)
    assert store.rollup(EVERYTHING) == rollup_of(events)
    index = f"driftgate-rollups-{elasticsearch.namespace}"
    elasticsearch.request("PUT", f"/{index}/_settings", {"index.blocks.write": True})
    late = traffic(10, 1)
    store.append(late)
    for _ in range(2):
        assert store.rollup(EVERYTHING) == rollup_of([*events, *late])
    assert [record.levelname for record in caplog.records if index in record.message] == ["WARNING"]
    elasticsearch.request("DELETE", f"/{index}")
    assert store.rollup(EVERYTHING) == rollup_of([*events, *late])


def test_a_rollup_of_more_missing_features_than_one_answer_holds_is_exact(store):
    nothing = dict.fromkeys(f"f{number}" for number in range(700))
    store.append([prediction(3_600 * hour + 1, features=nothing) for hour in range(100)])
    rollup = store.rollup(replace(EVERYTHING, until=Cursor.before(START + timedelta(days=7))))
    assert (rollup.rows, rollup.missing) == (100, dict.fromkeys(nothing, 100))


def test_a_rollup_is_right_where_as_many_late_events_came_as_retention_took(store, elasticsearch):
    stream = stream_of("prediction", elasticsearch.namespace)
    store.append([prediction(60, features={"place": None})])
    assert store.rollup(EVERYTHING).missing == {"place": 1}
    elasticsearch.request("POST", f"/{stream}/_rollover")
    assert store.rollup(EVERYTHING).missing == {"place": 1}
    elasticsearch.request("DELETE", "/" + min(elasticsearch.request("GET", f"/{stream}/_mapping")))
    store.append([prediction(60, features={"place": "Rome"})])
    assert (store.rollup(EVERYTHING).rows, store.rollup(EVERYTHING).missing) == (1, {})


def test_a_feature_that_later_predictions_do_not_name_is_missing_in_them(store):
    store.append([prediction(number / 100, features={"place": "Rome", "followers": 1.0}) for number in range(600)])
    store.append([prediction(number / 100, features={"place": "Rome"}) for number in range(600, 700)])
    for span in (EVERYTHING, replace(EVERYTHING, until=Cursor.before(at(60)))):
        assert store.rollup(span).missing == {"followers": 100}


def test_a_long_value_is_there_and_makes_a_segment(store):
    values = ["x" * 300, "\N{CJK UNIFIED IDEOGRAPH-6F22}" * 8_000]
    store.append([prediction(number, features={"place": value}) for number, value in enumerate(values)])
    store.append([prediction(9, features={"place": "Rome", "followers": 1.0})])
    assert store.rollup(EVERYTHING).missing == {"followers": 2}
    for value in values:
        assert store.rollup(replace(EVERYTHING, segment=Segment("place", value))).rows == 1


def test_a_segment_has_rollups_of_its_own(store):
    events = traffic(200, 1)
    store.append(events)
    for place in ("Paris", "Rome"):
        span = Span(MODEL, 1, BEFORE, AFTER, Segment("place", place))
        assert store.rollup(span) == rollup_of([event for event in events if event.features["place"] == place])


def test_a_place_is_found_by_counting_down_to_the_millisecond_and_to_ties(store, monkeypatch):
    monkeypatch.setattr("observability.elastic.store.PAGE", 3)
    chance = random.Random(3)
    seconds = [
        chance.choice([0, 5, 70, 4_000, 90_000, 400_000]) + chance.choice([0, 0, 0.001, 0.0005]) for _ in range(60)
    ]
    events = [prediction(second, f"p{number:02}") for number, second in enumerate(seconds)]
    store.append(events)
    order = sorted(Cursor(event.event_time, event.id) for event in events)
    assert [store.cut(MODEL, 1, BEFORE, size) for size in (1, 2, 3, 4, 5, 17, 31, 44, 59, 60)] == [
        order[size - 1] for size in (1, 2, 3, 4, 5, 17, 31, 44, 59, 60)
    ]
    assert store.cut(MODEL, 1, order[20], 30) == order[50]
    assert store.cut(MODEL, 1, BEFORE, 61) is None
    assert store.cut(MODEL, 1, order[20], 40) is None


def test_a_sample_is_whole_where_the_keys_lie_otherwise_than_they_should(store):
    keys = [f"{(1 << 64) - 1 - number:016x}" for number in range(2_000)]
    events = [prediction(number % 50, f"p{number}", sample_key=key) for number, key in enumerate(keys)]
    store.append(events)
    sample = store.sample(EVERYTHING, 100)
    assert sample.rows == 2_000
    assert set(sample.frame["id"]) <= {f"p{number}" for number in range(2_000)}
    assert len(sample.frame) == 100


def test_of_very_many_predictions_the_labelled_are_estimated_from_those_with_the_smallest_keys(store, monkeypatch):
    monkeypatch.setattr("observability.elastic.store.EXACT_LABELS", 1_000)
    monkeypatch.setattr("observability.elastic.reading.PAGE", 500)
    events = [prediction(1 + number % 50) for number in range(5_000)]
    labelled = [event for number, event in enumerate(events) if number % 10 < 7]
    store.append([*events, *(label(event.id, 1, 60) for event in labelled)])
    assert store.labelled_after(MODEL, START) == pytest.approx(len(labelled), rel=0.06)
    assert store.labelled_after(MODEL, START) != len(labelled)
    monkeypatch.undo()
    assert store.labelled_after(MODEL, START) == len(labelled)


def test_a_document_that_cannot_be_read_hides_no_other(store, elasticsearch, caplog):
    events = [
        *(prediction(number, f"p{number}") for number in range(9)),
        label("p3", 1, 5),
        decision(1, reason="stable"),
    ]
    store.append(events)
    for event, odd in [(prediction(4, "odd"), {}), (label("p4", 1, 5), {}), (decision(2, body="odd"), {"unknown": 1})]:
        document = document_of(event.model_dump(mode="json")) | {"@timestamp": round(at(4).timestamp() * 1_000)} | odd
        stream = stream_of(event.kind, elasticsearch.namespace)
        elasticsearch.request("PUT", f"/{stream}/_create/{event.id}", document)
    sample = store.sample(EVERYTHING, 100)
    assert sorted(sample.frame["id"]) == [f"p{number}" for number in range(9)]
    assert sample.frame.set_index("id")["label"].dropna().to_dict() == {"p3": 1.0, "p4": 1.0}
    assert [len(frame) for frame in (*store.predictions(MODEL, START), *store.labels(MODEL, START))] == [9, 1]
    assert store.events(MODEL, "decision", 10) == events[-1:]
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [" left out: 1," in warning for warning in warnings] == [True] * 4


@pytest.mark.parametrize("answer", [{"timed_out": True, "failed": 0}, {"timed_out": False, "failed": 1}])
def test_a_part_of_an_answer_is_no_answer(answer):
    body = {"timed_out": answer["timed_out"], "_shards": {"failed": answer["failed"]}, "hits": {"hits": []}}
    client = SimpleNamespace(search=lambda **_: SimpleNamespace(body=body))
    with pytest.raises(LogStoreUnavailable):
        Reader(client, "default").hits("prediction", {"size": 10})
