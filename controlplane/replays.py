"""The ledger re-run over what is stored of a model, under other settings: what would have been decided and fired."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from pydantic import BaseModel

from controlplane.errors import SpecRefused
from controlplane.histories import EARLIEST, Runs, Span, is_of_rule, read_history
from controlplane.loop.evidence import window_facts
from controlplane.rules.facts import MANUAL, WEBHOOK, WindowRule
from controlplane.rules.schedule import BadCron, check
from controlplane.rules.trying import Replay, Said
from controlplane.store import Store, spec_of
from controlplane.tables import DecisionRecord, Json, ScoredWindow
from controlplane.trials import OF_LABELS, SECONDS, Cost, Fired, cost_of, fired_in_truth, would_fire
from controlplane.whatif import changed_spec
from observability.monitors.drift.rejudging import can_be_rejudged, rejudged
from pipeline.contract.monitorspec import Monitor
from pipeline.contract.rulespec import Rule, ScheduleRule, VolumeRule
from pipeline.contract.spec import ModelSpec

ASSUMPTIONS: Final = (
    "History stays as it was: versions, windows and the runs that people asked for are those that were.",
    "A run that was asked for in truth takes as long again; any other as the model's runs took, for nothing.",
    "Windows are judged by what is known of them now, also where labels or rows came late; errors, estimates and "
    "diagnoses are those that are stored.",
    "Pauses are left out.",
)
#: of the decisions of the span, the newest are compared
DECISIONS: Final = 20_000
#: differing decisions and windows that are named; all are counted
NAMED: Final = 50


class OfRule(BaseModel):
    """A rule's firings in truth and in the replay."""

    rule: str
    fired: int
    would_fire: int
    #: firings for the same cause in both
    alike: int
    #: processor hours more, or fewer, than in truth; None where no run of the model tells
    cpu_hours_more: float | None


class Differs(BaseModel):
    """A decision that only one of the two has."""

    where: Literal["truth", "replay"]
    at: datetime
    rule: str
    cause: str
    reason: str


class Decided(BaseModel):
    """The decisions of the rules since the span began, as the ledger keeps them: each change of a reason."""

    in_truth: int
    in_replay: int
    #: of the same rule about the same cause with the same reason
    alike: int
    #: the first that are not
    differing: list[Differs]
    #: decisions until here, of either, are not compared: later ones are as many as can be; None where all are
    truncated_before: datetime | None = None


class Rejudged(BaseModel):
    """The drift verdicts of the windows under the other settings."""

    #: judged again from their p-values; none where no such setting was changed
    windows: int
    #: whose p-values are not stored: they stay as they are
    left: int
    #: of which another part has drifted than in truth
    changed: int
    #: the first of these
    changed_windows: list[str]


class Replayed(BaseModel):
    """What rules would have done under other settings, beside what they did."""

    model: str
    since: datetime
    until: datetime
    #: rules that are not as they are declared, or judge windows that are judged otherwise
    changed_rules: list[str]
    fired: list[Fired]
    would_fire: list[Fired]
    rules: list[OfRule]
    cost_in_truth: Cost
    cost: Cost
    decisions: Decided
    verdicts: Rejudged
    #: that the replay took, and how often they fit into the span
    seconds: float
    times_faster: float
    #: False where the past was too long: then it was replayed up to the last decision
    complete: bool
    assumptions: list[str]


@dataclass
class _Judge:
    """Judges stored verdicts again, and counts what becomes of them."""

    before: ModelSpec
    after: ModelSpec
    windows: int = 0
    left: int = 0
    changed: list[str] = field(default_factory=list)

    def __call__(self, row: ScoredWindow) -> Json:
        monitor = next((each for each in self.after.monitors if each.name == row.monitor), None)
        if monitor is None or not self.judges(monitor):
            return row.verdict
        if not can_be_rejudged(row.verdict):
            self.left += 1
            return row.verdict
        known = window_facts(row)
        told = rejudged(row.verdict, monitor.drift, self._level(row, monitor))
        row.verdict, facts = told, known
        now = window_facts(row)
        self.windows += 1
        if (facts.drifted, facts.drifted_else) != (now.drifted, now.drifted_else):
            self.changed.append(row.id)
        return told

    def judges(self, monitor: Monitor) -> bool:
        """Whether its windows are judged otherwise."""
        same = self.before.monitor(monitor.name).drift == monitor.drift
        return not same or self.before.false_alarms != self.after.false_alarms

    def _level(self, row: ScoredWindow, monitor: Monitor) -> float:
        """The one of the window, unless the budget of false alarms is another."""
        level = row.verdict.get("level")
        if level is not None and self.before.false_alarms == self.after.false_alarms:
            return float(level)
        return self.after.level_of(monitor, row.until_time - row.after_time, whole=not row.segment)


@dataclass(frozen=True)
class Walk:
    """A walk through the past, and what was seen."""

    said: Sequence[Said]
    complete: bool
    new: frozenset[str]
    judge: _Judge


