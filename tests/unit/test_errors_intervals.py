"""An interval of an error metric holds the truth about as often as it says, with few rows too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from observability.monitors.errors import weighted
from observability.monitors.errors.intervals import auc_interval, class_intervals, number_intervals, share_interval
from observability.monitors.errors.metrics import Answered, decisions, number_metrics, weighted_metrics
from observability.monitors.settings import CostMatrix
from observability.monitors.verdicts import ErrorMetrics

DEAR = CostMatrix(true_positive=-2, false_positive=1, false_negative=20)
World = Callable[[np.random.Generator, int], Answered]


def calibrated(rng: np.random.Generator, rows: int) -> Answered:
    """Scores that are the probabilities."""
    scores = rng.beta(1, 3, rows)
    return Answered((rng.random(rows) < scores).astype(float), scores, decisions(scores, 0.5))


def overconfident(rng: np.random.Generator, rows: int) -> Answered:
    """Scores that are too sure: some losses are many times the others."""
    leaning = rng.normal(-1, 1.5, rows)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-leaning))).astype(float)
    scores = 1 / (1 + np.exp(-2.5 * leaning))
    return Answered(labels, scores, decisions(scores, 0.5))


def values_of(rows: Answered) -> ErrorMetrics:
    told = weighted_metrics(np.ones((1, len(rows))), rows, DEAR)
    return ErrorMetrics(**{name: float(value[0]) for name, value in told.items() if np.isfinite(value[0])})


def coverage(world: World, rows: int, times: int) -> Mapping[str, tuple[float, int]]:
    """How often each metric's interval holds the truth, and of how many."""
    truth = values_of(world(np.random.default_rng(0), 500_000)).model_dump(exclude_none=True)
    rng, held, told = np.random.default_rng(41), Counter[str](), Counter[str]()
    for number in range(times):
        seen = world(rng, rows)
        found = class_intervals(seen, values_of(seen), DEAR, 0.95, np.random.default_rng(number))
        told.update(found.keys())
        held.update(name for name, each in found.items() if each.low <= truth[name] <= each.high)
    return {name: (held[name] / told[name], told[name]) for name in told}


@pytest.mark.parametrize("world", [calibrated, overconfident])
@pytest.mark.parametrize(("rows", "times"), [(30, 400), (100, 200), (1_000, 60)])
def test_intervals_hold_the_truth_as_often_as_they_say(world: World, rows: int, times: int):
    found = coverage(world, rows, times)
    assert set(found) == set(ErrorMetrics.model_fields) - {"mae", "rmse", "bias"}
    chance = 3 * (0.95 * 0.05 / times) ** 0.5
    for name, (share, told) in found.items():
        assert told > 0.95 * times, name
        assert 0.95 - chance - 0.01 <= share, (name, share)
    for name in ("error", "roc_auc", "log_loss"):
        assert found[name][0] <= 0.95 + chance + 0.03, "an interval that is much too wide says nothing"


@pytest.mark.parametrize("rows", [30, 300])
def test_intervals_of_predicted_numbers_hold_the_truth_though_errors_are_skewed(rows: int):
    rng, times, held = np.random.default_rng(5), 150, Counter[str]()
    truth = {"mae": 1.0, "rmse": 2**0.5, "bias": 1.0}  # errors are exponential
    for number in range(times):
        labels = rng.normal(size=rows)
        seen = Answered(labels, labels + rng.exponential(size=rows), np.full(rows, np.nan))
        found = number_intervals(seen, 0.95, np.random.default_rng(number))
        held.update(name for name, each in found.items() if each.low <= truth[name] <= each.high)
    assert min(held[name] for name in truth) / times >= 0.95 - 3 * (0.95 * 0.05 / times) ** 0.5 - 0.02


def test_a_ranking_without_a_mistake_in_few_rows_is_not_taken_for_a_perfect_one():
    labels = np.array([0.0] * 20 + [1.0] * 5)
    found = auc_interval(labels, np.linspace(0, 1, 25), 0.95)
    assert found is not None and found.high == 1 and 0.5 < found.low < 0.9


def test_no_wrong_answer_in_few_rows_still_leaves_room_for_some():
    found = share_interval(0, 30, 0.95)
    assert found is not None and found.low == 0 and found.high == pytest.approx(0.1135, abs=1e-4)
    assert share_interval(0, 0, 0.95) is None


def test_a_dear_kind_of_answer_that_did_not_occur_may_still_do():
    rows = Answered(np.zeros(50), np.full(50, 0.1), np.zeros(50))
    found = class_intervals(rows, values_of(rows), DEAR, 0.95, np.random.default_rng(0))
    assert found["cost"].high > 0.5, "one false negative in 50 would cost 0.4 a prediction"


def test_of_a_class_that_was_not_seen_nobody_knows_how_wrong_the_scores_are():
    rows = Answered(np.zeros(100), np.linspace(0.01, 0.2, 100), np.zeros(100))
    found = class_intervals(rows, values_of(rows), CostMatrix(), 0.95, np.random.default_rng(0))
    assert set(found) == {"error", "cost", "calibration_error"}


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0]), st.integers(0, 6), st.integers(0, 3)), min_size=4, max_size=40
    ).filter(lambda rows: {label for label, _, times in rows if times} == {0.0, 1.0})
)
def test_weights_count_as_rows_that_come_as_often(rows):
    labels, steps, times = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    scores = steps / 6
    again = times.astype(int)
    many, said = np.repeat(labels, again), np.repeat(scores, again)
    assert weighted.roc_auc(times[None], labels, scores)[0] == pytest.approx(roc_auc_score(many, said))
    assert weighted.pr_auc(times[None], labels, scores)[0] == pytest.approx(average_precision_score(many, said))
    told = weighted_metrics(times[None], Answered(labels, scores, decisions(scores, 0.5)), CostMatrix())
    assert told["log_loss"][0] == pytest.approx(log_loss(many, said, labels=[0, 1]))
    assert told["brier"][0] == pytest.approx(brier_score_loss(many, said))
    assert told["cost"][0] == pytest.approx(np.mean(many != (said > 0.5)))


def test_errors_of_predicted_numbers_are_right():
    rows = Answered(np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 1.0]), np.full(3, np.nan))
    told = number_metrics(rows)
    assert (told.mae, told.bias) == pytest.approx((4 / 3, -2 / 3)) and told.rmse == pytest.approx((10 / 3) ** 0.5)
