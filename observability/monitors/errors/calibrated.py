"""What a score says of the chance of class 1, learned from scores beside labels.

A score need not be a probability. Four maps compete: the score as it is, Platt's (a line in the logit), beta (three
parameters, for scores that are skewed) and isotonic (any shape that rises). The simplest wins whose log-loss on rows
that it was not fitted to is within one standard error of the best: a richer map has to show that it is worth its noise.
Kull, Silva Filho and Flach (2017), Beta calibration; Zadrozny and Elkan (2002), isotonic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

Floats = npt.NDArray[np.float64]
Kind = Literal["as is", "platt", "beta", "isotonic"]

#: simplest first
KINDS: Final[tuple[Kind, ...]] = ("as is", "platt", "beta", "isotonic")
FOLDS: Final = 5
#: no chance is nearer to 0 or 1 than this
_EDGE: Final = 1e-6
#: in effect no penalty
_FREE: Final = 1e6


@dataclass(frozen=True)
class Calibration:
    """A map from scores to chances of class 1. Beyond the scores that it has seen it stays where it was."""

    kind: Kind
    low: float
    high: float
    map: Callable[[Floats], Floats]

    def log_odds(self, scores: Floats) -> Floats:
        return np.asarray(logit(_inside(self.map(_inside(np.clip(scores, self.low, self.high))))))


def calibrate(scores: Floats, labels: Floats) -> Calibration:
    """The simplest map that fits rows it has not seen as well as the best one does."""
    losses = {kind: _held_out_losses(kind, scores, labels) for kind in KINDS}
    best = min(KINDS, key=lambda kind: float(losses[kind].mean()))
    for kind in KINDS:
        worse = losses[kind] - losses[best]
        if worse.mean() <= worse.std() / np.sqrt(len(worse)):
            break
    return fit(kind, scores, labels)


def fit(kind: Kind, scores: Floats, labels: Floats) -> Calibration:
    """One kind of map, fitted to all of these rows; as it is where they are of one class."""
    kind = kind if len(np.unique(labels)) > 1 else "as is"
    maps = {"as is": _as_is, "platt": _platt, "beta": _beta, "isotonic": _isotonic}
    return Calibration(kind, float(scores.min()), float(scores.max()), maps[kind](_inside(scores), labels))


def _held_out_losses(kind: Kind, scores: Floats, labels: Floats) -> Floats:
    losses = np.empty(len(scores))
    for known, held_out in KFold(FOLDS, shuffle=True, random_state=0).split(scores):
        chances = expit(fit(kind, scores[known], labels[known]).log_odds(scores[held_out]))
        losses[held_out] = -np.log(np.where(labels[held_out] == 1, chances, 1 - chances))
    return losses


def _as_is(_scores: Floats, _labels: Floats) -> Callable[[Floats], Floats]:
    return lambda scores: scores


def _platt(scores: Floats, labels: Floats) -> Callable[[Floats], Floats]:
    return _logistic(lambda s: logit(s)[:, None], scores, labels)


def _beta(scores: Floats, labels: Floats) -> Callable[[Floats], Floats]:
    return _logistic(lambda s: np.column_stack([np.log(s), -np.log1p(-s)]), scores, labels)


def _logistic(shape: Callable[[Floats], Floats], scores: Floats, labels: Floats) -> Callable[[Floats], Floats]:
    model = LogisticRegression(C=_FREE, max_iter=1_000).fit(shape(scores), labels)
    return lambda s: np.asarray(model.predict_proba(shape(s))[:, 1])


def _isotonic(scores: Floats, labels: Floats) -> Callable[[Floats], Floats]:
    """Chances that n rows can tell from 0 and 1: a block without the other class is no proof that there is none."""
    edge = 1 / (len(labels) + 2)
    model = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(scores, labels)
    return lambda s: np.asarray(model.predict(s))


def _inside(chances: Floats) -> Floats:
    return np.clip(chances, _EDGE, 1 - _EDGE)
