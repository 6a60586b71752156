"""What a replay showed: the quality of what was in service beside the first version, never retrained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from controlplane.promotion.gate import GateRows, measure, roc_auc
from controlplane.replay.rows import Answer
from pipeline.contract.promotionspec import Gate

Floats = npt.NDArray[np.float64]

RESAMPLES = 1_000


@dataclass(frozen=True)
class Period:
    """Quality over the rows of one stretch of event time; None where only one class occurs."""

    period: str
    rows: int
    live_auc: float | None
    first_version_auc: float | None


@dataclass(frozen=True)
class Pooled:
    """Quality over all replayed rows; live minus first version with its 95 % paired bootstrap interval."""

    live_auc: float | None
    first_version_auc: float | None
    difference_low: float | None
    difference_high: float | None


@dataclass(frozen=True)
class Summary:
    """The figures that end a demo; its JSON form is a contract."""

    model: str
    events: int
    firings: dict[str, int]
    runs: int
    promotions: int
    rejections: int
    requests_ok: int
    requests_failed: int
    onset: str | None
    events_onset_to_firing: int | None
    firing_to_serving_s: float | None
    quality: list[Period]
    pooled: Pooled

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def period_of(first: datetime, last: datetime, instant: datetime) -> str:
    """The period an instant falls in: the month of a long replay, the ISO week of a short one."""
    if (last - first).days > 62:
        return instant.strftime("%Y-%m")
    year, week, _ = instant.isocalendar()
    return f"{year}-W{week:02d}"


def quality(answers: Sequence[Answer], first_scores: Mapping[str, float]) -> tuple[list[Period], Pooled]:
    """Per period and pooled; `first_scores` maps a row's id to the score of the first version."""
    ordered = sorted(answers, key=lambda answer: (answer.row.event_time, answer.row.id))
    labels = np.array([answer.row.label for answer in ordered], dtype=np.float64)
    live = np.array([answer.score for answer in ordered], dtype=np.float64)
    first = np.array([first_scores[answer.row.id] for answer in ordered], dtype=np.float64)
    start, end = ordered[0].row.event_time, ordered[-1].row.event_time
    names = np.array([period_of(start, end, answer.row.event_time) for answer in ordered])
    periods = [
        _period(name, labels[names == name], live[names == name], first[names == name]) for name in _unique(names)
    ]
    return periods, _pooled(labels, live, first)


def _unique(names: npt.NDArray[Any]) -> list[str]:
    return list(dict.fromkeys(names.tolist()))


def _period(name: str, labels: Floats, live: Floats, first: Floats) -> Period:
    return Period(name, len(labels), _auc(labels, live), _auc(labels, first))


def _auc(labels: Floats, scores: Floats) -> float | None:
    return None if labels.min() == labels.max() else round(roc_auc(labels, scores), 4)


def _pooled(labels: Floats, live: Floats, first: Floats) -> Pooled:
    """The gate's own paired bootstrap: bounds at 97.5 % on either side are the 95 % interval."""
    both_sides = Gate(metric="roc_auc", confidence=0.975, resamples=RESAMPLES)
    found = measure(both_sides, GateRows(labels, live, first), "replay")
    if found is None:
        return Pooled(None, None, None, None)
    figures = (found.challenger, found.other, found.lower, found.upper)
    return Pooled(*(round(figure, 4) for figure in figures))
