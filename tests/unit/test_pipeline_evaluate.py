"""Error metrics: right on known cases, silent where they are undefined."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluate import calibration_error, constant_metrics, metrics_of

LABELS = np.array([0, 0, 1, 1])


def test_a_perfect_order_has_an_auc_of_one():
    metrics = metrics_of(LABELS, np.array([0.1, 0.4, 0.6, 0.9]))

    assert metrics["roc_auc"] == 1.0
    assert metrics["pr_auc"] == 1.0
    assert metrics["error"] == 0.0
    assert metrics["brier"] == pytest.approx((0.01 + 0.16 + 0.16 + 0.01) / 4)


def test_a_score_at_the_threshold_answers_zero():
    assert metrics_of(LABELS, np.array([0.5, 0.4, 0.6, 0.5]))["error"] == 0.25


def test_the_constant_answer_is_the_fitted_share():
    constant = constant_metrics(np.array([0, 0, 0, 1]), LABELS)

    assert constant["roc_auc"] == 0.5
    assert constant["error"] == 0.5
    assert constant["calibration_error"] == pytest.approx(0.25)


def test_one_class_leaves_ranking_metrics_out():
    metrics = metrics_of(np.zeros(4, dtype=np.int64), np.array([0.1, 0.2, 0.3, 0.4]))

    assert set(metrics) == {"log_loss", "error", "brier", "calibration_error"}


def test_certain_and_wrong_is_a_finite_loss():
    assert np.isfinite(metrics_of(LABELS, np.array([1.0, 0.0, 0.0, 1.0]))["log_loss"])


def test_calibration_is_perfect_where_scores_are_frequencies():
    scores = np.repeat([0.25, 0.75], 4)
    labels = np.array([1, 0, 0, 0, 1, 1, 1, 0])

    assert calibration_error(labels, scores) == 0.0
