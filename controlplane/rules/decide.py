"""Rules: pure functions of what is known. Each decision has its reason, also the decision to do nothing.

A rule is asked about a cause (a window, a due time, another full count of new labels), and answers once for each: what
has fired for a cause never fires for it again. Only windows of the version in production, cut since it went
there, are judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from controlplane.rules.conditions import findings, schedule_start
from controlplane.rules.facts import (
    MANUAL,
    NO_VERSION,
    WEBHOOK,
    Decision,
    Facts,
    Finding,
    Held,
    Outcome,
    Reason,
    WindowFacts,
    WindowRule,
)  # fmt: skip
from controlplane.rules.hygiene import restraint
from controlplane.rules.schedule import next_due
from pipeline.contract.rulespec import Rule, ScheduleRule

__all__ = [
    "MANUAL", "NO_VERSION", "WEBHOOK", "Decision", "Facts", "Finding", "Held", "Outcome", "Reason", "WindowFacts",
    "WindowRule", "decide", "decide_all", "decide_manual", "wakes_at",
]  # fmt: skip

#: a model is asked again after this though nothing has said that it changed: release 0.1.0 beside this one does not say
LONGEST_SLEEP: Final = timedelta(hours=1)


def decide(rule: Rule, facts: Facts) -> Iterator[Decision]:
    """The rule's decisions at this tick: one for each window not judged yet, and one for the newest cause."""
    for finding in findings(rule, facts):
        if (rule.name, finding.cause) not in facts.fired:
            yield _decision(rule, finding, facts)


def decide_all(rules: Iterable[Rule], facts: Facts) -> Iterator[Decision]:
    """The decisions of all rules, the highest priority first, then in the order of their declaration.

    At most one of them is to fire: the others see its run under way.
    """
    for rule in sorted(rules, key=lambda rule: -rule.priority):
        for finding in findings(rule, facts):
            if (rule.name, finding.cause) in facts.fired:
                continue
            decision = _decision(rule, finding, facts)
            if decision.outcome == "fire":
                facts = replace(facts, busy=f"{rule.name} has just fired")
            yield decision


def decide_manual(request_id: str, reason: str, facts: Facts, rule: str = MANUAL) -> Decision:
    """A request by a person or a program: granted unless a run is active. It needs no version, and no hold, hours,
    cooldown or budget keep it back: whoever asks knows why.
    """
    detail = reason or "no reason was given"
    if facts.busy is not None:
        return Decision(rule, rule, request_id, "wait", Reason.WAIT_ACTIVE_RUN, f"{facts.busy}; {detail}")
    return Decision(rule, rule, request_id, "fire", Reason.RETRAIN_ASKED, detail)


def wakes_at(rules: Iterable[Rule], facts: Facts, decisions: Sequence[Decision]) -> datetime:
    """The earliest instant at which time alone changes what any of the rules says; now where evidence is left over."""
    if facts.more:
        return facts.now
    instants = [decision.until for decision in decisions if decision.until is not None]
    if facts.version is not None:
        # also of a due time that has fired, about which nothing is decided any more
        due = (rule for rule in rules if isinstance(rule, ScheduleRule))
        instants += [next_due(rule, schedule_start(rule, facts), facts.now) for rule in due]
    return min([*instants, facts.now + LONGEST_SLEEP])


def _decision(rule: Rule, finding: Finding, facts: Facts) -> Decision:
    found = Decision(
        rule.name, rule.kind, finding.cause, "wait", finding.reason, finding.detail, finding.numbers, finding.until
    )
    if not finding.holds:
        return found
    checked = restraint(rule, facts)
    until = min((each for each in (finding.until, checked.until) if each is not None), default=None)
    if checked.reason is None:
        return replace(found, outcome="fire", until=until)
    return replace(found, reason=checked.reason, detail=f"{checked.detail}; {finding.detail}", until=until)
