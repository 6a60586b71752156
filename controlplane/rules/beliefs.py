"""What is believed of a version's loss, as filters that each assume something else of how the loss changes.

The loss is taken apart into what is usual for the version, what has come on top of it and a retraining would not mend,
what has come and one would mend (the excess), what is off in a single window (a storm), and chance. How much comes,
how fast it fades and how much of it a retraining mends is not known: each of a few answers, the cells of a grid, is
tried on all that was seen, and counts for as much as it explains.

Reference: West and Harrison (1997), Bayesian Forecasting and Dynamic Models, chapters 4 (filtering) and 12
(multi-process models).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

Floats = npt.NDArray[np.float64]

# What is tried. Sizes are in standard deviations of a row's loss.
#: how much comes in a usual window
_MOVES: Final = (0.0, 0.005, 0.02)
#: how much staler a version gets with each window: what a retraining mends for sure
_AGES: Final = (0.0, 0.001, 0.003)
#: how often a single window is off beyond chance
_STORMS: Final = (0.02, 0.2)
#: what is left of what came one window later
_STAYS: Final = (0.5, 0.85, 1.0)
#: how much of it a retraining mends
_MENDS: Final = (0.0, 0.4, 0.8)
GRID: Final = np.array(list(product(_MOVES, _STORMS, _STAYS, _MENDS, _AGES))).T
# What is assumed.
#: and how much the share that a retraining mends differs from one time to the next
_MENDS_VARY: Final = 0.1
#: how often much comes at once, and how much then
_JUMPS: Final = 0.03
_JUMP: Final = 0.1
#: how far off a window is in a storm
_STORM: Final = 0.15


class Beliefs(NamedTuple):
    """What is believed under each answer of the grid, as normals of three parts of the loss.

    They are what is usual, and of what has come on top of it what no retraining would mend, and what one would.
    """

    #: logarithm of how well each explains what was seen
    weight: Floats
    mean: Floats
    covariance: Floats

    def seen(self, value: float, var: Floats, of: Floats) -> Beliefs:
        """After a measurement of the sum of these parts."""
        gain = self.covariance @ of
        total = gain @ of + var
        off = value - self.mean @ of
        return Beliefs(
            self.weight - 0.5 * (np.log(total) + off**2 / total),
            self.mean + gain * (off / total)[:, None],
            self.covariance - gain[:, :, None] * gain[:, None, :] / total[:, None, None],
        )

    def settled(self) -> Beliefs:
        """After a retraining has not mended what is there: that stays."""
        return self._replace(mean=self.mean @ _SETTLES.T, covariance=_SETTLES @ self.covariance @ _SETTLES.T)

    def later(self, scale: float, more: float = 0.0) -> Beliefs:
        """One window later: what has come fades, and something else has come, at times `more` of it."""
        moves, _, stays, _, ages = GRID
        kept = np.stack([np.ones_like(stays), stays, stays], axis=1)
        comes = _COMES * (scale**2 * (moves**2 + more**2))[:, None, None]
        return self._replace(
            mean=self.mean * kept + EXCESS * (ages * scale)[:, None],
            covariance=self.covariance * kept[:, :, None] * kept[:, None, :] + comes,
        )


def _either(cases: Sequence[Beliefs]) -> Beliefs:
    """What is believed where it is not known which is the case, as one normal with their mean and covariance."""
    weights = np.stack([case.weight for case in cases])
    whole: Floats = logsumexp(weights, axis=0)
    share = np.exp(weights - whole)
    means = np.stack([case.mean for case in cases])
    mean = np.einsum("cg,cgi->gi", share, means)
    off = means - mean
    spread = np.stack([case.covariance for case in cases]) + off[..., :, None] * off[..., None, :]
    return Beliefs(whole, mean, np.einsum("cg,cgij->gij", share, spread))


def _comes() -> Floats:
    """The covariance of what comes in a window, where that has variance 1."""
    mends = GRID[3]
    shares = np.stack([np.zeros_like(mends), 1 - mends, mends], axis=1)
    varied = np.array([0.0, -_MENDS_VARY, _MENDS_VARY])
    covariance: Floats = shares[:, :, None] * shares[:, None, :] + varied[:, None] * varied
    return covariance


_COMES: Final = _comes()
LOSS: Final = np.array([1.0, 1.0, 1.0])
EXCESS: Final = np.array([0.0, 0.0, 1.0])
#: what a retraining would have mended becomes what none mends
_SETTLES: Final = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])


def measured(loss: float, var: float, beliefs: Beliefs, scale: float) -> Beliefs:
    """After a window that was as usual, or in which much has come, or a storm raged."""
    storms, chance = GRID[1], np.full_like(beliefs.weight, var)
    quiet = beliefs.later(scale)
    usual = quiet.seen(loss, chance, LOSS)
    jump = beliefs.later(scale, _JUMP).seen(loss, chance, LOSS)
    storm = quiet.seen(loss, chance + (_STORM * scale) ** 2, LOSS)
    return _either(
        [
            usual._replace(weight=usual.weight + np.log(1 - _JUMPS - storms)),
            jump._replace(weight=jump.weight + np.log(_JUMPS)),
            storm._replace(weight=storm.weight + np.log(storms)),
        ]
    )


def unseen(beliefs: Beliefs, scale: float) -> Beliefs:
    """After a window of which nothing is known."""
    return beliefs.later(scale, _JUMP * _JUMPS**0.5)
