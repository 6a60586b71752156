"""Times of the day in a time zone, and the instants that they stand for when summer time begins or ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

DAY: Final = timedelta(days=1)
#: transitions are on whole seconds
EXACT: Final = timedelta(seconds=1)


def wall(instant: datetime, zone: tzinfo) -> datetime:
    """What clocks on the wall show, without the zone; `fold` is 1 where they show it for the second time."""
    return instant.astimezone(zone).replace(tzinfo=None)


def instant_of(shown: datetime, zone: tzinfo) -> datetime:
    """When clocks on the wall show this for the first time; if they skip it, when they jump over it.

    Later times of the day are never earlier instants, so what is in order on the wall is in order here.

    >>> from zoneinfo import ZoneInfo
    >>> str(instant_of(datetime(2021, 3, 28, 2, 30), ZoneInfo("Europe/Berlin")))
    '2021-03-28 01:00:00+00:00'
    """
    first = shown.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if wall(first, zone).replace(fold=0) == shown.replace(fold=0):
        return first
    before = shown.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _jump(before, first, zone)


def transitions(zone: tzinfo, after: datetime, until: datetime) -> Iterator[datetime]:
    """The instants in between at which the wall clocks jump; of two within one day perhaps only one."""
    start = after.astimezone(UTC).replace(microsecond=0)
    while start < until:
        end = start + DAY
        if start.astimezone(zone).utcoffset() != end.astimezone(zone).utcoffset():
            yield _jump(start, end, zone)
        start = end


def _jump(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The first second at which the offset is no longer what it was before."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > EXACT:
        middle = before + timedelta(seconds=(after - before) // EXACT // 2)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)
