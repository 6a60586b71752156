"""The gate: is the challenger better than the champion, on labelled rows that neither has learned from?

A paired bootstrap: rows are drawn with replacement, each with its label and both scores, and the metric's
improvement is computed on every draw. Its lower bound at the spec's confidence is one-sided: a challenger
that is no better passes in about 1 - confidence of the cases. Drawing rows is giving them weights, so one
sort serves all draws.

Reference: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapters 8 and 13.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.contract.promotionspec import Gate
from pipeline.contract.rulespec import HIGHER_IS_BETTER, ErrorMetric

Floats = npt.NDArray[np.float64]
#: (draws x rows) weights, labels, scores -> the metric on each draw
WeightedMetric = Callable[[Floats, Floats, Floats], Floats]

#: weights held in memory at once
CELLS: Final = 2_000_000
THRESHOLD: Final = 0.5
PARITY_TOLERANCE: Final = 1e-5
#: draws in which the metric must be defined, as a share
DEFINED_SHARE: Final = 0.5


class GateReason(StrEnum):
    """Why a challenger passed or did not."""

    PASS_BETTER = "better than the champion"  # noqa: S105 - not a password
    PASS_FIRST = "better than the constant answer, there is no champion"  # noqa: S105
    FAIL_NOT_BETTER = "not shown to be better than the champion"
    FAIL_CONSTANT = "not shown to be better than the constant answer"
    FAIL_FEW_ROWS = "too few rows to tell"
    FAIL_PARITY = "the exported model does not answer as its original"


@dataclass(frozen=True)
class GateRows:
    """The rows that the gate judges; `champion` is None where there is none."""

    labels: Floats
    challenger: Floats
    champion: Floats | None


@dataclass(frozen=True)
class GateVerdict:
    """What the gate says, and the numbers it says it from."""

    passed: bool
    reason: GateReason
    detail: str
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class Improvement:
    """The challenger's gain, signed so that more is better, with its bounds."""

    challenger: float
    other: float
    difference: float
    lower: float
    upper: float


def judge(
    gate: Gate, rows: GateRows, run_key: str, label_mismatches: int = 0, score_difference: float = 0.0
) -> GateVerdict:
    """The verdict on a challenger. The same rows and run key give the same verdict."""
    numbers: dict[str, Any] = {"metric": gate.metric, "rows": len(rows.labels), "margin": gate.margin}
    if label_mismatches or score_difference > PARITY_TOLERANCE:
        detail = f"{label_mismatches} labels differ from the original, scores by up to {score_difference:.2g}"
        return GateVerdict(False, GateReason.FAIL_PARITY, detail, numbers | {"label_mismatches": label_mismatches})
    if len(rows.labels) < gate.min_rows:
        detail = f"{len(rows.labels)} rows, {gate.min_rows} are needed"
        return GateVerdict(False, GateReason.FAIL_FEW_ROWS, detail, numbers | {"min_rows": gate.min_rows})
    improvement = measure(gate, rows, run_key)
    if improvement is None:
        detail = f"nearly all of the {len(rows.labels)} rows have the same label"
        return GateVerdict(False, GateReason.FAIL_FEW_ROWS, detail, numbers)
    return _verdict(gate, improvement, rows.champion is not None, numbers)


def _verdict(gate: Gate, found: Improvement, has_champion: bool, numbers: dict[str, Any]) -> GateVerdict:
    passed = found.lower > gate.margin
    other = "champion" if has_champion else "constant answer"
    detail = (
        f"{gate.metric} {found.challenger:.4f} against {found.other:.4f} of the {other}: better by "
        f"{found.difference:+.4f}, at least {found.lower:+.4f} at {gate.confidence:.0%} confidence, "
        f"margin {gate.margin:g}"
    )
    reasons = {
        (True, True): GateReason.PASS_BETTER,
        (True, False): GateReason.PASS_FIRST,
        (False, True): GateReason.FAIL_NOT_BETTER,
        (False, False): GateReason.FAIL_CONSTANT,
    }
    measured = {
        "challenger": found.challenger,
        "champion": found.other if has_champion else None,
        "constant": None if has_champion else found.other,
        "difference": found.difference,
        "lower": found.lower,
        "upper": found.upper,
        "confidence": gate.confidence,
        "resamples": gate.resamples,
    }
    return GateVerdict(passed, reasons[passed, has_champion], detail, numbers | measured)


def measure(gate: Gate, rows: GateRows, run_key: str) -> Improvement | None:
    """The improvement and its bounds; None where the metric is undefined on the rows or on most draws.

    Without a champion the other side is the best constant answer to these very rows, which knows their share
    of positives.
    """
    labels, challenger = rows.labels, rows.challenger
    other = rows.champion if rows.champion is not None else np.full(len(labels), labels.mean())
    metric, sign = METRICS[gate.metric], 1.0 if HIGHER_IS_BETTER[gate.metric] else -1.0
    whole = np.ones((1, len(labels)))
    ours, theirs = metric(whole, labels, challenger)[0], metric(whole, labels, other)[0]
    differences = np.concatenate(
        [
            sign * (metric(weights, labels, challenger) - metric(weights, labels, other))
            for weights in draws(len(labels), gate.resamples, run_key)
        ]
    )
    differences = differences[np.isfinite(differences)]
    if not np.isfinite(ours - theirs) or len(differences) < DEFINED_SHARE * gate.resamples:
        return None
    lower, upper = np.quantile(differences, [1 - gate.confidence, gate.confidence])
    return Improvement(float(ours), float(theirs), float(sign * (ours - theirs)), float(lower), float(upper))


def draws(rows: int, resamples: int, run_key: str) -> Iterator[Floats]:
    """Bootstrap weights in blocks: how often each row was drawn, for each draw. The run key is the seed."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(run_key.encode()).digest()[:8]))
    block = max(1, CELLS // rows)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(0, rows, (size, rows)) + rows * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)


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


METRICS: Final[dict[ErrorMetric, WeightedMetric]] = {
    "roc_auc": weighted_roc_auc,
    "pr_auc": weighted_pr_auc,
    "log_loss": _mean_of(_log_loss),
    "error": _mean_of(_error),
    "brier": _mean_of(_brier),
}
