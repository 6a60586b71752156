"""A rule tried over the past says what it would have done, and that is what it does in service."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from controlplane.errors import NotFound, SpecRefused
from controlplane.rules import trying
from controlplane.trials import try_rule
from pipeline.contract.training import Failure, TrainingReport
from tests.controlplane_world import DRIFT, MODEL, START, WEEKLY, World, spec

HOUR = timedelta(hours=1)
METRIC = {"name": "worse", "kind": "metric", "monitor": "weekly", "metric": "roc_auc", "below": 0.7}
DAILY = {"name": "daily", "kind": "schedule", "cron": "30 2 * * *", "timezone": "Europe/Berlin"}
PLAIN = {}
TWICE = {"hold": {"windows": 2, "of": 3}}
HOURS = {"cooldown": "5h", "active": {"from": "20:00", "to": "08:00", "timezone": "America/New_York"}}


def end_runs(world):
    while run := world.store.active_run(MODEL):
        world.tick()
        world.finish(run.key, failure=Failure(code="crashed", message="x"))
        world.tick()


def live(world, hours, chance):
    """Hours in service: each cuts a window, and settles one of an earlier hour."""
    version, waiting = world.to_production(), []
    for _ in range(hours):
        world.clock.advance(HOUR)
        waiting.append(world.window(version.number, 0, drifted_share=float(chance.random() < 0.4)))
        if len(waiting) > 3:
            settled = waiting.pop(chance.randrange(3))
            told = {"drifted_share": settled.verdict["drifted_share"], "error": {"roc_auc": 0.4 + chance.random() / 2}}
            world.store.rescore_window(settled.id, 60, told, True, world.clock.now())
        world.tick()
        end_runs(world)


@pytest.mark.parametrize(
    ("declared", "options"),
    [(DRIFT, PLAIN), (DRIFT, HOURS), (DRIFT, TWICE), (METRIC, PLAIN), (METRIC, TWICE), (DAILY, PLAIN), (DAILY, HOURS)],
)
def test_a_rule_tried_over_its_own_past_would_have_fired_exactly_when_it_did(tmp_path, declared, options):
    rule = declared | options
    world = World(tmp_path, spec([rule]))
    live(world, 36, random.Random(5))

    trial = try_rule(world.store, MODEL, rule, START, world.clock.now())

    true = [each for each in trial.fired if each.rule == rule["name"]]
    assert true and [each.cause for each in trial.would_fire] == [each.cause for each in true]
    late = [abs(real.at - tried.at) for real, tried in zip(true, trial.would_fire, strict=True)]
    assert max(late) < HOUR, "in service the rules are asked every hour"
    assert trial.complete


def test_a_rule_of_a_segment_is_tried_over_that_segment_and_any_other_over_whole_windows(tmp_path):
    segments = [{"feature": "place", "values": ["x", "y"]}]
    world = World(tmp_path, spec([DRIFT], monitors=[WEEKLY | {"segments": segments}]))
    version = world.to_production()
    world.clock.advance(HOUR)
    whole = world.window(version.number, 0, drifted_share=0.0)
    drifted = world.window(version.number, 0, segment="place=x", drifted_share=1.0)
    world.window(version.number, 0, segment="place=y", drifted_share=0.0)
    world.clock.advance(HOUR)
    world.tick()

    assert world.store.active_run(MODEL) is None, "the rule looks at whole windows"
    assert {each.cause for each in world.store.decisions(MODEL)} >= {whole.id}
    for segment, fires in ((None, []), ("place=x", [drifted.id]), ("place=y", [])):
        trial = try_rule(world.store, MODEL, DRIFT | {"segment": segment}, START, world.clock.now())
        assert [each.cause for each in trial.would_fire] == fires
        assert trial.windows == 1
    with pytest.raises(SpecRefused, match="no segment 'place=z'"):
        try_rule(world.store, MODEL, DRIFT | {"segment": "place=z"}, START, world.clock.now())


def test_a_cooldown_tried_first_shows_what_it_would_keep_back_and_save(tmp_path):
    world = World(tmp_path, spec([DRIFT]))
    live(world, 40, random.Random(5))
    run = world.ask()
    world.tick()
    world.trainer.finish(
        TrainingReport(key=run.key, failure=Failure(code="crashed", message="x"), finished_at=START, seconds=89.0)
    )
    world.tick()

    now = world.clock.now() + HOUR
    plain = try_rule(world.store, MODEL, DRIFT, START, now)
    patient = try_rule(world.store, MODEL, DRIFT | {"cooldown": "1d"}, START, now)

    assert len(patient.would_fire) < len(plain.would_fire)
    assert next(each for each in patient.waited if each.reason == "WAIT_COOLDOWN").times > 0
    assert patient.cost.runs == len(patient.would_fire)
    assert patient.cost.seconds == pytest.approx(patient.cost.runs * patient.cost.seconds_each)
    assert patient.cost.known_runs == len(world.store.runs(MODEL))
    assert len(patient.fired) == len(plain.fired), "what fired in truth does not depend on the trial"


def test_labels_of_the_windows_stand_for_new_labelled_rows(tmp_path):
    world = World(tmp_path, spec([]))
    live(world, 20, random.Random(5))
    trial = try_rule(world.store, MODEL, {"name": "v", "kind": "volume", "new_labelled_rows": 300}, START,
                     world.clock.now())  # fmt: skip
    assert [each.cause for each in trial.would_fire] == ["v1:1", "v1:2", "v1:3"]
    assert trial.assumptions[-1].startswith("New labelled rows are those of the windows")


def test_what_came_before_the_span_fires_nothing_in_it_but_counts_for_hysteresis(tmp_path):
    world = World(tmp_path, spec([]))
    version = world.to_production()
    world.window(version.number, 0, drifted_share=1.0)
    since = START + HOUR
    world.clock.advance(2 * HOUR)
    assert try_rule(world.store, MODEL, DRIFT, since, world.clock.now()).would_fire == []
    world.window(version.number, 0, drifted_share=1.0)
    trial = try_rule(world.store, MODEL, DRIFT | {"hold": {"windows": 2, "of": 2}}, since, world.clock.now())
    assert [each.at for each in trial.would_fire] == [START + 2 * HOUR]


def test_a_trial_that_is_too_long_says_how_far_it_came(tmp_path, monkeypatch):
    monkeypatch.setattr(trying, "STEPS", 10)
    world = World(tmp_path, spec([]))
    world.to_production()
    minutely = {"name": "m", "kind": "schedule", "cron": "* * * * *"}
    trial = try_rule(world.store, MODEL, minutely, START, START + HOUR)
    assert not trial.complete and len(trial.would_fire) <= 10


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        (DRIFT | {"monitor": "none"}, "there is no monitor"),
        (DRIFT | {"drifted_share": 2}, "drifted_share"),
        ({"name": "c", "kind": "schedule", "cron": "61 * * * *"}, "not a cron expression"),
        ({"name": "c"}, "kind"),
    ],
)
def test_what_could_be_no_rule_of_the_model_is_refused(tmp_path, declared, told):
    world = World(tmp_path, spec([], monitors=[WEEKLY]))
    with pytest.raises(SpecRefused, match=told):
        try_rule(world.store, MODEL, declared, START - HOUR, START)
    with pytest.raises(NotFound):
        try_rule(world.store, "default/none", DRIFT, START - HOUR, START)
    with pytest.raises(SpecRefused, match="since"):
        try_rule(world.store, MODEL, DRIFT, START, START)
