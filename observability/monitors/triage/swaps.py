"""Two columns that stand in each other's place: each looks as the other did."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final

import numpy as np

from observability.monitors.triage.columns import Column, Columns, Numbers, NumericColumn, TextColumn
from observability.monitors.triage.fitting import Fit, fit, is_apart
from observability.monitors.triage.hypotheses import Hypothesis

_LEAST_EXPLAINED: Final = 0.7
#: of each of the two, and of their difference
_LEAST_OF_EACH: Final = 0.3
_LEAST_SHARE: Final = 0.04


def find_swaps(columns: Columns) -> Iterator[Hypothesis]:
    """Every pair of one type of which each column has moved to where the other was."""
    moved = {name for name, column in columns.each.items() if is_apart(column, columns.spread(name))}
    for one, other in combinations(columns.numeric, 2):
        difference = NumericColumn("difference", one.now - other.now, one.then - other.then)
        spread = max(columns.spread(one.name), columns.spread(other.name))
        if {one.name, other.name} <= moved and is_apart(difference, spread):
            fits = [*_fits(columns, one, one.shares(other.then), other, other.shares(one.then))]
            yield from _told(one, other, [*fits, fit(difference, difference.shares(-difference.then), spread)])
    for left, right in combinations(columns.categorical, 2):
        if {left.name, right.name} <= moved:
            yield from _told(left, right, _fits(columns, left, left.shares(right.then), right, right.shares(left.then)))


def _fits(
    columns: Columns,
    one: NumericColumn | TextColumn,
    as_other: Numbers,
    other: NumericColumn | TextColumn,
    as_one: Numbers,
) -> list[Fit]:
    return [fit(one, as_other, columns.spread(one.name)), fit(other, as_one, columns.spread(other.name))]


def _told(one: Column, other: Column, fits: list[Fit]) -> Iterator[Hypothesis]:
    before, after = sum(each.before for each in fits), sum(each.after for each in fits)
    share = float(np.median([each.share for each in fits]))
    explained = 1 - after / before if before > 0 else 0.0
    if explained < _LEAST_EXPLAINED or share < _LEAST_SHARE or min(each.explained for each in fits) < _LEAST_OF_EACH:
        return
    said = (
        f"{one.name} looks as {other.name} did, and {other.name} as {one.name} did, in {share:.0%} of the rows: "
        f"put back, {explained:.0%} of their distance from the reference is gone"
    )
    gain = sum(each.gain for each in fits[:2])
    yield Hypothesis("swapped", (one.name, other.name), explained, gain, said, {"share": share})
