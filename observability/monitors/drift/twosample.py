"""Tests of whether two samples are of one distribution, for the sizes of both: counts go in, a p-value comes out.

Each is conditional on the pooled counts: if nothing changed, the pooled rows were dealt to the two samples by chance,
so the counts of one are (multivariate) hypergeometric. Nothing is assumed of the distribution, and the reference is a
sample as the window is. `stretch` is how much more the column varies between spans than chance explains: a test's
statistic is divided by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

Floats: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.int64]

#: outcomes further from the mean than this have a chance that no double holds
_DEVIATIONS: Final = 14.0
#: unseen rows: of fewer than this, on average, the curve through the moments cannot be computed
_NEXT_TO_NONE: Final = 1e-9


@dataclass(frozen=True)
class Difference:
    """What a test says of two samples."""

    p_value: float
    #: in standard deviations of a shift of the mean that would be as far; what chance adds is taken off
    effect: float
    #: chances of the p-values that can come out, for a test with few outcomes; None where all of [0, 1] can
    outcomes: tuple[Floats, Floats] | None = None
    #: the chance that it finds anything at all
    reach: float = 1.0

    def chance(self, p_value: float) -> float:
        """How often the p-value is this small or smaller with nothing the matter."""
        if p_value >= 1:
            return 1.0
        if self.outcomes is None:
            return min(p_value, self.reach)
        values, chances = self.outcomes
        return float(chances[values <= p_value * (1 + 1e-9)].sum())


def compare_shares(now: int, rows: int, then: int, rows_then: int, stretch: float = 1.0) -> Difference:
    """Whether a thing is as frequent in both samples: exact, two-sided, with the mid-p-value.

    >>> found = compare_shares(60, 500, 80, 1000)
    >>> round(found.p_value, 3), round(found.effect, 2)
    (0.013, 0.12)
    """
    both, total = now + then, rows + rows_then
    if both in (0, total) or not rows or not rows_then:
        return Difference(1.0, 0.0, reach=0.0)
    mean = both * rows / total
    spread = _DEVIATIONS * np.sqrt(mean * (1 - both / total) * rows_then / (total - 1)) + 40
    low = max(0, both - rows_then, int(mean - spread))
    outcomes = np.arange(low, min(rows, both, int(mean + spread)) + 1)
    chances = np.exp(
        _log_choose(both, outcomes) + _log_choose(total - both, rows - outcomes) - _log_choose(total, rows)
    )
    # whole numbers: two outcomes that are as far from the mean, on either side, must be equal
    distinct, place = np.unique(np.abs(outcomes * total - both * rows), return_inverse=True)
    of_distance = np.bincount(place, weights=chances)
    beyond = of_distance[::-1].cumsum()[::-1]
    p_values = (beyond - of_distance / 2)[place]
    distance = abs(now * total - both * rows) / float(np.sqrt(stretch))
    further, as_far = distinct > distance, distinct == distance
    p_value = float(of_distance[further].sum() + of_distance[as_far].sum() / 2)
    shares = np.array([now / rows, then / rows_then])
    balanced = float(shares.mean())
    square = float(np.diff(shares)[0]) ** 2 / (balanced * (1 - balanced))
    return Difference(p_value, _effect(square, stretch * total / (rows * rows_then)), (p_values, chances))


def compare_graded(now: Counts, then: Counts, stretch: float = 1.0) -> Difference:
    """Whether counts over ordered bins are of one distribution: the Anderson-Darling distance of its two samples.

    Over each cut between bins it sums the likelihood ratio of the two shares below, weighed by the rows about the cut.
    Ratios instead of squares keep the tail right to chances of one in 100,000 where bins hold few rows.

    >>> found = compare_graded(np.array([40, 30, 20, 10]), np.array([250, 250, 250, 250]))
    >>> round(found.p_value, 6), round(found.effect, 2)
    (1.9e-05, 0.44)
    """
    if len(now) < 3:
        return _compare_two(now, then, stretch)
    rows, rows_then = int(now.sum()), int(then.sum())
    pooled = (now + then) / (rows + rows_then)
    weights = (pooled[:-1] + pooled[1:]) / 2
    # whole counts are summed: shares would not end at exactly 1
    below, below_now, below_then = (np.cumsum(part)[:-1] / part.sum() for part in (now + then, now, then))
    ratios = 2 * (rows * _divergence(below_now, below) + rows_then * _divergence(below_then, below))
    scale = np.sqrt(weights / (below * (1 - below)))
    kernel = (np.minimum.outer(below, below) - np.outer(below, below)) * np.outer(scale, scale)
    eigenvalues = np.linalg.eigvalsh(kernel)[::-1]
    balanced = (below_now + below_then) / 2
    square = float(np.sum(weights * (below_now - below_then) ** 2 / (balanced * (1 - balanced))))
    expected = stretch * float(eigenvalues.sum()) * (1 / rows + 1 / rows_then)
    p_value = weighted_chi_square_tail(eigenvalues, float(weights @ ratios) / stretch)
    return Difference(p_value, _effect(square / eigenvalues[0], expected / eigenvalues[0]))


def compare_nominal(now: Counts, then: Counts, stretch: float = 1.0) -> Difference:
    """Whether counts over bins without an order are of one distribution: the likelihood ratio, by Williams' correction.

    >>> found = compare_nominal(np.array([40, 30, 30]), np.array([250, 250, 500]))
    >>> round(found.p_value, 5), round(found.effect, 2)
    (0.00031, 0.4)
    """
    if len(now) < 3:
        return _compare_two(now, then, stretch)
    rows, rows_then, freedom = int(now.sum()), int(then.sum()), len(now) - 1
    total, pooled = rows + rows_then, now + then
    ratio = 2 * float(
        special.xlogy(now, now * total / (pooled * rows)).sum()
        + special.xlogy(then, then * total / (pooled * rows_then)).sum()
    )
    williams = 1 + (total / rows + total / rows_then - 1) * ((total / pooled).sum() - 1) / (6 * total * freedom)
    shares, shares_then = now / rows, then / rows_then
    square = float(np.sum((shares - shares_then) ** 2 / (shares + shares_then)) * 2)
    p_value = float(stats.chi2.sf(ratio / williams / stretch, freedom))
    return Difference(p_value, _effect(square, stretch * freedom * (1 / rows + 1 / rows_then)))


def compare_unseen(now: Counts, then: Counts, stretch: float = 1.0) -> Difference:
    """Whether more rows are of categories that the reference lacks than chance would deal so; counts by category.

    A category that both samples hold m times together is wholly in the window with the chance C(n, m) / C(n + k, m).
    Mean and variance of the rows of such categories follow exactly, and a Pearson curve of type III goes through them.

    >>> now, then = np.array([450, 30, 20] + [1] * 30), np.array([900, 60, 40] + [0] * 30)
    >>> found = compare_unseen(now, then)
    >>> found.p_value < 1e-9, round(found.effect, 2)
    (True, 0.19)
    """
    rows, rows_then = int(now.sum()), int(then.sum())
    if not rows or not rows_then:
        return Difference(1.0, 0.0, reach=0.0)
    found = int(now[then == 0].sum())
    mean, variance, skew = _moments_of_unseen(now + then, rows, rows_then)
    if mean > _NEXT_TO_NONE and variance <= _NEXT_TO_NONE * mean**2:  # such as a number of its own in each row
        return Difference(1.0, 0.0, reach=0.0)
    reach = min(1.0, mean) if stretch == 1 else 1.0
    if not found:
        return Difference(1.0, 0.0, reach=reach)
    p_value = mean / found  # Markov's bound, which is all that is needed where chance has next to none
    if mean > _NEXT_TO_NONE:
        steps = (found + np.array([-0.5, 0.5]) - mean) / np.sqrt(variance * stretch)
        p_value = float(stats.pearson3.sf(steps, skew).mean())
    share = (found + mean) / 2 / rows
    spread = share * (1 - share)
    square = (max(0.0, found - mean) / rows) ** 2
    effect = _effect(square / spread, variance * stretch / rows**2 / spread) if spread > 0 else 0.0
    return Difference(p_value, effect, reach=reach)


def weighted_chi_square_tail(weights: Floats, value: float) -> float:
    """The chance that a weighted sum of squared standard normals exceeds a value, to 6 % at any depth of the tail.

    By the saddlepoint (Kuonen, Biometrika 1999).

    >>> round(weighted_chi_square_tail(1 / (np.arange(1.0, 64) * np.arange(2, 65)), 2.492), 3)
    0.05
    """
    weights = weights[weights > weights[0] * 1e-12]
    mean = float(weights.sum())
    if value <= 0:
        return 1.0
    if abs(value / mean - 1) < 1e-3:  # there the formula divides zero by zero: take the mean of both sides
        return (weighted_chi_square_tail(weights, mean * 0.998) + weighted_chi_square_tail(weights, mean * 1.002)) / 2
    most = (1 - 1e-12) / (2 * float(weights[0]))
    least = -len(weights) / (2 * value) - 1
    point = float(optimize.brentq(lambda t: float(np.sum(weights / (1 - 2 * t * weights))) - value, least, most))
    shrunk = 1 - 2 * point * weights
    root = np.sign(point) * np.sqrt(2 * point * value + np.log(shrunk).sum())
    slope = point * np.sqrt(2 * np.sum((weights / shrunk) ** 2))
    return float(stats.norm.sf(root + np.log(slope / root) / root))


def _compare_two(now: Counts, then: Counts, stretch: float) -> Difference:
    if len(now) < 2:
        return Difference(1.0, 0.0, reach=0.0)
    return compare_shares(int(now[0]), int(now.sum()), int(then[0]), int(then.sum()), stretch)


def _effect(square: float, expected: float) -> float:
    return float(np.sqrt(max(0.0, square - expected)))


def _divergence(share: Floats, pooled: Floats) -> Floats:
    """Kullback and Leibler's, of two shares."""
    rest = special.xlogy(1 - share, (1 - share) / (1 - pooled))
    return np.asarray(special.xlogy(share, share / pooled) + rest, dtype=np.float64)


