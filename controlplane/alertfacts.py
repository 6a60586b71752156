"""What alerts are decided from: what is known of a model, and how long something may take."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, TypeAlias

from controlplane.lifecycle import RolloutState
from controlplane.promotion.rollout import StepReason

Severity = Literal["critical", "warning", "info"]


class AlertName(StrEnum):
    """What an alert is about; also its heading in docs/runbook.md."""

    DRIFT_DETECTED = "DriftDetected"
    DATA_BROKEN = "DataBroken"
    ERROR_METRIC_BEYOND_BOUND = "ErrorMetricBeyondBound"
    RETRAINING_FAILED = "RetrainingFailed"
    RETRAINING_REJECTED = "RetrainingRejected"
    GATE_STUCK = "GateStuck"
    APPROVAL_WAITING = "ApprovalWaiting"
    ROLLOUT_ABORTED = "RolloutAborted"
    ROLLED_BACK = "RolledBack"
    ROLLOUT_STUCK = "RolloutStuck"
    NO_SERVING_INSTANCE = "NoServingInstance"
    BUDGET_EXHAUSTED = "BudgetExhausted"
    RUN_STUCK = "RunStuck"
    MONITOR_BEHIND = "MonitorBehind"
    OUTBOX_STUCK = "OutboxStuck"

    @property
    def severity(self) -> Severity:
        """Critical: callers suffer; warning: somebody has to look today; info: nothing is wrong."""
        if self in (AlertName.ERROR_METRIC_BEYOND_BOUND, AlertName.NO_SERVING_INSTANCE):
            return "critical"
        return "info" if self in (AlertName.RETRAINING_REJECTED, AlertName.APPROVAL_WAITING) else "warning"


@dataclass(frozen=True)
class Patience:
    """How long something may take before a person is told."""

    rollout_stuck: timedelta = timedelta(minutes=10)
    run_stuck: timedelta = timedelta(minutes=10)
    gate_stuck: timedelta = timedelta(minutes=10)
    no_instance: timedelta = timedelta(minutes=1)
    #: None where the clock is a replay's, which jumps
    monitor: timedelta | None = timedelta(minutes=15)
    outbox: timedelta = timedelta(minutes=5)


@dataclass(frozen=True)
class Ticking:
    """Since when a process ticks without a gap. What could not go on while nothing ticked was not late then."""

    #: on the machine's clock, and on the control plane's
    wall: datetime
    now: datetime


#: model, version and manifest
Served: TypeAlias = tuple[str, int, str]


@dataclass
class Watched:
    """What this process saw: a process that has just started looks at everything, and gives everything its time."""

    served: frozenset[Served] | None = None
    #: when everything was last looked at, whatever had changed, on the machine's clock
    all_looked_at: datetime | None = None
    #: since when it ticks without a gap, and when it last did
    ticking: Ticking | None = None
    ticked_at: datetime | None = None
    #: since when nobody serves the version in production of a model, on the machine's clock
    unserved: dict[str, datetime] = field(default_factory=dict)
    #: of these it was told, or found not to be worth it
    settled: set[str] = field(default_factory=set)
    #: models whose alerts the fleet has changed, until they are brought to it
    changed: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class RuleSaid:
    """What a rule last decided about the newest thing that it judges."""

    rule: str
    kind: str
    reason: str
    detail: str


@dataclass(frozen=True)
class BrokenData:
    """The newest window looks as if a bug in the pipeline had made it."""

    #: unit, swapped, nulls, ...
    bug: str
    #: the features that are broken; empty where it is the source as a whole
    columns: tuple[str, ...]
    explanation: str


@dataclass(frozen=True)
class LastRun:
    """How the newest run that ended did so."""

    key: str
    failed: bool
    code: str = ""
    message: str = ""


@dataclass(frozen=True)
class Unstarted:
    """A run that was asked for and that no process works on."""

    key: str
    #: on the machine's clock
    since: datetime
    attempts: int


@dataclass(frozen=True)
class Unjudged:
    """A version that its gate should have judged by now, and nothing is before it."""

    version: int
    #: on the machine's clock
    since: datetime


@dataclass(frozen=True)
class Challenger:
    """The newest version, where a person should know of it."""

    version: int
    #: what was said of it where it was turned down, by its gate or by the system
    turned_down: str | None = None
    #: the name of the Rejection; empty where its gate turned it down
    rejected_for: str = ""
    #: it passed, and waits for a person
    awaits_approval: bool = False


@dataclass(frozen=True)
class RolloutStands:
    """The model's newest rollout."""

    version: int
    champion: int | None
    state: RolloutState
    note: str
    #: on the machine's clock
    since: datetime
    #: the name of the StepReason
    reason: str = ""

    @property
    def stopped(self) -> str:
        """Why the system stopped it by itself, in words; empty where a person did, who knows."""
        return "" if self.reason in ("", StepReason.STOP_ASKED.name) else StepReason[self.reason].value


@dataclass(frozen=True)
class AlertFacts:
    """What is known of a model at one instant."""

    model: str
    #: the machine's time, and the control plane's
    wall: datetime
    now: datetime
    #: number of the version in production
    version: int | None = None
    #: of each data and metric rule, about the newest window of the version in production
    windows: tuple[RuleSaid, ...] = ()
    broken: BrokenData | None = None
    #: rules whose newest decision is that the budget is spent
    without_budget: tuple[RuleSaid, ...] = ()
    #: a retraining in progress: a run, or a version on its way; None where there is none
    retraining: str | None = None
    #: a version on its way that goes nowhere while rollouts are frozen, in words: it answers nothing
    frozen: str | None = None
    last_run: LastRun | None = None
    unstarted: Unstarted | None = None
    unjudged: Unjudged | None = None
    challenger: Challenger | None = None
    rollout: RolloutStands | None = None
    #: since when, on the machine's clock, no live instance has the version in production; None where one has
    unserved_since: datetime | None = None
    #: the control plane's time of the monitor's last pass over the version in production
    monitored_at: datetime | None = None
    patience: Patience = field(default_factory=Patience)
    #: patience does not begin before; None where nobody says so
    ticking: Ticking | None = None
    #: alerts of the model that are there already
    told: frozenset[str] = frozenset()

    @property
    def gate_is_stuck(self) -> bool:
        """Whether a version has waited for its gate for too long."""
        waits = self.unjudged
        return waits is not None and self.late(AlertName.GATE_STUCK, waits.since, self.patience.gate_stuck)

    @property
    def answered_by(self) -> str | None:
        """The retraining in progress, where it makes progress."""
        return None if self.gate_is_stuck else self.retraining

    def late(self, name: AlertName, since: datetime, allowed: timedelta) -> bool:
        """Whether something has taken too long since an instant on the machine's clock."""
        return is_late(
            since, self.wall, allowed, None if self.ticking is None else self.ticking.wall, name in self.told
        )


def is_late(since: datetime, now: datetime, allowed: timedelta, ticking: datetime | None, told: bool) -> bool:
    """Whether something has taken too long. Before anybody was told, what nobody could look after does not count."""
    began = since if told or ticking is None else max(since, ticking)
    return now - began > allowed
