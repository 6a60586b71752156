"""The grid that a column's values lie on: a conversion leaves it, and undone comes back to it exactly.

Whole numbers of miles are no whole kilometres; a world that changes still counts in miles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from observability.monitors.triage.columns import NumericColumn, Values

#: parts of one: whole numbers, one, two and three decimals, minutes of an hour
_GRIDS: Final = (1, 10, 100, 60, 1000)
#: of the reference's values, those that lie on its grid
_LEAST: Final = 0.98
#: of the window's values, those that left it, so that anything can be said
_LEFT: Final = 0.04
#: of a grid's step: the rounding of float32, of a value of the size at hand, must be finer
_FINEST: Final = 0.08
#: nor may that of the decimals at hand be coarser
_COARSEST: Final = 0.3
_DECIMALS: Final = (1, 10, 100, 1000)
_FLOAT32: Final = 3e-7


@dataclass(frozen=True)
class Grid:
    """The grid of a column's reference, and what the window's values do to it."""

    #: of one; None where the reference lies on none
    parts: int | None
    #: of the window's values, those that are off it
    left: npt.NDArray[np.bool_]
    #: how coarse the window's own values are rounded; 0 where they are not
    step: float

    @classmethod
    def of(cls, column: NumericColumn) -> Grid:
        then = column.then[~np.isnan(column.then)]
        parts = next((each for each in _GRIDS if len(then) and _on(then, each).mean() >= _LEAST), None)
        known = ~np.isnan(column.now)
        left = known & ~on_grid(column.now, parts or 1)
        rounded = next(
            (each for each in _DECIMALS if known.any() and _on(column.now[known], each).mean() >= _LEAST), None
        )
        return cls(parts, left, 1 / rounded if rounded else 0.0)

    @property
    def was_left(self) -> bool:
        """Whether enough values are off it for anything to be said."""
        return self.parts is not None and float(self.left.mean()) >= _LEFT

    @property
    def was_kept(self) -> bool:
        """Whether what was done to the values, if anything, was rounded, or moved none."""
        return self.parts is not None and not self.was_left

    def come_back(self, undone: Values, factor: float) -> float | None:
        """Of the values that left it the share that is on it once undone, chance taken off.

        None where none left, or where rounding after the conversion hides it.
        """
        if not self.was_left or self.parts is None:
            return None
        values, rounding = undone[self.left], self.step / 2 / abs(factor) * self.parts
        if rounding > _COARSEST:
            return None
        near = np.maximum(_nearness(values, self.parts), 1.02 * rounding)
        chance = float(np.mean(2 * near))
        back = _on(values, self.parts, near) & (np.abs(values * self.parts) >= 0.5)  # next to nothing is on every grid
        return max(float(back.mean()) - chance, 0.0) / (1 - chance)


def _on(values: Values, parts: int, near: Values | None = None) -> npt.NDArray[np.bool_]:
    scaled = values * parts
    return np.asarray(np.abs(scaled - np.round(scaled)) <= (_nearness(values, parts) if near is None else near))


def on_grid(values: Values, parts: int) -> npt.NDArray[np.bool_]:
    """Which values lie on the grid of so many parts of one; missing ones do not."""
    known = ~np.isnan(values)
    return known & _on(np.where(known, values, 0.5 / parts), parts)


def _nearness(values: Values, parts: int) -> Values:
    return np.asarray(np.clip(np.abs(values) * parts * _FLOAT32, 1e-4, _FINEST))
