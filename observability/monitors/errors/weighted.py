"""Error metrics on many weightings of the same rows at once.

Drawing rows is giving them weights, and so is counting each for those whose labels have not come: one sort serves all.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: of the expected calibration error, of equal width
BINS: Final = 10


def mean(weights: Floats, losses: Floats) -> Floats:
    """The mean loss by each weighting (weightings x rows); NaN where nothing has a weight."""
    return _ratio(weights @ losses, weights.sum(axis=1))


def roc_auc(weights: Floats, labels: Floats, scores: Floats) -> Floats:
    """Area under the ROC curve: positives times the negatives below them, ties half; NaN where a class lacks.

    >>> roc_auc(np.ones((1, 4)), np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.4, 0.35, 0.8]))
    array([0.75])
    """
    positives, negatives = _by_score(weights, labels, scores, descending=False)
    below = np.cumsum(negatives, axis=1) - negatives
    won = (positives * (below + negatives / 2)).sum(axis=1)
    return _ratio(won, positives.sum(axis=1) * negatives.sum(axis=1))


def pr_auc(weights: Floats, labels: Floats, scores: Floats) -> Floats:
    """Average precision: precision at each score, weighted by the recall gained there; NaN without positives."""
    positives, negatives = _by_score(weights, labels, scores, descending=True)
    found = np.cumsum(positives, axis=1)
    answered = found + np.cumsum(negatives, axis=1)
    precision = np.divide(found, answered, out=np.zeros_like(found), where=answered > 0)
    return _ratio((positives * precision).sum(axis=1), positives.sum(axis=1))


def calibration_error(weights: Floats, labels: Floats, scores: Floats) -> Floats:
    """Expected calibration error: the mean gap between score and frequency over bins of equal width.

    >>> calibration_error(np.ones((1, 2)), np.array([0.0, 1.0]), np.array([0.25, 0.75]))
    array([0.25])
    """
    return _ratio(np.abs(weights @ in_bins(scores - labels, scores)).sum(axis=1), weights.sum(axis=1))


def in_bins(values: Floats, scores: Floats) -> Floats:
    """The values (rows x bins), each in the bin of its score."""
    found = np.zeros((len(scores), BINS))
    found[np.arange(len(scores)), np.minimum((scores * BINS).astype(np.int64), BINS - 1)] = values
    return found


def drawn(rows: int, draws: int, rng: np.random.Generator) -> Floats:
    """Bootstrap weights (draws x rows): how often each row was drawn."""
    picked = rng.integers(0, rows, (draws, rows)) + rows * np.arange(draws)[:, None]
    return np.bincount(picked.ravel(), minlength=draws * rows).reshape(draws, rows).astype(np.float64)


def _by_score(weights: Floats, labels: Floats, scores: Floats, *, descending: bool) -> tuple[Floats, Floats]:
    """Weight of positives and of negatives at each distinct score, in order."""
    order = np.argsort(-scores if descending else scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    in_order = weights[:, order]
    positives = np.add.reduceat(in_order * labels[order], starts, axis=1)
    return positives, np.add.reduceat(in_order, starts, axis=1) - positives


def _ratio(value: Floats, of: Floats) -> Floats:
    return np.divide(value, of, out=np.full_like(value, np.nan), where=of > 0)
