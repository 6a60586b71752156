"""Windows by time and sliding ones, what came before them, and the ids of windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability.windows import (
    Cursor,
    Segment,
    SlidingWindows,
    Window,
    seasons_before,
    sliding_span_of,
    time_bounds,
    time_span_of,
)

START = datetime(2021, 1, 16, tzinfo=UTC)
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


STEPS = st.integers(1, 12)
MINUTES = st.lists(st.integers(0, 40_000), min_size=1, max_size=40).map(sorted)


def slide(windows: SlidingWindows, events: list[Cursor], watermark: datetime) -> list[tuple[Cursor, Cursor]]:
    """The windows of a stream, as the monitor's loop asks for them."""
    found: list[tuple[Cursor, Cursor]] = []
    while behind := [event for event in events if not found or event > found[-1][1]]:
        span = sliding_span_of(windows, behind[0], bool(found), watermark)
        if span is None:
            break
        found.append(span)
    return found


@given(STEPS, STEPS, MINUTES, st.integers(0, 60_000))
def test_sliding_windows_hold_every_prediction_and_end_with_a_step_that_holds_one(steps, minutes, at, watermark):
    step = timedelta(minutes=minutes)
    windows = SlidingWindows(kind="sliding", length=steps * step, step=step)
    start = datetime(2021, 1, 16, tzinfo=UTC)
    events = [Cursor(start + timedelta(minutes=minute), f"p{number}") for number, minute in enumerate(at)]
    found = slide(windows, events, start + timedelta(minutes=watermark))

    assert all(until.event_time - after.event_time == windows.length for after, until in found)
    assert [until for _, until in found] == sorted({until for _, until in found})
    for after, until in found[1:]:
        assert any(until.event_time - step <= event.event_time < until.event_time for event in events)
        assert time_bounds(step, after.event_time)[0] == after.event_time
    if found:
        assert found[0][0].event_time <= events[0].event_time < found[0][0].event_time + step
        seen = [event for event in events if event <= found[-1][1]]
        assert all(1 <= sum(after < event <= until for after, until in found) <= steps for event in seen)


@given(STEPS, MINUTES, st.integers(0, 60_000))
def test_a_window_that_slides_by_its_whole_length_is_a_window_by_time(minutes, at, watermark):
    every = timedelta(minutes=minutes)
    start = datetime(2021, 1, 16, tzinfo=UTC)
    now = start + timedelta(minutes=watermark)
    events = [Cursor(start + timedelta(minutes=minute), f"p{number}") for number, minute in enumerate(at)]
    held = (time_span_of(every, event, now) for event in events)
    by_time = list(dict.fromkeys(span for span in held if span is not None))

    assert slide(SlidingWindows(kind="sliding", length=every, step=every), events, now) == by_time


@given(INSTANTS, LENGTHS, st.timedeltas(timedelta(0), timedelta(days=300)), st.integers(1, 52))
def test_the_seasons_before_a_window_are_as_long_as_it_and_hold_nothing_of_it(start, length, more, seasons):
    after, until, period = Cursor.before(start), Cursor.before(start + length), length + more
    before = seasons_before(after, until, period, seasons)
    assert len(before) == seasons and all(end <= after for _, end in before)
    assert {end.event_time - begin.event_time for begin, end in before} == {length}
    assert before[-1][0].event_time == start - seasons * period


@given(INSTANTS, LENGTHS, st.timedeltas(timedelta(hours=1), timedelta(days=9)), st.integers(1, 52))
def test_the_seasons_before_a_window_that_is_longer_than_a_period_hold_nothing_of_it_or_of_each_other(
    start, length, period, seasons
):
    after, until = Cursor(start, "p7"), Cursor(start + length, "p8")
    before = seasons_before(after, until, period, seasons)
    assert len(before) == seasons
    for (begin, end), later in zip(before, (after, *(begin for begin, _ in before)), strict=False):
        assert end <= later and (start - begin.event_time) % period == timedelta(0)


def test_a_window_as_long_as_all_that_is_known_has_no_seasons_in_years_that_never_were():
    before = seasons_before(
        Cursor.before(START), Cursor.before(START + timedelta(days=365 * 50)), timedelta(days=7), 52
    )
    assert 1 <= len(before) < 52 and all(begin < end for begin, end in before)


@pytest.mark.parametrize("value", ["AA", "a=b", "", "ü x"])
def test_a_segment_is_found_by_its_name(value):
    segment = Segment("carrier", value)
    assert Segment.named(segment.name) == segment


def test_an_id_stays_what_it_was_and_a_segment_has_one_of_its_own():
    assert window().id == "w-efd4f6eecc23383e94224fa5"
    names = ["", "carrier=AA", "carrier=UA", "origin=AA"]
    assert len({window(segment=name).id for name in names}) == len(names)
