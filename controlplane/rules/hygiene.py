"""What keeps a rule from firing though its condition holds: each check says why, and until when by time alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from controlplane.rules.budget import overspent
from controlplane.rules.facts import Facts, Reason
from controlplane.rules.hours import changes_at, is_active
from observability.durations import format_duration
from pipeline.contract.rulespec import Rule


@dataclass(frozen=True)
class Checked:
    """What a check says. Without a reason nothing stands in the way."""

    reason: Reason | None = None
    detail: str = ""
    #: when time alone changes what it says
    until: datetime | None = None


FREE: Final = Checked()


def restraint(rule: Rule, facts: Facts) -> Checked:
    """The first check that keeps the rule from firing, until time alone changes the answer of it or of one before."""
    changes: list[datetime] = []
    for check in CHECKS:
        checked = check(rule, facts)
        if checked.until is not None:
            changes.append(checked.until)
        if checked.reason is not None:
            return Checked(checked.reason, checked.detail, min(changes, default=None))
    return Checked(until=min(changes, default=None))


def _pause(rule: Rule, facts: Facts) -> Checked:
    for what in ("rules", f"rule:{rule.name}"):
        held = facts.holds.get(what)
        if held is not None:
            end = f" until {held.until.isoformat()}" if held.until else ""
            detail = f"{what} paused by {held.by}{end}: {held.why or 'no reason was given'}"
            return Checked(Reason.WAIT_PAUSED, detail, held.until)
    return FREE


def _broken_data(rule: Rule, facts: Facts) -> Checked:
    """No rule asks for a version that would learn what a bug made of the data, not even one that is due by schedule."""
    return Checked(Reason.WAIT_BROKEN_DATA, facts.broken) if facts.broken is not None else FREE


def _not_trained_here(rule: Rule, facts: Facts) -> Checked:
    """A rule of a model that is only watched alerts, and asks for nothing."""
    if facts.trainable:
        return FREE
    return Checked(Reason.WAIT_NOT_TRAINED_HERE, f"{rule.name} alerts only: the model is trained elsewhere")


def _active_hours(rule: Rule, facts: Facts) -> Checked:
    if rule.active is None:
        return FREE
    change = changes_at(rule.active, facts.now)
    if is_active(rule.active, facts.now):
        return Checked(until=change)
    begin = f"active again at {change.isoformat()}" if change else "never active"
    return Checked(Reason.WAIT_INACTIVE_HOURS, begin, change)


def _one_at_a_time(rule: Rule, facts: Facts) -> Checked:
    return Checked(Reason.WAIT_ACTIVE_RUN, facts.busy) if facts.busy is not None else FREE


def _cooldown(rule: Rule, facts: Facts) -> Checked:
    if facts.last_asked_at is None or facts.now - facts.last_asked_at >= rule.cooldown:
        return FREE
    until = facts.last_asked_at + rule.cooldown
    detail = f"cooling down for {format_duration(rule.cooldown)} until {until.isoformat()}"
    return Checked(Reason.WAIT_COOLDOWN, detail, until)


def _budget(rule: Rule, facts: Facts) -> Checked:
    over = overspent(facts.budget, facts.spent, facts.now)
    return Checked(Reason.WAIT_BUDGET, f"{over.detail}, until {over.until.isoformat()}", over.until) if over else FREE


def _dry_run(rule: Rule, facts: Facts) -> Checked:
    return Checked(Reason.WAIT_DRY_RUN, "would have fired now") if rule.dry_run else FREE


#: In this order, so that the reason that is told is the one that a person would want to hear first: what somebody
#: decided, then what is broken, then what was declared of the hours, then what is under way, then what was not long
#: ago, then what it costs. The dry run is last: it says that the rule would have fired only where nothing else would
#: have kept it from it.
CHECKS: Final[tuple[Callable[[Rule, Facts], Checked], ...]] = (
    _pause, _broken_data, _not_trained_here, _active_hours, _one_at_a_time, _cooldown, _budget, _dry_run,
)  # fmt: skip
