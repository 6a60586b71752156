"""What rules are asked about, and what they answer: facts, reasons, decisions."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from controlplane.rules.budget import Spent
from controlplane.rules.worth import Life
from pipeline.contract.rulespec import Budget, DriftRule, MetricRule, NoveltyRule, WorthRule

Outcome = Literal["fire", "wait"]
#: the rule of what people and programs ask for, and of signed webhooks
MANUAL = "manual"
WEBHOOK = "webhook"
NO_VERSION = "no-version"
WindowRule: TypeAlias = DriftRule | NoveltyRule | MetricRule | WorthRule


class Reason(StrEnum):
    """Why a rule fired, or why it waits; stored, shown and counted under this name."""

    RETRAIN_DRIFT = "drift above threshold"
    RETRAIN_NOVELTY = "unseen categories above threshold"
    RETRAIN_VOLUME = "enough new labelled rows"
    RETRAIN_DUE = "due by schedule"
    RETRAIN_METRIC = "error metric beyond its bound"
    RETRAIN_WORTH = "expected to save more than it costs"
    RETRAIN_ASKED = "asked for by a person or a program"
    WAIT_ACTIVE_RUN = "a run is active"
    WAIT_COOLDOWN = "cooling down"
    WAIT_FEW_ROWS = "too few rows"
    WAIT_FEW_LABELS = "too few labels"
    WAIT_NOT_WORTH = "not shown to save more than it costs"
    WAIT_NO_DATA = "no data yet"
    WAIT_STABLE = "stable"
    WAIT_NOT_DUE = "not due yet"
    WAIT_NO_VERSION = "no version in production"
    WAIT_HYSTERESIS = "not for enough windows yet"
    WAIT_PAUSED = "paused by a person"
    WAIT_INACTIVE_HOURS = "outside its active hours"
    WAIT_BUDGET = "the budget is spent"
    WAIT_BROKEN_DATA = "the data look broken: their owner is told, and nothing learns from them"
    WAIT_NOT_TRAINED_HERE = "only watched: it is trained elsewhere"
    WAIT_DRY_RUN = "would have fired, but is a dry run"


@dataclass(frozen=True)
class Decision:
    """What a rule says about a cause."""

    rule: str
    kind: str
    #: window id, due time, version and how often its new rows were enough (v3:1), or request id
    cause: str
    outcome: Outcome
    reason: Reason
    #: a sentence with the numbers
    detail: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    #: the earliest instant at which time alone changes the answer; None where it never does
    until: datetime | None = None


@dataclass(frozen=True)
class Rising:
    """What the sequential detector said after a window's labelled rows."""

    alarm: bool
    #: evidence, threshold, baseline, current, since_rows; each may be unknown
    numbers: Mapping[str, float | None]


@dataclass(frozen=True)
class WindowFacts:
    """What the monitor said of one window."""

    id: str
    rows: int
    labelled: int
    #: share of the features that drifted; None where nothing could be compared
    drifted_share: float | None
    drifted: tuple[str, ...] = ()
    #: what drifted beside the features: the scores, texts, all columns together
    drifted_else: tuple[str, ...] = ()
    #: feature to the share of rows whose category the reference has never seen
    unseen: Mapping[str, float] = field(default_factory=dict)
    #: error metrics; empty where there are too few labels
    error: Mapping[str, float] = field(default_factory=dict)
    #: whether the labels were due and the error metrics are settled
    settled: bool = False
    #: what the detector of rising errors said; None where it could not say anything
    rising: Rising | None = None
    #: what looks broken in its data, in words; None where nothing does
    broken: str | None = None
    #: whether a decision about it is due; if not, it is here for the windows after it
    judge: bool = True


@dataclass(frozen=True)
class Held:
    """What a person stopped."""

    by: str
    why: str
    until: datetime | None = None


@dataclass(frozen=True)
class Facts:
    """What is known of a model at one tick."""

    now: datetime
    #: number of the version in production; None before the first
    version: int | None
    #: when the model's first version went into production
    in_service_since: datetime | None
    #: by rule, in order, the windows of the version in production that it has to judge, not judged yet and the newest,
    #: each behind the ones before it that its hysteresis looks at
    windows: Mapping[str, tuple[WindowFacts, ...]]
    #: labelled rows that the version in production has not learned from; None before the monitor looked
    labelled_new: int | None
    #: what is under way, in words; None where nothing is
    busy: str | None
    #: when the model's last run was asked for
    last_asked_at: datetime | None
    #: schedule rules that were declared after the model was first applied, and since when
    schedule_starts: Mapping[str, datetime] = field(default_factory=dict)
    #: (rule, cause) that have fired, or of a dry run would have, among those that the rules could present
    fired: Set[tuple[str, str]] = frozenset()
    #: what a person stopped: `rules` or `rule:NAME`
    holds: Mapping[str, Held] = field(default_factory=dict)
    #: what retraining may cost, and what it has cost lately
    budget: Budget = field(default_factory=Budget)
    spent: Spent = field(default_factory=Spent)
    #: by rule that weighs worth, the model's versions with what their windows lost, up to the one in production
    lives: Mapping[str, tuple[Life, ...]] = field(default_factory=dict)
    #: what looks broken in the data of the newest window, in words; None where nothing does
    broken: str | None = None
    #: whether a run can make a version; a model that is only watched has nothing to train
    trainable: bool = True
    #: whether there are more windows to judge than these: the next tick has to go on
    more: bool = False


@dataclass(frozen=True)
class Finding:
    """What a rule's own condition says of a cause, before what keeps any rule from firing."""

    cause: str
    reason: Reason
    detail: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    #: when time alone changes it
    until: datetime | None = None

    @property
    def holds(self) -> bool:
        return self.reason.name.startswith("RETRAIN")
