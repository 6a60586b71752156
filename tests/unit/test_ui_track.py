"""A rollout as a picture, and what needs a person: pure functions from rows to what is drawn."""

from __future__ import annotations

from datetime import timedelta

import pytest

from controlplane.access.callers import ROLES
from controlplane.lifecycle import ROLLOUT_TRANSITIONS, AlertState, RolloutState
from controlplane.tables import GateRecord
from controlplane.ui.people_page import ROLE_WORDS, changes_of
from controlplane.ui.reading import Status, outcome_of
from controlplane.ui.runbook import headings_of, runbook
from controlplane.ui.situation import condition_of, hygiene_of, status_with
from controlplane.ui.track import measured, track_of
from controlplane.ui.version_views import checks_of
from pipeline.contract.promotionspec import Better, Canary, Guards, RolloutPlan, Shadow
from pipeline.contract.rulespec import DriftRule, MetricRule, ScheduleRule
from tests.admin_ui_story import CHECKS, MEASURED, START

PLAN = RolloutPlan(
    shadow=Shadow(rows=500), canary=(Canary(share=0.05, rows=500), Canary(share=0.25, rows=2000)),
    guards=Guards(metric="roc_auc", margin=0.01), watch=timedelta(days=1),
)  # fmt: skip


def rollout(state: RolloutState, step: int = 0, share: float = 0.0, champion: int | None = 1) -> dict:
    return {"state": state, "step": step, "share": share, "champion": champion, "note": "waits for 2000 rows"}


def places(plan: RolloutPlan, row: dict) -> dict[str, str]:
    return {stop.name: stop.place for stop in track_of(plan, row).stops}


def test_a_canary_is_drawn_with_the_rows_that_it_has_of_those_that_it_needs():
    track = track_of(PLAN, rollout(RolloutState.CANARY, 1, 0.25), MEASURED)
    at = next(stop for stop in track.stops if stop.place == "at")
    assert (at.name, at.seen, at.needed, at.share) == ("canary 25%", 1340, 2000, 0.25)
    assert places(PLAN, rollout(RolloutState.CANARY, 1, 0.25)) == {
        "loading": "behind", "shadow": "behind", "canary 5%": "behind", "canary 25%": "at", "production": "ahead",
        "watching": "ahead",
    }  # fmt: skip
    assert (track.now, track.note) == ("canary 25%", "waits for 2000 rows")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (rollout(RolloutState.LOADING), "at ahead ahead ahead ahead ahead"),
        (rollout(RolloutState.SHADOW), "behind at ahead ahead ahead ahead"),
        (rollout(RolloutState.WATCHING, 1, 1.0), "behind behind behind behind behind at"),
        (rollout(RolloutState.DONE), "behind behind behind behind behind behind"),
        (rollout(RolloutState.ROLLED_BACK), "behind behind behind behind behind stopped"),
        (rollout(RolloutState.ABORTED), "ahead ahead ahead ahead ahead stopped"),
    ],
    ids=lambda value: value["state"] if isinstance(value, dict) else "",
)
def test_each_state_of_a_rollout_has_its_place(row, expected):
    assert " ".join(places(PLAN, row).values()) == expected


def test_the_first_version_of_a_model_goes_from_loading_to_production():
    assert list(places(PLAN, rollout(RolloutState.LOADING, champion=None))) == ["loading", "production"]


@pytest.mark.parametrize("state", ROLLOUT_TRANSITIONS)
@pytest.mark.parametrize("plan", [RolloutPlan(), PLAN, RolloutPlan(shadow=Shadow())], ids=["bare", "whole", "shadow"])
def test_a_rollout_whose_plan_was_changed_is_drawn_all_the_same(plan, state):
    track = track_of(plan, rollout(state, 7, 0.5))
    assert len([stop for stop in track.stops if stop.place in ("at", "stopped")]) == (state is not RolloutState.DONE)


def test_what_was_measured_stands_beside_what_is_allowed():
    found = measured(PLAN.guards, MEASURED)
    assert (found.rows, found.failed, found.labelled, found.allowed_share) == (1342, 2, 611, 0.01)
    assert found.words == "+0.013 [−0.003, +0.028]"  # noqa: RUF001 - a minus sign
    assert (found.interval.margin, found.interval.passed) == (-0.01, True)
    worse = {**MEASURED["improvement"], "upper": -0.02, "difference": -0.03, "lower": -0.04}
    assert measured(PLAN.guards, {**MEASURED, "improvement": worse}).interval.passed is False
    nothing = measured(PLAN.guards, {"rows": 3, "failed": 0, "labelled": 0, "improvement": None})
    assert (nothing.interval, nothing.words, nothing.metric) == (None, "", "roc_auc")


