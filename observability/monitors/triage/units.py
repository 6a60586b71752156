"""A numeric column in another unit: its values map onto the reference's by a factor that is known, or by a scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from observability.monitors.triage.calendars import follows_the_calendar
from observability.monitors.triage.columns import Columns, Numbers, NumericColumn
from observability.monitors.triage.exchanges import far, inside
from observability.monitors.triage.fitting import Fit, fit, is_apart, tolerance
from observability.monitors.triage.grids import Grid
from observability.monitors.triage.hypotheses import Hypothesis
from observability.monitors.triage.nulls import grown, of_value


@dataclass(frozen=True)
class Conversion:
    """What was sent is factor x the value + offset."""

    said: str
    factor: float
    offset: float = 0.0

    @property
    def inverse(self) -> Conversion:
        first, _, second = self.said.partition(" in place of ")
        return Conversion(f"{second} in place of {first}", 1 / self.factor, -self.offset / self.factor)

    def near(self, ratio: float) -> Conversion:
        return Conversion(self.said, self.factor * ratio, self.offset)


@dataclass(frozen=True)
class Tried:
    """A conversion, how well the reference so converted tells the window, and how the values' grid speaks of it."""

    conversion: Conversion
    fit: Fit
    #: of the values that left the reference's grid, those that come back; None where none did
    back: float | None

    @property
    def is_back(self) -> bool:
        return self.back is not None and self.back >= _LEAST_BACK


_PAIRS: Final = (
    ("tenths", "ones", 10.0), ("percent", "fractions", 100.0), ("thousandths", "ones", 1000.0),
    ("millionths", "ones", 1e6), ("seconds", "minutes or minutes for hours", 60.0), ("seconds", "hours", 3600.0),
    ("hours", "days", 24.0), ("kilometres", "miles", 1.609344), ("kilometres", "nautical miles", 1.852),
    ("feet", "metres", 3.28084), ("centimetres", "inches", 2.54),
    ("millimetres", "inches", 25.4), ("inches", "feet", 12.0), ("pounds", "kilograms", 2.204623),
    ("grams", "ounces", 28.349523), ("litres", "gallons", 3.785412), ("kilojoules", "kilocalories", 4.184),
    ("miles per hour", "knots", 1.150779), ("knots", "metres per second", 1.943844),
    ("kilometres per hour", "metres per second", 3.6), ("miles per hour", "metres per second", 2.236936),
    ("hectopascals", "inches of mercury", 33.86389), ("degrees", "radians", 180 / np.pi),
)  # fmt: skip
_SCALES: Final = (
    Conversion("degrees Fahrenheit in place of degrees Celsius", 1.8, 32.0),
    Conversion("kelvin in place of degrees Celsius", 1.0, 273.15),
    Conversion("kelvin in place of degrees Fahrenheit", 1 / 1.8, 273.15 - 32 / 1.8),
)
#: more than a world that changes would do to a column between two windows, even to a part of the rows
_ABRUPT: Final = 5.0
#: and to all of them: such a scaling is a unit's, though it is none of the known
_LARGE: Final = 1.8
#: less is told from a world that changes only by the grid that values lie on
_SMALL: Final = 1.3
#: scalings of all rows beside the known factor: one that fits better says that it is no unit that changed
_BESIDE: Final = tuple(float(ratio) for ratio in np.geomspace(0.55, 1 / 0.55, 61))
#: by so much, as a logarithm, may the scaling that fits best differ from the known factor
_NEAR: Final = 0.035
_LEAST_EXPLAINED: Final = 0.7
#: of a factor that is not abrupt
_LEAST_OF_SMALL: Final = 0.85
#: and that must have been rounded, for the values have kept the grid
_LEAST_OF_ROUNDED: Final = 0.95
#: of values that left the reference's grid, those that come back to it
_LEAST_BACK: Final = 0.8
#: where they do, the rest of the distance may be a drift beside
_LEAST_BESIDE: Final = 0.4
#: of the rows, that a factor which is not abrupt must have changed where no grid tells
_WHOLE: Final = 0.95
#: of the rows
_LEAST_SHARE: Final = 0.04
#: values of a column that has few, such as a flag
_FEW_VALUES: Final = 12
#: of the reference's rows of values that a conversion changes, those of which what they become is in the window
_LEAST_ARRIVED: Final = 0.5
#: by so much, as a share, may rounding have moved it
_ROUNDED: Final = 0.01
_QUARTERS: Final = (0.25, 0.5, 0.75)


def conversions() -> Iterator[Conversion]:
    """Every known one, in both directions."""
    known = (*(Conversion(f"{a} in place of {b}", factor) for a, b, factor in _PAIRS), *_SCALES)
    for conversion in known:
        yield conversion
        yield conversion.inverse


def find_units(columns: Columns) -> Iterator[Hypothesis]:
    """Of each numeric column that has moved, the conversion that explains it best, if one does."""
    for column in columns.numeric:
        grid = Grid.of(column)
        if not (grid.was_left or is_apart(column)):
            continue
        if (beyond := _beyond(column)) is not None:
            yield beyond
            continue
        tried = [Tried(each, _fit(column, each), _back(column, each, grid)) for each in conversions()]
        known = [each for each in tried if _is_known(column, each, grid) and _arrives(column, each.conversion)]
        if not known or _is_of_one_value(column, min(each.fit.after for each in known)):
            continue
        if not follows_the_calendar(column, columns):
            yield _told(column, min(known, key=lambda each: (not each.is_back, each.fit.after)))


