"""Columns that tell the hour of the event itself: by how much they are ahead of it, now and in the windows before.

Beside the event's own time a turned hour is seen in each row, whatever rows came and however even the day is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

import numpy as np

from observability.monitors.case import Case
from observability.monitors.triage.columns import Columns, Numbers, NumericColumn
from observability.monitors.triage.hypotheses import Hypothesis
from observability.monitors.triage.seasons import blamed

_DAY: Final = 24
#: of the rows, that are ahead by others than in the windows before, and of these those that agree
_LEAST_TURNED: Final = 0.04
_LEAST_ALIKE: Final = 0.8
#: of the rows, that are ahead by the same hours: were more of them ahead by others anyway, turned ones would not show
_AGREE: Final = 1 - _LEAST_TURNED


def ahead(column: NumericColumn, columns: Columns) -> Numbers | None:
    """By how many whole hours, 0 to 23, each row is ahead of its event in UTC; None where no times are known.

    Rows without a time or an hour are left out.
    """
    times = columns.times
    if len(times) != len(column.now) or not len(times):
        return None
    hours = times.dt.hour.to_numpy(np.float64)
    found = np.mod(np.floor(column.now) - hours, _DAY)
    return np.asarray(found[~np.isnan(found)])


def clocks_of(columns: Columns) -> Mapping[str, int]:
    """Columns of which nearly all rows are ahead of the event by the same hours: not those of two time zones."""
    told = {}
    for column in columns.numeric:
        known = column.now[~np.isnan(column.now)]
        if not len(known) or known.min() < 0 or known.max() >= _DAY:
            continue
        found = ahead(column, columns)
        if found is not None and len(found):
            counts = np.bincount(found.astype(int), minlength=_DAY)
            if counts.max() > _AGREE * len(found) and np.ptp(columns.times.dt.hour.dropna()) > 1:
                told[column.name] = int(counts.argmax())
    return told


def find_turned_clocks(case: Case, columns: Columns) -> Iterator[Hypothesis]:
    """Every column that was ahead of the event by so many hours in the windows before, and is by others now."""
    usual = usual_clocks(case)
    for column in columns.numeric:
        found = ahead(column, columns) if column.name in usual else None
        if found is None or not len(found):
            continue
        turns = np.mod(found - usual[column.name], _DAY).astype(int)
        counts = np.bincount(turns, minlength=_DAY)
        counts[0] = 0
        turned, turn = counts.sum() / len(found), int(counts.argmax())
        if turned < _LEAST_TURNED or counts[turn] < _LEAST_ALIKE * counts.sum():
            continue
        signed = turn if turn <= _DAY // 2 else turn - _DAY
        if abs(signed) > 1 or not summer_time_changed(case, usual[column.name], signed):
            yield _told(column.name, signed, float(turned))


def usual_clocks(case: Case) -> Mapping[str, int]:
    """Of the newest windows before that tell, without what a bug turned."""
    usual: dict[str, int] = {}
    for past in sorted(case.past, key=lambda each: each.until):
        told, broken = past.verdict.get("diagnosis") or {}, blamed(past) or ()
        usual |= {name: hours for name, hours in (told.get("clocks") or {}).items() if name not in broken}
    return usual


def summer_time_changed(case: Case, usual: int, turn: int) -> bool:
    """Whether clocks somewhere on Earth that were so far ahead went on or back between the window before and this."""
    times = case.sample.frame["event_time"].dropna()
    until = max(past.until for past in case.past)
    last = times.max().to_pydatetime() if len(times) else until
    before, after = _offsets(until - timedelta(days=1)), _offsets(last)
    return any(
        before[zone] == timedelta(hours=signed) and after[zone] == timedelta(hours=signed + turn)
        for zone in before
        for signed in (usual, usual - _DAY)
    )


def _offsets(instant: datetime) -> Mapping[str, timedelta]:
    return {name: instant.astimezone(zone).utcoffset() or timedelta() for name, zone in _zones().items()}


@cache
def _zones() -> Mapping[str, ZoneInfo]:
    return {name: ZoneInfo(name) for name in sorted(available_timezones())}


def _told(name: str, turn: int, share: float) -> Hypothesis:
    said = (
        f"{name} is turned by {turn:+d} hours in {share:.0%} of the rows, as in another time zone: beside the time "
        "of the event it was not in the windows before"
    )
    return Hypothesis("timezone", (name,), 1.0, share, said, {"hours": turn, "share": share}, seen=True)
