"""A column whose values are gone, or stand in for missing ones: one value explains what has changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from observability.monitors.triage.calendars import follows_the_calendar
from observability.monitors.triage.columns import Column, Columns, Numbers, NumericColumn, TextColumn
from observability.monitors.triage.fitting import fit, is_apart
from observability.monitors.triage.hypotheses import Hypothesis, shown

#: numbers that programs write where they have none
STAND_INS: Final = frozenset({0.0, -1.0, -9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0, 999999.0})
_WORDS: Final = frozenset({
    "unknown", "n/a", "na", "<na>", "#n/a", "nan", "null", "(null)", "none", "(none)", "nil", "undefined", "missing",
    "default", "empty", "blank", "unspecified", "not available", "no data", "tbd", "-", "--", "?", ".", "0", "-1", "99",
    "999", "9999", "error", "invalid",
})  # fmt: skip
#: of the rows, that have more of the value than before
LEAST_GROWTH: Final = 0.05
_LEAST_EXPLAINED: Final = 0.7
#: a share of the reference's rows up to which a value is new
_NEVER: Final = 0.005
#: of the reference's rows, from which a value is an ordinary one: more dry days are no missing rain
_ORDINARY: Final = 0.2
#: bins of the reference beside the value: with fewer every change of shares looks as if one value explained it
LEAST_BINS: Final = 5


def find_nulls(columns: Columns) -> Iterator[Hypothesis]:
    """Every column with values missing that the reference has, or with a stand-in for them."""
    for column in columns.each.values():
        if not is_apart(column):
            continue
        now, then = column.missing
        if now - column.bearable_missing >= LEAST_GROWTH:
            said = f"{now:.0%} of {column.name} is missing, {then:.0%} in the reference"
            gain = fit(column, _gone(column)).gain
            told, new = {"missing": now, "reference": then}, column.most_missing <= _NEVER
            yield Hypothesis("nulls", (column.name,), 1.0, gain, said, told, seen=new)
        for value, now, then in grown(column):
            if now - column.bearable(value) < LEAST_GROWTH or not _stands_in(column, value, then):
                continue
            found = fit(column, of_value(column, value))
            said = f"{now:.0%} of {column.name} is {shown(value)}, as if for missing, {then:.0%} in the reference"
            new = column.most(value) <= _NEVER and (isinstance(column, TextColumn) or float(value) in STAND_INS)
            if (new or found.explained >= _LEAST_EXPLAINED) and not follows_the_calendar(column, columns):
                told = {"share": now, "reference": then}
                yield Hypothesis("nulls", (column.name,), found.explained, found.gain, said, told, seen=new)


def grown(column: Column) -> list[tuple[float | str, float, float]]:
    """Values with more of the rows than in the reference by the least growth: value, share now, share then."""
    values, counts = np.unique(column.now[~pd.isna(column.now)], return_counts=True)
    shares = [
        (value, count / len(column.now), float(np.mean(column.then == value)))
        for value, count in zip(values, counts, strict=True)
        if count >= LEAST_GROWTH * len(column.now)
    ]
    return [(value, now, then) for value, now, then in shares if value != "" and now - then >= LEAST_GROWTH]


def of_value(column: Column, value: float | str) -> Numbers:
    """The column's bins as if every row held the value."""
    return column.shares(np.array([value], dtype=column.now.dtype))


def bins_beside(column: Column, value: float | str) -> int:
    """Bins that the reference fills beside that of the value."""
    return int(np.count_nonzero((column.shares_then > 0) & (of_value(column, value) == 0)))


def _stands_in(column: Column, value: float | str, then: float) -> bool:
    if isinstance(column, TextColumn):
        return str(value).strip().casefold() in _WORDS
    if within(column, value):
        return then < _ORDINARY and float(value) in STAND_INS and bins_beside(column, value) >= LEAST_BINS
    return float(value) in STAND_INS or (then == 0 and bins_beside(column, value) >= LEAST_BINS and not _moved(column))


def within(column: Column, value: float | str) -> bool:
    """Whether it is a number between the least and the greatest of the reference."""
    if not isinstance(column, NumericColumn):
        return False
    known = column.then[~np.isnan(column.then)]
    return len(known) > 0 and bool(known.min() <= float(value) <= known.max())


def _moved(column: NumericColumn) -> bool:
    """Whether the value that the reference holds most often is gone: then what is new is what that has become."""
    values, counts = np.unique(column.then[~np.isnan(column.then)], return_counts=True)
    most = int(counts.argmax())
    usual = counts[most] / len(column.then)
    return bool(usual >= LEAST_GROWTH and np.mean(column.now == values[most]) < usual / 10)


def _gone(column: Column) -> Numbers:
    return of_value(column, np.nan if isinstance(column, NumericColumn) else "")
