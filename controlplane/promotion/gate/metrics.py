"""Error metrics on many draws of the same rows at once: drawing rows is giving them weights, so one sort serves all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.contract.rulespec import GateMetric

Floats = npt.NDArray[np.float64]
#: (draws x rows) weights, labels, scores -> the metric on each draw
WeightedMetric = Callable[[Floats, Floats, Floats], Floats]

THRESHOLD: Final = 0.5
_BINS: Final = 10


def roc_auc(labels: Floats, scores: Floats) -> float:
    """Area under the ROC curve, ties counted half; NaN where only one class occurs.

    >>> roc_auc(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    return float(weighted_roc_auc(np.ones((1, len(labels))), np.asarray(labels, float), np.asarray(scores, float))[0])


def weighted_roc_auc(weights: Floats, labels: Floats, scores: Floats) -> Floats:
    """The area for each draw: positives times the negatives below them, ties half."""
    positives, negatives = _by_score(weights, labels, scores, descending=False)
    below = np.cumsum(negatives, axis=1) - negatives
    won = (positives * (below + negatives / 2)).sum(axis=1)
    return _ratio(won, positives.sum(axis=1) * negatives.sum(axis=1))


def weighted_pr_auc(weights: Floats, labels: Floats, scores: Floats) -> Floats:
    """Average precision for each draw: precision at each score, weighted by the recall gained there."""
    positives, negatives = _by_score(weights, labels, scores, descending=True)
    found = np.cumsum(positives, axis=1)
    answered = found + np.cumsum(negatives, axis=1)
    precision = np.divide(found, answered, out=np.zeros_like(found), where=answered > 0)
    return _ratio((positives * precision).sum(axis=1), positives.sum(axis=1))


def _by_score(weights: Floats, labels: Floats, scores: Floats, *, descending: bool) -> tuple[Floats, Floats]:
    """Weight of positives and of negatives at each distinct score, in order."""
    order = np.argsort(-scores if descending else scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sorted_weights = weights[:, order]
    positives = np.add.reduceat(sorted_weights * labels[order], starts, axis=1)
    return positives, np.add.reduceat(sorted_weights, starts, axis=1) - positives


def _ratio(value: Floats, of: Floats) -> Floats:
    return np.divide(value, of, out=np.full_like(value, np.nan), where=of > 0)


def _mean_of(loss: Callable[[Floats, Floats], Floats]) -> WeightedMetric:
    def weighted(weights: Floats, labels: Floats, scores: Floats) -> Floats:
        mean: Floats = weights @ loss(labels, scores) / weights.sum(axis=1)
        return mean

    return weighted


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
    "roc_auc": weighted_roc_auc,
    "pr_auc": weighted_pr_auc,
    "log_loss": _mean_of(_log_loss),
    "error": _mean_of(_error),
    "brier": _mean_of(_brier),
}


def calibration_error(labels: Floats, scores: Floats) -> float:
    """Expected calibration error: the mean gap between score and frequency over ten bins of equal width.

    >>> calibration_error(np.array([0.0, 1.0]), np.array([0.25, 0.75]))
    0.25
    """
    bins = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, scores - labels, _BINS) / len(labels)
    return float(np.abs(gaps).sum())
