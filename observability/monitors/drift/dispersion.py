"""What spans of the past do to a column, from its counts in each of them, and what that does to a test's statistic.

Counts are of blocks by cells. A test sums squares over what cells can do (its directions): of categories each alike,
of a number's ordered bins as Anderson and Darling do, location with weight 1/2, scale 1/6, the next 1/12 and so on.
By chance each square is one chi-square; what blocks have in common adds a variance to it.
"""

from __future__ import annotations

from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.special import chdtrc, chdtri

from bundle.signature import Frozen

Table = npt.NDArray[np.float64]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

#: blocks with rows, at least
_LEAST_BLOCKS: Final = 4
#: of fewer blocks no break can be told
_BREAKABLE: Final = 16
#: expected rows of a cell, at least
_CELL: Final = 5.0
#: blocks are compared so far apart, where that is a sixteenth of them at most
_FARTHEST: Final = 7
#: of the test whether there is over-dispersion
_LEVEL: Final = 0.01
#: where the tails of statistics are made equal: levels that are corrected over columns lie around it
_TAIL: Final = 1e-4


class Spread(Frozen):
    """What spans of one length do to a column: the variance that they add to a test's statistic, over chance's."""

    #: whether the cells are the bins of a number
    ordered: bool
    #: cells less one
    cells: int = Field(ge=1, le=1000)
    #: the trace of the covariance between spans, in the test's weights, for one row
    variance: Positive
    #: the trace of its square: as large as the square of the trace where spans move the column in one way only
    squares: Positive

    def factor(self, rows: float) -> float:
        """By what to divide the statistic of a test over so many rows (harmonic, n m / (n + m)), that it has its level.

        >>> share = Spread(ordered=False, cells=1, variance=0.01, squares=0.0001)
        >>> round(share.factor(100), 3), round(share.factor(1000), 3)
        (2.0, 11.0)
        """
        weights = weights_of(self.cells, self.ordered)
        first, second, heaviest = rows * self.variance, rows**2 * self.squares, float(weights[0])
        alone = float(weights.sum()), float(np.sum(weights**2)), float(np.sum(weights**3))
        with_spans = (
            alone[0] + first,
            alone[1] + 2 * heaviest * first + second,
            alone[2] + 3 * heaviest**2 * first + 3 * heaviest * second + second**2 / first,
        )
        return max(1.0, _quantile(*with_spans) / _quantile(*alone))


def spread_of(table: Table, ordered: bool) -> Spread | None:
    """What the blocks, in time order, add to a column's variance; None where chance explains it."""
    table = _filled(table[table.sum(axis=1) > 0])
    if len(table) < _LEAST_BLOCKS or table.shape[1] < 2:
        return None
    rows, share = table.sum(axis=1), table.sum(axis=0) / table.sum()
    # by direction, the blocks' shares such that those of one row have the variance 1 by chance
    shares = (table / rows[:, None] / np.sqrt(share)) @ _directions(share, ordered)
    cells = shares.shape[1]
    near = _unbroken(shares * np.sqrt(weights_of(cells, ordered)), _near(rows))
    differences, by_chance = _differences(shares, near), _by_chance(rows, near)
    parts = [part for part in ([0], [1], list(range(2, cells))) if part and part[-1] < cells]
    moved = [k for part in parts if _significant(differences[part], by_chance, _LEVEL / len(parts)) for k in part]
    if not moved:
        return None
    weights = weights_of(cells, ordered)[moved]
    variances = (differences[moved] - np.trace(by_chance)) / near.sum()
    variance = float(weights @ variances)
    if variance <= 0:
        return None
    squares = _squares(shares[:, moved] * np.sqrt(weights), rows, weights, variances)
    return Spread(ordered=ordered, cells=cells, variance=variance, squares=squares)


def weights_of(cells: int, ordered: bool) -> Table:
    """How much each direction counts in the test's statistic, the heaviest first."""
    place = np.arange(1.0, cells + 1)
    return 1 / (place * (place + 1)) if ordered else np.ones(cells)


def _quantile(first: float, second: float, third: float) -> float:
    """What a sum of weighted chi-squares exceeds so seldom, from the sums of its weights, their squares and cubes.

    By a shifted multiple of one chi-square with the same mean, variance and skewness (Buckley and Eagleson 1988).
    """
    freedom = second**3 / third**2
    return float(first + np.sqrt(second / freedom) * (chdtri(freedom, _TAIL) - freedom))


