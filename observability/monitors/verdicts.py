"""What a monitor says of a window: values that go into the database, the UI and the log as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from bundle.signature import Frozen

#: which of a column's tests found it: its values, how many are missing, how many are of categories never seen
Aspect = Literal["values", "missing", "unseen"]


class FeatureDrift(Frozen):
    """One column of a window beside the reference."""

    feature: str
    method: str
    #: a p-value for calibrated (corrected over the columns of the window), ks and chisquare: small means drift;
    #: a distance for the others: large means drift
    score: float | None
    #: the one that was applied
    threshold: float
    #: None where there is no verdict
    drifted: bool | None
    missing_share: float
    reference_missing_share: float
    #: share of the rows with a category that the reference does not hold; None for a number
    unseen_share: float | None = None
    #: why there is no verdict
    reason: str | None = None
    #: of `calibrated`: the column's own p-value, before the correction
    p_value: float | None = None
    #: how far from the reference, in standard deviations of a shift of the mean that would be as far; never negative
    effect: float | None = None
    #: which aspect says so
    aspect: Aspect | None = None
    #: how much more the column varies between spans of the past than chance explains: its p-value allows for it
    overdispersion: float = 1.0


class JointDrift(Frozen):
    """Whether a classifier can tell the window's rows from the reference's, on rows that it has not learned from."""

    #: area under the ROC curve: 0.5 is guessing
    auc: float | None
    p_value: float | None
    #: as above, of its score
    effect: float | None
    #: corrected p-value, the level applied, and the verdict
    score: float | None = None
    threshold: float = 0.0
    drifted: bool | None = None
    #: features by how much the classifier leans on them, most first
    leaning: tuple[str, ...] = ()
    reason: str | None = None


class TextDrift(Frozen):
    """One text field of a window beside the reference's."""

    field: str
    #: median characters, now and in the reference
    length: float | None
    reference_length: float | None
    #: share of words that the reference's vocabulary does not hold, and what chance alone would give
    out_of_vocabulary: float | None
    reference_out_of_vocabulary: float | None
    #: of a classifier that sees the words
    auc: float | None
    p_value: float | None
    effect: float | None
    score: float | None = None
    threshold: float = 0.0
    drifted: bool | None = None
    reason: str | None = None


class DriftVerdict(Frozen):
    """Whether the window's features and scores are still those that the version was made for."""

    features: tuple[FeatureDrift, ...]
    #: of all features; one without a verdict counts as not drifted. None where none has a verdict: it is not known
    drifted_share: float | None
    prediction: FeatureDrift
    joint: JointDrift | None = None
    texts: tuple[TextDrift, ...] = ()
    #: family-wise level of the window: with nothing the matter, so often anything of it alarms
    level: float | None = None

    @property
    def drifted(self) -> tuple[str, ...]:
        return tuple(feature.feature for feature in self.features if feature.drifted)


class Finding(Frozen):
    """One thing that is wrong with a window's data."""

    #: missing, out_of_range, unseen, constant, duplicates, volume, stale, type, ...
    check: str
    #: None where it is of the window as a whole
    feature: str | None
    #: one sentence with the numbers
    said: str
    numbers: Mapping[str, float] = Field(default_factory=dict)


class QualityVerdict(Frozen):
    """What is wrong with the window's data, whatever the model makes of it."""

    missing_share: Mapping[str, float]
    unseen_share: Mapping[str, float]
    #: of the values present, those beyond the reference's least and greatest
    out_of_range_share: Mapping[str, float]
    #: counts of the sample, None where Evidently could not tell
    duplicated_rows: int | None = None
    duplicated_columns: int | None = None
    constant_columns: int | None = None
    empty_columns: int | None = None
    reason: str | None = None
    findings: tuple[Finding, ...] = ()


class Interval(Frozen):
    """Where a value lies with the confidence that was set."""

    low: float
    high: float


class ErrorMetrics(Frozen):
    """How far predictions are from labels; None where it cannot be told.

    Of a classifier the first five and the cost, of a regression the last three.
    """

    roc_auc: float | None = None
    pr_auc: float | None = None
    log_loss: float | None = None
    #: share of wrong answers
    error: float | None = None
    brier: float | None = None
    #: expected calibration error: how far scores are from the shares of class 1 that they promise
    calibration_error: float | None = None
    #: of a prediction, by the cost matrix
    cost: float | None = None
    mae: float | None = None
    rmse: float | None = None
    #: mean of prediction minus label
    bias: float | None = None


class LabelsSeen(Frozen):
    """Which labels a look at a window found in its sample."""

    #: class to the labels of it
    by_class: Mapping[str, int]
    #: mean seconds from a prediction to the look; None where the instant of the look is not known
    age: float | None = None


