"""Whether estimates of the past agree with the labels that came, and so whether the next one is told.

A miss is what labels showed, less what was expected, in standard errors. Two cumulative sums (Page 1954), one for each
side, add up what misses exceed ALLOWANCE by. They allow for a calibration that is off by chance in the same direction
in every window, which is part of the standard error; one miss of nearly four standard errors or two of 2.5 reach the
limit. From there on the estimate is withdrawn, until AGREEING windows in a row agree again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from observability.monitors.case import PastVerdict

#: of a miss, in standard errors, so much counts for nothing
ALLOWANCE: Final = 1.25
LIMIT: Final = 2.5
#: windows in a row after which a withdrawn estimate is told again: each within the first, on average within the second
AGREEING: Final = 3
_EACH_WITHIN: Final = 2.0
_TOGETHER_WITHIN: Final = 1.5
#: from so many misses on, what windows vary by beyond chance is learned from them
MISSES_TO_LEARN: Final = 8
#: of the squares of a standard normal
_MEDIAN_SQUARE: Final = float(stats.chi2.ppf(0.5, 1))


@dataclass(frozen=True)
class Miss:
    """What was expected of a window, and what its labels showed."""

    expected: float
    realised: float
    #: of the expectation, as it was stored: for the rows that were looked at
    standard_error: float
    #: rows that were looked at, and those of them with a label
    rows: int
    labelled: int

    @property
    def chance(self) -> float:
        """Variance of a share among so many labels."""
        return self.expected * (1 - self.expected) / max(self.labelled, 1)

    def standardised(self, between: float) -> float:
        """In standard errors, of which `between` is the variance between windows."""
        fewer = max(0.0, self.chance - self.expected * (1 - self.expected) / max(self.rows, 1))
        return (self.realised - self.expected) / float(np.sqrt(self.standard_error**2 + fewer + between))


@dataclass(frozen=True)
class Trust:
    """What the past says of the next estimate."""

    #: variance between windows beyond what chance and the calibration explain
    between: float = 0.0
    #: why it is not told
    reason: str | None = None


def trust(past: Iterable[PastVerdict]) -> Trust:
    """Judge the estimates by the labels that came; `past` is newest first."""
    misses = [miss for miss in map(miss_of, past) if miss is not None][::-1]
    between = between_windows(misses)
    since = _withdrawn_since([miss.standardised(between) for miss in misses])
    return Trust(between, None if since is None else _reason(misses[since:], between))


def miss_of(window: PastVerdict) -> Miss | None:
    """None where the labels are not due, or nothing was expected."""
    estimate, error = window.verdict.get("estimate"), window.verdict.get("error")
    if not window.settled or not isinstance(estimate, Mapping) or not isinstance(error, Mapping):
        return None
    expected, realised, spread = estimate.get("expected"), error.get("error"), estimate.get("standard_error")
    if expected is None or realised is None or spread is None or not window.labelled:
        return None
    rows = int(window.verdict.get("sampled") or window.rows)
    labelled = round(rows * min(1.0, window.labelled / max(window.rows, 1)))
    return Miss(float(expected), float(realised), float(spread), rows, labelled)


def between_windows(misses: list[Miss]) -> float:
    """By how much the truth wobbles from window to window: a variance, of successive differences.

    A lasting change is one large difference among many, so it does not widen what it should break; a calibration that
    is off is in no difference at all.
    """
    if len(misses) < MISSES_TO_LEARN:
        return 0.0
    differences = np.diff([miss.realised - miss.expected for miss in misses])
    by_chance = float(np.mean([miss.chance for miss in misses]))
    return max(0.0, float(np.median(differences**2)) / _MEDIAN_SQUARE / 2 - by_chance)


def _withdrawn_since(misses: list[float]) -> int | None:
    """The place of the miss that is the first of those for which it is withdrawn; oldest first."""
    sums, since, last = np.zeros(2), 0, None
    for place, miss in enumerate(misses):
        if last is not None and _agree(misses[last + 1 : place + 1][-AGREEING:]):
            sums, last = np.zeros(2), None
        before, sums = sums, np.maximum(0.0, sums + np.array([miss, -miss]) - ALLOWANCE)
        since = place if not before.any() else since
        last = place if last is None and sums.max() > LIMIT else last
    return None if last is None else since


def _agree(misses: list[float]) -> bool:
    near = max(map(abs, misses), default=np.inf) <= _EACH_WITHIN
    return near and len(misses) == AGREEING and abs(float(np.mean(misses))) <= _TOGETHER_WITHIN


def _reason(misses: list[Miss], between: float) -> str:
    worst = max(misses, key=lambda miss: abs(miss.standardised(between)))
    return (
        f"cannot tell: in the last {len(misses)} windows with labels the estimate missed the truth; worst where "
        f"{worst.expected:.3f} of the answers were expected to be wrong and {worst.realised:.3f} were, "
        f"{abs(worst.standardised(between)):.1f} standard errors off ({worst.labelled} labels). "
        f"It is told again after {AGREEING} windows in a row that agree"
    )