def _filled(table: Table) -> Table:
    """Cells of too few rows to a block, made one."""
    if not len(table):
        return table
    full = table.mean(axis=0) >= _CELL
    rest, kept = table[:, ~full].sum(axis=1), table[:, full]
    if rest.mean() >= _CELL:
        return np.column_stack([kept, rest])
    if rest.any() and kept.shape[1]:
        kept[:, kept.mean(axis=0).argmin()] += rest
    return kept


def _directions(share: Table, ordered: bool) -> Table:
    """An orthonormal basis of what cells can do: location, scale and so on, or the most frequent categories by turn."""
    cells = len(share)
    place = np.cumsum(share) - share / 2
    scores = np.vander(place, min(cells, 10), increasing=True)[:, 1:] if ordered else np.eye(cells)
    basis = np.column_stack([np.ones(cells), scores, np.eye(cells)]) * np.sqrt(share)[:, None]
    return np.linalg.qr(basis)[0][:, 1:]


def _near(rows: Table) -> Table:
    """Which blocks are compared, each pair with the weight of a two-sample test."""
    harmonic = np.multiply.outer(rows, rows) / np.add.outer(rows, rows)
    farthest = min(max(1, len(rows) // 16), _FARTHEST)
    apart = _apart(len(rows))
    return np.where((apart >= 1) & (apart <= farthest), harmonic, 0.0)


def _unbroken(shares: Table, near: Table) -> Table:
    """Without the pairs on either side of one break: a column that changed once does not vary from day to day.

    It is one where those pairs bear most of all that there is. Of so many blocks that vary by themselves none does.
    """
    if len(near) < _BREAKABLE:
        return near
    lengths = np.sum(shares**2, axis=1)
    between = near * (lengths[:, None] + lengths[None, :] - 2 * shares @ shares.T)
    across = np.array([between[:place, place:].sum() for place in range(1, len(near))])
    place = int(across.argmax()) + 1
    if across.max() <= between.sum() / 4:  # it holds each pair twice
        return near
    whole = near.copy()
    whole[:place, place:] = 0
    whole[place:, :place] = 0
    return whole


def _differences(shares: Table, near: Table) -> Table:
    """By direction, the sum of the squared differences of near blocks."""
    laplacian = np.diag(near.sum(axis=1)) - near
    return np.asarray(np.sum(shares * (laplacian @ shares), axis=0))


def _by_chance(rows: Table, near: Table) -> Table:
    """The quadratic form that chance makes of it: its trace is the mean, twice that of its square the variance."""
    return np.asarray((np.diag(near.sum(axis=1)) - near) / rows)


def _significant(differences: Table, by_chance: Table, level: float) -> bool:
    """Whether near blocks differ so much as chance makes them differ so seldom.

    A sum of dependent chi-squares, taken as a multiple of one with the same mean and variance (Satterthwaite).
    """
    freedom = len(differences)
    mean, variance = freedom * np.trace(by_chance), 2 * freedom * np.sum(by_chance * by_chance.T)
    degrees = 2 * mean**2 / variance
    return bool(chdtrc(degrees, differences.sum() / mean * degrees) <= level)


def _squares(shares: Table, rows: Table, weights: Table, variances: Table) -> float:
    """How much of the variance is in one direction, from how alike the steps from block to block are.

    Steps that share no block are independent, so the mean square of their product is the trace of the squared
    covariance; it is taken relative to their lengths, of which each step has its own.
    """
    harmonic = rows[1:] * rows[:-1] / (rows[1:] + rows[:-1])
    steps = np.diff(shares, axis=0) * np.sqrt(harmonic)[:, None]
    products, lengths = (steps @ steps.T) ** 2, np.sum(steps**2, axis=1)
    apart = _apart(len(steps)) >= 2
    alike = float(products[apart].sum() / np.multiply.outer(lengths, lengths)[apart].sum())
    double, variance = 2 * float(harmonic.mean()), float(weights @ variances)
    by_chance = float(np.sum(weights**2) + 2 * double * np.sum(weights**2 * variances))
    squares = (alike * (float(weights.sum()) + double * variance) ** 2 - by_chance) / double**2
    return float(np.clip(squares, variance**2 / len(weights), variance**2))


def _apart(count: int) -> npt.NDArray[np.int64]:
    return np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
