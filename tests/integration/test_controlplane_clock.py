"""A clock that jumps makes no schedule fire twice for a time, and none late by more than the interval."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from controlplane.rules.schedule import latest_due, next_due
from pipeline.contract.training import Failure
from tests.controlplane_world import MODEL, START, World, spec

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SIX_HOURLY = {"name": "due", "kind": "schedule", "cron": "0 */6 * * *", "timezone": "Europe/Berlin"}
EVERY = {"name": "due", "kind": "schedule", "every": "6h"}
INTERVAL = timedelta(hours=6)


class Jumping(World):
    """A world in which the schedule is asked, and its run ends, at any instant that a test sets the clock to."""

    def __init__(self, folder, rule, database=None):
        super().__init__(folder, spec([rule]), database)
        self.to_production()
        self.rule = self.spec.rules[0]

    def at(self, instant: datetime) -> None:
        self.clock.at = instant
        for _ in range(2):
            self.tick()
            if run := self.store.active_run(MODEL):
                self.tick()
                self.finish(run.key, failure=Failure(code="crashed", message="x"))
                self.tick()

    def fired(self) -> list[datetime]:
        return [datetime.fromisoformat(each.cause) for each in reversed(self.store.firings(MODEL, 1000))
                if each.rule == "due"]  # fmt: skip

    def dues(self, until: datetime) -> set[datetime]:
        found, at = set(), START
        while (at := next_due(self.rule, START, at)) <= until:
            found.add(at)
        return found


@pytest.mark.parametrize("rule", [SIX_HOURLY, EVERY], ids=["cron", "every"])
def test_a_hundred_jumps_fire_nothing_twice_nothing_early_and_nothing_late_by_more_than_the_interval(tmp_path, rule):
    world, chance = Jumping(tmp_path, rule), random.Random(8)
    true, furthest = START, START
    for _ in range(100):
        true += timedelta(minutes=chance.randrange(1, 180))
        off = chance.choice([HOUR, -HOUR, DAY, -DAY, timedelta(0)])
        shown = max(true + off, START)
        furthest = max(furthest, shown)
        world.at(shown)
        due = latest_due(world.rule, START, shown)
        assert due is None or due in world.fired(), "what is due by this clock has fired"
    world.at(furthest)

    counted = Counter(world.fired())
    assert max(counted.values()) == 1
    assert set(counted) <= world.dues(furthest), "each firing is one of the times that a steady clock would have shown"


@pytest.mark.parametrize("jump", [HOUR, DAY])
def test_a_clock_that_was_ahead_for_a_moment_fires_as_many_times_as_a_steady_one(tmp_path, jump):
    world = Jumping(tmp_path, EVERY)
    instants = [START + number * 2 * HOUR for number in range(1, 3 * 12)]
    for number, instant in enumerate(instants):
        if number == 15:
            world.at(instant + jump)
        world.at(instant)
    assert Counter(world.fired()) == Counter(world.dues(instants[-1]))


@pytest.mark.parametrize(
    ("begin", "dues"),
    [
        (datetime(2021, 3, 27, 12, tzinfo=UTC), ["2021-03-28T01:00", "2021-03-29T00:30"]),
        (datetime(2021, 10, 30, 12, tzinfo=UTC), ["2021-10-31T00:30", "2021-11-01T01:30"]),
    ],
)
def test_a_night_in_which_summer_time_begins_or_ends_fires_once(tmp_path, begin, dues):
    world = Jumping(tmp_path, {"name": "due", "kind": "schedule", "cron": "30 2 * * *", "timezone": "Europe/Berlin"})
    world.at(begin)
    before = len(world.fired())
    for number in range(39):
        world.at(begin + number * HOUR + timedelta(minutes=15))
    assert [each.strftime("%Y-%m-%dT%H:%M") for each in world.fired()[before:]] == dues


def test_a_model_that_sleeps_is_asked_again_when_the_clock_went_back(tmp_path):
    world = Jumping(tmp_path, EVERY)
    world.at(START + HOUR)
    assert list(world.store.due_models(START + 2 * HOUR - timedelta(seconds=1))) == []
    assert [each.id for each in world.store.due_models(START + 2 * HOUR)] == [MODEL], "it sleeps an hour at most"
    assert [each.id for each in world.store.due_models(START - HOUR)] == [MODEL]


def test_a_downtime_of_a_month_fires_once_when_it_is_over_on_both_databases(tmp_path, database_url):
    world = Jumping(tmp_path, SIX_HOURLY, database_url)
    world.at(START + 7 * HOUR)
    before = len(world.fired())
    world.at(START + timedelta(days=30))
    assert len(world.fired()) == before + 1
    world.at(START + timedelta(days=30) + INTERVAL)
    assert len(world.fired()) == before + 2
