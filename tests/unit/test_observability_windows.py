"""Windows by time, and the ids of windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from observability.windows import Cursor, Window, time_bounds, time_span_of

INSTANTS = st.datetimes(datetime(1960, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
LENGTHS = st.timedeltas(timedelta(seconds=1), timedelta(days=40))


@given(LENGTHS, INSTANTS)
def test_an_instant_lies_in_its_window_and_windows_meet_without_gap(every, instant):
    start, end = time_bounds(every, instant)
    assert start <= instant < end == start + every
    assert time_bounds(every, end)[0] == end
    assert time_bounds(every, start) == (start, end)


@given(LENGTHS, INSTANTS, st.timedeltas(timedelta(0), timedelta(days=80)))
def test_a_time_window_is_cut_only_once_the_watermark_has_passed_it(every, instant, later):
    first, watermark = Cursor(instant, "p"), instant + later
    span = time_span_of(every, first, watermark)
    end = time_bounds(every, instant)[1]
    assert (span is None) == (watermark < end)
    if span:
        assert span[0] < first < span[1] == Cursor.before(end)


def test_an_event_at_the_end_of_a_time_window_belongs_to_the_next():
    hour, noon = timedelta(hours=1), datetime(2021, 1, 16, 12, tzinfo=UTC)
    _, until = time_span_of(hour, Cursor(noon - hour, "p"), noon)
    assert Cursor(noon, "a") > until
    after, _ = time_span_of(hour, Cursor(noon, "a"), noon + hour)
    assert after == until


def window(**changes) -> Window:
    start = datetime(2021, 1, 16, tzinfo=UTC)
    values = {
        "model": "default/tweets", "version": 1, "monitor": "m", "spec_digest": "d",
        "after": Cursor(start, "a"), "until": Cursor(start + timedelta(hours=1), "b"),
    }  # fmt: skip
    return Window.model_validate(values | changes)


def test_the_same_span_under_the_same_declaration_has_the_same_id_also_after_json():
    assert window().id == window().id == Window.model_validate_json(window().model_dump_json()).id


def test_anything_else_has_another_id():
    start = datetime(2021, 1, 16, tzinfo=UTC)
    others = [
        window(version=2), window(monitor="n"), window(spec_digest="e"), window(model="default/flights"),
        window(after=Cursor(start, "b")), window(until=Cursor(start, "b")),
    ]  # fmt: skip
    assert len({one.id for one in [window(), *others]}) == 7
