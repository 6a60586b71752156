"""How far two columns are apart, and how much of that a supposed fault explains.

The distance is the triangular one, half the sum of (p - q)^2 / (p + q) over the bins: 0 for equal shares, 1 where no
bin is shared, and of two samples of one population about (bins - 1) / 4 x (1/n + 1/m), which is taken off
(Topsoe 2000, Some inequalities for information divergence).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from observability.monitors.triage.columns import Column, Numbers

#: shares of the rows that a fault may have changed
_SHARES: Final = np.linspace(0, 1, 51)[1:]


@dataclass(frozen=True)
class Fit:
    """A column before and after a supposed fault is undone; distances beyond what chance gives, never negative."""

    before: float
    after: float
    #: of the rows, those that the fault changed
    share: float

    @property
    def explained(self) -> float:
        return 1 - self.after / self.before if self.before > 0 else 0.0

    @property
    def gain(self) -> float:
        return self.before - self.after


def distance(now: Numbers, then: Numbers) -> float:
    """Of two arrays of shares over the same bins.

    >>> distance(np.array([0.5, 0.5]), np.array([0.5, 0.5])), distance(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    (0.0, 1.0)
    """
    total = now + then
    seen = total > 0
    return float(np.sum((now[seen] - then[seen]) ** 2 / total[seen]) / 2)


def chance(column: Column, overdispersion: float = 1.0) -> float:
    """What the distance of the column's two samples would be if nothing had changed."""
    bins = int(np.count_nonzero(column.shares_now + column.shares_then))
    return (bins - 1) / 4 * _scale(column) * overdispersion


def tolerance(column: Column, overdispersion: float = 1.0) -> float:
    """Two distances of the column that differ by less are equally good: a standard deviation of what chance adds."""
    bins = int(np.count_nonzero(column.shares_now + column.shares_then))
    return float(np.sqrt(2 * max(bins - 1, 1)) / 4 * _scale(column) * overdispersion)


def beyond(column: Column, overdispersion: float = 1.0) -> float:
    """How far the column is from the reference, beyond chance."""
    return max(distance(column.shares_now, column.shares_then) - chance(column, overdispersion), 0.0)


def is_apart(column: Column, overdispersion: float = 1.0, level: float = 1e-4) -> bool:
    """Whether chance alone would not put the column as far from the reference."""
    now, then = column.shares_now, column.shares_then
    bins = int(np.count_nonzero(now + then))
    statistic = 4 * distance(now, then) / (_scale(column) * overdispersion)
    return bool(stats.chi2.sf(statistic, max(bins - 1, 1)) < level)


def fit(column: Column, supposed: Numbers, overdispersion: float = 1.0, *, whole: bool = False) -> Fit:
    """How well the reference, with the share of its rows that fits best put to `supposed`, tells the window.

    With `whole` the fault has changed every row or none.
    """
    now, then = column.shares_now, column.shares_then
    noise = chance(column, overdispersion)
    before = max(distance(now, then) - noise, 0.0)
    if whole:
        return Fit(before, max(distance(now, supposed) - noise, 0.0), 1.0)
    mixed = (1 - _SHARES[:, None]) * then + _SHARES[:, None] * supposed
    total = np.maximum(mixed + now, 1e-300)
    apart = ((mixed - now) ** 2 / total).sum(axis=1) / 2
    best = int(np.argmin(apart))
    return Fit(before, max(float(apart[best]) - noise, 0.0), float(_SHARES[best]))


def _scale(column: Column) -> float:
    return 1 / max(len(column.now), 1) + 1 / max(len(column.then), 1)
