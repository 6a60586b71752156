"""Whether estimates of the past agree with the labels that came, and so whether the next one is told.

A miss is what labels showed, less what was promised (`checked`), in standard errors. Of each thing that is checked two
cumulative sums (Page 1954), one for each side, add up what misses exceed ALLOWANCE by. One miss of nearly four standard
errors or two of 2.5 reach the limit. A calibration that is off by chance is off in the same direction in every window:
the more of the standard error is that, the more is allowed. From there on the estimate is withdrawn, until AGREEING
windows in a row agree again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from observability.monitors.case import PastVerdict
from observability.monitors.verdicts import Checked, Promise

Floats = npt.NDArray[np.float64]

#: of a miss, in standard errors, so much counts for nothing; and so much more where all of it may be the calibration
ALLOWANCE: Final = 1.25
_SHARED: Final = 1.75
LIMIT: Final = 2.5
#: windows in a row after which a withdrawn estimate is told again: each misses by no more than the first beyond what is
#: allowed, on average by no more than the second
AGREEING: Final = 3
_EACH_WITHIN: Final = 0.75
_TOGETHER_WITHIN: Final = 0.25
#: from so many misses on, what windows vary by beyond chance is learned from them
MISSES_TO_LEARN: Final = 8
#: of the squares of a standard normal
_MEDIAN_SQUARE: Final = float(stats.chi2.ppf(0.5, 1))

_PROMISES: Final[Mapping[Promise, str]] = {
    "share": "{expected:.3f} of the answers were expected to be wrong and {realised:.3f} were",
    "level": "{expected:.3f} of the labels were expected to be of class 1 and {realised:.3f} were",
    "slope": "scores told {realised:.2f} of what they tell on the version's own rows",
}


@dataclass(frozen=True)
class Trust:
    """What the past says of the next estimate."""

    #: variance of the share of wrong answers between windows, beyond what chance and the calibration explain
    between: float = 0.0
    #: why it is not told
    reason: str | None = None


def trust(past: Iterable[PastVerdict]) -> Trust:
    """Judge the estimates by the labels that came; `past` is newest first."""
    windows = [checks_of(window) for window in past][::-1]
    reasons, between = [], 0.0
    for what in _PROMISES:
        checks = [check for window in windows for check in window if check.what == what]
        varying = between_windows(checks)
        between = varying if what == "share" else between
        since = _withdrawn_since(checks, varying)
        reasons += [] if since is None else [_reason(checks[since:], varying)]
    return Trust(between, reasons[0] if reasons else None)


def checks_of(window: PastVerdict) -> tuple[Checked, ...]:
    """Nothing where the labels are not due, or nothing was promised."""
    estimate = window.verdict.get("estimate")
    if not window.settled or not isinstance(estimate, Mapping):
        return ()
    return tuple(Checked.model_validate(check) for check in estimate.get("checks") or ())


def between_windows(checks: Sequence[Checked]) -> float:
    """By how much the truth wobbles from window to window: a variance, of successive differences.

    A lasting change is one large difference among many, so it does not widen what it should break; a calibration that
    is off is in no difference at all.
    """
    if len(checks) < MISSES_TO_LEARN:
        return 0.0
    differences = np.diff([check.realised - check.expected for check in checks])
    by_chance = float(np.mean([check.chance for check in checks]))
    return max(0.0, float(np.median(differences**2)) / _MEDIAN_SQUARE / 2 - by_chance)


def _withdrawn_since(checks: Sequence[Checked], between: float) -> int | None:
    """The place of the miss that is the first of those for which it is withdrawn; oldest first."""
    misses = np.array([check.missed(between) for check in checks])
    allowed = np.array([_allowance(check, between) for check in checks])
    sums, since, last = np.zeros(2), 0, None
    for place, (miss, allowance) in enumerate(zip(misses, allowed, strict=True)):
        newest = slice(place - AGREEING + 1, place + 1)
        if last is not None and place - last >= AGREEING and _agree(misses[newest], allowed[newest]):
            sums, last = np.zeros(2), None
        before, sums = sums, np.maximum(0.0, sums + np.array([miss, -miss]) - allowance)
        since = place if not before.any() else since
        last = place if last is None and sums.max() > LIMIT else last
    return None if last is None else since


def _allowance(check: Checked, between: float) -> float:
    return ALLOWANCE + _SHARED * check.doubt / (check.chance + check.doubt + between)


def _agree(misses: Floats, allowed: Floats) -> bool:
    each = np.abs(misses) - allowed
    return bool(each.max() <= _EACH_WITHIN and abs(misses.mean()) - allowed.mean() <= _TOGETHER_WITHIN)


def _reason(checks: Sequence[Checked], between: float) -> str:
    worst = max(checks, key=lambda check: abs(check.missed(between)))
    promise = _PROMISES[worst.what].format(expected=worst.expected, realised=worst.realised)
    return (
        f"cannot tell: in the last {len(checks)} windows with labels the estimate missed the truth; worst where "
        f"{promise}, {abs(worst.missed(between)):.1f} standard errors off ({worst.labels} labels). "
        f"It is told again after {AGREEING} windows in a row that agree"
    )
