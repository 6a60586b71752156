"""Schedules: when they are due, whatever the wall clocks of their time zone do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controlplane.rules.schedule import BadCron, check, latest_due, next_due
from pipeline.contract.rulespec import ScheduleRule
from tests.controlplane_world import START

MINUTE = timedelta(minutes=1)


def cron(expression: str, timezone: str = "UTC") -> ScheduleRule:
    return ScheduleRule(name="r", kind="schedule", cron=expression, timezone=timezone)


def every(length: str) -> ScheduleRule:
    return ScheduleRule(name="r", kind="schedule", every=length)


def test_nothing_is_due_before_the_first_time_after_the_first_promotion():
    assert latest_due(cron("0 6 * * *"), START, START + timedelta(hours=5, minutes=59)) is None
    assert latest_due(every("2d"), START, START + timedelta(hours=47)) is None
    assert latest_due(cron("0 0 * * *"), START, START) is None


def test_it_is_due_at_the_very_instant():
    assert latest_due(cron("0 6 * * *"), START, START.replace(hour=6)) == START.replace(hour=6)
    assert latest_due(every("2d"), START, START + timedelta(days=2)) == START + timedelta(days=2)


@pytest.mark.parametrize("rule", [cron("* * * * *"), every("60s")])
def test_after_a_year_of_downtime_one_time_is_due_the_latest(rule):
    now = START + timedelta(days=365, seconds=30)
    assert latest_due(rule, START, now) == START + timedelta(days=365)


@pytest.mark.parametrize("expression", ["", "nonsense", "61 * * * *", "0 0 30 2 *"])
def test_a_cron_expression_that_is_never_due_is_refused(expression):
    with pytest.raises(BadCron):
        check(cron(expression), START)


@given(st.integers(0, 10_000_000), st.sampled_from([cron("*/7 3 * * 1"), every("5h"), cron("0 6 1 */3 *")]))
def test_the_latest_due_time_is_not_after_now_and_the_next_one_is(seconds, rule):
    now = START + timedelta(seconds=seconds)
    due, coming = latest_due(rule, START, now), next_due(rule, START, now)
    assert coming > now
    if due is not None:
        assert START < due <= now
        assert latest_due(rule, START, coming) == coming
        assert next_due(rule, START, due) == coming


@pytest.mark.parametrize(
    ("expression", "zone", "begin", "dues"),
    [
        ("30 2 * * *", "Europe/Berlin", "2021-03-27T12:00", ["2021-03-28T01:00", "2021-03-29T00:30"]),
        ("*/20 2 * * *", "Europe/Berlin", "2021-03-28T00:00", ["2021-03-28T01:00", "2021-03-29T00:00"]),
        ("30 2 * * *", "Europe/Berlin", "2021-10-30T12:00", ["2021-10-31T00:30", "2021-11-01T01:30"]),
        ("30 1 * * *", "America/New_York", "2021-11-07T00:00", ["2021-11-07T05:30", "2021-11-08T06:30"]),
        ("0 9 30 12 *", "Pacific/Apia", "2011-12-29T00:00", ["2011-12-30T10:00", "2012-12-29T19:00"]),
    ],
)
def test_a_skipped_time_is_due_when_the_clock_jumps_over_it_and_a_repeated_one_once(expression, zone, begin, dues):
    rule, now = cron(expression, zone), datetime.fromisoformat(begin).replace(tzinfo=UTC)
    for due in dues:
        now = next_due(rule, now, now)
        assert now == datetime.fromisoformat(due).replace(tzinfo=UTC)
        assert latest_due(rule, now - MINUTE, now) == now


def brute_force(minutes: set[int], hours: set[int], zone: ZoneInfo, begin: datetime, length: int) -> Iterator[datetime]:
    """Every minute is walked through; what the wall clock shows, or jumped over, for the first time counts."""
    shown = begin.astimezone(zone).replace(tzinfo=None)
    for number in range(1, length):
        now = begin + number * MINUTE
        here, due = now.astimezone(zone).replace(tzinfo=None, fold=0), False
        while shown < here:
            shown += MINUTE
            due = due or (shown.minute in minutes and shown.hour in hours)
        if due:
            yield now


ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata", "UTC")


@given(
    zone=st.sampled_from(ZONES),
    year=st.integers(1975, 2036),
    day=st.integers(0, 360),
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=4),
    hours=st.sets(st.integers(0, 4), min_size=1, max_size=3),
)
@example("Europe/Berlin", 2021, 86, {0, 30}, {1, 2, 3})
@example("Europe/Berlin", 2021, 303, {0, 30}, {1, 2, 3})
@example("Australia/Lord_Howe", 2021, 92, {0, 15, 45}, {1, 2})
@example("Australia/Lord_Howe", 2021, 275, {0, 15, 45}, {1, 2})
@example("America/Sao_Paulo", 2018, 306, {0, 30}, {0, 1})
def test_a_cron_is_due_exactly_when_a_walk_through_every_minute_says(zone, year, day, minutes, hours):
    begin = datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day)
    rule = cron(f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *", zone)
    walked = list(brute_force(minutes, hours, ZoneInfo(zone), begin, 2 * 24 * 60))

    forward, now = [], begin
    while (now := next_due(rule, begin, now)) < begin + timedelta(days=2):
        forward.append(now)
    assert forward == walked

    for number, due in enumerate(walked):
        before = walked[number - 1] if number else None
        assert latest_due(rule, begin, due) == due
        assert latest_due(rule, begin, due - timedelta(microseconds=1)) == before
