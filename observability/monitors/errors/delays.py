"""How many labels have come, by the delays of those that came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from observability.monitors.case import Case
from observability.monitors.errors import weighted
from observability.monitors.errors.arrivals import (
    CLASSES,
    DRAWS,
    Arrival,
    CannotTell,
    ages_of,
    delays_of,
    too_few,
)
from observability.monitors.errors.metrics import Answered, answers_of, judged
from observability.monitors.errors.weighted import Floats

#: rows that are so young that fewer of a class's labels have come are left out: they would count too much
LEAST_SHARE: Final = 0.1
#: of the labelled rows, those whose delay must be known
KNOWN: Final = 0.95
#: of the rows, those whose label may still be to come at the greatest age
OUTSTANDING: Final = 0.02
#: rows that are old enough to have all their labels
LEAST_OLD: Final = 30


@dataclass(frozen=True)
class Delayed:
    """All rows of a sample, with the age of each and the delay of its label, in seconds, up to a limit.

    A label that came behind the limit has not come.
    """

    rows: Answered
    ages: Floats
    delays: Floats
    limit: float

    @property
    def came(self) -> npt.NDArray[np.bool_]:
        return np.isfinite(self.delays)


def arrivals_by_delay(case: Case) -> Arrival | CannotTell:
    """The labels that have come, weighted by the share of their class that has come for rows of that age."""
    delayed = _delayed(case)
    if isinstance(delayed, CannotTell):
        return delayed
    whole = np.ones((1, int(delayed.came.sum())))
    shares = {each: _share_at(delayed, each, delayed.ages, whole)[0] for each in CLASSES}
    seen = {each: bool((delayed.rows.labels[delayed.came] == each).any()) for each in CLASSES}
    if not all(seen.values()):
        return CannotTell("no label of one of the classes has come, so that its delays are not known")
    old_enough = np.min([shares[each] for each in CLASSES], axis=0) >= LEAST_SHARE
    used = delayed.came & old_enough & judged(delayed.rows, "binary")
    rows = delayed.rows.where(used)
    if (why := too_few(rows, seen)) is not None:
        return why
    weights = 1 / np.where(rows.labels == 1, shares[1][used], shares[0][used])
    return Arrival(
        rows, weights, _draws(case, delayed, used), {str(each): float(shares[each].mean()) for each in CLASSES}
    )


def _delayed(case: Case) -> Delayed | CannotTell:
    """The sample with its delays, where they tell all that is to come."""
    delays, ages = delays_of(case.sample.frame), ages_of(case)
    if ages is None or not np.isfinite(delays).any():
        return CannotTell("the labels bear no delay", silent=True)
    rows = answers_of(case.sample.frame, "binary", case.threshold)
    labelled = np.isfinite(rows.labels)
    delays = np.where(labelled, delays, np.nan)
    if np.isfinite(delays).sum() < KNOWN * labelled.sum():
        return CannotTell(f"of {labelled.sum()} labels {np.isfinite(delays).sum()} bear a delay")
    limit = float(ages.max())
    if case.horizon is not None:
        limit = min(limit, case.horizon.total_seconds())
    delays = np.where(delays <= limit, delays, np.nan)
    told = Delayed(rows, np.minimum(ages, limit), delays, limit)
    return _incomplete(case, told, ages) or told


def _incomplete(case: Case, delayed: Delayed, ages: Floats) -> CannotTell | None:
    """Why delays do not tell all that is to come: no row is old enough, or too many of the oldest lack a label."""
    if case.horizon is not None:
        old = int((ages >= case.horizon.total_seconds()).sum())
        return (
            None
            if old >= LEAST_OLD
            else CannotTell(
                f"{old} rows are as old as the horizon, {LEAST_OLD} are needed to know how late labels may be"
            )
        )
    left = outstanding(delayed)
    return (
        None
        if left <= OUTSTANDING
        else CannotTell(f"of the oldest rows {left:.0%} have no label, and it is not known whether it is still to come")
    )


def outstanding(delayed: Delayed) -> float:
    """Share of rows without a label at the greatest age, whatever their class (Kaplan and Meier, 1958)."""
    delays, ages = np.sort(delayed.delays[delayed.came]), np.sort(delayed.ages)
    labelled_ages = np.sort(delayed.ages[delayed.came])
    times, came = np.unique(delays, return_counts=True)
    gone = np.searchsorted(delays, times, side="left")
    too_young = np.searchsorted(ages, times, side="left") - np.searchsorted(labelled_ages, times, side="left")
    waiting = len(ages) - gone - too_young
    return float(np.prod(1 - came / np.maximum(waiting, came)))


def _share_at(delayed: Delayed, each: int, ages: Floats, weights: Floats) -> Floats:
    """By each weighting of the rows whose label came, the share of a class's labels that comes up to these ages."""
    of_class = delayed.rows.labels[delayed.came] == each
    return shares_by_age(
        delayed.delays[delayed.came][of_class], delayed.ages[delayed.came][of_class], ages, weights[:, of_class]
    )


def shares_by_age(delays: Floats, ages: Floats, asked: Floats, weights: Floats) -> Floats:
    """The share of labels that come within a time, of those that come at all (weightings x asked).

    Only labels are seen that came before their row's age. So it is estimated from the longest delay down: of the
    labels that came within a time, and whose row was old enough to show one that takes so long, how many took just it.
    """
    if not len(delays):
        return np.zeros((len(weights), len(asked)))
    by_delay, by_age = np.argsort(delays, kind="stable"), np.argsort(ages, kind="stable")
    times, starts = np.unique(delays[by_delay], return_index=True)
    came = np.add.reduceat(weights[:, by_delay], starts, axis=1)
    younger = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, by_age], axis=1)], axis=1)
    at_risk = np.cumsum(came, axis=1) - younger[:, np.searchsorted(ages[by_age], times, side="left")]
    kept = 1 - np.divide(came, at_risk, out=np.zeros_like(came), where=at_risk > came / 2)
    beyond = np.cumprod(np.clip(kept, 0, 1)[:, ::-1], axis=1)[:, ::-1]
    shares = np.concatenate([beyond, np.ones((len(weights), 1))], axis=1)
    return np.asarray(shares[:, np.searchsorted(times, asked, side="right")])


def _draws(case: Case, delayed: Delayed, used: npt.NDArray[np.bool_]) -> Floats:
    """Weights of the rows that are used, where other rows had come and so other shares had been estimated."""
    came = int(delayed.came.sum())
    picked = weighted.drawn(came, DRAWS, case.random("errors: delays"))
    of_used = used[delayed.came]
    ages, labels = delayed.ages[used], delayed.rows.labels[used]
    shares = np.where(labels == 1, _share_at(delayed, 1, ages, picked), _share_at(delayed, 0, ages, picked))
    return np.asarray(picked[:, of_used] / np.maximum(shares, LEAST_SHARE / 4))
