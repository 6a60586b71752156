"""What a user may say of when a model is retrained."""

from __future__ import annotations

import re
from datetime import time, timedelta
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat, model_validator

from bundle.signature import ColumnName, Frozen, Task
from observability.durations import Duration

#: what two versions are compared by before one replaces the other
GateMetric = Literal["roc_auc", "pr_auc", "log_loss", "error", "brier"]
#: what is measured of windows: cost by the monitor's cost matrix; mae, rmse and bias of a regression
ErrorMetric = Literal[
    "roc_auc", "pr_auc", "log_loss", "error", "brier", "calibration_error", "cost", "mae", "rmse", "bias"
]  # fmt: skip
#: whether more is better; a bias is best at 0
HIGHER_IS_BETTER: dict[ErrorMetric, bool] = {
    "roc_auc": True, "pr_auc": True, "log_loss": False, "error": False, "brier": False, "calibration_error": False,
    "cost": False, "mae": False, "rmse": False,
}  # fmt: skip
METRICS_OF: dict[Task, tuple[ErrorMetric, ...]] = {
    "binary": ("roc_auc", "pr_auc", "log_loss", "error", "brier", "calibration_error", "cost"),
    "regression": ("mae", "rmse", "bias"),
}
#: what the sequential detector looks at: wrong answers of a classifier, absolute errors of a regression
RISING: Final = ("error", "mae")
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?")
#: rules of the system: what people and programs ask for, and signed webhooks
RESERVED: Final = ("manual", "webhook")
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {value!r}: write one such as Europe/Berlin") from error
    return value


TimeZone = Annotated[str, AfterValidator(_time_zone)]


def _time_of_day(value: Any) -> Any:  # noqa: ANN401 - what a user wrote
    """A time as people write it. A number is refused: YAML 1.1 makes one of 18:00, and nobody would see that."""
    if isinstance(value, time):
        return value
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError(f"{value!r} is no time of the day: write 06:00 or 18:30")
    return time.fromisoformat(value)


TimeOfDay = Annotated[time, BeforeValidator(_time_of_day)]


class ActiveHours(Frozen):
    """When a rule may fire: on these days, from one time of the day to another, in a time zone."""

    days: tuple[Day, ...] = Field(default=DAYS, min_length=1)
    #: 22:00 to 06:00 begins on a named day and ends on the next
    since: TimeOfDay = Field(default=time(0), alias="from")
    until: TimeOfDay = Field(default=time(0), alias="to")
    #: a name of the IANA time zone database
    timezone: TimeZone = "UTC"


class Persistence(Frozen):
    """How many of the newest windows must hold: one noisy window fires nothing, and one quiet one resets nothing."""

    windows: int = Field(default=1, ge=1, le=100)
    #: of so many, counted back from the one that is judged; as many as `windows` where nothing is said
    of: int = Field(default=1, ge=1, le=100)

    @model_validator(mode="before")
    @classmethod
    def _of_as_many(cls, declared: Any) -> Any:  # noqa: ANN401 - what a user wrote
        return (
            {"of": declared["windows"], **declared}
            if isinstance(declared, dict) and "windows" in declared
            else declared
        )

    @model_validator(mode="after")
    def _no_more_than_all(self) -> Persistence:
        if self.windows > self.of:
            raise ValueError(f"{self.windows} of {self.of} windows can never hold")
        return self


def _not_reserved(value: str) -> str:
    if value in RESERVED:
        raise ValueError(f"{value} is a rule of the system: choose another name")
    return value


RuleName = Annotated[Name, AfterValidator(_not_reserved)]


class _Rule(Frozen):
    name: RuleName
    #: no firing of this rule sooner than this after the model's last run was asked for
    cooldown: Duration = timedelta(0)
    #: of several rules that hold at once the one with the highest fires, then the one declared first
    priority: int = Field(default=0, ge=-100, le=100)
    #: when it may fire; at any time where nothing is said
    active: ActiveHours | None = None
    #: it decides and says what it would have done, and fires nothing
    dry_run: bool = False


class _WindowRule(_Rule):
    monitor: Name
    #: one of the monitor's segments, such as carrier=AA; without it the rule looks at whole windows
    segment: str | None = None
    #: how many of the newest windows must hold
    hold: Persistence = Persistence()


