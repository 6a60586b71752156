"""A numeric column in another unit: its values map onto the reference's by a factor that is known, or by a scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from observability.monitors.triage.columns import Columns, NumericColumn
from observability.monitors.triage.fitting import Fit, fit, is_apart
from observability.monitors.triage.hypotheses import Hypothesis


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


_PAIRS: Final = (
    ("tenths", "ones", 10.0), ("percent", "fractions", 100.0), ("thousandths", "ones", 1000.0),
    ("millionths", "ones", 1e6), ("seconds", "minutes or minutes for hours", 60.0), ("seconds", "hours", 3600.0),
    ("hours", "days", 24.0), ("kilometres", "miles", 1.609344), ("kilometres", "nautical miles", 1.852),
    ("feet", "metres", 3.28084), ("yards", "metres", 1.09361), ("centimetres", "inches", 2.54),
    ("millimetres", "inches", 25.4), ("inches", "feet", 12.0), ("pounds", "kilograms", 2.204623),
    ("grams", "ounces", 28.349523), ("litres", "gallons", 3.785412), ("kilojoules", "kilocalories", 4.184),
    ("miles per hour", "knots", 1.150779), ("knots", "metres per second", 1.943844),
    ("kilometres per hour", "metres per second", 3.6), ("miles per hour", "metres per second", 2.236936),
    ("hectopascals", "inches of mercury", 33.86389), ("degrees", "radians", 180 / np.pi), ("days", "weeks", 7.0),
)  # fmt: skip
_SCALES: Final = (
    Conversion("degrees Fahrenheit in place of degrees Celsius", 1.8, 32.0),
    Conversion("kelvin in place of degrees Celsius", 1.0, 273.15),
    Conversion("kelvin in place of degrees Fahrenheit", 1 / 1.8, 273.15 - 32 / 1.8),
)
#: more than a world that changes would do to a column between two windows
_ABRUPT: Final = 5.0
#: neighbours of a smaller factor: one that fits as well says that it is no unit that changed
_NEIGHBOURS: Final = (0.82, 0.86, 0.9, 1 / 0.9, 1 / 0.86, 1 / 0.82)
_LEAST_EXPLAINED: Final = 0.7
#: of the rows
_LEAST_SHARE: Final = 0.04


def conversions() -> Iterator[Conversion]:
    """Every known one, in both directions."""
    known = (*(Conversion(f"{a} in place of {b}", factor) for a, b, factor in _PAIRS), *_SCALES)
    for conversion in known:
        yield conversion
        yield conversion.inverse


def find_units(columns: Columns) -> Iterator[Hypothesis]:
    """Of each numeric column that has moved, the conversion that explains it best, if one does."""
    for column in columns.numeric:
        spread = columns.spread(column.name)
        if not is_apart(column, spread):
            continue
        fits = [(conversion, _fit(column, conversion, spread)) for conversion in conversions()]
        conversion, found = min(fits, key=lambda each: each[1].after)
        if found.explained >= _LEAST_EXPLAINED and found.share >= _LEAST_SHARE and _is_sharp(column, conversion, found):
            yield _told(column, conversion, found)


def _fit(column: NumericColumn, conversion: Conversion, spread: float) -> Fit:
    supposed = column.shares(conversion.factor * column.then + conversion.offset)
    return fit(column, supposed, spread)


def _is_sharp(column: NumericColumn, conversion: Conversion, found: Fit) -> bool:
    """Whether the factor itself is what fits, not any that moves the column as far.

    A shift of the world can be as large as a small factor, but it is not that factor.
    """
    if conversion.offset or not 1 / _ABRUPT < conversion.factor < _ABRUPT:
        return True
    others = [_fit(column, conversion.near(ratio), 1.0).after for ratio in _NEIGHBOURS]
    return found.after < 0.5 * min(others)


def _told(column: NumericColumn, conversion: Conversion, found: Fit) -> Hypothesis:
    offset = f" {conversion.offset:+.4g}" if conversion.offset else ""
    said = (
        f"{column.name} is {conversion.factor:.4g} times what it was{offset}, as {conversion.said}, in "
        f"{found.share:.0%} of the rows: undone, {found.explained:.0%} of its distance from the reference is gone"
    )
    numbers = {"factor": conversion.factor, "offset": conversion.offset, "share": found.share}
    return Hypothesis("unit", (column.name,), found.explained, found.gain, said, numbers)