def _fit(column: NumericColumn, conversion: Conversion) -> Fit:
    return fit(column, column.shares(conversion.factor * column.then + conversion.offset))


def _arrives(column: NumericColumn, conversion: Conversion) -> bool:
    """Whether values that a conversion would make are there: fewer ones among noughts are no tenths.

    Bins tell that of a column of many values.
    """
    values, rows = np.unique(column.then[~np.isnan(column.then)], return_counts=True)
    if len(values) > _FEW_VALUES:
        return True
    made = conversion.factor * values + conversion.offset
    changed = ~np.isclose(made, values)
    there = np.isclose(np.unique(column.now)[:, None], made, rtol=_ROUNDED).any(axis=0)
    return bool(rows[changed & there].sum() >= _LEAST_ARRIVED * rows[changed].sum() > 0)


def _is_known(column: NumericColumn, tried: Tried, grid: Grid) -> bool:
    """Whether the factor itself is what fits, not any that moves the column as far.

    A shift of the world can be as large as a small factor, but it is not that factor, and it leaves the grid alone.
    """
    found, factor = tried.fit, abs(float(np.log(tried.conversion.factor)))
    if found.share < _LEAST_SHARE:
        return False
    if tried.back is not None and (tried.is_back or factor < np.log(_ABRUPT)):
        return tried.is_back and found.explained >= _LEAST_BESIDE
    if factor >= np.log(_ABRUPT):
        return found.explained >= _LEAST_EXPLAINED
    least = _LEAST_OF_ROUNDED if grid.was_kept else _LEAST_OF_SMALL
    if found.explained < least or found.share < _WHOLE:
        return False
    return bool(tried.conversion.offset) or (factor >= np.log(_SMALL) and _fits_best(column, tried))


def _is_of_one_value(column: NumericColumn, after: float) -> bool:
    """Whether more rows of one value explain as much: a day without rain is no rain in another unit."""
    least = after + tolerance(column)
    return any(fit(column, of_value(column, value)).after <= least for value, _, _ in grown(column))


def _fits_best(column: NumericColumn, tried: Tried) -> bool:
    """Of all scalings the known factor, or one that is too large for anything but a unit."""
    scaled = {ratio: _scaled(column, tried.conversion.near(ratio)) for ratio in _BESIDE}
    best = min(scaled, key=lambda ratio: scaled[ratio].after)
    measured = abs(float(np.log(tried.conversion.factor * best)))
    return abs(float(np.log(best))) <= _NEAR or measured >= np.log(_LARGE)


def _back(column: NumericColumn, conversion: Conversion, grid: Grid) -> float | None:
    return grid.come_back((column.now - conversion.offset) / conversion.factor, conversion.factor)


def _scaled(column: NumericColumn, conversion: Conversion) -> Fit:
    return fit(column, column.shares(conversion.factor * column.then), whole=True)


def _told(column: NumericColumn, tried: Tried) -> Hypothesis:
    conversion, found = tried.conversion, tried.fit
    offset = f" {conversion.offset:+.4g}" if conversion.offset else ""
    said = (
        f"{column.name} is {conversion.factor:.4g} times what it was{offset}, as {conversion.said}, in "
        f"{found.share:.0%} of the rows: undone, {found.explained:.0%} of its distance from the reference is gone"
    )
    numbers = {"factor": conversion.factor, "offset": conversion.offset, "share": found.share}
    abrupt = abs(np.log(conversion.factor)) >= np.log(_ABRUPT) and found.explained >= _LEAST_OF_SMALL
    seen = bool(tried.is_back or abrupt)
    return Hypothesis("unit", (column.name,), found.explained, found.gain, said, numbers, seen=seen)


def _beyond(column: NumericColumn) -> Hypothesis | None:
    """Values far beyond all of the reference's, that a known conversion brings back into its range."""
    beyond, then = far(column), column.then[~np.isnan(column.then)]
    if len(beyond) < _LEAST_SHARE * len(column.now) or _stands_in(beyond, column):
        return None
    usual, best = np.quantile(then, _QUARTERS), None
    for each in conversions():
        undone = (beyond - each.offset) / each.factor
        if inside(undone, column):
            off = float(np.abs(np.quantile(undone, _QUARTERS) - usual).sum())
            best = min(best or (off, each), (off, each), key=lambda found: found[0])
    if best is None:
        return None
    share, conversion = len(beyond) / len(column.now), best[1]
    said = (
        f"{share:.0%} of the values of {column.name} lie far beyond {then.min():.4g} to {then.max():.4g}, all of the "
        f"reference's, and within once {conversion.said} is undone"
    )
    told = {"factor": conversion.factor, "offset": conversion.offset, "share": share}
    return Hypothesis("unit", (column.name,), 1.0, share, said, told, seen=True)


def _stands_in(values: Numbers, column: NumericColumn) -> bool:
    """Whether far more of them are one than of the reference: that stands for something, such as that there is none."""
    most, usual = (
        np.unique(side, return_counts=True)[1].max() / len(side)
        for side in (values, column.then[~np.isnan(column.then)])
    )
    return bool(most > 0.5 and most > 2 * usual)
