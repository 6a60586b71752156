"""How many labels have come, by the windows before: what they had at their first look, and what they have now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydantic import ValidationError

from observability.monitors.case import Case, PastVerdict
from observability.monitors.errors import weighted
from observability.monitors.errors.arrivals import (
    CLASSES,
    DRAWS,
    Arrival,
    CannotTell,
    ages_of,
    by_class,
    too_few,
)
from observability.monitors.errors.metrics import answers_of, judged
from observability.monitors.errors.weighted import Floats
from observability.monitors.stored import FIRST, SEEN
from observability.monitors.verdicts import LabelsSeen

#: settled windows, and of a class labels in them, that shares are learned from
LEAST_WINDOWS: Final = 5
LEAST_PAST_LABELS: Final = 30
#: a smaller share of a class's labels cannot speak for the rest
LEAST_SHARE: Final = 0.02
#: a first look is like this one where its rows were so much younger or older, at most
LIKE: Final = 1.25
#: by so much more may the labels differ from what windows before promise, as a share and in deviations
SLACK: Final = 0.1
FAR: Final = 4.0


@dataclass(frozen=True)
class Looks:
    """Settled windows (windows x classes): the labels at the first look and at the last."""

    first: Floats
    last: Floats
    sampled: Floats


def arrivals_by_past(case: Case) -> Arrival | CannotTell:
    """The labels that have come, weighted by what share of their class had come in windows before."""
    looks = _looks(case)
    if isinstance(looks, CannotTell):
        return looks
    answers = answers_of(case.sample.frame, "binary", case.threshold)
    rows = answers.where(judged(answers, "binary"))
    last = looks.last.sum(axis=0)
    awaited = {each: bool(last[each] or (rows.labels == each).any()) for each in CLASSES}
    if (why := _unlearned(looks, awaited) or too_few(rows, awaited)) is not None:
        return why
    rng = case.random("errors: arrivals")
    shares = {each: _share(looks, each) for each in CLASSES}
    drawn = {each: _drawn_shares(looks, each, rng)[:, None] for each in CLASSES}
    weights = 1 / by_class(rows, {each: np.array(share) for each, share in shares.items()})
    draws = weighted.drawn(len(rows), DRAWS, rng) / by_class(rows, drawn)
    if (why := _unlike(looks, draws.sum(axis=1), len(answers))) is not None:
        return why
    return Arrival(rows, weights, draws, {str(each): shares[each] for each in CLASSES if awaited[each]})


def _looks(case: Case) -> Looks | CannotTell:
    ages = ages_of(case)
    age = None if ages is None or case.as_of is None else float(ages.mean())
    pairs = [pair for past in case.past if past.settled and (pair := _pair(past)) and _alike(pair[0].age, age)]
    if len(pairs) < LEAST_WINDOWS:
        return CannotTell(
            f"how soon labels come is known of {len(pairs)} settled windows that were looked at as soon, "
            f"{LEAST_WINDOWS} are needed"
        )
    first = np.array([_counts(at_first) for at_first, _, _ in pairs])
    last = np.array([_counts(at_last) for _, at_last, _ in pairs])
    return Looks(first, last, np.array([sampled for _, _, sampled in pairs], dtype=np.float64))


def _pair(past: PastVerdict) -> tuple[LabelsSeen, LabelsSeen, int] | None:
    """The labels at the first look and at the last; None where the verdict does not hold them."""
    try:
        first = LabelsSeen.model_validate(past.verdict.get(FIRST))
        last = LabelsSeen.model_validate(past.verdict.get(SEEN))
        sampled = int(past.verdict["sampled"])
    except (ValidationError, KeyError, TypeError, ValueError):
        return None
    return first, last, sampled


def _alike(age: float | None, now: float | None) -> bool:
    return age is None or now is None or now / LIKE <= age <= now * LIKE


def _counts(seen: LabelsSeen) -> list[float]:
    return [float(seen.by_class.get(str(each), 0)) for each in CLASSES]


def _unlearned(looks: Looks, awaited: Mapping[int, bool]) -> CannotTell | None:
    """Why the past does not say how soon a class's labels come."""
    first, last = looks.first.sum(axis=0), looks.last.sum(axis=0)
    for each in (each for each in CLASSES if awaited[each]):
        if last[each] < LEAST_PAST_LABELS:
            return CannotTell(
                f"windows before hold {last[each]:.0f} labels of class {each}, {LEAST_PAST_LABELS} are needed to know "
                "how soon they come"
            )
        if first[each] < LEAST_SHARE * last[each]:
            return CannotTell(
                f"of the labels of class {each}, {first[each] / last[each]:.1%} had come when windows before were "
                f"looked at first, {LEAST_SHARE:.0%} are needed to speak for the rest"
            )
        if first[each] > (1 + SLACK) * last[each]:
            return CannotTell(f"labels of class {each} become others after they have come")
    return None


def _share(looks: Looks, each: int) -> float:
    first, last = looks.first[:, each].sum(), looks.last[:, each].sum()
    return float(min(first / last, 1.0)) if first and last else 1.0


def _drawn_shares(looks: Looks, each: int, rng: np.random.Generator) -> Floats:
    """What a window's share may be: how well the mean is known, and how much windows differ from it."""
    first, last, share = looks.first[:, each], looks.last[:, each], _share(looks, each)
    if share >= 1:
        return np.ones(DRAWS)
    missed = ((first - share * last) ** 2).sum()
    of_mean = len(last) / (len(last) - 1) * missed / last.sum() ** 2
    between = max(0.0, missed - share * (1 - share) * last.sum()) / (last**2).sum()
    variance = min(of_mean + between, share * (1 - share) / 2)
    if variance <= 0:
        return np.full(DRAWS, share)
    weight = share * (1 - share) / variance - 1
    return np.maximum(rng.beta(share * weight, (1 - share) * weight, DRAWS), share / 4)


def _unlike(looks: Looks, implied: Floats, sampled: int) -> CannotTell | None:
    """Why the past does not fit: the labels that came would make other totals than windows end with."""
    share = min(1.0, float(looks.last.sum() / max(looks.sampled.sum(), 1.0)))
    expected = share * sampled
    chance = implied.var() + expected * (1 - share) + (SLACK * expected) ** 2
    if abs(implied.mean() - expected) <= FAR * chance**0.5:
        return None
    sooner = "sooner" if implied.mean() > expected else "later"
    return CannotTell(
        f"labels come {sooner} than in the windows before: those that came would make {implied.mean():.0f} in the end "
        f"of {sampled} rows, and {expected:.0f} are usual"
    )
