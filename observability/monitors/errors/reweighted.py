"""How likely an answer is wrong, by its score and by what kind of row it is, learned from rows with labels.

A calibration is right on average over the rows that it was learned from. Where other kinds of rows come, its errors
no longer cancel. Importance weighting answers that: weight the reference so that it looks like the window. Here the
weights are those that balance every column's values between the two, as far as the reference's labels show that it
matters: a logistic regression of the labels on the columns beside the calibrated score, each feature's coefficients
drawn together by a variance of its own, which is estimated (empirical Bayes). The two forms are one: what a ridge
regression predicts of a mean is a weighted mean of its labels, with weights that balance the columns; see Bruns-Smith,
Dukes, Feller and Ogburn (2023), Augmented balancing weights as linear regression. A window like the reference so gets
the plain estimate. Weights from a classifier of window against reference were tried beside it, on synthetic
streams: they also weight what has nothing to do with errors, and were noisier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from bundle.signature import Feature
from observability.monitors.errors.calibrated import Calibration, calibrate
from observability.monitors.errors.encoding import Encoding, encoding_of

Floats = npt.NDArray[np.float64]

#: a feature's coefficients may always be off by so much in log-odds, whatever the rows show: counts as one coefficient
ALWAYS: Final = 0.02
#: what they are taken to be off by at first
_AT_FIRST: Final = 0.1
#: steps of Newton's, and within each so many of the variances
_STEPS: Final = (30, 20, 10)
#: the level and the slope of a fitted calibration are not drawn to zero: they were free before
_FITTED: Final = 1.0
#: the variances are estimates themselves: the interval takes them as so many times larger
_DOUBT: Final = 2.0


@dataclass(frozen=True)
class Expected:
    """What is expected of rows: the share of wrong answers, and the variances of chance and of the calibration."""

    error: float
    #: of the share that these rows will have, were their chances known
    chance: float
    #: of the expectation itself: what so many labelled rows leave open
    doubt: float


@dataclass(frozen=True)
class Promised:
    """Rows with their log-odds of class 1, and what is open about them."""

    log_odds: Floats
    columns: Floats
    covariance: Floats
    loose: Floats

    @property
    def chances(self) -> Floats:
        return np.asarray(expit(self.log_odds))

    @property
    def spread(self) -> Floats:
        """Variance of each row's label."""
        return self.chances * (1 - self.chances)

    def where(self, these: npt.NDArray[np.bool_]) -> Promised:
        """Only these rows."""
        return Promised(self.log_odds[these], self.columns[these], self.covariance, self.loose)

    def variances(self, weights: Floats, covariance: Floats) -> tuple[float, float]:
        """Of the weighted sum of labels: by chance, and of what is expected of it."""
        slope = (weights * self.spread) @ self.columns
        return float(weights**2 @ self.spread), float(slope @ covariance @ slope)

    def expect(self, answers: npt.NDArray[np.bool_]) -> Expected:
        """The share of wrong answers among these rows; there is at least one."""
        chance, doubt = self.variances(wrong(answers) / len(answers), self.covariance)
        return Expected(float(np.where(answers, 1 - self.chances, self.chances).mean()), chance, doubt)


def wrong(answers: npt.NDArray[np.bool_]) -> Floats:
    """What a label of class 1, rather than 0, adds to the wrong answers of each row."""
    return np.where(answers, -1.0, 1.0)


@dataclass(frozen=True)
class Calibrated:
    """Chances of class 1, by score and kind of row."""

    calibration: Calibration
    encoding: Encoding
    coefficients: Floats
    covariance: Floats
    #: the same as far as only the labels tell: also a level and a slope that were left as they are are known no better
    loose: Floats

    def promise(self, rows: pd.DataFrame, scores: Floats) -> Promised:
        """What these scores of these rows say of their labels."""
        log_odds = self.calibration.log_odds(scores)
        columns, _ = self.encoding.encode(log_odds, rows)
        return Promised(log_odds + columns @ self.coefficients, columns, self.covariance, self.loose)


def calibrate_rows(rows: pd.DataFrame, features: tuple[Feature, ...], scores: Floats, labels: Floats) -> Calibrated:
    """Learn from scored rows with labels of both classes; `rows` may hold no features."""
    calibration = calibrate(scores, labels)
    log_odds = calibration.log_odds(scores)
    encoding = encoding_of(log_odds, rows, features)
    columns, groups = encoding.encode(log_odds, rows)
    free = np.zeros(len(groups), dtype=bool)
    free[:2] = calibration.kind != "as is"
    return Calibrated(calibration, encoding, *_fit(columns, groups, free, log_odds, labels))


def _fit(
    columns: Floats, groups: npt.NDArray[np.intp], free: npt.NDArray[np.bool_], log_odds: Floats, labels: Floats
) -> tuple[Floats, Floats, Floats]:
    """Coefficients beside the calibrated log-odds, and their covariances."""
    coefficients = np.zeros(columns.shape[1])
    variances = np.full(groups.max() + 1, _AT_FIRST**2)
    for steps in _STEPS:
        chances = expit(log_odds + columns @ coefficients)
        information = columns.T @ (columns * (chances * (1 - chances))[:, None])
        pull = columns.T @ (labels - chances) + information @ coefficients
        for _ in range(steps):
            covariance = _inverse(information, variances[groups], free)
            coefficients = covariance @ pull
            variances = _variances(coefficients, covariance, groups)
    unsure, loose = _DOUBT * variances[groups], free | (groups < 2)
    return coefficients, _inverse(information, unsure, free), _inverse(information, unsure, loose)


def _inverse(information: Floats, variances: Floats, free: npt.NDArray[np.bool_]) -> Floats:
    return np.asarray(np.linalg.inv(information + np.diag(np.where(free, 1 / _FITTED, 1 / variances))))


def _variances(coefficients: Floats, covariance: Floats, groups: npt.NDArray[np.intp]) -> Floats:
    """Of each group: the step of expectation maximisation, with ALWAYS as one more coefficient."""
    squares = np.bincount(groups, coefficients**2 + np.diag(covariance))
    return np.asarray((squares + ALWAYS**2) / (np.bincount(groups) + 1))