def replay(
    store: Store,
    model_id: str,
    changes: Mapping[str, Any],
    since: datetime,
    until: datetime,
    now: datetime,
    clock: Callable[[], float] = time.monotonic,
) -> Replayed:
    """Ask all rules of a model again over its past, as they would be with these changes to its spec.

    Raises NotFound, or SpecRefused where the changes could not be declared. It ends after a few seconds by this clock.
    """
    began, since, until = clock(), max(since, EARLIEST), min(until, now)
    spec = spec_of(store.model(model_id))
    changed = changed_spec(spec, changes)
    _check_span(changed, since, until, now)
    runs = store.runs_since(model_id, since - timedelta(days=30))
    walk = walk_again(store, spec, changed, since, until, runs, lambda: clock() - began > SECONDS)
    ends = until if walk.complete else walk.said[-1].at if walk.said else since
    true = [fired_in_truth(firing) for _, firing in runs if since <= firing.fired_at <= ends]
    would = [would_fire(each) for each in walk.said if each.decision.outcome == "fire"]
    known, ruled = [run for run, _ in runs], {each.rule for each in true if each.rule not in (MANUAL, WEBHOOK)}
    names = list(dict.fromkeys([*(rule.name for rule in changed.rules), *sorted(ruled)]))
    seconds = max(clock() - began, 1e-6)
    of_rules = [each for each in true if each.rule in names]
    return Replayed(
        model=model_id, since=since, until=ends, changed_rules=sorted(walk.new), fired=true, would_fire=would,
        rules=[_of_rule(name, of_rules, would, cost_of(1, known).cpu_hours) for name in names],
        cost_in_truth=cost_of(len(of_rules), known), cost=cost_of(len(would), known),
        decisions=_decided(*_decisions(store, model_id, since, ends), walk.said),
        verdicts=Rejudged(windows=walk.judge.windows, left=walk.judge.left, changed=len(walk.judge.changed),
                          changed_windows=walk.judge.changed[:NAMED]),
        seconds=seconds, times_faster=(ends - since).total_seconds() / seconds, complete=walk.complete,
        assumptions=[*ASSUMPTIONS, *_of_labels(changed.rules)],
    )  # fmt: skip


def _of_labels(rules: Sequence[Rule]) -> list[str]:
    return [OF_LABELS] if any(isinstance(rule, VolumeRule) for rule in rules) else []


def walk_again(
    store: Store,
    spec: ModelSpec,
    changed: ModelSpec,
    since: datetime,
    until: datetime,
    runs: Runs,
    enough: Callable[[], bool] = lambda: False,
) -> Walk:
    """Ask the rules of the changed spec at every instant of the past at which anything changed."""
    judge = _Judge(spec, changed)
    new = frozenset(_new(spec, changed, judge))
    again = any(judge.judges(monitor) for monitor in changed.monitors)
    span = Span(changed.rules, since, until, new)
    history = read_history(store, changed, span, runs, judge if again else None)
    walk = Replay(changed.rules, history, since, until, enough, new)
    return Walk(list(walk.said()), walk.complete, new, judge)


def _new(spec: ModelSpec, changed: ModelSpec, judge: _Judge) -> Iterable[str]:
    """The rules that are not as they were, or that look at windows which are judged otherwise."""
    before = {rule.name: rule for rule in spec.rules}
    otherwise = {monitor.name for monitor in changed.monitors if judge.judges(monitor)}
    for rule in changed.rules:
        if before.get(rule.name) != rule or (isinstance(rule, WindowRule) and rule.monitor in otherwise):
            yield rule.name


def _check_span(spec: ModelSpec, since: datetime, until: datetime, now: datetime) -> None:
    if since >= until:
        raise SpecRefused(f"since: {since.isoformat()} is not before {until.isoformat()}", field="since")
    for rule in spec.rules:
        if isinstance(rule, ScheduleRule):
            try:
                check(rule, now)
            except BadCron as error:
                raise SpecRefused(str(error), field="rules") from error


def _decisions(
    store: Store, model_id: str, since: datetime, until: datetime
) -> tuple[Sequence[DecisionRecord], datetime | None]:
    """What rules decided in the span, oldest first; and when the newest was decided that was one too many."""
    newest = store.decisions(model_id, DECISIONS + 1, since, until)
    cut = newest[-1].decided_at if len(newest) > DECISIONS else None
    return [each for each in reversed(newest) if is_of_rule(each) and (cut is None or each.decided_at > cut)], cut


def _decided(true: Sequence[DecisionRecord], cut: datetime | None, said: Sequence[Said]) -> Decided:
    said = [each for each in said if cut is None or each.at > cut]
    in_truth = [(each.rule, each.cause, each.reason) for each in true]
    replayed = [(each.decision.rule, each.decision.cause, each.decision.reason.name) for each in said]
    only_truth, only_replay = Counter(in_truth) - Counter(replayed), Counter(replayed) - Counter(in_truth)
    differing = _differing(
        "truth", [(each.decided_at, key) for each, key in zip(true, in_truth, strict=True)], only_truth
    )
    differing += _differing("replay", [(each.at, key) for each, key in zip(said, replayed, strict=True)], only_replay)
    return Decided(
        in_truth=len(in_truth), in_replay=len(replayed), alike=len(in_truth) - only_truth.total(),
        differing=sorted(differing, key=lambda each: each.at)[:NAMED], truncated_before=cut,
    )  # fmt: skip


def _differing(
    where: Literal["truth", "replay"],
    decisions: Iterable[tuple[datetime, tuple[str, str, str]]],
    only: Counter[tuple[str, str, str]],
) -> list[Differs]:
    found = []
    for at, key in decisions:
        if only[key] > 0:
            only[key] -= 1
            rule, cause, reason = key
            found.append(Differs(where=where, at=at, rule=rule, cause=cause, reason=reason))
    return found


def _of_rule(name: str, true: Sequence[Fired], would: Sequence[Fired], hours: float | None) -> OfRule:
    before = {each.cause for each in true if each.rule == name}
    after = {each.cause for each in would if each.rule == name}
    return OfRule(
        rule=name, fired=len(before), would_fire=len(after), alike=len(before & after),
        cpu_hours_more=None if hours is None else hours * (len(after) - len(before)),
    )  # fmt: skip
