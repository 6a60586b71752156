"""Columns that only tell when a row was: that a week holds one month is no fault."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import numpy as np
import pandas as pd

from observability.monitors.triage.columns import Column, Columns, Numbers, TextColumn

#: part of a time to its cycle and to its least and greatest value
_PARTS: Final[Mapping[str, tuple[timedelta, int, int]]] = {
    "minute": (timedelta(hours=1), 0, 59),
    "hour": (timedelta(days=1), 0, 24),
    "dayofweek": (timedelta(days=7), 0, 7),
    "day": (timedelta(days=31), 1, 31),
    "dayofyear": (timedelta(days=366), 1, 366),
    "week": (timedelta(days=366), 1, 53),
    "month": (timedelta(days=366), 1, 12),
    "quarter": (timedelta(days=366), 1, 4),
    "year": (timedelta(days=365_000), 1, 9999),
}
#: of the rows: the others may be off by some hours of a time zone
_AGREE: Final = 0.8
#: hours that clocks on Earth are ahead of UTC: some of them for days, of which four hours are few, each for hours
_ZONES: Final = (0, 8, -8, 12)
_CLOCKS: Final = tuple(half / 2 for half in range(-24, 29))
#: a window of fewer cycles does not hold each value as often as it comes
_CYCLES: Final = 3


def follows_the_calendar(column: Column, columns: Columns) -> bool:
    """Whether the column is a part of the row's own time, of which the window holds too few cycles to judge it."""
    times = columns.times
    known = times.notna().to_numpy() if len(times) == len(column.now) else np.zeros(len(column.now), dtype=bool)
    if not known.any():
        return False
    if isinstance(column, TextColumn) and not all(str(name).isdigit() for name in column.bins[:3]):
        return False
    spanned = times.max() - times.min()
    now = pd.to_numeric(pd.Series(column.now), errors="coerce").to_numpy(np.float64)
    then = pd.to_numeric(pd.Series(column.then), errors="coerce").to_numpy(np.float64)
    if not np.isfinite(then).any():
        return False
    least, greatest = np.nanmin(then), np.nanmax(then)
    for part, (cycle, low, high) in _PARTS.items():
        if spanned >= _CYCLES * cycle or least < low or greatest > high:
            continue
        whole, firsts = np.floor(now[known]), (0, 1) if part != "hour" else (0,)
        for ahead in _CLOCKS if part == "hour" else _ZONES:
            told = _told(columns, part, ahead)[known]
            if any(float(np.mean(whole == told + first)) >= _AGREE for first in firsts):
                return True
    return False


def _told(columns: Columns, part: str, ahead: float) -> Numbers:
    """The part of each row's time, on a clock that is so many hours ahead of UTC."""
    if (part, ahead) not in columns.told:
        times = (columns.times + timedelta(hours=ahead)).dt
        columns.told[part, ahead] = (times.isocalendar().week if part == "week" else getattr(times, part)).to_numpy(
            np.float64, na_value=np.nan
        )
    told: Numbers = columns.told[part, ahead]
    return told