class ErrorVerdict(Frozen):
    """The window's errors beside those on the version's own out-of-time rows."""

    #: sampled predictions with a label
    labelled: int
    metrics: ErrorMetrics
    reference: ErrorMetrics
    reason: str | None = None
    #: metric to its interval, of the window
    intervals: Mapping[str, Interval] = Field(default_factory=dict)
    #: the metrics as they will be once all labels are there: corrected for a delay that depends on the class
    corrected: ErrorMetrics | None = None
    #: share of the labels of each class that has come, as the correction takes it
    arrived: Mapping[str, float] = Field(default_factory=dict)
    #: corrected metric to its interval, which allows for how well the shares that have come are known
    corrected_intervals: Mapping[str, Interval] = Field(default_factory=dict)
    #: why nothing is corrected
    corrected_reason: str | None = None
    #: which labels it was measured on: what later windows learn from about the delay
    seen: LabelsSeen | None = None


class StreamVerdict(Frozen):
    """What the sequential detector of rising errors says after the window's labelled rows."""

    alarm: bool
    #: evidence against "errors are as they were", and the value from which it alarms
    evidence: float
    threshold: float
    #: error of the rows before, and since the change that it suspects
    baseline: float | None = None
    current: float | None = None
    #: labelled rows since that change
    since_rows: int | None = None
    reason: str | None = None
    #: where the detector goes on in the next window
    state: Mapping[str, Any] = Field(default_factory=dict)


#: what scores promise of labels: the share of wrong answers, the level (share of class 1), and the slope of the labels'
#: log-odds on those promised (1 is as promised, 0 is scores that say nothing of the label)
Promise = Literal["share", "level", "slope"]


class Checked(Frozen):
    """What an estimate rests on, beside the labels of its own window, once they are due."""

    what: Promise
    expected: float
    realised: float
    #: variances of what is realised, by chance, and of what is expected: of a calibration learned from so many rows
    chance: float
    doubt: float
    labels: int

    def missed(self, between: float = 0.0) -> float:
        """How far it is off, in standard errors, of which `between` is the variance between windows."""
        return (self.realised - self.expected) / math.sqrt(self.chance + self.doubt + between)


class EstimatedError(Frozen):
    """The share of wrong answers of a window before its labels are there."""

    #: None where it cannot be told
    error: float | None
    low: float | None = None
    high: float | None = None
    #: the same of the version's out-of-time rows
    reference: float | None = None
    #: cbpe (the scores' own confidence, calibrated), or weighted (the same, by what kind of rows came)
    method: Literal["cbpe", "weighted"] | None = None
    #: why it cannot be told, such as a past in which estimates missed the truth
    reason: str | None = None
    #: what the scores promise, told or withdrawn, and its standard error by the reference alone
    expected: float | None = None
    standard_error: float | None = None
    #: how it went, once labels are due: the next estimates are told or withdrawn by these
    checks: tuple[Checked, ...] = ()


Cause = Literal["stable", "bug", "harmless", "harmful", "concept", "season", "unknown"]
Bug = Literal[
    "unit", "swapped", "nulls", "stale", "truncated", "encoding", "timezone", "duplicates", "schema"
]  # fmt: skip


class Ranked(Frozen):
    """A feature, and what it has to do with it; each share is of the sum over the features."""

    feature: str
    drift_share: float
    #: of the loss that drift explains; None where it is not known
    loss_share: float | None = None


class Diagnosis(Frozen):
    """What kind of change it is, and why: in plain words with numbers."""

    cause: Cause
    #: what kind of pipeline bug
    bug: Bug | None = None
    #: the columns that are broken; empty where it is the source as a whole
    columns: tuple[str, ...] = ()
    #: sentences for whoever is paged
    explanation: str
    ranked: tuple[Ranked, ...] = ()
    #: columns that tell the hour of the event, and by how many hours each is ahead of UTC
    clocks: Mapping[str, int] = Field(default_factory=dict)

    @property
    def may_retrain(self) -> bool:
        """A bug alerts the data's owner and never retrains: the next version would learn it."""
        return self.cause != "bug"


class WindowVerdict(Frozen):
    """Everything that was measured in one window."""

    schema_version: int = 2
    #: predictions in the window, exact
    rows: int
    #: predictions that were looked at
    sampled: int
    #: predictions in the window with a label, exact
    labelled: int
    drift: DriftVerdict
    quality: QualityVerdict
    errors: ErrorVerdict
    stream: StreamVerdict | None = None
    estimate: EstimatedError | None = None
    diagnosis: Diagnosis | None = None
