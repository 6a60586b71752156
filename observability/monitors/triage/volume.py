"""Traffic beside that of the windows before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
import pandas as pd
from scipy import stats

from observability.monitors.case import Case, PastVerdict

#: windows before that say how much traffic is usual
_LEAST_PAST: Final = 3
#: windows with a bug that do not yet make traffic usual
_LEFT_OUT: Final = 3
#: how seldom chance alone does it
_LEVEL: Final = 1e-5


@dataclass(frozen=True)
class Departure:
    """Traffic that is not as usual."""

    fell: bool
    said: str
    numbers: Mapping[str, float]


def volume_departure(case: Case, season: timedelta | None = None) -> Departure | None:
    """Whether predictions a minute left what windows before had: beyond the ratio and beyond all of them.

    With a season those windows are compared that lie whole seasons before, where there are enough.
    """
    rate = case.volume.get("predictions_per_minute")
    usual = _usual(_comparable(case, season))
    if rate is None or len(usual) < _LEAST_PAST:
        return None
    middle, ratio = float(np.median(usual)), case.settings.quality.volume_ratio
    expected = case.sample.rows * middle / rate if rate else middle
    fell = rate < ratio * middle and rate < min(usual) and stats.poisson.cdf(case.sample.rows, expected) < _LEVEL
    grew = rate * ratio > middle and rate > max(usual) and stats.poisson.sf(case.sample.rows - 1, expected) < _LEVEL
    if not (fell or grew):
        return None
    said = f"{rate:.3g} predictions a minute came, {middle:.3g} did in the {len(usual)} windows before"
    return Departure(bool(fell), said, {"rate": float(rate), "usual": middle})


def _comparable(case: Case, season: timedelta | None) -> tuple[PastVerdict, ...]:
    if season is None or not case.past or "event_time" not in case.sample.frame or not len(case.sample.frame):
        return case.past
    until = pd.to_datetime(case.sample.frame["event_time"], utc=True).max().to_pydatetime()
    alike = tuple(past for past in case.past if _is_whole((until - past.until) / season))
    return alike if len(alike) >= _LEAST_PAST else case.past


def _is_whole(seasons: float) -> bool:
    return round(seasons) >= 1 and abs(seasons - round(seasons)) < 0.1


def _usual(past: tuple[PastVerdict, ...]) -> list[float]:
    """Rates of the windows before, newest first, without those that a bug cut short or swelled.

    Of these only a few of the newest are left out: what lasts becomes usual.
    """
    left_out, rates = 0, []
    for each in past:
        blamed = (each.verdict.get("diagnosis") or {}).get("bug") in ("truncated", "duplicates")
        rate = (each.verdict.get("volume") or {}).get("predictions_per_minute")
        left_out += blamed
        if rate is not None and not (blamed and left_out <= _LEFT_OUT):
            rates.append(float(rate))
    return rates
