"""A column that no longer moves: one value repeated, or each value held for long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from observability.monitors.triage.calendars import follows_the_calendar
from observability.monitors.triage.columns import Column, Columns, NumericColumn, Values
from observability.monitors.triage.fitting import beyond, fit, is_apart
from observability.monitors.triage.hypotheses import Hypothesis, shown
from observability.monitors.triage.nulls import LEAST_BINS, LEAST_GROWTH, bins_beside, grown, of_value, within

_LEAST_EXPLAINED: Final = 0.6
#: rows, one after the other, that hold one value
_LEAST_RUN: Final = 30
#: how seldom a run as long comes by chance in rows that stay at a value as they do in the reference and beside the run
_LEVEL: Final = 1e-9
#: and so many times the longest that was seen before: what stays by its nature does so for spells of any length
_LONGER: Final = 3
#: rows of a value that say little of how it stays
_FEW: Final = 10
#: of the changes from row to row that chance gives, and so many of these at least
_CHANGES: Final = 0.25
_LEAST_CHANGES: Final = 40
#: neighbours in time that are alike by chance: below it values are so many that a feed that stands still has fewer
_OF_MANY: Final = 0.02
_LEAST_VALUES: Final = 0.7
#: neighbours that are alike where each value is held for ten rows and more
_HELD: Final = 0.9


def find_stale(columns: Columns) -> tuple[Hypothesis, ...]:
    """Every column that is frozen at a value or holds its values."""
    if "stale" not in columns.told:
        columns.told["stale"] = tuple(_found(columns))
    told: tuple[Hypothesis, ...] = columns.told["stale"]
    return told


def _found(columns: Columns) -> Iterator[Hypothesis]:
    order = in_time(columns)
    for column in columns.each.values():
        if follows_the_calendar(column, columns):
            continue
        if (run := _run(column, order)) is not None:
            yield run
        elif (held := _held(column, order)) is not None:
            yield held
        elif is_apart(column):
            yield from _frozen(column)


def in_time(columns: Columns) -> npt.NDArray[np.int64] | None:
    """The rows' places in the order of time; None where times are not known or all the same."""
    if columns.times.nunique() < 2:
        return None
    return np.asarray(columns.times.argsort(kind="stable"))


def longest_run(values: npt.NDArray[np.generic]) -> tuple[int, int]:
    """How many rows in turn hold one value, and the first of them.

    >>> longest_run(np.array([1.0, 2.0, 2.0, 2.0, 1.0]))
    (3, 1)
    """
    starts, lengths = _runs(values)
    longest = int(np.argmax(lengths))
    return int(lengths[longest]), int(starts[longest])


