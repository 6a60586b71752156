"""Where a version's windows begin: after its monitor was changed, and after it came back into production."""

from __future__ import annotations

from datetime import timedelta

import pytest

from controlplane.trials import try_rule
from tests.controlplane_world import DRIFT, MODEL, RECIPE, START, WEEKLY, Monitored, Scores, spec

TWICE = DRIFT | {"hold": {"windows": 2, "of": 2}}
HOURLY = {"kind": "time", "every": "1h"}
COUNTS = {"kind": "count", "size": 100}


class DriftBetween(Scores):
    """Finds that most features drifted in windows that end with one of these predictions."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.drifted = range(start, stop)

    def __call__(self, case):
        verdict = super().__call__(case)
        share = 0.9 if int(max(case.sample.frame["id"])[1:]) in self.drifted else 0.0
        return verdict.model_copy(update={"drift": verdict.drift.model_copy(update={"drifted_share": share})})


@pytest.fixture
def watched(tmp_path):
    made: list[Monitored] = []

    def make(rule, window=COUNTS, drifted=(0, 0)):
        world = Monitored(tmp_path, spec([rule], monitors=[WEEKLY | {"window": window}]))
        world.scores = DriftBetween(*drifted)
        world.to_production()
        made.append(world)
        return world

    yield make
    for world in made:
        world.logs.close()


def declare(world, window):
    """Change how the monitor cuts its windows."""
    rules = [rule.model_dump(by_alias=True) for rule in world.spec.rules]
    world.store.apply_model(spec(rules, monitors=[WEEKLY | {"window": window}]), RECIPE, world.clock.now())


def look(world):
    world.watch()
    world.tick()


def come_back(world, away):
    """Version 2 takes the place of version 1 for so long, and is rolled back."""
    world.clock.advance(timedelta(hours=1))
    world.to_production()
    world.clock.advance(away)
    world.sent = round((world.clock.now() - START).total_seconds() / 60)
    world.predict(50, 2)
    look(world)
    world.clock.advance(timedelta(minutes=50))
    world.store.roll_back(MODEL, "it is worse", world.clock.now(), None, 2)
    world.load_staged()
    world.tick()
    assert world.store.production(MODEL).number == 1


def of_first(world):
    return [row for row in reversed(world.store.windows(MODEL, 1000)) if row.version == 1]


def test_predictions_that_drifted_count_once_though_the_monitor_is_changed(watched):
    world = watched(TWICE, drifted=(100, 200))
    world.predict(200)
    look(world)
    assert world.reasons("drifted")[-1] == "WAIT_HYSTERESIS"

    declare(world, COUNTS | {"size": 200})
    look(world)
    assert [until for _, until in world.bounds()] == [99, 199], "they were cut before"
    assert world.store.active_run(MODEL) is None

    world.predict(200)
    look(world)
    assert world.bounds()[2:] == [(199, 399)]


def test_drift_of_long_ago_fires_no_more_when_the_monitor_is_changed(watched):
    world = watched(DRIFT, drifted=(100, 200))
    world.predict(600)
    look(world)
    world.store.cancel_run(world.store.active_run(MODEL).key, "bob", "known", world.clock.now())
    world.clock.advance(timedelta(days=60))
    fired = len(world.store.firings(MODEL))

    declare(world, COUNTS | {"size": 50})
    for _ in range(3):
        look(world)
    assert len(world.store.firings(MODEL)) == fired


@pytest.mark.parametrize(
    ("before", "after", "bounds"),
    [
        (COUNTS, HOURLY, [(99, 120), (120, 180)]),
        (HOURLY, {"kind": "time", "every": "6h"}, [(180, 360), (360, 720)]),
        (HOURLY, {"kind": "sliding", "length": "2h", "step": "40m"}, [(180, 280), (200, 320), (240, 360)]),
    ],
    ids=["count-time", "time-time", "time-sliding"],
)
def test_windows_that_are_declared_anew_begin_where_those_before_them_ended(watched, before, after, bounds):
    world = watched(DRIFT, before)
    world.predict(190)
    world.watch()
    known = len(world.bounds())
    declare(world, after)
    world.predict(700)
    for _ in range(3):
        world.watch()

    assert world.bounds()[known : known + len(bounds)] == bounds
    rows = list(reversed(world.store.windows(MODEL, 1000)))[known]
    assert rows.rows == bounds[0][1] - bounds[0][0] - (before == COUNTS), "none is counted twice, none left out"


def test_hysteresis_counts_windows_of_one_declaration_and_a_trial_says_so_too(watched):
    world = watched(TWICE, drifted=(100, 1000))
    world.predict(200)
    look(world)
    declare(world, COUNTS | {"size": 50})
    world.clock.advance(timedelta(hours=1))
    world.predict(50)
    look(world)
    assert world.reasons("drifted")[-1] == "WAIT_HYSTERESIS"
    world.clock.advance(timedelta(hours=1))
    world.predict(50)
    look(world)

    assert world.reasons("drifted")[-1] == "RETRAIN_DRIFT"
    newest = world.store.windows(MODEL)[0].id
    trial = try_rule(world.store, MODEL, TWICE, START - timedelta(days=1), world.clock.now())
    assert [each.cause for each in trial.would_fire] == [newest] == [world.store.firings(MODEL, 1)[0].cause]


def test_a_rule_that_is_new_judges_the_windows_of_the_newest_declaration_only(watched):
    world = watched(DRIFT, drifted=(0, 200))
    world.predict(200)
    world.watch()
    declare(world, COUNTS | {"size": 50})
    world.predict(150)
    world.watch()
    world.tick()

    judged = {each.cause for each in world.store.decisions(MODEL, 1000)}
    assert judged >= {row.id for row in world.store.windows(MODEL, 3)}
    assert not judged & {row.id for row in world.store.windows(MODEL, 5)[3:]}


def test_a_version_that_comes_back_begins_its_windows_anew(watched):
    world = watched(DRIFT, drifted=(21 * 1440, 30 * 1440))
    world.predict(199)
    look(world)
    come_back(world, timedelta(days=21))
    world.sent += 1
    world.predict(1)
    look(world)
    assert [row.rows for row in of_first(world)] == [100], "99 of three weeks ago and one of now are no window"

    back = world.store.production(MODEL).promoted_at
    world.predict(99)
    look(world)
    world.watch()
    first, second = of_first(world)
    assert (first.rows, second.rows) == (100, 100)
    assert second.after_time > back - timedelta(minutes=2) and second.until_time - second.after_time < timedelta(
        hours=2
    )


def test_a_version_that_comes_back_within_the_hour_is_judged_by_what_it_answers_since(watched):
    world = watched(DRIFT, HOURLY)
    world.predict(70)
    look(world)
    come_back(world, timedelta(0))
    world.predict(90)
    look(world)
    back = world.store.production(MODEL).promoted_at
    before, *since = of_first(world)
    assert before.until_time == START + timedelta(hours=1)
    assert [row.rows for row in since] == [10, 60], "ten minutes of the second hour, and the third"
    assert since[0].after_time >= back - timedelta(minutes=2)


def test_a_version_that_comes_back_is_watched_though_event_times_are_years_behind_the_clock(watched):
    world = watched(DRIFT)
    world.clock.advance(timedelta(days=900))
    world.predict(99)
    look(world)
    world.to_production()
    world.predict(50, 2)
    look(world)
    world.store.roll_back(MODEL, "it is worse", world.clock.now(), None, 2)
    world.load_staged()
    world.tick()
    world.predict(100)
    look(world)
    assert [row.rows for row in of_first(world)] == [100]
    assert of_first(world)[0].after_time == START + timedelta(minutes=148)
