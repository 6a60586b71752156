"""Traffic beside that of the windows before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil
from typing import Final

import numpy as np
import pandas as pd
from scipy import stats

from observability.monitors.case import Case, PastVerdict

#: windows before that say how much traffic is usual
_LEAST_PAST: Final = 3
#: windows with a bug that do not yet make traffic usual
_LEFT_OUT: Final = 3
#: what traffic repeats after, the surer first
_SEASONS: Final = {"a week": timedelta(days=7), "a day": timedelta(days=1)}
#: windows a season before that say how much traffic is usual at that time
_LEAST_ALIKE: Final = 2
#: windows longer than this part of a season say nothing of the times in it
_PART: Final = 1 / 4
#: how seldom chance alone does it
_LEVEL: Final = 1e-5
#: windows before that say how much traffic varies, and the least that it is taken to, as a standard deviation of logs
_LEAST_VARIED: Final = 5
_VARIES: Final = 0.03
#: how seldom a window falls so far below them, and how far that is at least
_FELL: Final = 1e-3
_LEAST_FALL: Final = 0.15
#: standard deviations within which a fall is still that of a share that is gone
_WITHIN: Final = 3.0


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


def cut_short(case: Case) -> Departure | None:
    """A fall that neither the hour nor the weekday explains: nights and weekends are no bug of the feed.

    It is told beside windows a week before, else a day before, where there are enough; else only of a past of a week.
    """
    usual, when, same = _usual_now(case)
    if same:
        return _fall_beside(case, usual, f"about {when}") or _fall_of(case, usual, f"about {when}")
    if not usual:
        return None
    if len(usual) >= _LEAST_VARIED:
        return _fall_of(case, usual, when)
    departure = volume_departure(case)
    return departure if departure is not None and departure.fell else None


def may_have_lost(case: Case, share: float) -> bool:
    """Whether traffic is as low as it would be without this share of the rows; yes where it is not known."""
    usual, _, _ = _usual_now(case)
    rate = case.volume.get("predictions_per_minute")
    if not rate or len(usual) < _LEAST_PAST:
        return True
    middle, varies = _varies(case, usual)
    return bool(np.log(rate) <= middle + np.log1p(-share) + max(_WITHIN * varies, -np.log1p(-share / 2)))


def _usual_now(case: Case) -> tuple[list[float], str, bool]:
    """Rates that can be compared with the window's, of which windows they are, and whether those are of its season."""
    if (until := _until(case)) is None:
        return [], "", False
    length = _length(case.past)
    for name, season in _SEASONS.items():
        usual = _usual(_seasons_before(case.past, until, season, length))
        if len(usual) >= _LEAST_ALIKE:
            return usual, f"{name} before", True
    oldest = min(past.until for past in case.past)
    return (_usual(case.past), "before", False) if until - oldest >= _SEASONS["a week"] else ([], "", False)


def _varies(case: Case, usual: list[float]) -> tuple[float, float]:
    """Mean of the logarithms of the usual rates, and the standard deviation that the window's has about it."""
    logs = np.log(np.maximum(usual, 1e-9))
    chance = 1 / max(case.sample.rows, 1)
    spread = max(float(logs.var(ddof=1)) if len(logs) > 1 else 0.0, _VARIES**2)
    return float(logs.mean()), float(np.sqrt((spread + chance) * (1 + 1 / len(logs))))


def _fall_of(case: Case, usual: list[float], when: str) -> Departure | None:
    """Below what the variation of the usual rates allows, as of a sample of so many from a normal distribution."""
    rate = case.volume.get("predictions_per_minute")
    if rate is None or len(usual) < _LEAST_VARIED:
        return None
    middle, varies = _varies(case, usual)
    fell = middle - float(np.log(max(rate, 1e-9)))
    if fell < -np.log1p(-_LEAST_FALL) or stats.t.sf(fell / varies, len(usual) - 1) >= _FELL:
        return None
    expected = float(np.exp(middle))
    said = f"{rate:.3g} predictions a minute came, {expected:.3g} did in the {len(usual)} windows {when}"
    return Departure(True, said, {"rate": float(rate), "usual": expected})


def _fall_beside(case: Case, usual: list[float], when: str) -> Departure | None:
    """Beyond the ratio below every one of them: some are of the hour, or the day, beside the window's own."""
    rate, least = case.volume.get("predictions_per_minute"), min(usual)
    if rate is None or rate >= case.settings.quality.volume_ratio * least:
        return None
    expected = case.sample.rows * least / rate if rate else least * (_length(case.past) / timedelta(minutes=1))
    if stats.poisson.cdf(case.sample.rows, expected) >= _LEVEL:
        return None
    middle = float(np.median(usual))
    said = f"{rate:.3g} predictions a minute came, {middle:.3g} did in the {len(usual)} windows {when}"
    return Departure(True, said, {"rate": float(rate), "usual": middle})


def _seasons_before(
    past: tuple[PastVerdict, ...], until: datetime, season: timedelta, length: timedelta
) -> tuple[PastVerdict, ...]:
    """Those at the same time of the season where there are enough of them, else those beside that time too."""
    if not length or length > _PART * season:
        return ()
    off = [(each, (until - each.until) % season) for each in past if until - each.until >= season - length]
    near = [(each, min(after, season - after)) for each, after in off]
    same = tuple(each for each, apart in near if apart < length / 2)
    return same if len(same) >= _LEAST_ALIKE else tuple(each for each, apart in near if apart <= length)


def _length(past: tuple[PastVerdict, ...]) -> timedelta:
    """Of one window, from the ends of those before; zero where there are too few."""
    ends = sorted({each.until for each in past})
    steps = sorted(later - sooner for sooner, later in pairwise(ends))
    return steps[len(steps) // 2] if steps else timedelta()


def _until(case: Case) -> datetime | None:
    """The end of the window: its newest row, moved on to where windows end; an empty one is taken as the next."""
    if not case.past:
        return None
    frame, last, length = case.sample.frame, max(past.until for past in case.past), _length(case.past)
    if "event_time" not in frame or frame["event_time"].isna().all():
        return last + length
    newest = pd.to_datetime(frame["event_time"], utc=True).max().to_pydatetime()
    return last + max(1, ceil((newest - last) / length)) * length if length else newest


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