def _runs(values: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where runs of one value begin, and how long they are."""
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    return starts, np.diff(np.append(starts, len(values)))


def _frozen(column: Column) -> Iterator[Hypothesis]:
    """At a rare value that the reference holds, where no order tells: one value explains what has changed."""
    for value, now, then in grown(column):
        if (then == 0 and not within(column, value)) or then > LEAST_GROWTH or bins_beside(column, value) < LEAST_BINS:
            continue
        if _is_an_end(column, value):
            continue
        found = fit(column, of_value(column, value))
        if found.explained >= _LEAST_EXPLAINED:
            said = f"{now:.0%} of {column.name} is {shown(value)}, {then:.0%} in the reference: it is frozen"
            yield Hypothesis("stale", (column.name,), found.explained, found.gain, said, {"share": now, "run": 0})


def _is_an_end(column: Column, value: float | str) -> bool:
    """Whether it is the least or the greatest of the reference, which a sensor that is full holds rightly."""
    if not isinstance(column, NumericColumn):
        return False
    known = column.then[~np.isnan(column.then)]
    return len(known) > 0 and float(value) in (float(known.min()), float(known.max()))


def _run(column: Column, order: npt.NDArray[np.int64] | None) -> Hypothesis | None:
    """The longest run of one value, where the column as it moved before would not have stayed for so long."""
    if order is None or not len(column.now):
        return None
    values = column.now[order]
    length, first = longest_run(_comparable(values))
    value, elsewhere = values[first], np.delete(values, np.s_[first : first + length])
    if value == "" or value != value:  # of missing values another rule tells
        return None
    stays = max(_stays(side, value) for side in (column.then, elsewhere))
    stays = min(max(stays, 1 / max(len(column.then), 1)), 1 - 1e-9)
    usual = max(_longest_of(side, value) for side in (column.then, elsewhere))
    if length < max(_LEAST_RUN, _LONGER * usual) or np.log(len(values)) + length * np.log(stays) > np.log(_LEVEL):
        return None
    said = (
        f"{column.name} stays at {shown(value)} for {length:,} rows in turn: a row of that value was followed by "
        f"another in {stays:.0%} before"
    )
    share = length / len(values)
    return Hypothesis("stale", (column.name,), 1.0, share, said, {"share": share, "run": length}, seen=True)


def _longest_of(values: Values, value: float | str) -> int:
    """The longest run of this value."""
    if not len(values):
        return 0
    starts, lengths = _runs(values)
    return int(lengths[values[starts] == value].max(initial=0))


def _comparable(values: Values) -> Values:
    """Missing numbers are alike too."""
    return np.where(np.isnan(values), np.inf, values) if values.dtype.kind == "f" else values


def _stays(values: Values, value: float | str) -> float:
    """How often a row with the value is followed by another, or any row has it.

    Where there are next to no such rows, as a new week has none in the reference, it stays as other values do, those
    that are not the most frequent.
    """
    has = values == value
    if has.sum() < _FEW:
        held, counts = np.unique(_comparable(values), return_counts=True)
        has = values != held[counts.argmax()] if len(held) > 1 else np.ones(len(values), dtype=bool)
    else:
        followed = float((has[1:] & has[:-1]).sum() / (has[:-1].sum() + _FEW))
        return max(followed, float(has.mean()))
    same = values[1:] == values[:-1]
    return float((same & has[:-1]).sum() / (has[:-1].sum() + _FEW))


def _alike(values: Values) -> float:
    """Of neighbours, those that are alike."""
    return float(np.mean(values[1:] == values[:-1])) if len(values) > 1 else 0.0


def _held(column: Column, order: npt.NDArray[np.int64] | None) -> Hypothesis | None:
    """Each value for many rows, so that far fewer are left than the reference has in as many rows."""
    if order is None:
        return None
    alike, before = _alike(_comparable(column.now[order])), _alike(_comparable(column.then))
    mixed = (float((pd.Series(side).value_counts(normalize=True) ** 2).sum()) for side in (column.now, column.then))
    chance = max(before, *mixed)
    expected = (1 - chance) * len(column.now)
    if alike < _HELD or expected < _LEAST_CHANGES or (1 - alike) * len(column.now) > _CHANGES * expected:
        return None
    now, then = distinct(column)
    if chance < _OF_MANY and now > _LEAST_VALUES * then:
        return None
    said = (
        f"{alike:.0%} of the rows hold the {column.name} of the row before, {chance:.0%} would by chance: "
        f"{now:.0f} values, {then:.0f} in as many rows of the reference"
    )
    told = {"alike": alike, "values": now, "usual": then}
    return Hypothesis("stale", (column.name,), 1.0, beyond(column), said, told, seen=True)


def distinct(column: Column) -> tuple[float, float]:
    """Distinct values of the window, and those expected in as many rows of the reference."""
    then = pd.Series(column.then).value_counts().to_numpy()
    rows = min(len(column.now), int(then.sum()))
    drawn = np.random.default_rng(0).multivariate_hypergeometric(then, rows, method="marginals")
    return float(pd.Series(column.now).nunique()), float(np.count_nonzero(drawn))
