"""The gate's error metrics on many draws of the same rows at once, as weightings: the mathematics is the monitors'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from observability.monitors.errors import weighted
from observability.monitors.errors.weighted import Floats
from pipeline.contract.rulespec import GateMetric

#: (draws x rows) weights, labels, scores -> the metric on each draw
WeightedMetric = Callable[[Floats, Floats, Floats], Floats]

THRESHOLD: Final = 0.5


def roc_auc(labels: Floats, scores: Floats) -> float:
    """Area under the ROC curve, ties counted half; NaN where only one class occurs.

    >>> roc_auc(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    return float(weighted.roc_auc(np.ones((1, len(labels))), np.asarray(labels, float), np.asarray(scores, float))[0])


def _mean_of(loss: Callable[[Floats, Floats], Floats]) -> WeightedMetric:
    def on_each(weights: Floats, labels: Floats, scores: Floats) -> Floats:
        return weighted.mean(weights, loss(labels, scores))

    return on_each


def _log_loss(labels: Floats, scores: Floats) -> Floats:
    clipped = np.clip(scores, 1e-7, 1 - 1e-7)
    loss: Floats = -(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped))
    return loss


def _error(labels: Floats, scores: Floats) -> Floats:
    wrong: Floats = ((scores >= THRESHOLD) != (labels >= THRESHOLD)).astype(np.float64)
    return wrong


def _brier(labels: Floats, scores: Floats) -> Floats:
    loss: Floats = (scores - labels) ** 2
    return loss


METRICS: Final[dict[GateMetric, WeightedMetric]] = {
    "roc_auc": weighted.roc_auc,
    "pr_auc": weighted.pr_auc,
    "log_loss": _mean_of(_log_loss),
    "error": _mean_of(_error),
    "brier": _mean_of(_brier),
}


def calibration_error(labels: Floats, scores: Floats) -> float:
    """Expected calibration error: the mean gap between score and frequency over ten bins of equal width.

    >>> calibration_error(np.array([0.0, 1.0]), np.array([0.25, 0.75]))
    0.25
    """
    return float(weighted.calibration_error(np.ones((1, len(scores))), labels, scores)[0])