class DriftRule(_WindowRule):
    """Data-driven: a window in which anything drifted, or at least this share of the features."""

    kind: Literal["drift"]
    #: from this share of drifted features on; without it from the first alarm on: of a feature, of the scores, of a
    #: text or of all columns together, at the level that the false-alarm budget leaves
    drifted_share: FiniteFloat | None = Field(default=None, gt=0, le=1)
    #: windows with fewer rows are not judged
    min_rows: int = Field(default=100, ge=1)


class NoveltyRule(_WindowRule):
    """Data-driven: a window in which a feature holds at least this share of categories never seen before."""

    kind: Literal["novelty"]
    #: from this share of rows on
    unseen_share: FiniteFloat = Field(gt=0, le=1)
    #: the features that are looked at
    features: tuple[ColumnName, ...] = Field(min_length=1)
    min_rows: int = Field(default=100, ge=1)


class VolumeRule(_Rule):
    """Data-driven: enough labelled rows that the version in production has not learned from."""

    kind: Literal["volume"]
    new_labelled_rows: int = Field(ge=1)


class ScheduleRule(_Rule):
    """Schedule-driven: at the times of a cron expression or at a fixed interval. After a downtime it is due once."""

    kind: Literal["schedule"]
    #: five fields; a time that summer time skips is due when the clock has jumped over it, one that comes twice once
    cron: str | None = None
    #: of the cron expression: a name of the IANA time zone database
    timezone: TimeZone = "UTC"
    #: counted from when the first version went into production
    every: Duration | None = None

    @model_validator(mode="after")
    def _one_of(self) -> ScheduleRule:
        if (self.cron is None) == (self.every is None):
            raise ValueError("give either cron or every")
        if self.every is not None and self.every <= timedelta(0):
            raise ValueError("every: it would be due at every instant: write 1s or more")
        return self


class MetricRule(_WindowRule):
    """Metric-driven: an error metric of a labelled window is beyond a bound."""

    kind: Literal["metric"]
    metric: ErrorMetric
    #: fires when the metric is below this, or ...
    below: FiniteFloat | None = None
    #: ... above this, or ...
    above: FiniteFloat | None = None
    #: ... the sequential detector finds that wrong answers rise: it needs no bound, and knows how often it may be wrong
    rising: bool = False
    #: windows with fewer labelled rows are not judged
    min_labels: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _one_of(self) -> MetricRule:
        if [self.below is not None, self.above is not None, self.rising].count(True) != 1:
            raise ValueError("give either below or above, or rising: true")
        if self.rising and self.metric not in RISING:
            raise ValueError(f"rising: the detector looks at {' and '.join(RISING)}, not at {self.metric}")
        return self


class WorthRule(_WindowRule):
    """Cost-driven: a retraining is expected to save more loss than it costs."""

    kind: Literal["worth"]
    #: what a retraining costs, in wrong answers; where the monitor has a cost matrix, in the unit of that. Where
    #: nothing is said, what is saved by a loss that is lower by four thousandths of a row's standard deviation
    cost: FiniteFloat | None = Field(default=None, ge=0)
    #: predictions that a new version would answer before the next replaces it; learned from past ones where not said
    horizon: int | None = Field(default=None, ge=1)
    #: fewer labels since the promotion say nothing
    min_labels: int = Field(default=100, ge=1)
    #: two windows on end: a single bad one is a storm as likely as not
    hold: Persistence = Persistence(windows=2, of=2)


Rule = Annotated[
    DriftRule | NoveltyRule | VolumeRule | ScheduleRule | MetricRule | WorthRule, Field(discriminator="kind")
]
#: the kinds of trigger as users speak of them
TRIGGERS: dict[str, str] = {
    "drift": "data", "novelty": "data", "volume": "data", "schedule": "schedule", "metric": "metric",
    "worth": "metric", "manual": "manual", "webhook": "webhook",
}  # fmt: skip


class Budget(Frozen):
    """What retraining a model may cost. What people and programs ask for is counted, and never refused for it."""

    #: runs asked for in the last 24 hours
    runs_per_day: int | None = Field(default=None, ge=1)
    #: processor time of the runs that ended in the last 30 days
    cpu_hours_per_month: FiniteFloat | None = Field(default=None, gt=0)