def _moments_of_unseen(pooled: Counts, rows: int, rows_then: int) -> tuple[float, float, float]:
    """Mean and variance, exact, and the skewness as of draws with as much less variance than independent ones."""
    size, categories = np.unique(pooled[(pooled > 0) & (pooled <= rows)], return_counts=True)
    wholly = np.exp(_log_wholly(size, rows, rows_then))
    size, categories, wholly = (part[wholly > 1e-30] for part in (size, categories, wholly))
    if not len(size):
        return 0.0, 0.0, 0.0
    mean = float(np.sum(categories * size * wholly))
    alone = categories * size**2 * wholly * (1 - wholly)
    pairs = np.add.outer(size, size)
    logs = _log_wholly(size, rows, rows_then)
    joint = np.exp(np.add.outer(logs, logs)) * np.expm1(_log_wholly(pairs, rows, rows_then) - np.add.outer(logs, logs))
    both = np.outer(categories * size, categories * size) - np.diag(categories * size**2)
    independent = float(alone.sum())
    variance = independent + float(np.sum(both * joint))
    tied = 1 - variance / independent if independent > 0 else 0.0
    third = float(np.sum(categories * size**3.0 * wholly * (1 - wholly) * (1 - 2 * wholly)))
    skew = third * (1 - tied) * (1 - 2 * tied) / variance**1.5 if variance > 0 else 0.0
    return mean, variance, skew


def _log_wholly(size: Counts, rows: int, rows_then: int) -> Floats:
    """Log of the chance that so many given rows are all in the window; summed, as factorials lose too many digits."""
    dealt = np.arange(min(int(size.max(initial=0)), rows))
    logs = np.concatenate([[0.0], np.cumsum(np.log1p(-rows_then / (rows + rows_then - dealt)))])
    return np.where(size <= rows, logs[np.minimum(size, rows)], -np.inf)


def _log_choose(of: int, some: Counts | int) -> Floats:
    return np.asarray(special.gammaln(of + 1) - special.gammaln(some + 1) - special.gammaln(of - some + 1), np.float64)
