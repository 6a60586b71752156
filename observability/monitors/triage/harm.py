"""Whether errors rose: by labels where they are, else by the estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from observability.monitors.case import Case
from observability.monitors.verdicts import WindowVerdict

#: a score this near to 0 or 1 is taken as this near: one row of a wrong answer must not weigh more than a hundred
_CLIP: Final = 1e-3
#: wrong answers, and log-loss, which sees scores that are wrong on the right side
_TESTS: Final = 2


@dataclass(frozen=True)
class Harm:
    """What labels say, and what the covariates alone let expect; None where they say nothing."""

    #: whether the labelled error is beyond the reference's
    labelled: bool | None
    #: whether the estimated error is
    estimated: bool | None
    #: sentences with the numbers
    said: tuple[str, ...] = ()

    @property
    def rose(self) -> bool | None:
        """By labels, else by the estimate; None where neither tells."""
        return self.labelled if self.labelled is not None else self.estimated


def harm_of(case: Case, verdict: WindowVerdict) -> Harm:
    """Both answers for a window."""
    labelled, by_labels = _labelled(case, verdict)
    estimated, by_estimate = _estimated(verdict)
    return Harm(labelled, estimated, tuple(said for said in (by_labels, by_estimate) if said))


def losses(
    labels: npt.NDArray[np.float64], scores: npt.NDArray[np.float64], threshold: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Of each row whether the answer was wrong, and the log-loss; NaN where there is no label or score."""
    known = np.isin(labels, [0, 1]) & np.isfinite(scores)
    likely = np.clip(scores, _CLIP, 1 - _CLIP)
    wrong = ((scores > threshold) != (labels == 1)).astype(float)
    loss = -np.log(np.where(labels == 1, likely, 1 - likely))
    return np.where(known, wrong, np.nan), np.where(known, loss, np.nan)


def _labelled(case: Case, verdict: WindowVerdict) -> tuple[bool | None, str]:
    if verdict.stream is not None and verdict.stream.alarm:
        return True, f"the detector of rising errors alarms: evidence {verdict.stream.evidence:.3g}"
    if verdict.errors.metrics.error is None:
        return None, ""
    frame = case.sample.frame
    now = losses(frame["label"].to_numpy(float), frame["score"].to_numpy(float), case.threshold)
    then = losses(case.reference.labels, case.reference.scores, case.threshold)
    level = (1 - case.settings.errors.confidence) / 2 / _TESTS
    told = [_compared(*each, level) for each in zip(("share of wrong answers", "log-loss"), now, then, strict=True)]
    if all(rose is None for rose, _ in told):
        return None, "there are no labelled rows to compare the error with"
    rose = [said for risen, said in told if risen]
    return bool(rose), "; ".join(rose or [told[0][1]])


def _compared(
    name: str, now: npt.NDArray[np.float64], then: npt.NDArray[np.float64], level: float
) -> tuple[bool | None, str]:
    """Whether the window's mean is above the reference's by more than both samples' chance (Welch)."""
    now, then = now[~np.isnan(now)], then[~np.isnan(then)]
    if len(now) < 2 or len(then) < 2:
        return None, ""
    error = float(np.sqrt(now.var(ddof=1) / len(now) + then.var(ddof=1) / len(then)))
    more = float(now.mean() - then.mean())
    p_value = float(stats.norm.sf(more / error)) if error > 0 else float(more <= 0)
    said = f"by {len(now):,} labels the {name} is {now.mean():.3g}, {then.mean():.3g} on the version's own rows"
    return p_value < level, said


def _estimated(verdict: WindowVerdict) -> tuple[bool | None, str]:
    estimate = verdict.estimate
    if estimate is None or estimate.low is None or estimate.high is None or estimate.reference is None:
        return None, ""
    said = (
        f"the share of wrong answers is estimated at {estimate.error:.3g} ({estimate.low:.3g} to {estimate.high:.3g}), "
        f"{estimate.reference:.3g} on the version's own rows"
    )
    return estimate.low > estimate.reference, said
