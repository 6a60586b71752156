"""What is said of a window's errors, and what is said where they cannot be told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bundle.signature import Feature, RawField, Signature, Task
from observability.monitors.case import Case
from observability.monitors.errors import verdict as verdicts
from observability.monitors.errors.verdict import judge_errors
from observability.monitors.reference import Reference
from observability.monitors.settings import CostMatrix, ErrorSettings, MonitorSettings
from observability.monitors.verdicts import ErrorMetrics, ErrorVerdict
from observability.ports import Sample
from pipeline.contract.rulespec import HIGHER_IS_BETTER, METRICS_OF

RNG = np.random.default_rng(17)
SCORES = RNG.random(400)
LABELS = (RNG.random(400) < SCORES).astype(float)
NOWHERE = np.full(400, np.nan)


def signature(task: Task) -> Signature:
    raw, features = (RawField(name="x", type="number"),), (Feature(name="x", type="numeric"),)
    return Signature(model="shop/fraud", task=task, raw=raw, features=features, label="y")


def judged(task: Task = "binary", errors: ErrorSettings | None = None, min_labels=100, **columns: Any) -> ErrorVerdict:
    """Of a frame with these columns beside the usual ones; one that is None lacks."""
    given = {"label": LABELS, "score": SCORES, "prediction": (SCORES > 0.5).astype(float)} | columns
    frame = pd.DataFrame({name: column for name, column in given.items() if column is not None})
    reference = Reference(pd.DataFrame(), SCORES[:200], LABELS[:200])
    settings = MonitorSettings(min_labels=min_labels, errors=errors or ErrorSettings())
    sample = Sample(frame, len(frame), 0)
    return judge_errors(Case("w", sample, reference, signature(task), settings, settled=True))


def test_every_metric_of_a_classifier_comes_with_an_interval_around_it():
    told = judged()
    values = told.metrics.model_dump(exclude_none=True)
    assert set(values) == set(METRICS_OF["binary"]) == set(told.intervals) and told.reason is None
    assert all(each.low <= values[name] <= each.high for name, each in told.intervals.items())
    assert told.reference.log_loss == pytest.approx(told.metrics.log_loss, abs=0.1)


def test_every_metric_of_a_regression_comes_with_an_interval_around_it():
    labels = RNG.normal(size=400)
    told = judged("regression", label=labels, score=labels + RNG.normal(0.5, 1, 400), prediction=None)
    values = told.metrics.model_dump(exclude_none=True)
    assert set(values) == set(METRICS_OF["regression"]) == set(told.intervals) and told.reason is None
    assert values["bias"] == pytest.approx(0.5, abs=0.15) and told.intervals["bias"].low > 0.3
    assert told.reference.mae == pytest.approx(np.abs(SCORES[:200] - LABELS[:200]).mean())


def test_a_number_beyond_all_measure_is_left_out():
    labels = np.where(np.arange(400) == 0, -1e300, LABELS)
    told = judged("regression", label=labels, score=np.where(np.arange(400) == 1, 1e300, SCORES))
    assert told.labelled == 398 and told.metrics.rmse is not None and told.metrics.rmse < 1


def test_the_same_case_is_told_the_same_and_a_lower_confidence_more_narrowly():
    assert judged() == judged()
    narrow = judged(errors=ErrorSettings(confidence=0.6))
    wide = judged()
    for name, each in narrow.intervals.items():
        assert each.high - each.low < wide.intervals[name].high - wide.intervals[name].low


def test_a_wrong_answer_costs_what_the_matrix_says():
    costs = CostMatrix(true_positive=-1, false_positive=2, false_negative=10, true_negative=0.5)
    labels = np.repeat([1.0, 0.0, 1.0, 0.0], 100)
    told = judged(errors=ErrorSettings(costs=costs), label=labels, prediction=np.repeat([1.0, 1.0, 0.0, 0.0], 100))
    assert told.metrics.cost == pytest.approx((-1 + 2 + 10 + 0.5) / 4) and told.metrics.error == 0.5


def test_a_model_that_only_answers_is_judged_by_its_answers():
    told = judged(score=NOWHERE)
    assert set(told.metrics.model_dump(exclude_none=True)) == {"error", "cost"} == set(told.intervals)
    assert told.reason and "no labelled row has a score" in told.reason


def test_a_model_that_only_scores_answers_by_its_threshold():
    assert judged(prediction=None).metrics == judged().metrics == judged(prediction=NOWHERE).metrics


def test_scores_that_are_no_probabilities_rank_all_the_same():
    told = judged(score=SCORES * 40 - 20)
    assert told.metrics.roc_auc == pytest.approx(judged().metrics.roc_auc)
    assert told.metrics.log_loss is told.metrics.brier is told.metrics.calibration_error is None
    assert told.reason and "no probabilities" in told.reason


def test_rows_without_a_score_are_told_and_hide_nothing_of_the_others():
    told = judged(score=np.where(np.arange(400) < 50, np.nan, SCORES))
    assert told.labelled == 400 and told.metrics.roc_auc is not None
    assert told.reason and "50 of 400 labelled rows have no score" in told.reason


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_labels_of_one_class_leave_what_ranking_does_not_need(label: float):
    told = judged(label=np.full(400, label))
    assert told.metrics.roc_auc is None and told.metrics.error is not None and told.metrics.log_loss is not None
    assert told.reason and "all labels are of one class" in told.reason


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize(
    "columns",
    [
        {"label": NOWHERE},
        {"label": None},
        {"score": NOWHERE, "prediction": NOWHERE},
        {"score": None, "prediction": None},
        {"label": np.array(["?"] * 400)},
        {"label": LABELS[:0], "score": SCORES[:0], "prediction": SCORES[:0]},
        {"label": np.full(400, np.inf)},
    ],
)
def test_where_nothing_is_known_it_is_said_why(task: Task, columns: dict[str, Any]):
    told = judged(task, **columns)
    assert (told.labelled, told.metrics, told.intervals) == (0, ErrorMetrics(), {})
    assert told.reason == "0 labels, 100 are needed"


def test_few_labels_are_judged_where_few_are_asked_for():
    few = np.where(np.arange(400) < 12, LABELS, np.nan)
    assert judged(label=few).reason == "12 labels, 100 are needed"
    told = judged(label=few, min_labels=10)
    assert told.labelled == 12 and told.intervals["error"].high - told.intervals["error"].low > 0.3


def test_a_reference_without_labels_says_nothing_and_raises_nothing():
    for reference in (
        Reference(pd.DataFrame(), np.array([]), np.array([])),
        Reference(pd.DataFrame(), SCORES, NOWHERE),
    ):
        frame = pd.DataFrame({"label": LABELS, "score": SCORES, "prediction": 1})
        told = judge_errors(Case("w", Sample(frame, 400, 400), reference, signature("binary")))
        assert told.reference == ErrorMetrics() and told.metrics.error is not None


def test_the_errors_of_a_reference_are_computed_once_for_many_windows(monkeypatch):
    verdicts._reference_metrics.cache_clear()
    calls, metrics = [], verdicts.metrics_of
    monkeypatch.setattr(verdicts, "metrics_of", lambda *given: calls.append(len(given[0])) or metrics(*given))
    for _ in range(3):
        judged()
    assert calls.count(200) == 1 and calls.count(400) == 3


def test_every_metric_of_a_verdict_may_be_a_rules_and_knows_which_side_is_good():
    named = {name for names in METRICS_OF.values() for name in names}
    assert named == set(ErrorMetrics.model_fields) == set(HIGHER_IS_BETTER) | {"bias"}
