"""An hour of the day in another time zone: the day's pattern is turned by whole hours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from observability.monitors.triage.columns import Columns, Numbers, NumericColumn
from observability.monitors.triage.fitting import Fit, fit, is_apart
from observability.monitors.triage.hypotheses import Hypothesis

_DAY: Final = 24
_LEAST_EXPLAINED: Final = 0.6
_LEAST_SHARE: Final = 0.04
#: hours of the day that the reference holds, so that other small numbers are not taken for hours
_LEAST_HOURS: Final = 10
#: what a turn by one hour less or more leaves, at least, beside what the right one leaves
_SHARPNESS: Final = 1.5


def find_zones(columns: Columns) -> Iterator[Hypothesis]:
    """Of each column that holds hours of the day the turn that explains it best, if one does."""
    for column in columns.numeric:
        spread = columns.spread(column.name)
        if not holds_hours(column.then) or not is_apart(column, spread):
            continue
        fits = [fit(column, column.shares(np.mod(column.then + hours, _DAY)), spread) for hours in range(1, _DAY)]
        best = min(range(len(fits)), key=lambda place: fits[place].after)
        if _holds(fits, best):
            yield _told(column, fits[best], best + 1)


def holds_hours(values: Numbers) -> bool:
    """Whether these are hours of the day, whole or to the minute: within 0 and 24, over most of the day."""
    known = values[~np.isnan(values)]
    if not len(known) or known.min() < 0 or known.max() >= _DAY or known.max() < 18:
        return False
    to_the_minute = np.abs(known * 60 - np.round(known * 60)) < 0.01
    whole = np.mean(known == np.floor(known))
    return bool(to_the_minute.mean() > 0.99 and (whole > 0.05) and len(np.unique(np.floor(known))) >= _LEAST_HOURS)


def _holds(fits: list[Fit], best: int) -> bool:
    found = fits[best]
    beside = [fits[place].after for place in (best - 1, best + 1) if 0 <= place < len(fits)]
    return (
        found.explained >= _LEAST_EXPLAINED and found.share >= _LEAST_SHARE and min(beside) > _SHARPNESS * found.after
    )


def _told(column: NumericColumn, found: Fit, hours: int) -> Hypothesis:
    turn = hours if hours <= _DAY // 2 else hours - _DAY
    said = (
        f"{column.name} is turned by {turn:+d} hours in {found.share:.0%} of the rows, as in another time zone: "
        f"turned back, {found.explained:.0%} of its distance from the reference is gone"
    )
    return Hypothesis(
        "timezone", (column.name,), found.explained, found.gain, said, {"hours": turn, "share": found.share}
    )
