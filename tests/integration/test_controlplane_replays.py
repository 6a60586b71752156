"""The ledger re-run over the past: the same decisions under the same settings, and what others would have changed."""

from __future__ import annotations

import io
import random
from datetime import timedelta

import pytest
from rich.console import Console

from controlplane import replays
from controlplane.cli.replaying import show
from controlplane.errors import NotFound, SpecRefused
from controlplane.replays import replay, walk_again
from controlplane.rules.facts import MANUAL
from controlplane.trials import SECONDS
from pipeline.contract.training import Failure
from tests.controlplane_world import DRIFT, MODEL, START, WEEKLY, World, spec

HALF_AN_HOUR = timedelta(minutes=30)
HOUR = timedelta(hours=1)
DAILY = {"name": "daily", "kind": "schedule", "cron": "30 2 * * *", "timezone": "Europe/Berlin"}
RULES = [
    DRIFT | {"hold": {"windows": 2, "of": 3}, "cooldown": "5h"},
    {"name": "any", "kind": "drift", "monitor": "weekly", "cooldown": "9h", "dry_run": True},
    {"name": "worse", "kind": "metric", "monitor": "weekly", "metric": "roc_auc", "below": 0.5, "priority": 5,
     "active": {"from": "08:00", "to": "23:00", "timezone": "America/New_York"}},
    DAILY | {"cooldown": "3h"},
    {"name": "saves", "kind": "worth", "monitor": "weekly", "cost": 5, "min_labels": 50},
]  # fmt: skip


def column(p_value: float, effect: float) -> dict:
    """A column as the monitor stores it, judged at the level 0.05 beyond the margin 0.08."""
    return {
        "method": "calibrated", "score": p_value, "threshold": 0.05, "drifted": p_value <= 0.05 and effect >= 0.08,
        "missing_share": 0.0, "reference_missing_share": 0.0, "p_value": p_value, "effect": effect,
    }  # fmt: skip


def verdict(chance: random.Random) -> dict:
    one = column(chance.choice([1e-9, 0.5]), chance.choice([0.02, 0.1, 0.3]))
    found = {"cause": "bug", "bug": "unit", "columns": ["followers"], "explanation": "a unit was changed"}
    bug = {"diagnosis": found} if chance.random() < 0.1 else {}
    return {"features": {"followers": one}, "drifted_share": float(one["drifted"]), "level": 0.05} | bug


def settle(world: World, window, chance: random.Random) -> None:
    error = chance.choice([0.1, 0.3])
    told = {
        "error": {"roc_auc": 0.4 + chance.random() / 2, "error": error}, "error_reference": {"error": 0.1},
        "error_intervals": {"error": {"low": error - 0.05, "high": error + 0.05}}, "confidence": 0.95,
    }  # fmt: skip
    world.store.rescore_window(window.id, 60, window.verdict | told, True, world.clock.now())


def end_run(world: World, chance: random.Random) -> None:
    """Every other run makes a version, which goes into production."""
    run = world.store.active_run(MODEL)
    if run is None:
        return
    if chance.random() < 0.5:
        world.finish(run.key, failure=Failure(code="crashed", message="x"))
        world.tick()
        return
    world.finish(run.key, world.made())
    for _ in range(2):
        world.tick()
    world.load_staged()
    world.tick()


def look(world: World) -> None:
    """A firing is a change of the model, so that its rules are asked again at once."""
    world.tick()
    world.tick()


def live(world: World, hours: int, chance: random.Random) -> None:
    """Hours in service: each cuts a window and settles an older one, and a run of before ends half an hour later."""
    world.to_production()
    waiting = []
    for hour in range(hours):
        world.clock.advance(HALF_AN_HOUR)
        end_run(world, chance)
        look(world)
        world.clock.advance(HALF_AN_HOUR)
        waiting.append(world.window(world.store.production(MODEL).number, 0, **verdict(chance)))
        if len(waiting) > 3:
            settle(world, waiting.pop(chance.randrange(3)), chance)
        look(world)
        if hour == hours // 2 and world.store.active_run(MODEL) is None:
            world.ask()


