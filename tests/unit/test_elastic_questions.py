"""Bodies of searches, and what is read out of answers, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability.documents import document_of
from observability.elastic import questions, tallies
from observability.elastic.rollups import AT_ONCE, DAY, HOUR, neighbours, parts_of
from observability.events import line_of, parse
from observability.ports import Span
from observability.rollups import LatencySketch, Rollup, bucket_of
from observability.windows import EPOCH, Cursor, Segment
from tests.event_samples import MODEL, START, at, prediction

SECONDS = st.integers(0, 40 * 86_400)
CURSORS = st.builds(lambda seconds, id: Cursor(at(seconds), id), SECONDS, st.sampled_from(["", "p1"]))


def holds(span: Span, place: Cursor) -> bool:
    return span.after < place <= span.until


@given(CURSORS, CURSORS, st.lists(CURSORS, max_size=20))
def test_a_span_is_cut_into_parts_that_hold_each_of_its_predictions_once(one, other, places):
    span = Span(MODEL, 1, min(one, other), max(one, other))
    ends, units = parts_of(span)
    parts = [*ends, *([units.span] if units else [])]
    for seconds, id in places:
        place = Cursor(seconds, id or "p0")
        assert sum(holds(part, place) for part in parts) == holds(span, place)


def test_whole_hours_are_kept_and_whole_days_of_a_long_span():
    day = Span(MODEL, 1, Cursor.before(START), Cursor(START + timedelta(hours=5, minutes=1), "p1"))
    ends, units = parts_of(day)
    assert units.unit == HOUR
    assert (units.span.after, units.span.until) == (day.after, Cursor.before(START + timedelta(hours=5)))
    assert [end.until for end in ends] == [day.until]
    assert parts_of(Span(MODEL, 1, day.after, Cursor.before(START + timedelta(days=30))))[1].unit == DAY
    assert parts_of(Span(MODEL, 1, day.after, Cursor.before(START + timedelta(minutes=59))))[1] is None


def test_an_hour_of_another_model_version_or_segment_is_kept_apart():
    spans = [
        Span(MODEL, 1, Cursor.before(START), Cursor.before(START + timedelta(days=1))),
        Span("default/flights", 1, Cursor.before(START), Cursor.before(START + timedelta(days=1))),
        Span(MODEL, None, Cursor.before(START), Cursor.before(START + timedelta(days=1))),
        Span(MODEL, 1, Cursor.before(START), Cursor.before(START + timedelta(days=1)), Segment("place", "Paris")),
        Span(MODEL, 1, Cursor.before(START), Cursor.before(START + timedelta(days=20))),
    ]
    assert len({parts_of(span)[1].id(START) for span in spans}) == len(spans)


def test_units_are_computed_in_runs_without_a_gap():
    starts = [START + HOUR * number for number in (0, 1, 2, 5, 7, 8)]
    assert [len(run) for run in neighbours(starts, HOUR)] == [3, 1, 2]
    many = [START + HOUR * number for number in range(AT_ONCE + 1)]
    assert [len(run) for run in neighbours(many, HOUR)] == [AT_ONCE, 1]
    assert list(neighbours([], HOUR)) == []


@given(st.integers(0, 10**12))
def test_a_latency_falls_into_the_range_of_its_bucket(nanoseconds):
    ranges = [each for each in questions.LATENCIES if each.get("from", 0) <= nanoseconds < each.get("to", 10**18)]
    assert [each["key"] for each in ranges] == [str(bucket_of(nanoseconds / 1e6))]


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2021, 1, 16, 10, tzinfo=UTC), "2021-01-16T10:00:00.000000000Z"),
        (datetime(2021, 1, 16, 10, 0, 0, 7, tzinfo=UTC), "2021-01-16T10:00:00.000007000Z"),
        (datetime(2021, 1, 16, 11, tzinfo=UTC).astimezone(), "2021-01-16T11:00:00.000000000Z"),
        (EPOCH - timedelta(days=1), "1970-01-01T00:00:00.000000000Z"),
        (datetime.max.replace(tzinfo=UTC), "2262-04-11T00:00:00.000000000Z"),
    ],
)
def test_an_instant_is_written_so_that_no_bound_is_rounded(moment, text):
    assert questions.instant(moment) == text


@pytest.mark.parametrize(("k", "rows"), [(10, 11), (2_000, 10_000), (5_000, 10**4), (5_000, 10**7), (50_000, 10**8)])
def test_a_bound_holds_the_sample_all_but_certainly_and_little_more(k, rows):
    expected = questions.key_share(k, rows) * rows
    assert questions.key_share(k, rows) == 1 or expected - 5.9 * expected**0.5 >= k - 1
    assert expected <= 1.2 * k + 50 or k < 2_000


def test_documents_that_name_different_features_are_counted_feature_by_feature():
    def hit(**features: object) -> dict:
        return {"_source": {"driftgate": {"features": features}}}

    assert tallies.features_that_differ([hit(a=1, b=None), hit(b=2, a=None)]) == []
    assert tallies.features_that_differ([hit(a=1, b=2), hit(b=2, c="x")]) == ["a", "b", "c"]
    assert tallies.features_that_differ([]) == []


def test_what_is_kept_of_a_rollup_is_the_rollup():
    rollup = Rollup(7, {"place": 2}, LatencySketch.of([0.001, 2.5, 2.5, 900.0]))
    assert tallies.read(tallies.written(rollup)) == rollup


def test_a_document_names_the_features_without_a_value_and_is_read_without_looking_at_that():
    event = prediction(1, features={"followers": None, "place": "", "friends": 0.0, "verified": False})
    assert document_of(event.model_dump())["driftgate"]["missing"] == ["followers", "place"]
    assert "missing" not in document_of(prediction(1).model_dump())["driftgate"]
    assert parse(line_of(event)) == event
