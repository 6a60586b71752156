"""Active hours: over midnight, on named days, and when summer time begins or ends."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.rules.hours import changes_at, is_active
from pipeline.contract.rulespec import DAYS, ActiveHours

FRIDAY = datetime(2021, 1, 1, tzinfo=UTC)


def hours(since: str = "00:00", to: str = "00:00", **more: object) -> ActiveHours:
    return ActiveHours.model_validate({"from": since, "to": to, **more})


@pytest.mark.parametrize(
    ("since", "to", "days", "at", "active"),
    [
        ("09:00", "17:00", ["fri"], timedelta(hours=9), True),
        ("09:00", "17:00", ["fri"], timedelta(hours=17), False),
        ("22:00", "06:00", ["fri"], timedelta(hours=5), False),
        ("22:00", "06:00", ["fri"], timedelta(hours=22), True),
        ("22:00", "06:00", ["fri"], timedelta(hours=24 + 5, minutes=59), True),
        ("22:00", "06:00", ["fri"], timedelta(hours=24 + 6), False),
        ("22:00", "06:00", ["fri"], timedelta(hours=24 + 22), False),
        ("00:00", "00:00", ["sat"], timedelta(hours=24), True),
        ("00:00", "00:00", ["sat"], timedelta(hours=48), False),
        ("12:00", "12:00", ["fri"], timedelta(hours=24 + 11), True),
    ],
)
def test_hours_over_midnight_belong_to_the_day_on_which_they_began(since, to, days, at, active):
    assert is_active(hours(since, to, days=days), FRIDAY + at) is active


def test_hours_are_those_of_the_time_zone():
    berlin = hours("09:00", "17:00", timezone="Europe/Berlin")
    assert is_active(berlin, datetime(2021, 1, 4, 8, tzinfo=UTC))
    assert is_active(berlin, datetime(2021, 7, 5, 7, tzinfo=UTC))
    assert not is_active(berlin, datetime(2021, 7, 5, 15, tzinfo=UTC))


def test_hours_that_the_clock_jumps_over_begin_when_it_has_jumped():
    berlin = hours("02:30", "05:00", timezone="Europe/Berlin")
    assert changes_at(berlin, datetime(2021, 3, 28, tzinfo=UTC)) == datetime(2021, 3, 28, 1, tzinfo=UTC)


def test_what_never_ends_has_no_end():
    assert changes_at(hours(), FRIDAY) is None


@given(
    since=st.integers(0, 95),
    to=st.integers(0, 95),
    days=st.sets(st.sampled_from(DAYS), min_size=1),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    day=st.integers(0, 360),
    minute=st.integers(0, 1439),
)
def test_nothing_changes_before_the_instant_that_is_told_and_everything_at_it(since, to, days, zone, day, minute):
    declared = hours(
        time(since // 4, since % 4 * 15).isoformat(),
        time(to // 4, to % 4 * 15).isoformat(),
        days=sorted(days, key=DAYS.index),
        timezone=zone,
    )
    now = FRIDAY + timedelta(days=day, minutes=minute)
    active, changes = is_active(declared, now), changes_at(declared, now)
    end = changes or now + timedelta(days=8)
    walked = now
    while walked < end:
        assert is_active(declared, walked) is active
        walked += timedelta(minutes=15)
    if changes is not None:
        assert is_active(declared, changes) is not active
        assert is_active(declared, changes - timedelta(microseconds=1)) is active
