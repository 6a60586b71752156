"""Replays one rule over the past: when it would have fired, and what it would have waited for.

It is asked by the same function as in service. What is assumed: history stays as it was. The versions that went into
production, the windows and the runs of other rules are those that were; the runs that this rule would have asked for
take as long as the model's runs took, and nothing comes of them.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from controlplane.rules.decide import decide, wakes_at
from controlplane.rules.facts import Decision, Facts, WindowFacts, WindowRule
from controlplane.rules.pastruns import PastRun, RunsSoFar
from pipeline.contract.rulespec import Budget, MetricRule, Rule, VolumeRule

#: so often a rule is asked in one trial; a longer past is tried up to there
STEPS: Final = 20_000
#: the shortest run: what waited for it is asked again when it has ended
INSTANT: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class PastWindow:
    """A window as the monitor left it."""

    version: int
    #: its place in the sequence of its version's windows
    place: tuple[datetime, str]
    facts: WindowFacts
    cut_at: datetime
    #: when its error metrics were settled; None before
    settled_at: datetime | None
    #: how its monitor was declared when it was cut
    spec_digest: str = ""


@dataclass(frozen=True)
class History:
    """What is stored of a model's past, as far as a rule looks at it."""

    #: when which version went into production, oldest first
    promotions: Sequence[tuple[datetime, int]]
    windows: Sequence[PastWindow]
    #: without those that the rule of this name asked for: the trial is in its place
    runs: Sequence[PastRun]
    budget: Budget = field(default_factory=Budget)
    #: how long a run takes, and how many processor hours
    run_length: timedelta = timedelta(0)
    run_cpu_hours: float = 0.0


@dataclass(frozen=True)
class Said:
    """What the rule would have said, and when."""

    at: datetime
    decision: Decision


class Replay:
    """A rule on its way through the past."""

    def __init__(
        self, rule: Rule, history: History, since: datetime, until: datetime, enough: Callable[[], bool] = lambda: False
    ) -> None:
        """`enough` is asked before each step whether the trial has taken too long."""
        self._rule: Rule = rule.model_copy(update={"dry_run": False})
        self._history, self._since, self._until = history, since, until
        self._enough = enough
        self._runs = RunsSoFar(history.runs, history.budget)
        self._fired: set[tuple[str, str]] = set()
        self._version: int | None = None
        self._visible: list[tuple[tuple[datetime, str], PastWindow]] = []
        self._labelled = 0
        self._arriving = sorted(self._arrivals(), key=lambda each: each[0])
        self._arrived = 0
        #: whether the whole span was tried
        self.complete = True

    def said(self) -> Iterator[Said]:
        """Everything that the rule would have said, in order; the same again about a cause is left out."""
        self._step(self._since)  # what was there before is known, and was another rule's matter
        said: dict[str, str] = {}
        for number, at in enumerate(self._instants()):
            if number >= STEPS or self._enough():
                self.complete = False
                return
            facts = self._step(at)
            decisions = list(decide(self._rule, facts))
            for decision in decisions:
                if said.get(decision.cause) != decision.reason.name:
                    said[decision.cause] = decision.reason.name
                    yield Said(at, decision)
                if decision.outcome == "fire":
                    self._fire(at, decision)
                    break
            self._wake(wakes_at([self._rule], facts, decisions))

    def _instants(self) -> Iterator[datetime]:
        """When something changed, or time alone changes an answer; what comes up meanwhile is taken in."""
        changes = {at for at, _ in self._arriving} | {at for at, _ in self._history.promotions}
        for run in self._history.runs:
            changes |= {run.asked_at, run.ended_at or self._until}
        self._coming = [at for at in {*changes, self._until} if self._since < at <= self._until]
        heapq.heapify(self._coming)
        last = self._since
        yield last
        while self._coming:
            at = heapq.heappop(self._coming)
            if at > last:
                last = at
                yield at

    def _wake(self, at: datetime) -> None:
        if at <= self._until:
            heapq.heappush(self._coming, at)

    def _fire(self, at: datetime, decision: Decision) -> None:
        end = at + max(self._history.run_length, INSTANT)
        self._fired.add((self._rule.name, decision.cause))
        self._runs.add(PastRun(at, end, self._history.run_cpu_hours))
        self._wake(end)

    def _arrivals(self) -> Iterator[tuple[datetime, PastWindow]]:
        """When the rule can see which window."""
        labelled = isinstance(self._rule, MetricRule | VolumeRule)
        for window in self._history.windows:
            at = window.settled_at if labelled else window.cut_at
            if at is not None:
                yield at, window

    def _step(self, at: datetime) -> Facts:
        """The facts of this instant; the windows that have come since the last one are to be judged."""
        count = bisect_right(self._history.promotions, at, key=lambda each: each[0])
        promoted_at, version = self._history.promotions[count - 1] if count else (None, None)
        if version != self._version:
            self._version, self._visible, self._labelled = version, [], 0
        new = set()
        while self._arrived < len(self._arriving) and self._arriving[self._arrived][0] <= at:
            window = self._arriving[self._arrived][1]
            self._arrived += 1
            if promoted_at is not None and window.version == version and window.cut_at >= promoted_at:
                self._labelled += window.facts.labelled
                if self._see(window):
                    new.add(window.place)
        if at == self._since:
            self._leave_out()
        return self._facts(at, new)

    def _see(self, window: PastWindow) -> bool:
        """Whether the rule looks at it: where its monitor was changed since, only at those cut as the newest is."""
        newest = self._visible[-1][1] if self._visible else window
        if newest.spec_digest != window.spec_digest:
            if window.place < newest.place:
                return False
            self._visible = []
        insort(self._visible, (window.place, window), key=lambda each: each[0])
        return True

    def _leave_out(self) -> None:
        """What could have fired before the span begins."""
        self._fired |= {(self._rule.name, window.facts.id) for _, window in self._visible}
        if isinstance(self._rule, VolumeRule):
            reached = self._labelled // self._rule.new_labelled_rows  # those before it never come up again
            self._fired.add((self._rule.name, f"v{self._version}:{reached}"))

    def _facts(self, at: datetime, new: set[tuple[datetime, str]]) -> Facts:
        self._runs.go_to(at)
        name = self._rule.name
        return Facts(
            now=at,
            version=self._version,
            in_service_since=self._history.promotions[0][0] if self._version is not None else None,
            windows={name: self._to_judge(new)},
            labelled_new=self._labelled,
            busy="a run is active" if self._runs.active else None,
            last_asked_at=self._runs.last_asked_at,
            schedule_starts={name: self._since},
            fired=self._fired,
            budget=self._history.budget,
            spent=self._runs.spent,
        )

    def _to_judge(self, new: set[tuple[datetime, str]]) -> tuple[WindowFacts, ...]:
        """The windows that have come, and the newest, each behind those before it that hysteresis looks at."""
        of = self._rule.hold.of if isinstance(self._rule, WindowRule) else 1
        judged = {bisect_left(self._visible, place, key=lambda each: each[0]) for place in new}
        judged |= {len(self._visible) - 1} if self._visible else set()
        shown = sorted({each for number in judged for each in range(max(0, number - of + 1), number + 1)})
        windows = ((number, self._visible[number][1]) for number in shown)
        return tuple(
            replace(window.facts, judge=number in judged, settled=window.settled_at is not None)
            for number, window in windows
        )
