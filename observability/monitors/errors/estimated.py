"""The share of wrong answers of a window before its labels are there.

A calibrated score says by itself how likely its answer is wrong, and the mean over a window's rows is the share of
wrong answers to expect (confidence-based performance estimation, CBPE). That holds while the relation of label and row
is as it was (only other kinds of rows come); no score shows a concept that changed. So each estimate is compared with
the labels once they are there, and where they do not agree it is withdrawn (`trust`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from bundle.signature import Feature
from observability.monitors.case import Case
from observability.monitors.errors.checked import check
from observability.monitors.errors.reweighted import Calibrated, Expected, Promised, calibrate_rows
from observability.monitors.errors.trust import trust
from observability.monitors.verdicts import Checked, EstimatedError

Floats = npt.NDArray[np.float64]

#: of the rarer class in the reference: from fewer labels no calibration is learned
LEAST_OF_A_CLASS: Final = 10
#: calibrations kept; one is of a version, or of its segment
KEPT: Final = 16


def estimate_error(case: Case) -> EstimatedError:
    """The share of wrong answers to expect of the window's sampled rows, and where their labels will put it."""
    scores = _numbers(case.sample.frame, "score")
    scored = np.isfinite(scores)
    learned = _learned(case)
    if reason := _why_not(case, learned, int(scored.sum())):
        return EstimatedError(error=None, reason=f"cannot tell: {reason}")
    answers = _answers(case.sample.frame, case.threshold)[scored]
    promised = learned.calibrated().promise(case.sample.frame[scored], scores[scored])
    expected = promised.expect(answers)
    said = EstimatedError(
        error=None,
        reference=float(np.mean((learned.scores > case.threshold) != learned.labels)),
        method="weighted" if learned.calibrated().encoding.features else "cbpe",
        expected=expected.error,
        standard_error=float(np.sqrt(expected.chance + expected.doubt)),
        checks=_checks(case, promised, answers, _numbers(case.sample.frame, "label")[scored]),
    )
    past = trust(case.past)
    if past.reason is not None:
        return said.model_copy(update={"reason": past.reason})
    bounds = interval(expected, past.between, int(scored.sum()), case.settings.errors.confidence)
    return said.model_copy(update={"error": expected.error} | bounds)


def interval(expected: Expected, between: float, rows: int, confidence: float) -> dict[str, float]:
    """Where the share among so many rows will lie.

    Quantiles of the beta distribution with this mean and variance: unlike the normal one it never leaves 0 to 1, and
    leans as a share does that is near either. Shares of so many rows are steps, and both ends take theirs in.

    >>> interval(Expected(error=0.001, chance=1e-6, doubt=0.0), 0.0, 1000, 0.95)
    {'low': 0.0, 'high': 0.004}
    """
    tail = (1 - confidence) / 2
    variance = expected.chance + expected.doubt + between
    size = max(expected.error * (1 - expected.error) / variance - 1, 1.0)
    spread = stats.beta(expected.error * size, (1 - expected.error) * size)
    low, high = np.floor(spread.ppf(tail) * rows) / rows, np.ceil(spread.ppf(1 - tail) * rows) / rows
    return {"low": float(low), "high": float(high)}


@dataclass(frozen=True)
class _Learned:
    """What is learned from: out-of-time rows with score and label. Equal where the rows are."""

    key: str
    rows: pd.DataFrame = field(compare=False)
    features: tuple[Feature, ...] = field(compare=False)
    scores: Floats = field(compare=False)
    labels: Floats = field(compare=False)

    def calibrated(self) -> Calibrated:
        return _calibrated(self)


@lru_cache(maxsize=KEPT)
def _calibrated(learned: _Learned) -> Calibrated:
    return calibrate_rows(learned.rows, learned.features, learned.scores, learned.labels)


def _learned(case: Case) -> _Learned:
    reference, features = case.reference, case.signature.features
    told = np.isin(reference.labels, [0, 1]) & np.isfinite(reference.scores)
    names = [feature.name for feature in features if feature.name in reference.scored]
    rows = reference.scored[names]
    rows = rows[told].reset_index(drop=True) if len(rows) == len(told) else pd.DataFrame()
    scores, labels = reference.scores[told], reference.labels[told]
    digest = hashlib.sha256(repr([(feature.name, feature.type) for feature in features]).encode())
    for part in (scores, labels, pd.util.hash_pandas_object(rows, index=False).to_numpy()):
        digest.update(np.ascontiguousarray(part).tobytes())
    return _Learned(digest.hexdigest(), rows, features, scores, labels)


def _checks(case: Case, promised: Promised, answers: npt.NDArray[np.bool_], labels: Floats) -> tuple[Checked, ...]:
    """None before labels are due: those that come first are no fair sample."""
    known = np.isin(labels, [0, 1])
    if not case.settled or known.sum() < case.settings.min_labels:
        return ()
    return check(promised.where(known), answers[known], labels[known])


def _why_not(case: Case, learned: _Learned, scored: int) -> str | None:
    task: str = case.signature.task
    if task != "binary":
        return f"the error of a {task} model is not estimated before its labels are there"
    if scored < 1:
        return "the window has no scores"
    if len(learned.labels) < case.settings.min_labels:
        known = f"{len(learned.labels)} of the version's out-of-time rows have a label"
        return f"{known}, {case.settings.min_labels} are needed"
    rarer = int(min(learned.labels.sum(), (1 - learned.labels).sum()))
    if rarer < LEAST_OF_A_CLASS:
        return f"{rarer} of the version's out-of-time rows are of the rarer class, {LEAST_OF_A_CLASS} are needed"
    return None


def _answers(frame: pd.DataFrame, threshold: float) -> npt.NDArray[np.bool_]:
    """What was answered; what the score says where that is not known."""
    said, by_score = _numbers(frame, "prediction"), _numbers(frame, "score") > threshold
    return np.asarray(np.where(np.isnan(said), by_score, said == 1), dtype=bool)


def _numbers(frame: pd.DataFrame, name: str) -> Floats:
    if name not in frame:
        return np.full(len(frame), np.nan)
    return pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
