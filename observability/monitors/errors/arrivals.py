"""What is known of the labels that have come: each with as many as it speaks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from observability.monitors.case import Case
from observability.monitors.errors.metrics import Answered, numbers_of
from observability.monitors.errors.weighted import Floats

#: labels of a class that can speak for those that have not come
LEAST_LABELS: Final = 10
#: draws of rows and of shares that intervals stand on
DRAWS: Final = 200
CLASSES: Final = (0, 1)


@dataclass(frozen=True)
class Arrival:
    """Labelled rows, and for how many each stands."""

    rows: Answered
    weights: Floats
    #: (draws x rows) the same, for rows and shares as they might have come out
    draws: Floats
    #: class to the share of its labels that has come
    arrived: Mapping[str, float]


@dataclass(frozen=True)
class CannotTell:
    """Why it is not known how many labels have come."""

    reason: str
    #: nothing was there to look at, which needs no mention
    silent: bool = False

    def __str__(self) -> str:
        return self.reason


def ages_of(case: Case) -> Floats | None:
    """Seconds from each prediction of the sample to the look; None where there are no times.

    Where the instant of the look is not known, it is taken as the latest that the sample knows of.
    """
    frame = case.sample.frame
    if "event_time" not in frame or not len(frame):
        return None
    times = pd.to_datetime(frame["event_time"], utc=True, errors="coerce")
    seconds = (times - times.min()).dt.total_seconds().to_numpy(np.float64)
    if not np.isfinite(seconds).all():
        return None
    delays = delays_of(frame)
    known = np.where(np.isfinite(delays), seconds + delays, seconds)
    if case.as_of is None:
        look = float(known.max())
    else:
        look = (pd.Timestamp(case.as_of).tz_convert("UTC") - times.min()).total_seconds()
    return np.asarray(np.maximum(look, known) - seconds)


def delays_of(frame: pd.DataFrame) -> Floats:
    """Seconds from each prediction to its label; NaN where that is not known."""
    delays = numbers_of(frame, "label_delay")
    return np.where(delays >= 0, delays, np.nan)


def too_few(rows: Answered, awaited: Mapping[int, bool]) -> CannotTell | None:
    """Why the labels that came cannot speak for the rest, where a class that is awaited has next to none."""
    for each in CLASSES:
        came = int((rows.labels == each).sum())
        if awaited[each] and came < LEAST_LABELS:
            return CannotTell(
                f"{came} labels of class {each} have come, {LEAST_LABELS} are needed to speak for the rest"
            )
    return None


def by_class(rows: Answered, of_class: Mapping[int, npt.NDArray[np.float64]]) -> Floats:
    """Of each row the value of its class; values may come in several draws (draws x 1)."""
    return np.asarray(np.where(rows.labels == 1, of_class[1], of_class[0]))
