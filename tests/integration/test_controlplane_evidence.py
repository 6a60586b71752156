"""What a window's diagnosis, its rising errors and the model's past losses make rules and alerts say."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.controlplane_world import DRIFT, MODEL, World, spec

ANY = {"name": "anything", "kind": "drift", "monitor": "weekly", "min_rows": 50}
DAILY = {"name": "daily", "kind": "schedule", "every": "1d"}
RISING = {"name": "rising", "kind": "metric", "monitor": "weekly", "metric": "error", "rising": True}
WORTH = {"name": "worth", "kind": "worth", "monitor": "weekly", "min_labels": 50}
BUG = {
    "cause": "bug", "bug": "unit", "columns": ["distance"], "ranked": [],
    "explanation": "distance is 1.61 times what it was, as miles against kilometres.",
}  # fmt: skip
STREAM = {"alarm": True, "evidence": 9e4, "threshold": 1e4, "baseline": 0.2, "current": 0.4, "since_rows": 90}


def lost(share: float, rows: int = 1_000) -> dict:
    """A settled window in which so many answers were wrong."""
    width = 1.96 * (share * (1 - share) / rows) ** 0.5
    return {
        "error": {"error": share}, "error_intervals": {"error": {"low": share - width, "high": share + width}},
        "error_reference": {"error": 0.2}, "confidence": 0.95,
    }  # fmt: skip


def in_service(tmp_path, *rules: dict, database: str) -> World:
    world = World(tmp_path, spec(rules), database)
    world.to_production()
    version = world.store.production(MODEL)
    world.store.report_instance(
        "serving-1", [{"model": MODEL, "version": version.number, "manifest": version.manifest}], []
    )
    return world


def settle(world: World, number: int, **verdict) -> None:
    window = world.window(1, number, **verdict)
    world.store.rescore_window(window.id, 1_000, window.verdict | verdict, True, world.clock.now())
    world.tick()


def alerts(world: World) -> dict[str, dict]:
    return {alert.name: alert.labels for alert in world.store.open_alerts(MODEL)}


def test_broken_data_retrain_nothing_whatever_rule_holds_and_their_owner_is_told(tmp_path, database_url):
    world = in_service(tmp_path, DRIFT, ANY, DAILY, database=database_url)
    world.window(1, 0, drifted_share=1.0, features={"distance": {"drifted": True}}, diagnosis=BUG)
    world.clock.advance(timedelta(days=2))
    runs = len(world.store.runs(MODEL))

    world.tick()

    assert len(world.store.runs(MODEL)) == runs
    for rule in ("drifted", "anything", "daily"):
        assert world.reasons(rule)[-1] == "WAIT_BROKEN_DATA", rule
    decision = next(each for each in world.store.decisions(MODEL, 50) if each.rule == "drifted")
    assert "miles against kilometres" in decision.detail
    assert set(alerts(world)) == {"DataBroken"}, "one page about the cause, none about what follows from it"
    assert alerts(world)["DataBroken"].items() >= {"bug": "unit", "data_owner": "o", "severity": "warning"}.items()

    world.window(1, 1, drifted_share=0.0)
    world.tick()

    assert alerts(world) == {} and world.reasons("daily")[-1] == "RETRAIN_DUE"


def test_a_person_may_still_retrain_on_data_that_look_broken(tmp_path, database_url):
    world = in_service(tmp_path, DRIFT, database=database_url)
    world.window(1, 0, drifted_share=1.0, diagnosis=BUG)
    world.tick()
    world.ask("it is no bug")
    assert world.reasons("manual")[-1] == "RETRAIN_ASKED"


@pytest.mark.parametrize(
    "verdict",
    [
        {"features": {"followers": {"drifted": True}}},
        {"prediction": {"drifted": True}},
        {"joint": {"drifted": True}},
        {"texts": {"text": {"drifted": True}}},
    ],
    ids=["feature", "scores", "joint", "text"],
)
def test_a_drift_rule_without_a_share_fires_at_the_first_alarm_of_anything(tmp_path, database_url, verdict):
    world = in_service(tmp_path, ANY, database=database_url)
    world.window(1, 0, drifted_share=0.0)
    world.tick()
    assert world.reasons("anything")[-1] == "WAIT_STABLE"
    world.window(1, 1, drifted_share=0.1, **verdict)
    world.tick()
    assert world.reasons("anything")[-1] == "RETRAIN_DRIFT"


def test_a_metric_rule_may_follow_the_detector_of_rising_errors(tmp_path, database_url):
    world = in_service(tmp_path, RISING, database=database_url)
    settle(world, 0, stream=STREAM | {"alarm": False})
    assert world.reasons("rising")[-1] == "WAIT_STABLE"
    settle(world, 1, stream=STREAM | {"reason": "12 labels, 100 are needed"})
    assert world.reasons("rising")[-1] == "WAIT_FEW_LABELS"
    settle(world, 2, stream=STREAM)
    (decision, *_) = (each for each in world.store.decisions(MODEL, 50) if each.rule == "rising")
    assert (decision.reason, decision.numbers["since_rows"]) == ("RETRAIN_METRIC", 90)
    assert "from 0.2000 to 0.4000" in decision.detail


def test_a_retraining_is_asked_for_when_the_loss_of_several_windows_outweighs_it(tmp_path, database_url):
    world = in_service(tmp_path, WORTH, database=database_url)
    for number in range(4):
        settle(world, number, **lost(0.2))
    assert world.reasons("worth")[-1] == "WAIT_NOT_WORTH"
    for number in range(4, 10):
        settle(world, number, **lost(0.35))
    assert "RETRAIN_WORTH" in world.reasons("worth")
    fired = next(each for each in world.store.decisions(MODEL, 50) if each.reason == "RETRAIN_WORTH")
    assert fired.numbers["expected_saved"] > fired.numbers["cost"] and "worth it" in fired.detail


def test_what_broken_data_cost_is_no_reason_to_retrain(tmp_path, database_url):
    world = in_service(tmp_path, WORTH, database=database_url)
    for number in range(4):
        settle(world, number, **lost(0.2))
    for number in range(4, 9):
        settle(world, number, **lost(0.5), diagnosis=BUG)
    settle(world, 9, **lost(0.2))
    assert "RETRAIN_WORTH" not in world.reasons("worth")
