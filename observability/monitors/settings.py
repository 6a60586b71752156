"""What a user may say of how a window is judged. A part of a monitor's declaration: `pipeline.contract.monitorspec`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, FiniteFloat

from bundle.signature import ColumnName, Frozen

NumericMethod = Literal["calibrated", "ks", "wasserstein", "jensenshannon", "psi"]
CategoricalMethod = Literal["calibrated", "jensenshannon", "psi", "chisquare"]


class DriftSettings(Frozen):
    """How a window's columns are compared with the reference.

    `calibrated` is Driftgate's own: a test that is valid for both samples' sizes, at the level that the false-alarm
    budget leaves for the window, corrected over columns, and a margin below which a difference does not matter. The
    others are Evidently's, each with the threshold beside it.
    """

    numeric_method: NumericMethod = "calibrated"
    #: of Evidently's methods: from (or, for a p-value, below) where a column has drifted
    numeric_threshold: FiniteFloat = Field(default=0.001, gt=0)
    categorical_method: CategoricalMethod = "calibrated"
    categorical_threshold: FiniteFloat = Field(default=0.1, gt=0)
    #: relevance: a smaller difference is no drift, however sure it is. In standard deviations of a shift of the mean
    #: that would be as far from the reference (Cohen's d): 0.2 is called small
    margin: FiniteFloat = Field(default=0.08, ge=0)
    #: categories beyond the most frequent ones of both windows together are pooled
    top_categories: int = Field(default=20, ge=2, le=200)
    #: a column with fewer values than this, now or in the reference, gets no verdict
    min_rows: int = Field(default=30, ge=2)
    #: whether a classifier is asked to tell the window's rows from the reference's: it sees what no column shows
    joint: bool = True


class QualitySettings(Frozen):
    """What is asked of a window's data, whatever the model makes of it."""

    #: a column may be missing in so much more of the rows than in the reference
    missing_margin: FiniteFloat = Field(default=0.05, ge=0, le=1)
    #: of the values of a numeric column, so many may lie beyond the reference's least and greatest
    out_of_range: FiniteFloat = Field(default=0.02, ge=0, le=1)
    #: so many rows may be copies of another, beyond what the reference holds
    duplicates_margin: FiniteFloat = Field(default=0.05, ge=0, le=1)
    #: predictions a minute may fall to this share of what the windows before had, or grow to its inverse
    volume_ratio: FiniteFloat = Field(default=0.5, gt=0, le=1)


class CostMatrix(Frozen):
    """What the four kinds of answers cost the business, in one unit; a right answer may earn (be below zero)."""

    true_positive: FiniteFloat = 0.0
    false_positive: FiniteFloat = 1.0
    false_negative: FiniteFloat = 1.0
    true_negative: FiniteFloat = 0.0


class ErrorSettings(Frozen):
    """How errors are measured, with labels and without."""

    #: of every interval
    confidence: FiniteFloat = Field(default=0.95, gt=0.5, lt=1)
    #: what a wrong answer costs; each kind of error costs 1 where nothing is said
    costs: CostMatrix = CostMatrix()
    #: rows between two false alarms of the detector of rising errors, at least (its average run length)
    rows_between_false_alarms: int = Field(default=10_000, ge=100)


class MonitorSettings(Frozen):
    """Everything that a scorer is told of a monitor."""

    drift: DriftSettings = DriftSettings()
    quality: QualitySettings = QualitySettings()
    errors: ErrorSettings = ErrorSettings()
    #: fewer labels than this give no error metrics
    min_labels: int = Field(default=100, ge=10)
    #: raw text fields that are compared by their words
    texts: tuple[ColumnName, ...] = ()


class FalseAlarms(Frozen):
    """The false alarms that a user accepts of a model: the one setting of how sensitive its monitors are.

    The budget is spent in equal parts over time and monitors, and within a window over the whole and its segments.
    """

    #: on average, over all features, segments and windows of a model, with nothing the matter
    per_month: FiniteFloat = Field(default=1.0, gt=0, le=1000)
    #: no window is judged at a higher family-wise level than this, however few there are
    highest_level: FiniteFloat = Field(default=0.05, gt=0, le=0.5)
