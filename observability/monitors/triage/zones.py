"""An hour of the day in another time zone: the day's pattern is turned by whole hours."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import numpy as np

from observability.monitors.triage.columns import Columns, Numbers, NumericColumn
from observability.monitors.triage.fitting import Fit, fit, is_apart, tolerance
from observability.monitors.triage.hypotheses import Hypothesis

_DAY: Final = 24
_LEAST_EXPLAINED: Final = 0.75
_LEAST_SHARE: Final = 0.04
#: hours of the day that the reference holds, so that other small numbers are not taken for hours
_LEAST_HOURS: Final = 10


def find_zones(columns: Columns, clocks: Collection[str] = ()) -> Iterator[Hypothesis]:
    """Of each column that holds hours of the day the turn that explains it best, if one does.

    But for clocks, of which the time of each event tells whether they were turned.
    """
    for column in columns.numeric:
        hourly = column.name not in clocks and holds_hours(column.then) and holds_hours(column.now)
        if not hourly or not is_apart(column):
            continue
        hours = NumericColumn(column.name, np.floor(column.now), np.floor(column.then))
        fits = [fit(hours, hours.shares(np.mod(hours.then + turn, _DAY))) for turn in range(1, _DAY)]
        least = min(each.after for each in fits) + tolerance(hours)
        found = max((each for each in fits if each.after <= least), key=lambda each: each.share)
        if found.explained >= _LEAST_EXPLAINED and found.share >= _LEAST_SHARE:
            yield _told(column, found, fits.index(found) + 1)


def holds_hours(values: Numbers) -> bool:
    """Whether these are hours of the day, whole or to the minute: within 0 and 24, over most of the day."""
    known = values[~np.isnan(values)]
    if not len(known) or known.min() < 0 or known.max() >= _DAY or known.max() < 18:
        return False
    if len(np.unique(np.floor(known))) < _LEAST_HOURS:
        return False
    return _within_a_minute(known, 1) or (_within_a_minute(known, 60) and not _within_a_minute(known, 10))


def _within_a_minute(values: Numbers, parts: int) -> bool:
    """Whether nearly all are whole parts of one: of 60 are minutes, of 10 are numbers of one decimal."""
    return bool(np.mean(np.abs(values * parts - np.round(values * parts)) < 0.01) > 0.99)


def _told(column: NumericColumn, found: Fit, hours: int) -> Hypothesis:
    turn = hours if hours <= _DAY // 2 else hours - _DAY
    said = (
        f"{column.name} is turned by {turn:+d} hours in {found.share:.0%} of the rows, as in another time zone: "
        f"turned back, {found.explained:.0%} of its distance from the reference is gone"
    )
    return Hypothesis(
        "timezone", (column.name,), found.explained, found.gain, said, {"hours": turn, "share": found.share}
    )
