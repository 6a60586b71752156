"""Which segments of the embedded log store become one, and which are forgotten. Pure rules.

Segments are merged by size, as in a log-structured merge tree: those of one size once there are many, oldest first,
until they are full; a full one is never written again. So an event is rewritten a few times in all, there are few
files, and each holds a stretch of time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from observability.embedded.manifest import LAYOUT, LogManifest, LogSegment
from observability.embedded.tables import TableName, microseconds

#: rows up to which segments are of the smallest size
SMALLEST: Final = 1_000
#: how much larger the next size is
FACTOR: Final = 8


def size_of(rows: int, full_rows: int) -> int | None:
    """The size of a segment; None where it is full: another of its kind would make it too large."""
    if rows * 2 > full_rows:
        return None
    return max(0, math.ceil(math.log(rows / SMALLEST, FACTOR))) if rows > SMALLEST else 0


def due(segments: Sequence[LogSegment], most: int, full_rows: int) -> list[LogSegment]:
    """The segments of one table and model to be merged now; none while no size has more than `most`.

    A full one of an earlier layout is alone: it is written again as it is today.
    """
    sizes: dict[int, list[LogSegment]] = {}
    for segment in segments:
        size = size_of(segment.rows, full_rows)
        if size is not None:
            sizes.setdefault(size, []).append(segment)
        elif segment.layout < LAYOUT:
            return [segment]
    for _, alike in sorted(sizes.items()):
        if len(alike) > most:
            return _fitting(sorted(alike, key=lambda each: each.first_observed_time), full_rows)
    return []


def _fitting(segments: Sequence[LogSegment], full_rows: int) -> list[LogSegment]:
    """As many of them as one segment holds; at least two."""
    rows = 0
    for place, segment in enumerate(segments):
        rows += segment.rows
        if rows > full_rows and place > 1:
            return list(segments[:place])
    return list(segments)


def expired(manifest: LogManifest, retention: Mapping[TableName, timedelta], now: datetime) -> list[LogSegment]:
    """The segments whose last event was observed longer ago than their table is kept.

    Ago is before the store's newest event, so that a replay of the past keeps what it replays; but never before a time
    that has not come: one event of a host whose clock is wrong must not make all others old.
    """
    newest = max((segment.last_observed_time for segment in manifest.segments), default=0)
    today = min(newest, microseconds(now))
    return [
        segment
        for segment in manifest.segments
        if (kept := retention.get(segment.table)) is not None
        and segment.last_observed_time < today - kept // timedelta(microseconds=1)
    ]
