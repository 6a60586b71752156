"""A model that is made and served elsewhere is watched like any other: windows, verdicts, alerts, and no training."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from controlplane.applying import apply_spec
from controlplane.errors import NotTrainedHere, SpecRefused
from controlplane.loop.triggers import ask
from controlplane.posting import kept_id
from controlplane.tables import Version
from observability.ports import Span
from observability.windows import Cursor
from tests.api_client import api_of
from tests.controlplane_world import DRIFT, MODEL, RECIPE, START, World, spec
from tests.watched_world import EVENTS, VERSIONS, Elsewhere, predictions, reference


@pytest.fixture
def world(tmp_path) -> Elsewhere:
    return Elsewhere(tmp_path)


def declared(world: Elsewhere) -> Version:
    answer = world.api.post(VERSIONS, json=reference())
    assert answer.status_code == 200, answer.text
    version = world.store.production(MODEL)
    assert version is not None and version.number == answer.json()["number"]
    return version


def alerts(world: Elsewhere) -> set[str]:
    page = world.api.get(f"/api/v1/models/{MODEL}/alerts").json()
    return {each["name"] for each in page["alerts"] if each["state"] != "resolved"}


def test_drift_of_a_model_that_is_served_elsewhere_alerts_and_starts_no_run(world):
    declared(world)
    world.post(predictions=predictions(100) + predictions(201, first=100, mean=125.0, seed=3))
    world.ship()
    world.clock.advance(timedelta(days=1))
    world.watch()
    first, *later = reversed(world.store.windows(MODEL, 10))
    assert first.verdict["drifted_share"] == 0.0, "the window that is like the reference did not drift"
    assert len(later) == 2 and all(each.verdict["features"]["followers"]["drifted"] for each in later)
    runs = len(world.store.runs(MODEL))
    for _ in range(3):
        world.tick()
    assert world.reasons("drifted")[-1] == "WAIT_NOT_TRAINED_HERE"
    assert "DriftDetected" in alerts(world)
    assert len(world.store.runs(MODEL)) == runs == 1, "the one that declared the version, and no other"
    assert "NoServingInstance" not in alerts(world), "nobody here was to serve it"


def test_labels_that_are_posted_give_error_metrics_and_their_alert(world):
    declared(world)
    rows = predictions(100)
    wrong = [{"prediction_id": each["id"], "label": int(each["score"] <= 0.5)} for each in rows]
    world.post(predictions=rows, labels=wrong)
    world.post(predictions=predictions(1, first=3 * 24 * 60))  # events have come so far: the labels are due
    world.ship()
    world.clock.advance(timedelta(days=4))
    world.watch()
    world.watch()
    (window,) = world.store.windows(MODEL, 10)
    assert window.verdict["error"]["error"] == 1.0 and window.labelled == 100
    world.tick()
    world.tick()
    assert "ErrorMetricBeyondBound" in alerts(world) and len(world.store.runs(MODEL)) == 1


def test_posting_twice_is_once(world):
    declared(world)
    rows, labels = predictions(50), [{"prediction_id": f"p{number}", "label": 1} for number in range(50)]
    for _ in range(2):
        assert world.post(predictions=rows, labels=labels) == {"predictions": 50, "labels": 50}
        world.ship()
    assert sum(len(each) for each in world.logs.labels(MODEL, START)) == 50
    assert world.logs.labelled_after(MODEL, START - timedelta(days=1)) == 50
    assert world.logs.cut(MODEL, 1, Cursor.before(START), 50) is not None
    assert world.logs.cut(MODEL, 1, Cursor.before(START), 51) is None


def test_two_models_may_count_their_predictions_alike():
    assert kept_id("default/a", "1") != kept_id("default/b", "1")


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"score": 1.5}, "predictions.7.score"),
        ({"score": "high"}, "body.predictions.7.score"),
        ({"features": {"followers": "many"}}, "predictions.7.features.followers"),
        ({"features": {"followers": True}}, "predictions.7.features.followers"),
        ({"features": {"place": 3}}, "predictions.7.features.place"),
        ({"features": {"place": "\0"}}, "predictions.7.features.place"),
        ({"features": {"stranger": 3}}, "predictions.7.features.stranger"),
        ({"event_time": "2021-01-01T00:00:00"}, "body.predictions.7.event_time"),
        ({"event_time": "1800-01-01T00:00:00Z"}, "predictions.7.event_time"),
        ({"id": ""}, "body.predictions.7.id"),
        ({"prediction": 2}, "predictions.7.prediction"),
        ({"prediction": 0.5}, "predictions.7.prediction"),
        ({"answer": 1}, "body.predictions.7.answer"),
    ],
)
def test_a_bad_row_refuses_the_whole_post_and_is_named(world, wrong, place):
    declared(world)
    rows = predictions(10)
    rows[7] |= wrong
    answer = world.api.post(EVENTS, json={"predictions": rows, "labels": [{"prediction_id": "p1", "label": 1}]})
    assert answer.status_code == 422 and answer.json()["error"]["message"].startswith(f"{place}: ")
    assert world.posted.lines == []


def test_ten_thousand_events_are_taken_at_once_and_no_more(world):
    declared(world)
    labels = [{"prediction_id": f"p{number}", "label": 1} for number in range(10_000)]
    assert world.post(predictions=predictions(10_000), labels=labels) == {"predictions": 10_000, "labels": 10_000}
    assert len(world.posted.lines) == 20_000
    assert world.api.post(EVENTS, json={"predictions": predictions(10_001)}).status_code == 422


def test_a_prediction_of_a_version_that_is_not_there_is_refused(world):
    declared(world)
    rows = [predictions(1)[0] | {"version": 2}]
    assert world.api.post(EVENTS, json={"predictions": rows}).status_code == 404 and world.posted.lines == []


def test_events_before_the_reference_are_refused_with_what_to_do(world):
    answer = world.api.post(EVENTS, json={"predictions": predictions(1)})
    assert answer.status_code == 409 and "declare its reference" in answer.json()["error"]["message"]


def test_the_same_reference_is_the_same_version_and_another_replaces_it(world):
    first = declared(world)
    assert declared(world).id == first.id and world.store.runs(MODEL)[0].state == "succeeded"
    assert world.api.post(VERSIONS, json=reference(seed=9)).json()["number"] == 2
    assert [each.state for each in world.store.versions(MODEL)] == ["production", "retired"]
    entries = [each.action for each in world.store.audit_entries()]
    assert entries.count("version.watch") == 2


def test_serving_is_not_asked_to_load_what_is_served_elsewhere(world):
    declared(world)
    assert world.store.deployed() == [] and world.store.production_manifests() == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"features": {"followers": [1.0] * 40}}, "features.place: is missing"),
        ({"features": {"followers": ["a"] * 40, "place": ["x"] * 40}}, "features.followers.0: expected a number"),
        ({"score": [0.5] * 40}, "score: it has 40 rows"),
        ({"score": [2.0] * 400}, "score.0: expected a probability"),
        ({"label": [3] * 400}, "label.0: expected 0 or 1"),
        ({"features": {"followers": [1.0] * 4, "place": ["x"] * 4}}, "body.features.followers: "),
    ],
)
def test_a_reference_that_does_not_fit_makes_no_version(world, wrong, said):
    answer = world.api.post(VERSIONS, json=reference(**wrong))
    assert answer.status_code == 422 and said in answer.json()["error"]["message"]
    assert world.store.versions(MODEL) == []


def test_a_reference_without_scores_labels_and_times_is_enough_to_see_drift(world):
    rows = {name: each for name, each in reference().items() if name in ("features", "reason")}
    assert world.api.post(VERSIONS, json=rows).status_code == 200
    world.post(predictions=predictions(101, mean=200.0))
    world.ship()
    world.clock.advance(timedelta(days=1))
    world.watch()
    (window,) = world.store.windows(MODEL, 10)
    assert window.verdict["features"]["followers"]["drifted"] and not window.verdict["prediction"]["drifted"]


def test_nobody_can_ask_for_a_run_of_a_model_that_is_not_trained_here(world):
    with pytest.raises(NotTrainedHere):
        ask(world.store, MODEL, "0195510a-6d5e-7c3e-9a53-8f2b7d0f1c11", "please", world.clock.now())
    with pytest.raises(ValueError, match="only watched here"):
        world.spec.recipe_entry()


def test_a_model_that_is_trained_here_takes_neither_events_nor_a_reference(tmp_path):
    client = api_of(World(tmp_path), "apply")
    assert client.post(EVENTS, json={"predictions": predictions(1)}).status_code == 409
    assert client.post(VERSIONS, json=reference()).status_code == 409


def test_who_makes_a_model_that_has_versions_stays(world):
    declared(world)
    with pytest.raises(SpecRefused, match="another name"):
        apply_spec(world.store, MODEL, spec().model_dump(mode="json", by_alias=True), RECIPE, START)
    same = spec([DRIFT], entry=None).model_dump(mode="json", by_alias=True)
    assert apply_spec(world.store, MODEL, same, {}, START)[1]


def test_only_who_may_apply_declares_a_reference_and_who_operates_posts(world):
    declared(world)
    operator, viewer = world.client("operate"), world.client("read")
    assert operator.post(VERSIONS, json=reference(seed=4)).status_code == 403
    assert operator.post(EVENTS, json={"predictions": predictions(1)}).status_code == 200
    assert viewer.post(EVENTS, json={"predictions": predictions(1)}).status_code == 403


OFF = {"name": "far-off", "kind": "metric", "monitor": "weekly", "metric": "mae", "above": 2.0, "min_labels": 20}


@pytest.fixture
def regression(tmp_path) -> Elsewhere:
    world = Elsewhere(tmp_path, rules=[OFF], task="regression")
    labels = [100.0 + number % 17 / 4 for number in range(400)]
    body = reference(score=[each + 0.25 for each in labels], label=labels)
    assert world.api.post(VERSIONS, json=body).status_code == 200
    return world


def answered(off: float) -> dict[str, Any]:
    """Predictions beyond 0 and 1, and labels that lie above them: one by a decimal, the next by twice that."""
    rows = [each | {"score": 120.5 + number % 9} for number, each in enumerate(predictions(100))]
    labels = [{"prediction_id": row["id"], "label": row["score"] + off * (1 + n % 2)} for n, row in enumerate(rows)]
    return {"predictions": rows, "labels": labels}


def test_a_regression_model_is_watched_with_labels_that_are_decimals(regression):
    regression.post(**answered(2.3))
    regression.post(predictions=predictions(1, first=3 * 24 * 60))  # events have come so far: the labels are due
    regression.ship()
    regression.clock.advance(timedelta(days=4))
    regression.watch()
    regression.watch()
    (listed,) = regression.api.get(f"/api/v1/models/{MODEL}/windows").json()["windows"]
    verdict = regression.api.get(f"/api/v1/models/{MODEL}/windows/{listed['id']}").json()["verdict"]
    assert verdict["error"] == {
        "mae": pytest.approx(3.45), "rmse": pytest.approx((2.3**2 * 2.5) ** 0.5), "bias": pytest.approx(-3.45)
    }  # fmt: skip
    for metric, value in verdict["error"].items():
        within = verdict["error_intervals"][metric]
        assert within["low"] < value < within["high"]
    assert verdict["error_reference"]["mae"] == pytest.approx(0.25)
    assert verdict["prediction"]["drifted"] and verdict["drifted_share"] == 0.0
    for _ in range(2):
        regression.tick()
    assert "ErrorMetricBeyondBound" in alerts(regression)


def test_a_label_is_corrected_and_corrected_back_by_a_later_time(regression):
    regression.post(predictions=[predictions(1)[0] | {"score": 3.5}])
    everything = Span(MODEL, 1, Cursor.before(START), Cursor.before(START + timedelta(days=1)))

    def told(label: float, day: int) -> float:
        at = (START + timedelta(days=day)).isoformat()
        regression.post(labels=[{"prediction_id": "p0", "label": label, "label_time": at}])
        regression.ship()
        return regression.logs.sample(everything, 1).frame["label"].item()

    assert told(3.7, day=1) == 3.7
    assert told(-1234.5678, day=2) == -1234.5678
    assert told(3.7, day=1) == -1234.5678, "what was told first, told again"
    assert told(3.7, day=3) == 3.7


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"label": "3.7"}, "body.labels.7.label"),
        ({"label": True}, "body.labels.7.label"),
        ({"label": None}, "body.labels.7.label"),
        ({"label": 1e39}, "labels.7.label"),
        ({"label": -1e300}, "labels.7.label"),
    ],
)
def test_a_label_that_is_no_number_of_this_world_is_refused_and_named(regression, wrong, place):
    told = answered(1.0)
    told["labels"][7] |= wrong
    answer = regression.api.post(EVENTS, json=told)
    assert answer.status_code == 422 and answer.json()["error"]["message"].startswith(f"{place}: ")
    assert regression.posted.lines == []


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_a_label_that_is_not_finite_is_refused(regression, number):
    said = f'{{"labels": [{{"prediction_id": "p1", "label": {number}}}]}}'
    answer = regression.api.post(EVENTS, content=said, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422 and regression.posted.lines == []


def test_the_answer_of_a_regression_model_is_its_score_and_no_class(regression):
    rows = predictions(3)
    regression.post(predictions=[rows[0] | {"score": -3.5, "prediction": -3.5}])
    answer = regression.api.post(EVENTS, json={"predictions": [rows[1] | {"score": 3.5, "prediction": 1}]})
    assert answer.status_code == 422 and "predictions.0.prediction: " in answer.json()["error"]["message"]


@pytest.mark.parametrize("label", [0.5, 2, -1, 3.7])
def test_a_label_of_a_classifier_is_a_class(world, label):
    declared(world)
    labels = [{"prediction_id": "p1", "label": 1.0}, {"prediction_id": "p2", "label": label}]
    answer = world.api.post(EVENTS, json={"predictions": predictions(2), "labels": labels})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "labels.1.label: expected 0 or 1: the model is a classifier"
    assert world.posted.lines == []


@pytest.mark.parametrize("moment", ["2199-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "0001-01-01T00:00:00Z"])
def test_no_instant_from_beyond_the_clock_moves_a_watermark_or_outlasts_a_label(world, moment):
    declared(world)
    rows = predictions(3)
    ahead = world.api.post(EVENTS, json={"predictions": [rows[0], rows[1] | {"event_time": moment}], "labels": []})
    late = {"prediction_id": rows[0]["id"], "label": 1, "label_time": moment}
    label = world.api.post(EVENTS, json={"predictions": [], "labels": [late]})
    assert (ahead.status_code, label.status_code) == (422, 422)
    assert "event_time" in ahead.text and "label_time" in label.text
    world.ship()
    assert world.logs.watermark(MODEL) is None


def test_a_reference_of_no_time_of_this_world_is_refused_with_its_row(world):
    body = reference()
    rows = len(next(iter(body["features"].values())))
    answer = world.api.post(VERSIONS, json=body | {"event_time": ["9999-12-31T00:00:00Z"] * rows})
    assert answer.status_code == 422 and "event_time.0" in answer.text


def test_half_a_character_in_a_name_is_refused_like_any_other(world):
    declared(world)
    said = (
        r'{"predictions": [{"id": "p", "event_time": "1970-01-01T00:00:00Z", "score": 0.5, "features": {"\ud800": 1}}]}'
    )
    answer = world.api.post(EVENTS, content=said, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