@pytest.fixture
def world(tmp_path, database_url) -> World:
    made = World(tmp_path, spec(RULES), database_url)
    live(made, 40, random.Random(7))
    return made


@pytest.fixture(scope="module")
def quiet(tmp_path_factory) -> World:
    """Two rules, and nothing but drift and the time of the day; nobody changes it."""
    made = World(tmp_path_factory.mktemp("quiet"), spec([DRIFT, DAILY]))
    live(made, 30, random.Random(11))
    return made


def again(world: World, changes=None, since=START):
    now = world.clock.now()
    return replay(world.store, MODEL, changes or {}, since, now, now)


def test_under_identical_settings_every_decision_is_the_same_whenever_the_replay_begins(world):
    for hours in (0, 13, 26):
        since, now = START + timedelta(hours=hours), world.clock.now()
        true = [each for each in reversed(world.store.decisions(MODEL, 10_000))
                if each.decided_at > since and each.rule != MANUAL]  # fmt: skip
        runs = world.store.runs_since(MODEL, since - timedelta(days=30))
        walk = walk_again(world.store, world.spec, world.spec, since, now, runs)

        told = [(each.decision.rule, each.decision.cause, each.decision.reason.name, each.decision.outcome)
                for each in walk.said]  # fmt: skip
        assert told == [(each.rule, each.cause, each.reason, each.outcome) for each in true]
        late = [abs(each.at - other.decided_at) for each, other in zip(walk.said, true, strict=True)]
        assert max(late) < HALF_AN_HOUR, "in service the rules are asked every half an hour"
        if hours == 0:
            assert len({each.reason for each in true}) > 6, "the story is no short one"
            assert len({each.rule for each in true if each.outcome == "fire"}) > 1

    said = again(world)
    assert said.decisions.alike == said.decisions.in_truth == said.decisions.in_replay > 0
    assert said.decisions.differing == [] == said.changed_rules
    assert all(each.fired == each.would_fire == each.alike for each in said.rules)
    assert said.cost.runs == said.cost_in_truth.runs and said.verdicts.windows == said.verdicts.changed == 0


def test_where_there_are_too_many_decisions_the_newest_are_compared_and_the_answer_says_since_when(quiet, monkeypatch):
    whole, most = again(quiet).decisions, 20
    assert whole.truncated_before is None and whole.in_truth > most
    monkeypatch.setattr(replays, "DECISIONS", most)
    newest = quiet.store.decisions(MODEL, most + 1)

    said = again(quiet)

    assert said.decisions.truncated_before == newest[-1].decided_at
    of_rules = [each for each in newest if each.rule != MANUAL and each.decided_at > newest[-1].decided_at]
    assert 0 < said.decisions.in_truth == len(of_rules) <= most
    assert said.decisions.in_replay <= said.decisions.in_truth < whole.in_replay, "of both the same span"
    console = Console(width=80, file=io.StringIO())
    show(console, said.model_dump(mode="json"))
    assert "until 2021-01-" in console.file.getvalue() and "too many and are left out" in console.file.getvalue()


def test_another_margin_changes_the_windows_between_the_two_and_the_rules_that_look_at_them(quiet):
    said = again(quiet, {"monitors": {"weekly": {"drift": {"margin": 0.2}}}})
    between = [row for row in quiet.store.windows(MODEL, 1000)
               if (one := row.verdict["features"]["followers"])["p_value"] < 0.05 and one["effect"] == 0.1]  # fmt: skip
    assert 0 < len(between) == said.verdicts.changed < said.verdicts.windows
    assert set(said.verdicts.changed_windows) == {row.id for row in between}
    assert said.changed_rules == ["drifted"], "the schedule looks at no window"
    drifted, daily = said.rules
    assert daily.fired == daily.would_fire == daily.alike > 0
    assert drifted.would_fire < drifted.fired
    assert {each.cause for each in said.would_fire} <= {each.cause for each in said.fired}
    assert all(row.verdict["features"]["followers"]["drifted"] for row in between), "what is stored stays as it is"


