"""How sure an improvement is: a paired bootstrap.

Rows are drawn with replacement, each with its label and both scores, and the metric's improvement is computed on every
draw. A bound at a confidence is one-sided: a challenger that is no better has a lower bound above nothing in about
1 - confidence of the cases.

Reference: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapters 8 and 13.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from controlplane.promotion.gate.metrics import METRICS
from observability.monitors.errors.weighted import Floats
from pipeline.contract.promotionspec import Gate
from pipeline.contract.rulespec import HIGHER_IS_BETTER, GateMetric

#: weights held in memory at once
CELLS: Final = 2_000_000
#: draws in which the metric must be defined, as a share
DEFINED_SHARE: Final = 0.5


@dataclass(frozen=True)
class GateRows:
    """The rows that are judged; `champion` is None where there is none."""

    labels: Floats
    challenger: Floats
    champion: Floats | None
    #: by feature, the value of each row
    slices: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, these: npt.NDArray[np.bool_]) -> GateRows:
        """Only these rows."""
        champion = None if self.champion is None else self.champion[these]
        return GateRows(self.labels[these], self.challenger[these], champion)


@dataclass(frozen=True)
class Improvement:
    """The challenger's gain, signed so that more is better, with its bounds."""

    challenger: float
    other: float
    difference: float
    lower: float
    upper: float


def measure(gate: Gate, rows: GateRows, run_key: str) -> Improvement | None:
    """The improvement on the gate's own metric."""
    return improvement(gate.metric, rows, gate.confidence, gate.resamples, run_key)


def improvement(
    metric_name: GateMetric, rows: GateRows, confidence: float, resamples: int, seed: str
) -> Improvement | None:
    """The improvement and its bounds; None where the metric is undefined on the rows or on most draws.

    Without a champion the other side is the best constant answer to these very rows, which knows their share
    of positives. The same rows and seed give the same bounds.
    """
    labels, challenger = rows.labels, rows.challenger
    if not len(labels):
        return None
    other = rows.champion if rows.champion is not None else np.full(len(labels), labels.mean())
    metric, sign = METRICS[metric_name], 1.0 if HIGHER_IS_BETTER[metric_name] else -1.0
    whole = np.ones((1, len(labels)))
    ours, theirs = metric(whole, labels, challenger)[0], metric(whole, labels, other)[0]
    differences = np.concatenate(
        [
            sign * (metric(weights, labels, challenger) - metric(weights, labels, other))
            for weights in draws(len(labels), resamples, seed)
        ]
    )
    differences = differences[np.isfinite(differences)]
    if not np.isfinite(ours - theirs) or len(differences) < DEFINED_SHARE * resamples:
        return None
    lower, upper = np.quantile(differences, [1 - confidence, confidence])
    return Improvement(float(ours), float(theirs), float(sign * (ours - theirs)), float(lower), float(upper))


def draws(rows: int, resamples: int, seed: str) -> Iterator[Floats]:
    """Bootstrap weights in blocks: how often each row was drawn, for each draw."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]))
    block = max(1, CELLS // rows)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(0, rows, (size, rows)) + rows * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)
