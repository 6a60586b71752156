"""What an estimate rests on, tested by the labels of its window.

An estimate rests on more than its own figure: on what the scores mean. Where a concept changes, wrong answers on one
side of the threshold may make up for right ones on the other, and their share hardly moves, although scores say
something else of the labels now. So beside the share of wrong answers two more things are compared with what was
promised: how many labels are of class 1, and how much the labels' log-odds rise with those of the chances (the level
and the slope of Cox's recalibration, 1958; each by its score test, as Spiegelhalter's of 1986 is one). What is promised
is of these very rows, so that other kinds of rows, or labels of some rows only, are no miss.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from observability.monitors.errors.reweighted import Promised, wrong
from observability.monitors.verdicts import Checked, Promise

Floats = npt.NDArray[np.float64]

#: about the slope, below which labels could not tell scores that mean nothing from those that mean what they did
LEAST_INFORMATION: Final = 1.0


def check(promised: Promised, answers: npt.NDArray[np.bool_], labels: Floats) -> tuple[Checked, ...]:
    """Each thing that was promised of these rows, beside their labels; there is at least one row."""
    whole = np.ones(len(labels)) / len(labels)
    told = [
        _checked("share", promised, labels, wrong(answers) * whole, float(answers.mean())),
        _checked("level", promised, labels, whole, 0.0),
    ]
    centred = promised.log_odds - np.average(promised.log_odds, weights=promised.spread)
    information = float(promised.spread @ centred**2)
    if information >= LEAST_INFORMATION:
        weights = centred / information
        told.append(_checked("slope", promised, labels, weights, 1 - float(weights @ promised.chances)))
    return tuple(told)


def _checked(what: Promise, promised: Promised, labels: Floats, weights: Floats, base: float) -> Checked:
    """Of a weighted sum of labels; `base` is what it is beyond that."""
    chance, doubt = promised.variances(weights, promised.loose)
    return Checked(
        what=what,
        expected=base + float(weights @ promised.chances),
        realised=base + float(weights @ labels),
        chance=chance,
        doubt=doubt,
        labels=len(labels),
    )
