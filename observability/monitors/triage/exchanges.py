"""What two numeric columns that stand in each other's place exchange, whatever else has moved: gaps, grids, ranges.

A season moves both columns, and then neither looks as the other did. But the rows in which the one is suddenly missing
are those in which the other no longer is, decimals leave the one column for the other, and values come far beyond a
range into that of the other. Each is seen on both sides by the same share of the rows.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from observability.monitors.triage.columns import NumericColumn, Values
from observability.monitors.triage.grids import Grid, on_grid

#: of the rows, that were exchanged, and by how much both sides may differ
_LEAST: Final = 0.08
_DIFFER: Final = 0.05
#: by how much missing shares must differ so that an exchange shows, of the rows, and as a part of the larger side
_GAPS: Final = 0.2
_LEAST_OF_GAPS: Final = 0.2
_DIFFER_OF_GAPS: Final = 0.35
#: of the reference's range, by which a value lies far beyond it; beside these few lie between
_APART: Final = 0.5
_BETWEEN: Final = 0.1
_LEAST_INSIDE: Final = 0.95


def exchanged(one: NumericColumn, other: NumericColumn) -> float | None:
    """The share of rows in which the columns stand in each other's place; None where nothing says that they do."""
    for share in (_gaps(one, other), _decimals(one, other), _decimals(other, one), _ranges(one, other)):
        if share is not None and share >= _LEAST:
            return min(share, 1.0)
    return None


def far(column: NumericColumn) -> Values:
    """Values that lie on one side far beyond all of the reference's, where next to none lie between."""
    then, now = column.then[~np.isnan(column.then)], column.now[~np.isnan(column.now)]
    if not len(then) or not len(now):
        return now[:0]
    low, high = float(then.min()), float(then.max())
    apart = _APART * (high - low)
    sides = ((now > high + apart, now > high), (now < low - apart, now < low))
    beyond, outside = max(sides, key=lambda side: int(side[0].sum()))
    return now[beyond] if (outside & ~beyond).sum() <= _BETWEEN * beyond.sum() else now[:0]


def inside(values: Values, column: NumericColumn) -> bool:
    """Whether nearly all of them lie in the range of the column's reference, or not far beyond it."""
    then = column.then[~np.isnan(column.then)]
    if not len(values) or not len(then):
        return False
    beside = _APART * float(np.ptp(then))
    return bool(np.mean((values >= then.min() - beside) & (values <= then.max() + beside)) >= _LEAST_INSIDE)


def came_from(one: NumericColumn, other: NumericColumn) -> bool:
    """Whether values of the one lie far beyond its range, in that of the other."""
    beyond = far(one)
    return len(beyond) >= _LEAST * len(one.now) and inside(beyond, other)


def _gaps(one: NumericColumn, other: NumericColumn) -> float | None:
    """Missing shares go from the one to the other."""
    (now, then), (others, before) = one.missing, other.missing
    apart = before - then
    if abs(apart) < _GAPS:
        return None
    gained, lost = (now - then) / apart, (before - others) / apart
    alike = abs(gained - lost) <= _DIFFER_OF_GAPS * max(gained, lost)
    return (gained + lost) / 2 if alike and min(gained, lost) >= _LEAST_OF_GAPS else None


def _decimals(one: NumericColumn, other: NumericColumn) -> float | None:
    """Values leave the grid of the one, and as many more of the other's lie on it."""
    grid = Grid.of(one)
    if not grid.was_left or grid.parts is None or not inside(one.now[grid.left], other):
        return None
    now, then = (float(on_grid(side, grid.parts).mean()) for side in (other.now, other.then))
    left, came = float(grid.left.mean()), now - then
    return left / max(1 - then, 1e-9) if abs(left - came) <= _DIFFER and min(left, came) >= _LEAST / 2 else None


def _ranges(one: NumericColumn, other: NumericColumn) -> float | None:
    """Values far beyond the range of each lie in that of the other."""
    first, second = far(one), far(other)
    if not inside(first, other) or not inside(second, one):
        return None
    return max(len(first) / len(one.now), len(second) / len(other.now))
