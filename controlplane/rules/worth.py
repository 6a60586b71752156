"""Whether a retraining is worth its cost: the loss that it is expected to save, against what it costs.

What a version loses (its share of wrong answers, or the cost of an answer) is followed over all windows since its
promotion, and taken apart into what a retraining would mend and what not (`controlplane.rules.beliefs`). So a slow
decay adds up over windows, a single bad window counts little, and a retraining that brought nothing says that what has
come was not of the kind that one mends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import numpy as np
from scipy.special import ndtr

from controlplane.rules.beliefs import EXCESS, GRID, Beliefs, Floats, measured, unseen

#: two models made of the same kind of rows differ by this, in standard deviations of a row's loss
_MODELS_DIFFER: Final = 0.0125
#: an estimated error is off by so much more than its interval says
_ESTIMATE_OFF: Final = 0.05
#: a reference of which it is not said how sure it is counts as one of so many rows
_REFERENCE_ROWS: Final = 1_000
#: variance of a loss of which nothing is known, as a multiple of a row's
_UNKNOWN: Final = 1e4
#: where nobody has said what a retraining costs, it has to lower the loss by this on average, in standard deviations of
#: a row's: with 15 % wrong answers, by .15 points
_WORTHWHILE: Final = 0.004
#: below this the numbers of a filter are no longer exact
_SMALLEST_SD: Final = 1e-9
#: a version of which nothing is known is expected to serve so many windows
_LIFE_IN_WINDOWS: Final = 12.0


class Answer(StrEnum):
    """What comes out of weighing. The names are those of `controlplane.rules.facts.Reason`."""

    RETRAIN_WORTH = "expected to save more than it costs"
    WAIT_NOT_WORTH = "not shown to save more than it costs"
    WAIT_FEW_LABELS = "too few labels"


@dataclass(frozen=True)
class WindowLoss:
    """What one window tells of the loss of the version in production."""

    id: str
    #: predictions of it, exact
    rows: int
    #: those with a label that the loss is from
    labelled: int = 0
    #: share of wrong answers, or cost of an answer; None where labels lack
    loss: float | None = None
    loss_se: float | None = None
    #: the same, estimated without labels; looked at only where the loss is None
    estimated: float | None = None
    estimated_se: float | None = None


@dataclass(frozen=True)
class Trial:
    """A retraining that has its verdict: how much lower the challenger's loss was than the champion's on its rows."""

    #: how many windows of the champion came before the verdict
    after: int
    gain: float
    gain_se: float


@dataclass(frozen=True)
class Life:
    """A version's time in production.

    One that came back after a rollback goes on with its life; what replaced it for a while has none, and is a trial.
    """

    version: int
    #: its loss on rows that it has not learned from, from before it went into production; None where it is not known
    reference: float | None
    reference_se: float | None
    #: in order
    windows: tuple[WindowLoss, ...] = ()
    #: in order
    trials: tuple[Trial, ...] = ()

    @property
    def rows(self) -> int:
        return sum(window.rows for window in self.windows)

    def until(self, window: str) -> Life:
        """As it was when this was its newest window. What has been tried since the newest of all is known by now."""
        last = next(place for place, each in enumerate(self.windows) if each.id == window)
        if last == len(self.windows) - 1:
            return self
        trials = tuple(trial for trial in self.trials if trial.after <= last)
        return replace(self, windows=self.windows[: last + 1], trials=trials)


@dataclass(frozen=True)
class Terms:
    """What a retraining costs and has to bring."""

    #: in wrong answers, or in the unit of the cost matrix; where None, what `_WORTHWHILE` saves over the horizon
    cost: float | None
    #: predictions that a new version would answer; learned where None
    horizon: int | None
    #: fewer labels since the promotion say nothing
    min_labels: int


@dataclass(frozen=True)
class Worth:
    """The answer, a sentence with the numbers, and the numbers."""

    answer: Answer
    detail: str
    numbers: dict[str, Any] = field(default_factory=dict)


def weigh(lives: Sequence[Life], terms: Terms) -> Worth:
    """Whether a retraining now is worth its cost.

    `lives` are those of the model's versions in the order in which they served. The last is that of the version in
    production, with its windows up to the one that is judged.
    """
    now = lives[-1]
    labelled = sum(window.labelled for window in now.windows if window.loss is not None)
    estimated = sum(window.loss is None and window.estimated is not None for window in now.windows)
    if labelled < terms.min_labels and not estimated:
        detail = f"{labelled} labels since version {now.version} is in production, {terms.min_labels} are needed"
        return Worth(Answer.WAIT_FEW_LABELS, detail, {"labelled": labelled, "min_labels": terms.min_labels})
    beliefs = _believe(lives)
    horizon = float(terms.horizon) if terms.horizon is not None else _expected_life(lives)
    cost = terms.cost if terms.cost is not None else _WORTHWHILE * _row_sd(lives) * horizon
    return _answer(beliefs, cost, horizon, now)


def _answer(beliefs: Beliefs, cost: float, horizon: float, now: Life) -> Worth:
    """What is saved is a mean over all that may be the case: to try costs a training, and a shadow refuses what brings
    nothing. So what is unlikely and would save much counts too.
    """
    share = np.exp(beliefs.weight - beliefs.weight.max())
    share /= share.sum()
    served = horizon * _lasting(horizon / max(1.0, now.rows / max(1, len(now.windows))))
    excess, sd = beliefs.mean @ EXCESS, np.sqrt(beliefs.covariance @ EXCESS @ EXCESS)
    probability = float(share @ ndtr((excess * served - cost) / np.maximum(sd * served, 1e-12)))
    saved = float(share @ (excess * served))
    numbers = {
        "excess": float(share @ excess),
        "expected_saved": saved,
        "cost": cost,
        "horizon": round(horizon),
        "probability": probability,
        "lasting": float(share @ served) / horizon,
        "mends": float(share @ GRID[3]),
        "windows": len(now.windows),
    }
    detail = (
        f"a retraining is expected to save {saved:,.1f} over {horizon:,.0f} predictions, of an excess loss of "
        f"{numbers['excess']:.4f} now, and costs {cost:,.1f}: {'worth it' if saved > cost else 'not worth it'}; "
        f"that it saves more than that is {probability:.0%} likely"
    )
    return Worth(Answer.RETRAIN_WORTH if saved > cost else Answer.WAIT_NOT_WORTH, detail, numbers)


def _lasting(windows: float) -> Floats:
    """The mean excess over so many windows to come, as a share of the excess now, under each answer of the grid."""
    stays = GRID[2]
    fades = np.maximum(1 - stays, 1e-12)
    lasting: Floats = np.where(stays < 1, (1 - stays**windows) / (windows * fades), 1.0)
    return lasting


def _expected_life(lives: Sequence[Life]) -> float:
    """Predictions that a version answers until it is replaced: the past ones', and so far the present one's.

    Of lifetimes that end at any time alike (exponential), with one of `_LIFE_IN_WINDOWS` assumed before any was seen.
    """
    windows = sum(len(life.windows) for life in lives)
    rows = sum(life.rows for life in lives)
    return (_LIFE_IN_WINDOWS * rows / max(1, windows) + rows) / len(lives)


def _believe(lives: Sequence[Life]) -> Beliefs:
    """All that was seen of the model, life after life: what was learned of the grid stays, the rest begins anew."""
    scale = _row_sd(lives)
    weight = np.zeros(GRID.shape[1])
    beliefs = _begin(lives[0], weight, scale)
    for number, life in enumerate(lives):
        if number:
            beliefs = _begin(life, beliefs.weight, scale)
        beliefs = _live(life, beliefs, scale)
    return beliefs


def _begin(life: Life, weight: Floats, scale: float) -> Beliefs:
    """A new version has no excess. Without a reference its first windows say what is usual."""
    known = life.reference is not None
    base = life.reference if life.reference is not None else 0.0
    chance = life.reference_se if life.reference_se is not None else scale / _REFERENCE_ROWS**0.5
    var = chance**2 + (_MODELS_DIFFER * scale) ** 2 if known else _UNKNOWN * scale**2
    mean, covariance = np.zeros((len(weight), 3)), np.zeros((len(weight), 3, 3))
    mean[:, 0], covariance[:, 0, 0] = base, var
    return Beliefs(weight, mean, covariance)


def _live(life: Life, beliefs: Beliefs, scale: float) -> Beliefs:
    trials = list(life.trials)
    for number, window in enumerate(life.windows):
        while trials and trials[0].after <= number:
            beliefs = _tried(trials.pop(0), beliefs, scale)
        beliefs = _looked(window, beliefs, scale)
    for trial in trials:
        beliefs = _tried(trial, beliefs, scale)
    return beliefs


def _tried(trial: Trial, beliefs: Beliefs, scale: float) -> Beliefs:
    """What is learned from a retraining that did not come into production: only what comes from then on counts."""
    noise = trial.gain_se**2 + (_MODELS_DIFFER * scale) ** 2
    return beliefs.seen(trial.gain, np.full_like(beliefs.weight, noise), EXCESS).settled()


def _looked(window: WindowLoss, beliefs: Beliefs, scale: float) -> Beliefs:
    """One window later, when its loss is known, or estimated, or neither."""
    if window.loss is not None and window.labelled:
        chance = window.loss_se if window.loss_se else scale / np.sqrt(window.labelled)
        return measured(window.loss, chance**2, beliefs, scale)
    if window.estimated is not None:
        off = (window.estimated_se or 0.0) ** 2 + (_ESTIMATE_OFF * scale) ** 2
        return measured(window.estimated, off, beliefs, scale)
    return unseen(beliefs, scale)


def _row_sd(lives: Sequence[Life]) -> float:
    """The standard deviation of a row's loss: what everything is measured in, so that no unit has to be named."""
    found = [
        window.loss_se * np.sqrt(window.labelled)
        for life in lives
        for window in life.windows
        if window.loss is not None and window.loss_se and window.labelled
    ]
    return max(float(np.median(found)), _SMALLEST_SD) if found else 0.4
