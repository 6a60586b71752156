"""Monitors, as a spec declares them: which windows are looked at, and what they are compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bundle.signature import ColumnName, Frozen
from observability.durations import Duration
from observability.events import Instant
from observability.monitors.settings import DriftSettings, ErrorSettings, MonitorSettings, QualitySettings
from observability.windows import CountWindows, Segment, SlidingWindows, WindowSpec
from pipeline.contract.rulespec import Name


class Segments(Frozen):
    """Parts of the traffic that are looked at on their own, each with a sample of its own: a rare one is not lost."""

    #: a categorical feature
    feature: ColumnName
    #: its values, each a segment
    values: tuple[str, ...] = Field(min_length=1, max_length=50)
    #: predictions of a window and segment that are looked at
    sample: int = Field(default=2_000, ge=100)


class TrainingReference(Frozen):
    """A window is compared with the rows that its version was trained on."""

    kind: Literal["training"] = "training"


class PinnedReference(Frozen):
    """A window is compared with a span of the past that a person chose."""

    kind: Literal["pinned"]
    #: event time, inclusive
    start: Instant
    #: event time, exclusive
    end: Instant

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> PinnedReference:
        if self.end <= self.start:
            raise ValueError("end: must be later than start")
        return self


class SeasonalReference(Frozen):
    """A window is compared with the same hours of the days or weeks before: what a season does is no drift."""

    kind: Literal["seasonal"]
    #: how long a season is: 1d for the hours of a day, 7d for those of a week
    period: Duration = Field(default=timedelta(days=7), gt=timedelta(0), le=timedelta(days=366))
    #: how many seasons before
    seasons: int = Field(default=4, ge=1, le=52)


class TrailingReference(Frozen):
    """A window is compared with what came directly before: sudden change alarms, slow change does not."""

    kind: Literal["trailing"]
    #: how long before the window it begins
    length: Duration = Field(gt=timedelta(0))


ReferenceSpec = Annotated[
    TrainingReference | PinnedReference | SeasonalReference | TrailingReference, Field(discriminator="kind")
]


class Monitor(Frozen):
    """Which windows are looked at, and how."""

    name: Name
    #: by count, by time, or sliding
    window: WindowSpec
    #: how far event times may lag behind the newest before a window is cut without them; what comes later is
    #: counted, and seen when the window is scored again
    lateness: Duration = Field(default=timedelta(0), ge=timedelta(0))
    #: what a window's features and scores are compared with
    reference: ReferenceSpec = TrainingReference()
    #: parts of the traffic that are looked at on their own too
    segments: tuple[Segments, ...] = ()
    #: predictions of a window that are looked at, those with the smallest sample keys
    sample: int = Field(default=5_000, ge=100)
    #: fewer labels than this give no error metrics
    min_labels: int = Field(default=100, ge=10)
    #: how columns are compared with the reference
    drift: DriftSettings = DriftSettings()
    #: what is asked of the data
    quality: QualitySettings = QualitySettings()
    #: how errors are measured
    errors: ErrorSettings = ErrorSettings()
    #: raw text fields that are compared by their words
    texts: tuple[ColumnName, ...] = ()

    @model_validator(mode="after")
    def _segments_differ(self) -> Monitor:
        names = Counter(f"{each.feature}={value}" for each in self.segments for value in each.values)
        if twice := sorted(name for name, times in names.items() if times > 1):
            raise ValueError(f"segments: declared twice: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _seasons_lie_before(self) -> Monitor:
        if isinstance(self.reference, SeasonalReference) and self.length > self.reference.period:
            raise ValueError("reference.period: a season that is shorter than a window would hold a part of it")
        return self

    @property
    def length(self) -> timedelta:
        """How long a window is; nothing where it is cut by count."""
        if isinstance(self.window, CountWindows):
            return timedelta(0)
        return self.window.length if isinstance(self.window, SlidingWindows) else self.window.every

    @property
    def settings(self) -> MonitorSettings:
        """Everything that the scorer is told of it."""
        return MonitorSettings(
            drift=self.drift, quality=self.quality, errors=self.errors, texts=self.texts, min_labels=self.min_labels
        )

    @property
    def samples(self) -> Mapping[Segment, int]:
        """Its segments, and how many predictions of each are looked at."""
        return {Segment(each.feature, value): each.sample for each in self.segments for value in each.values}
