"""Error metrics of scores against labels."""

from __future__ import annotations

from typing import Final

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from pipeline.engines.base import Labels, Scores

_BINS: Final = 10
_EDGE: Final = 1e-7


def metrics_of(labels: Labels, scores: Scores, threshold: float = 0.5) -> dict[str, float]:
    """roc_auc, pr_auc, log_loss, error, brier and calibration_error; those that one class leaves undefined are out."""
    metrics = {
        "log_loss": float(log_loss(labels, np.clip(scores, _EDGE, 1 - _EDGE), labels=[0, 1])),
        "error": float(np.mean((scores > threshold) != (labels == 1))),
        "brier": float(brier_score_loss(labels, scores, pos_label=1)),
        "calibration_error": calibration_error(labels, scores),
    }
    if len(np.unique(labels)) == 2:
        metrics["roc_auc"] = float(roc_auc_score(labels, scores))
        metrics["pr_auc"] = float(average_precision_score(labels, scores))
    return metrics


def constant_metrics(train_labels: Labels, labels: Labels) -> dict[str, float]:
    """The metrics of always answering the fitted rows' share of positives: what a model has to beat."""
    return metrics_of(labels, np.full(len(labels), float(np.mean(train_labels))))


def calibration_error(labels: Labels, scores: Scores) -> float:
    """Expected calibration error: the mean gap between score and frequency over ten bins of equal width.

    >>> calibration_error(np.array([0, 1]), np.array([0.25, 0.75]))
    0.25
    """
    bins = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
    gaps = [
        abs(float(np.mean(scores[bins == b]) - np.mean(labels[bins == b]))) * float(np.mean(bins == b))
        for b in np.unique(bins)
    ]
    return float(sum(gaps))
