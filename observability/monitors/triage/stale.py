"""A column that no longer moves: one value repeated, or each value held for long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from observability.monitors.triage.calendars import follows_the_calendar
from observability.monitors.triage.columns import Column, Columns, NumericColumn
from observability.monitors.triage.fitting import beyond, fit, is_apart
from observability.monitors.triage.hypotheses import Hypothesis, shown
from observability.monitors.triage.nulls import LEAST_BINS, LEAST_GROWTH, bins_beside, grown, of_value

_LEAST_EXPLAINED: Final = 0.6
#: rows, one after the other, that hold one value
_LEAST_RUN: Final = 30
#: of the rows with the value beyond the reference's share, those of the one run: many short ones are no frozen feed
_LEAST_OF_GROWTH: Final = 0.6
#: how seldom a run as long comes by chance in rows as they are in the reference and beside the run
_LEVEL: Final = 1e-9
#: neighbours in time that are alike by chance: above it the rows cannot tell, below the lower one values are so many
#: that a feed that stands still has fewer of them
_BY_CHANCE: Final = 0.6
_OF_MANY: Final = 0.02
_LEAST_VALUES: Final = 0.7


def find_stale(columns: Columns) -> Iterator[Hypothesis]:
    """Every column that is frozen at a value or holds its values."""
    order = in_time(columns)
    for column in columns.each.values():
        if not is_apart(column, columns.spread(column.name)) or follows_the_calendar(column, columns):
            continue
        yield from _frozen(column, columns, order)
        yield from _held(column, order)


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
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    lengths = np.diff(np.append(starts, len(values)))
    longest = int(np.argmax(lengths))
    return int(lengths[longest]), int(starts[longest])


def _frozen(column: Column, columns: Columns, order: npt.NDArray[np.int64] | None) -> Iterator[Hypothesis]:
    """At a value that the reference holds: the last that came."""
    run, value = _run(column, order)
    for candidate, now, then in grown(column):
        if then == 0 and not _within(column, candidate):
            continue
        is_run = candidate == value and run * (1 - then) >= _LEAST_OF_GROWTH * (now - then) * len(column.now)
        frozen_run = run if is_run else 0
        if not frozen_run and (bins_beside(column, candidate) < LEAST_BINS or then > LEAST_GROWTH):
            continue
        found = fit(column, of_value(column, candidate), columns.spread(column.name))
        if found.explained < _LEAST_EXPLAINED:
            continue
        rows = f", {frozen_run:,} rows in turn" if frozen_run else ""
        said = f"{now:.0%} of {column.name} is {shown(candidate)}{rows}, {then:.0%} in the reference: it is frozen"
        yield Hypothesis("stale", (column.name,), found.explained, found.gain, said, {"share": now, "run": frozen_run})


def _run(column: Column, order: npt.NDArray[np.int64] | None) -> tuple[int, float | str | None]:
    """The longest run that chance does not explain, and its value; of nothing where there is none."""
    if order is None or not len(column.now):
        return 0, None
    values = column.now[order]
    length, first = longest_run(values)
    value = values[first]
    elsewhere = np.delete(values, np.s_[first : first + length])
    usual = max(float(np.mean(side == value)) for side in (column.then, elsewhere) if len(side))
    usual = min(max(usual, 1 / max(len(column.then), 1)), 1 - 1e-9)
    if length < _LEAST_RUN or np.log(len(values)) + length * np.log(usual) > np.log(_LEVEL):
        return 0, None
    return length, value


def _held(column: Column, order: npt.NDArray[np.int64] | None) -> Iterator[Hypothesis]:
    """Each value for many rows, so that far fewer are left than the reference has in as many rows."""
    if order is None:
        return
    values = column.now[order]
    alike = float(np.mean(values[1:] == values[:-1])) if len(values) > 1 else 0.0
    chance = max(float((pd.Series(side).value_counts(normalize=True) ** 2).sum()) for side in (column.now, column.then))
    now, then = distinct(column)
    if alike < (1 + chance) / 2 or chance > _BY_CHANCE or (chance < _OF_MANY and now > _LEAST_VALUES * then):
        return
    said = (
        f"{alike:.0%} of the rows hold the {column.name} of the row before, {chance:.0%} would by chance: "
        f"{now:.0f} values, {then:.0f} in as many rows of the reference"
    )
    yield Hypothesis("stale", (column.name,), 1.0, beyond(column), said, {"alike": alike, "values": now, "usual": then})


def distinct(column: Column) -> tuple[float, float]:
    """Distinct values of the window, and those expected in as many rows of the reference."""
    then = pd.Series(column.then).value_counts().to_numpy()
    rows = min(len(column.now), int(then.sum()))
    drawn = np.random.default_rng(0).multivariate_hypergeometric(then, rows, method="marginals")
    return float(pd.Series(column.now).nunique()), float(np.count_nonzero(drawn))


def _within(column: Column, value: float | str) -> bool:
    if not isinstance(column, NumericColumn):
        return False
    known = column.then[~np.isnan(column.then)]
    return len(known) > 0 and bool(known.min() <= float(value) <= known.max())
