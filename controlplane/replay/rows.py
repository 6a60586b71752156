"""The rows of a replay: what is asked, when, and what turned out to be true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True)
class ReplayRow:
    """One request to be: the raw fields as a caller would send them, and the label that its horizon will bring."""

    id: str
    event_time: datetime
    raw: dict[str, Any]
    label: int


@dataclass(frozen=True)
class Answer:
    """What serving said of a row."""

    row: ReplayRow
    prediction_id: str
    score: float
    version: int
    #: the machine's time, in seconds since the Unix epoch
    answered_at: float


def read_rows(file: Path) -> list[ReplayRow]:
    """Rows as `python -m pipeline.stream` writes them, one JSON object a line, in order of event time."""
    rows = [_row(orjson.loads(line)) for line in file.read_bytes().splitlines() if line]
    return sorted(rows, key=lambda row: (row.event_time, row.id))


def _row(data: dict[str, Any]) -> ReplayRow:
    return ReplayRow(data["id"], datetime.fromisoformat(data["event_time"]), data["raw"], data["label"])


def stretch(rows: Sequence[ReplayRow], most: int, longest: timedelta) -> Sequence[ReplayRow]:
    """The first rows: at most so many, and none later than so long after the first."""
    head = rows[:most]
    end = next((n for n, row in enumerate(head) if row.event_time - head[0].event_time > longest), len(head))
    return head[:end]


def batches(rows: Sequence[ReplayRow], size: int) -> Iterator[Sequence[ReplayRow]]:
    """Consecutive slices of at most `size` rows."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
