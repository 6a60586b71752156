"""Schedules: when they are due, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.schedule import BadCron, check, latest_due, next_due
from pipeline.contract.rulespec import ScheduleRule
from tests.controlplane_world import START


def cron(expression: str) -> ScheduleRule:
    return ScheduleRule(name="r", kind="schedule", cron=expression)


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


def test_no_hour_is_skipped_or_repeated_when_summer_time_begins_or_ends():
    for begin in (datetime(2021, 3, 13, tzinfo=UTC), datetime(2021, 11, 6, tzinfo=UTC)):
        now, dues = begin, []
        while now < begin + timedelta(days=3):
            now += timedelta(minutes=7)
            local = now.astimezone(ZoneInfo("America/New_York"))
            due = latest_due(cron("30 * * * *"), begin, local.astimezone(UTC))
            if due is not None and due not in dues:
                dues.append(due)
        assert dues == [begin + timedelta(hours=hour, minutes=30) for hour in range(72)]


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
