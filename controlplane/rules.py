"""Rules: pure functions of what is known. Each decision has its reason, also the decision to do nothing.

A rule is asked about a cause (a window, a due time, another full count of new labels), and answers once for each: what
has fired for a cause never fires for it again. Only windows of the version in production, cut since it went
there, are judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from controlplane.schedule import latest_due, next_due
from observability.durations import format_duration
from pipeline.contract.rulespec import DriftRule, MetricRule, NoveltyRule, Rule, ScheduleRule, VolumeRule

Outcome = Literal["fire", "wait"]
MANUAL = "manual"
NO_VERSION = "no-version"


class Reason(StrEnum):
    """Why a rule fired, or why it waits; stored, shown and counted under this name."""

    RETRAIN_DRIFT = "drift above threshold"
    RETRAIN_NOVELTY = "unseen categories above threshold"
    RETRAIN_VOLUME = "enough new labelled rows"
    RETRAIN_DUE = "due by schedule"
    RETRAIN_METRIC = "error metric beyond its bound"
    RETRAIN_ASKED = "asked for by a person or a program"
    WAIT_ACTIVE_RUN = "a run is active"
    WAIT_COOLDOWN = "cooling down"
    WAIT_FEW_ROWS = "too few rows"
    WAIT_FEW_LABELS = "too few labels"
    WAIT_NO_DATA = "no data yet"
    WAIT_STABLE = "stable"
    WAIT_NOT_DUE = "not due yet"
    WAIT_NO_VERSION = "no version in production"


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


@dataclass(frozen=True)
class WindowFacts:
    """What the monitor said of one window."""

    id: str
    rows: int
    labelled: int
    #: share of the features that drifted; None where nothing could be compared
    drifted_share: float | None
    drifted: tuple[str, ...] = ()
    #: feature to the share of rows whose category the reference has never seen
    unseen: Mapping[str, float] = field(default_factory=dict)
    #: error metrics; empty where there are too few labels
    error: Mapping[str, float] = field(default_factory=dict)
    #: whether the labels were due and the error metrics are settled
    settled: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known of a model at one tick."""

    now: datetime
    #: number of the version in production; None before the first
    version: int | None
    #: when the model's first version went into production
    in_service_since: datetime | None
    #: by rule, the windows of the version in production that it has to judge: not judged yet, and the newest
    windows: Mapping[str, tuple[WindowFacts, ...]]
    #: labelled rows that the version in production has not learned from; None before the monitor looked
    labelled_new: int | None
    #: what is under way, in words; None where nothing is
    busy: str | None
    #: when the model's last run was asked for
    last_asked_at: datetime | None
    #: schedule rules that were declared after the model was first applied, and since when
    schedule_starts: Mapping[str, datetime] = field(default_factory=dict)
    #: (rule, cause) that have fired
    fired: Set[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Finding:
    """What a rule's own condition says of a cause, before what holds for all: active run and cooldown."""

    cause: str
    reason: Reason
    detail: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return self.reason.name.startswith("RETRAIN")


def decide(rule: Rule, facts: Facts) -> Iterator[Decision]:
    """The rule's decisions at this tick: one for each window not judged yet, and one for the newest cause."""
    for finding in _findings(rule, facts):
        if (rule.name, finding.cause) not in facts.fired:
            yield _decision(rule.name, rule.kind, finding, rule, facts)


def decide_manual(request_id: str, reason: str, facts: Facts) -> Decision:
    """A request by a person or a program: granted unless a run is active. It needs no version."""
    finding = Finding(request_id, Reason.RETRAIN_ASKED, reason or "no reason was given")
    return _decision(MANUAL, MANUAL, finding, None, facts)


def _decision(name: str, kind: str, finding: Finding, rule: Rule | None, facts: Facts) -> Decision:
    if not finding.holds:
        return Decision(name, kind, finding.cause, "wait", finding.reason, finding.detail, finding.numbers)
    if facts.busy is not None:
        detail = f"{facts.busy}; {finding.detail}"
        return Decision(name, kind, finding.cause, "wait", Reason.WAIT_ACTIVE_RUN, detail, finding.numbers)
    if rule is not None and facts.last_asked_at is not None and facts.now - facts.last_asked_at < rule.cooldown:
        until = facts.last_asked_at + rule.cooldown
        detail = f"cooling down for {format_duration(rule.cooldown)} until {until.isoformat()}; {finding.detail}"
        return Decision(name, kind, finding.cause, "wait", Reason.WAIT_COOLDOWN, detail, finding.numbers)
    return Decision(name, kind, finding.cause, "fire", finding.reason, finding.detail, finding.numbers)


def _findings(rule: Rule, facts: Facts) -> Iterator[Finding]:
    if facts.version is None:
        detail = "no version is in production; train the first with `driftgate train`"
        yield Finding(NO_VERSION, Reason.WAIT_NO_VERSION, detail)
        return
    match rule:
        case ScheduleRule():
            yield _schedule(rule, facts)
        case VolumeRule():
            yield _volume(rule, facts)
        case _:
            yield from _of_windows(rule, facts)


WindowRule: TypeAlias = DriftRule | NoveltyRule | MetricRule


def _of_windows(rule: WindowRule, facts: Facts) -> Iterator[Finding]:
    windows = facts.windows.get(rule.name, ())
    if isinstance(rule, MetricRule):
        windows = tuple(window for window in windows if window.settled)
    if not windows:
        yield Finding(f"v{facts.version}", Reason.WAIT_NO_DATA, f"{rule.monitor} has no window to judge yet")
    for window in windows:
        yield _window(rule, window)


def _window(rule: WindowRule, window: WindowFacts) -> Finding:
    match rule:
        case DriftRule():
            return _drift(rule, window)
        case NoveltyRule():
            return _novelty(rule, window)
        case MetricRule():
            return _metric(rule, window)


def _few_rows(window: WindowFacts, needed: int) -> Finding:
    detail = f"{window.rows} rows, {needed} are needed"
    return Finding(window.id, Reason.WAIT_FEW_ROWS, detail, {"rows": window.rows, "min_rows": needed})


def _drift(rule: DriftRule, window: WindowFacts) -> Finding:
    if window.rows < rule.min_rows:
        return _few_rows(window, rule.min_rows)
    if window.drifted_share is None:
        return Finding(window.id, Reason.WAIT_NO_DATA, "no feature of the window could be compared")
    share, bound = window.drifted_share, rule.drifted_share
    numbers = {
        "drifted_share": share,
        "threshold": bound,
        "rows": window.rows,
        "drifted": list(window.drifted),
    }
    detail = f"{share:.0%} of the features drifted ({', '.join(window.drifted) or 'none'}), threshold {bound:.0%}"
    reason = Reason.RETRAIN_DRIFT if share >= bound else Reason.WAIT_STABLE
    return Finding(window.id, reason, detail, numbers)


def _novelty(rule: NoveltyRule, window: WindowFacts) -> Finding:
    if window.rows < rule.min_rows:
        return _few_rows(window, rule.min_rows)
    shares = {name: window.unseen[name] for name in rule.features if name in window.unseen}
    if not shares:
        return Finding(window.id, Reason.WAIT_NO_DATA, f"no unseen share is known of {', '.join(rule.features)}")
    name = max(shares, key=shares.__getitem__)
    numbers = {
        "feature": name,
        "unseen_share": shares[name],
        "threshold": rule.unseen_share,
        "rows": window.rows,
    }
    detail = f"{shares[name]:.1%} of {name} was never seen before, threshold {rule.unseen_share:.1%}"
    reason = Reason.RETRAIN_NOVELTY if shares[name] >= rule.unseen_share else Reason.WAIT_STABLE
    return Finding(window.id, reason, detail, numbers)


def _metric(rule: MetricRule, window: WindowFacts) -> Finding:
    value = window.error.get(rule.metric)
    if value is None:
        detail = f"{window.labelled} of {window.rows} rows have a label: too few for {rule.metric}"
        return Finding(window.id, Reason.WAIT_FEW_LABELS, detail, {"labelled": window.labelled})
    side, bound = ("below", rule.below) if rule.below is not None else ("above", rule.above)
    beyond = value < rule.below if rule.below is not None else value > (rule.above or 0.0)
    numbers = {
        "metric": rule.metric,
        "value": value,
        "bound": bound,
        "side": side,
        "labelled": window.labelled,
    }
    detail = f"{rule.metric} is {value:.4f} on {window.labelled} labelled rows, bound: {side} {bound}"
    return Finding(window.id, Reason.RETRAIN_METRIC if beyond else Reason.WAIT_STABLE, detail, numbers)


def _volume(rule: VolumeRule, facts: Facts) -> Finding:
    """Each time that another `new_labelled_rows` are full is a cause of its own, whatever came of the last."""
    version, step = f"v{facts.version}", rule.new_labelled_rows
    if facts.labelled_new is None:
        return Finding(f"{version}:1", Reason.WAIT_NO_DATA, "labelled rows were not counted yet")
    crossing = facts.labelled_new // step
    enough = crossing >= 1 and (rule.name, f"{version}:{crossing}") not in facts.fired
    if not enough:
        crossing += 1
    needed = crossing * step
    detail = f"{facts.labelled_new} labelled rows that {version} has not learned from, {needed} needed"
    numbers = {"labelled_new": facts.labelled_new, "needed": needed}
    reason = Reason.RETRAIN_VOLUME if enough else Reason.WAIT_FEW_LABELS
    return Finding(f"{version}:{crossing}", reason, detail, numbers)


def _schedule(rule: ScheduleRule, facts: Facts) -> Finding:
    start = facts.in_service_since or facts.now
    start = max(start, facts.schedule_starts.get(rule.name, start))
    due = latest_due(rule, start, facts.now)
    plan = rule.cron if rule.every is None else f"every {format_duration(rule.every)}"
    if due is not None and (rule.name, due.isoformat()) not in facts.fired:
        return Finding(
            due.isoformat(),
            Reason.RETRAIN_DUE,
            f"due at {due.isoformat()} ({plan})",
            {"due": due.isoformat()},
        )
    coming = next_due(rule, start, facts.now).isoformat()
    return Finding(coming, Reason.WAIT_NOT_DUE, f"next due at {coming} ({plan})", {"due": coming})