def test_fewer_false_alarms_ask_for_more_evidence(quiet):
    said = again(quiet, {"false_alarms": {"per_month": 0.001, "highest_level": 1e-12}})
    assert said.verdicts.changed > 0
    assert not [each for each in said.would_fire if each.rule == "drifted"]


def test_another_rule_and_another_budget_are_told_beside_what_happened(quiet):
    said = again(quiet, {"rules": [{"name": "daily", "cron": "30 2 1 * *"}], "budget": {"runs_per_day": 1}})
    drifted, daily = said.rules
    assert said.changed_rules == ["daily"] and daily.would_fire == 0 < daily.fired
    assert 0 < drifted.would_fire < drifted.fired, "one run a day is not enough for every drift"
    reasons = {each.reason for each in said.decisions.differing if each.where == "replay"}
    assert "WAIT_BUDGET" in reasons
    assert said.cost.runs == len(said.would_fire) == sum(each.would_fire for each in said.rules)


def test_windows_that_have_no_p_values_are_counted_and_stay(tmp_path):
    world = World(tmp_path, spec([DRIFT]))
    version = world.to_production()
    world.clock.advance(HOUR)
    world.window(version.number, 0, drifted_share=1.0, features={"followers": {"method": "psi", "drifted": True}})
    world.tick()
    said = again(world, {"monitors": {"weekly": {"drift": {"margin": 2}}}}, START - HOUR)
    assert (said.verdicts.left, said.verdicts.windows) == (1, 0)
    assert [each.rule for each in said.would_fire] == ["drifted"]


def test_months_are_replayed_far_faster_than_they_took_and_the_answer_says_how_much(tmp_path):
    world, chance = World(tmp_path, spec([DRIFT | {"cooldown": "1w"}])), random.Random(3)
    version = world.to_production()
    for _ in range(180):
        world.clock.advance(timedelta(hours=12))
        world.window(version.number, 0, **verdict(chance))
    said = again(world)
    assert said.complete and said.seconds < SECONDS
    assert said.times_faster == pytest.approx((said.until - said.since).total_seconds() / said.seconds)
    assert said.times_faster > 1_000
    assert len(said.would_fire) > 5


def test_a_replay_that_takes_too_long_says_how_far_it_came(quiet):
    now, seconds = quiet.clock.now(), iter(range(1000))
    said = replay(quiet.store, MODEL, {}, START, now, now, lambda: float(next(seconds)))
    assert not said.complete and said.until < now and next(seconds) <= SECONDS + 5


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rules": [{"name": "drifted", "drifted_share": 2}]}, "drifted_share"),
        ({"rules": [{"kind": "drift"}]}, "say the name"),
        ({"rules": [{"name": "daily", "cron": "61 * * * *"}]}, "not a cron expression"),
        ({"monitors": {"none": {"drift": {"margin": 1}}}}, "no monitor 'none'"),
        ({"monitors": {"weekly": {"drift": {"numeric_method": "psi"}}}}, "only drift.margin"),
        ({"gate": {}}, "gate"),
    ],
)
def test_what_could_not_be_declared_or_be_told_from_what_is_stored_is_refused(tmp_path, changes, told):
    world = World(tmp_path, spec([DRIFT, DAILY], monitors=[WEEKLY]))
    with pytest.raises(SpecRefused, match=told):
        replay(world.store, MODEL, changes, START - HOUR, START, START)
    with pytest.raises(SpecRefused, match="since"):
        replay(world.store, MODEL, {}, START, START, START)
    with pytest.raises(NotFound):
        replay(world.store, "default/none", {}, START - HOUR, START, START)