def test_a_shadow_that_has_to_show_that_it_is_better_is_drawn_with_that_and_its_bounds():
    said = {
        stop.name: stop.said
        for stop in track_of(RolloutPlan(shadow=Shadow(better=Better())), rollout(RolloutState.SHADOW)).stops
    }
    assert said["shadow"].endswith("until labels show that the new one is better")
    better = {**MEASURED["improvement"], "metric": "error"}
    found = measured(Guards(), {**MEASURED, "improvement": None, "better": better})
    assert (found.metric, found.words, found.interval.passed) == ("error", "+0.013 [−0.003, +0.028]", False)  # noqa: RUF001
    assert measured(Guards(), {**MEASURED, "better": {**better, "lower": 0.001}}).interval.passed
    assert measured(Guards(), {**MEASURED, "improvement": None}).interval is None


def test_an_alert_that_nobody_takes_care_of_says_how_a_model_is():
    steady = Status("ok", "steady", "All is well.")
    alert = {"name": "RolledBack", "severity": "warning", "state": AlertState.FIRING}
    assert status_with([alert], steady).word == "warning"
    assert status_with([alert, {**alert, "severity": "critical"}], steady).tone == "bad"
    assert status_with([{**alert, "state": AlertState.ACKNOWLEDGED}], steady) == steady
    assert status_with([{**alert, "severity": "info"}], steady) == steady


def test_every_check_of_a_verdict_is_told_with_its_numbers():
    gate = GateRecord(
        id="g", model="m", version=1, run_key="r", passed=False, reason="x", detail="", numbers={}, checks=CHECKS,
        decided_at=START,
    )  # fmt: skip
    found = checks_of(gate)
    assert [each.passed for each in found] == [True, True, True, True, False]
    assert [each.name for each in found][3:] == ["no part pays: carrier", "calibrated"]
    assert found[3].parts[0] == ("AA", 412, 0.021, -0.004, 0.047)
    assert ("calibration error", "0.0610") in found[4].numbers
    broken = [{"check": None, "numbers": {"values": [{"value": 1}, {}]}}, {}]
    assert len(checks_of(gate.model_copy(update={"checks": broken}))) == 2


def test_a_rule_says_when_it_fires_and_what_keeps_it_back():
    rule = DriftRule.model_validate({
        "name": "d", "kind": "drift", "monitor": "m", "drifted_share": 0.4, "cooldown": "1d", "priority": 2,
        "hold": {"windows": 2, "of": 3}, "active": {"days": ["mon"], "from": "08:00", "to": "18:00"},
    })  # fmt: skip
    assert condition_of(rule) == "40% of the features drifted"
    assert hygiene_of(rule) == "cooldown 1d · 2 of 3 windows · active mon 08:00-18:00 UTC · priority 2"
    metric = MetricRule(name="m", kind="metric", monitor="m", metric="roc_auc", below=0.6)
    assert (condition_of(metric), hygiene_of(metric)) == ("ROC AUC below 0.6", "")
    assert condition_of(ScheduleRule(name="s", kind="schedule", every=timedelta(days=7))) == "every 1w"


def test_a_decision_tells_apart_what_held_and_was_kept_back():
    def decided(outcome: str, reason: str) -> str:
        return outcome_of(type("Row", (), {"outcome": outcome, "reason": reason})())

    assert decided("fire", "RETRAIN_DRIFT") == "fired"
    assert decided("wait", "WAIT_BUDGET") == decided("wait", "WAIT_DRY_RUN") == "held back"
    assert decided("wait", "WAIT_STABLE") == "waits"


def test_every_role_that_a_token_may_have_is_offered_with_what_it_may():
    assert set(ROLE_WORDS) == set(ROLES)


def test_what_an_entry_changed_is_told_name_by_name():
    assert changes_of(None, {"what": "rules", "until": None}) == (("what", "", "rules"),)
    assert changes_of({"a": 1, "b": [1]}, {"a": 1, "b": [2], "c": "x"}) == (("b", "[1]", "[2]"), ("c", "", "x"))
    assert changes_of({"a": "x"}, None) == (("a", "x", ""),)


def test_the_runbook_is_read_with_its_tables_and_without_its_marks():
    found = headings_of(
        "# R\n\nTop.\n\n### A run failed\n*bad* · see [x](#y) and `z`\n\n| a | b |\n|---|---|\n| `c` | d |\n"
    )
    assert [(each.id, each.title, each.level) for each in found] == [("r", "R", 1), ("a-run-failed", "A run failed", 3)]
    said = [[(span.kind, span.text) for span in paragraph] for paragraph in found[1].paragraphs]
    assert said[0] == [("stressed", "bad"), ("plain", " · see "), ("plain", "x"), ("plain", " and "), ("code", "z")]
    assert said[1] == [("code", "c"), ("plain", ": d")]
    assert {"driftdetected", "nodata", "rolledback"} - {each.id for each in runbook()} == {"nodata"}
