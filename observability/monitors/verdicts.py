"""What a monitor says of a window: values that go into the database, the UI and the log as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from bundle.signature import Frozen

NumericMethod = Literal["ks", "wasserstein", "jensenshannon", "psi"]
CategoricalMethod = Literal["jensenshannon", "psi", "chisquare"]


class DriftSettings(Frozen):
    """How a window's columns are compared with the reference."""

    numeric_method: NumericMethod = "ks"
    numeric_threshold: float = Field(default=0.001, gt=0)
    categorical_method: CategoricalMethod = "jensenshannon"
    categorical_threshold: float = Field(default=0.1, gt=0)
    #: categories beyond the most frequent ones of both windows are pooled into one
    top_categories: int = Field(default=20, ge=2, le=200)
    #: a column with fewer values than this, now or in the reference, gets no verdict
    min_rows: int = Field(default=30, ge=2)


class FeatureDrift(Frozen):
    """One column of a window beside the reference."""

    feature: str
    method: str
    #: a p-value for ks and chisquare (small means drift), a distance for the others (large means drift)
    score: float | None
    #: the one that was applied: never one that chance alone would pass more than once in 1,000
    threshold: float
    #: None where there is no verdict
    drifted: bool | None
    missing_share: float
    reference_missing_share: float
    #: share of the rows with a category that the reference does not hold; None for a number
    unseen_share: float | None = None
    #: why there is no verdict
    reason: str | None = None


class DriftVerdict(Frozen):
    """Whether the window's features and scores are still those that the version was made for."""

    features: tuple[FeatureDrift, ...]
    #: of all features; one without a verdict counts as not drifted. None where none has a verdict: it is not known
    drifted_share: float | None
    prediction: FeatureDrift

    @property
    def drifted(self) -> tuple[str, ...]:
        return tuple(feature.feature for feature in self.features if feature.drifted)


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


class ErrorMetrics(Frozen):
    """How far predictions are from labels; None where it cannot be told."""

    roc_auc: float | None = None
    pr_auc: float | None = None
    log_loss: float | None = None
    error: float | None = None
    brier: float | None = None


class ErrorVerdict(Frozen):
    """The window's errors beside those on the version's own out-of-time rows."""

    #: sampled predictions with a label
    labelled: int
    metrics: ErrorMetrics
    reference: ErrorMetrics
    reason: str | None = None


class WindowVerdict(Frozen):
    """Everything that was measured in one window."""

    schema_version: int = 1
    #: predictions in the window, exact
    rows: int
    #: predictions that were looked at
    sampled: int
    #: predictions in the window with a label, exact
    labelled: int
    drift: DriftVerdict
    quality: QualityVerdict
    errors: ErrorVerdict
