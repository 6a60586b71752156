"""A feed that lost a part of its rows: some categories, or an interval of numbers, are gone; the rest is as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from observability.monitors.triage.calendars import follows_the_calendar
from observability.monitors.triage.columns import Column, Columns, NumericColumn, TextColumn
from observability.monitors.triage.fitting import Fit, fit, tolerance
from observability.monitors.triage.grids import Grid
from observability.monitors.triage.hypotheses import Hypothesis, shown

#: of the reference's rows, those that are gone
_LEAST_GONE: Final = 0.04
_MOST_GONE: Final = 0.75
#: rows of a category (or interval) that the window should hold: by chance it holds none in exp(-18) of the windows
_EXPECTED: Final = 18
#: standard deviations of chance that the column must be away
_SURE: Final = 2.0
_LEAST_EXPLAINED: Final = 0.75


def find_truncation(columns: Columns) -> Iterator[Hypothesis]:
    """Of each column the part that is gone, where taking it from the reference's rows too makes them alike."""
    for column in columns.each.values():
        if follows_the_calendar(column, columns):
            continue
        gone, told = _interval(column) if isinstance(column, NumericColumn) else _categories(column)
        share = float(gone.mean())
        if not _LEAST_GONE <= share <= _MOST_GONE:
            continue
        found = _without(column, columns, gone)
        sure = found.before >= _SURE * tolerance(column, columns.spread(column.name))
        if sure and found.explained >= _LEAST_EXPLAINED:
            said = f"rows with {column.name} {told} are gone, {share:.0%} of the reference; the rest is as it was"
            gain = sum(_without(each, columns, gone).gain for each in columns.each.values())
            yield Hypothesis("truncated", (column.name,), found.explained, gain, said, {"gone": share})


def _without(column: Column, columns: Columns, gone: npt.NDArray[np.bool_]) -> Fit:
    """A column beside the reference's rows that are not gone: a lost part takes what belongs to it along."""
    return fit(column, column.shares(column.then[~gone]), columns.spread(column.name), whole=True)


def _categories(column: TextColumn) -> tuple[npt.NDArray[np.bool_], str]:
    now, then = column.counted
    expected = then / max(len(column.then), 1) * len(column.now)
    lost = expected[(expected >= _EXPECTED) & (now.reindex(then.index, fill_value=0) == 0)]
    names = [str(name) for name in lost.index if name != ""]
    told = ", ".join(map(shown, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return np.isin(column.then, names), told


def _interval(column: NumericColumn) -> tuple[npt.NDArray[np.bool_], str]:
    """The part of the reference between two neighbouring values of the window that holds most of its rows."""
    now = np.unique(column.now[~np.isnan(column.now)])
    then = np.sort(column.then[~np.isnan(column.then)])
    nothing = np.zeros(len(column.then), dtype=bool)
    if not len(now) or not len(then) or Grid.of(column).was_left:  # what moves values takes none away
        return nothing, ""
    ends = np.concatenate([[-np.inf], now, [np.inf]])
    counts = np.searchsorted(then, ends[1:], "left") - np.searchsorted(then, ends[:-1], "right")
    widest = int(np.argmax(counts))
    low, high = ends[widest], ends[widest + 1]
    if counts[widest] / len(then) * len(column.now) < _EXPECTED:
        return nothing, ""
    gone = (column.then > low) & (column.then < high)
    return gone, f"between {column.then[gone].min():.4g} and {column.then[gone].max():.4g}"
