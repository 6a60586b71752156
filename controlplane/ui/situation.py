"""What needs a person now, and what a person may do: alerts, holds, the way of a version, the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from controlplane.errors import NotFound
from controlplane.lifecycle import AlertState, RolloutState, VersionState
from controlplane.store.holds import OF_A_RULE, ROLLOUT, RULES
from controlplane.store.reading import Row
from controlplane.tables import DecisionRecord, Hold, Rollout
from controlplane.ui import words
from controlplane.ui.queries import Reader
from controlplane.ui.reading import Status
from controlplane.ui.track import STOPPED, Measured, Track, measured, track_of
from controlplane.ui.version_views import VersionView
from observability.durations import format_duration
from pipeline.contract.promotionspec import RolloutPlan
from pipeline.contract.rulespec import DriftRule, MetricRule, NoveltyRule, Rule, ScheduleRule, VolumeRule, WorthRule
from pipeline.contract.spec import ModelSpec


@dataclass(frozen=True)
class RuleView:
    """A rule, what it last said, and whether it is stopped."""

    name: str
    kind: str
    #: when it fires, in words
    condition: str
    #: what keeps it back though it holds, in words
    hygiene: str
    last: DecisionRecord | None
    hold: Hold | None
    dry_run: bool


@dataclass(frozen=True)
class RolloutView:
    """The newest rollout as a picture: the one under way, or one that ended badly and no other came after it."""

    row: Rollout
    track: Track
    measured: Measured | None
    #: it may be put into production now
    may_promote: bool


@dataclass(frozen=True)
class Situation:
    """Everything that somebody may have to act on."""

    alerts: Sequence[Row]
    holds: tuple[Hold, ...]
    paused: Hold | None
    frozen: Hold | None
    rollout: RolloutView | None
    #: the version that waits for a person
    awaiting: VersionView | None
    rules: tuple[RuleView, ...]
    #: number of the version that a rollback brings back
    goes_back_to: int | None


def situation_of(
    reader: Reader, spec: ModelSpec, versions: Sequence[VersionView], decisions: Sequence[DecisionRecord], now: datetime
) -> Situation:
    """Where a model stands for whoever is on call."""
    holds = tuple(reader.holds(spec.model, now))
    by_what = {hold.what: hold for hold in holds}
    newest = next(iter(reader.rollouts(spec.model, 1)), None)
    rollout = newest if newest is not None and newest.ended_at is None else None
    shown = newest if newest is not None and (rollout is not None or newest.state in STOPPED) else None
    waits = (each for each in versions if each.version.state is VersionState.AWAITING_APPROVAL)
    return Situation(
        alerts=reader.alerts_of(spec.model),
        holds=holds,
        paused=by_what.get(RULES),
        frozen=by_what.get(ROLLOUT),
        rollout=rollout_view(reader, spec, versions, shown) if shown else None,
        awaiting=next(waits, None),
        rules=tuple(rule_view(rule, decisions, by_what) for rule in spec.rules),
        goes_back_to=goes_back_to(versions, rollout),
    )


def status_with(alerts: Sequence[Row], status: Status) -> Status:
    """How a model is, where an alert that nobody takes care of says more than its newest window."""
    firing = [alert for alert in alerts if alert["state"] is AlertState.FIRING]
    for severity, tone in (("critical", "bad"), ("warning", "warn")):
        found = [alert for alert in firing if alert["severity"] == severity]
        if found and status.tone != "bad":
            said = found[0]["name"] if len(found) == 1 else f"{len(found)} {severity} alerts"
            return Status(
                "bad" if tone == "bad" else "warn",
                severity,
                f"{said} {'is' if len(found) == 1 else 'are'} firing. {status.sentence}",
            )
    return status


def rollout_view(reader: Reader, spec: ModelSpec, versions: Sequence[VersionView], rollout: Rollout) -> RolloutView:
    """A rollout with what was measured in its present step; of one that ended, in its last."""
    plan, compared = plan_of(reader, spec, versions, rollout), reader.comparison(rollout.id)
    present = compared is not None and (compared.since == rollout.recorded_at or rollout.ended_at is not None)
    numbers = compared.numbers if compared is not None and present else None
    may = rollout.state in (RolloutState.LOADING, RolloutState.SHADOW, RolloutState.CANARY)
    return RolloutView(rollout, track_of(plan, rollout.model_dump(), numbers), measured(plan.guards, numbers), may)


def plan_of(reader: Reader, spec: ModelSpec, versions: Sequence[VersionView], rollout: Rollout) -> RolloutPlan:
    """The plan that was declared when the run was asked for; the present one where that cannot be read."""
    key = next((each.version.run_key for each in versions if each.version.number == rollout.version), "")
    try:
        request: Mapping[str, Any] = reader.run(key).request
        return RolloutPlan.model_validate(request["spec"]["rollout"])
    except (NotFound, KeyError, TypeError, ValidationError):
        return spec.rollout


def goes_back_to(versions: Sequence[VersionView], rollout: Rollout | None) -> int | None:
    """The version that a rollback would bring back; None where there is none."""
    states = {each.version.state for each in versions}
    if VersionState.PRODUCTION not in states:
        return None
    if rollout is not None and rollout.state is RolloutState.WATCHING:
        return rollout.champion
    retired = [
        each.version for each in versions if each.version.state is VersionState.RETIRED and each.version.promoted_at
    ]
    newest = max(retired, key=lambda version: (version.promoted_at, version.number), default=None)
    return newest.number if newest else None


def rule_view(rule: Rule, decisions: Sequence[DecisionRecord], holds: Mapping[str, Hold]) -> RuleView:
    """A rule as its page shows it; `decisions` are the newest first."""
    last = next((each for each in decisions if each.rule == rule.name), None)
    hold = holds.get(f"{OF_A_RULE}{rule.name}")
    return RuleView(rule.name, rule.kind, condition_of(rule), hygiene_of(rule), last, hold, rule.dry_run)


def condition_of(rule: Rule) -> str:
    """When a rule fires."""
    match rule:
        case DriftRule():
            anything = rule.drifted_share is None
            return "anything drifted" if anything else f"{words.percent(rule.drifted_share)} of the features drifted"
        case NoveltyRule():
            return f"{words.percent(rule.unseen_share)} of the rows with unseen values of {', '.join(rule.features)}"
        case MetricRule(rising=True):
            return f"{words.metric(rule.metric)} rises, says the sequential detector"
        case MetricRule():
            below = [f"below {rule.below:g}"] if rule.below is not None else []
            above = [f"above {rule.above:g}"] if rule.above is not None else []
            return f"{words.metric(rule.metric)} {' or '.join(below + above)}"
        case WorthRule():
            if rule.cost is None:
                return "a retraining is expected to save more than it costs"
            unit = "wrong answers" if rule.cost != 1 else "wrong answer"
            return f"a retraining is expected to save more than its cost of {rule.cost:g} {unit}"
        case VolumeRule():
            return f"{words.count(rule.new_labelled_rows)} new labelled rows"
        case ScheduleRule():
            return (
                f"cron {rule.cron} ({rule.timezone})"
                if rule.cron
                else f"every {format_duration(rule.every)}"
                if rule.every
                else ""
            )


def hygiene_of(rule: Rule) -> str:
    """What keeps a rule from firing too often."""
    said = [f"cooldown {format_duration(rule.cooldown)}"] if rule.cooldown else []
    hold = getattr(rule, "hold", None)
    if hold is not None and (hold.windows, hold.of) != (1, 1):
        said.append(f"{hold.windows} of {hold.of} windows")
    if rule.active is not None:
        days = "" if len(rule.active.days) == 7 else f"{', '.join(rule.active.days)} "
        said.append(f"active {days}{rule.active.since:%H:%M}-{rule.active.until:%H:%M} {rule.active.timezone}")
    if rule.priority:
        said.append(f"priority {rule.priority}")
    return " · ".join(said)
