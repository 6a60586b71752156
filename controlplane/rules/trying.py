"""Replays rules over the past: what they would have said, when they would have fired, what they would have waited for.

They are asked by the same function as in service. What is assumed: history stays as it was. The versions that went into
production, the windows and the runs that people and other rules asked for are those that were; a run that these rules
would have asked for takes as long as the one that was asked for in truth, or else as the model's runs took, and nothing
comes of it.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from controlplane.rules.decide import LONGEST_SLEEP, decide_all, wakes_at
from controlplane.rules.facts import Decision, Facts, Reason, WindowRule
from controlplane.rules.pastruns import PastRun, RunsSoFar
from controlplane.rules.pastwindows import NewestWhole, PastTrack, PastWindow, WindowsSoFar, track_of
from controlplane.rules.worth import Life
from pipeline.contract.rulespec import Budget, Rule, VolumeRule, WorthRule

__all__ = ["History", "PastWindow", "Replay", "Said"]

#: so often rules are asked in one trial; a longer past is tried up to there
STEPS: Final = 20_000
#: the shortest run: what waited for it is asked again when it has ended
INSTANT: Final = timedelta(seconds=1)
#: monitor and segment
Part: TypeAlias = tuple[str, str]


def _no_lives(_part: Part, _at: datetime) -> tuple[Life, ...]:
    return ()


@dataclass(frozen=True)
class History:
    """What is stored of a model's past, as far as rules look at it."""

    #: when which version went into production, oldest first
    promotions: Sequence[tuple[datetime, int]]
    #: by monitor and segment
    windows: Mapping[Part, Sequence[PastWindow]]
    #: without those that these rules asked for in the span: the replay is in their place
    runs: Sequence[PastRun]
    budget: Budget = field(default_factory=Budget)
    #: how long a run takes, and how many processor hours
    run_length: timedelta = timedelta(0)
    run_cpu_hours: float = 0.0
    #: by rule and cause, the runs that were asked for in truth: the same firing makes the same run
    known_runs: Mapping[tuple[str, str], PastRun] = field(default_factory=dict)
    #: the monitor whose labels stand for new labelled rows
    first_monitor: str = ""
    #: whether it is trained here; rules of a model that is only watched start nothing
    trainable: bool = True
    #: since when schedule rules are as they are
    schedule_starts: Mapping[str, datetime] = field(default_factory=dict)
    #: (rule, cause) that had fired when the span began
    fired: Set[tuple[str, str]] = frozenset()
    #: what the versions had lost by an instant, of a monitor and segment
    lives: Callable[[Part, datetime], tuple[Life, ...]] = _no_lives


@dataclass(frozen=True)
class Said:
    """What a rule would have said, and when."""

    at: datetime
    decision: Decision


class Replay:
    """Rules on their way through the past."""

    def __init__(
        self,
        rules: Sequence[Rule],
        history: History,
        since: datetime,
        until: datetime,
        enough: Callable[[], bool] = lambda: False,
        new: Set[str] = frozenset(),
    ) -> None:
        """`enough` is asked before each step whether the replay has taken too long. Rules that are `new` were not there
        before the span, so that nothing of before fires them in it.
        """
        self._rules, self._new = tuple(rules), new
        self._history, self._since, self._until = history, since, until
        self._enough = enough
        self._runs = RunsSoFar(history.runs, history.budget)
        self._fired: set[tuple[str, str]] = set(history.fired)
        self._track = {rule.name: track_of(rule, history.first_monitor) for rule in rules}
        self._windows = {
            track: WindowsSoFar(history.windows.get(track[:2], ()), track.settled)
            for track in {each for each in self._track.values() if each is not None}
        }
        whole = [window for (_, part), windows in history.windows.items() if not part for window in windows]
        self._newest = NewestWhole(whole)
        self._starts = {**history.schedule_starts, **dict.fromkeys(new, since)}
        self._wakes: datetime | None = None
        #: whether the whole span was tried
        self.complete = True

    def said(self) -> Iterator[Said]:
        """Everything that the rules would have said, in order; the same again about a cause is left out."""
        said: dict[tuple[str, str], str] = {}
        for number, at in enumerate(self._instants()):
            if number >= STEPS or self._enough():
                self.complete = False
                return
            facts = self._step(at)
            decisions = list(decide_all(self._rules, facts))
            for decision in decisions:
                if self._is_news(at, decision, said):
                    yield Said(at, decision)
                self._keep(at, decision)
            self._wakes = self._next_by_time(facts, decisions)

    def _is_news(self, at: datetime, decision: Decision, said: dict[tuple[str, str], str]) -> bool:
        """Another reason than before; what a rule of before had said when the span began is not told again."""
        key, reason = (decision.rule, decision.cause), decision.reason.name
        again = said.get(key) == reason
        said[key] = reason
        known = at == self._since and decision.rule not in self._new and decision.outcome == "wait"
        return not again and not known

    def _instants(self) -> Iterator[datetime]:
        """When something changed, or time alone changes an answer; what comes up meanwhile is taken in."""
        changes = {at for windows in self._windows.values() for at in windows.instants}
        changes |= {at for at, _ in self._history.promotions}
        for run in self._history.runs:
            changes |= {run.asked_at, run.ended_at or self._until, run.free_at or self._until}
        self._coming = [at for at in {*changes, self._until} if self._since < at <= self._until]
        heapq.heapify(self._coming)
        last = self._since
        yield last
        while self._coming:
            wakes = self._wakes
            at = wakes if wakes is not None and last < wakes < self._coming[0] else heapq.heappop(self._coming)
            if at > last:
                last = at
                yield at

    def _next_by_time(self, facts: Facts, decisions: Sequence[Decision]) -> datetime | None:
        """When time alone changes an answer before anything else happens; the hours of sleep until then are skipped."""
        ahead = [each for each in decisions if each.until is None or each.until > facts.now]
        at = facts.now
        while self._coming and at < self._coming[0]:
            wakes = wakes_at(self._rules, replace(facts, now=at), ahead)
            if wakes < at + LONGEST_SLEEP:
                return wakes
            at = wakes
        return None

    def _keep(self, at: datetime, decision: Decision) -> None:
        """What has fired never fires again for its cause, and its run is under way; a dry run says so once."""
        key = (decision.rule, decision.cause)
        if decision.reason is Reason.WAIT_DRY_RUN:
            self._fired.add(key)
        if decision.outcome != "fire":
            return
        self._fired.add(key)
        run = self._run(key, at)
        self._runs.add(run)
        # as in service, where a firing is a change of the model: the rules that were asked before it are asked again
        for change in {at + INSTANT, run.ended_at, run.free_at}:
            if change is not None and change <= self._until:
                heapq.heappush(self._coming, change)

    def _run(self, key: tuple[str, str], at: datetime) -> PastRun:
        """The run that this firing asks for: as long as it took in truth, or as the model's runs took."""
        known = self._history.known_runs.get(key)
        if known is None:
            return PastRun(at, at + max(self._history.run_length, INSTANT), self._history.run_cpu_hours)
        ended = None if known.ended_at is None else at + max(known.ended_at - known.asked_at, INSTANT)
        free = None if known.free_at is None else at + max(known.free_at - known.asked_at, INSTANT)
        return PastRun(at, ended, known.cpu_hours, free)

    def _step(self, at: datetime) -> Facts:
        """The facts of this instant; the windows that have come since the last one are to be judged."""
        count = bisect_right(self._history.promotions, at, key=lambda each: each[0])
        promoted_at, version = self._history.promotions[count - 1] if count else (None, None)
        for windows in self._windows.values():
            windows.go_to(at, version, promoted_at)
        self._newest.go_to(at)
        self._runs.go_to(at)
        if at == self._since:
            self._leave_out(version)
        return self._facts(at, version)

    def _leave_out(self, version: int | None) -> None:
        """What could have fired before the span begins."""
        for rule in self._rules:
            track = self._track[rule.name]
            if track is None or rule.name not in self._new:
                continue
            windows = self._windows[track]
            self._fired |= {(rule.name, window) for window in windows.ids}
            if isinstance(rule, VolumeRule):
                reached = windows.labelled // rule.new_labelled_rows  # those before it never come up again
                self._fired.add((rule.name, f"v{version}:{reached}"))

    def _facts(self, at: datetime, version: int | None) -> Facts:
        about = [rule for rule in self._rules if isinstance(rule, WindowRule)]
        labelled = self._windows.get(PastTrack(self._history.first_monitor, "", True))
        return Facts(
            now=at,
            version=version,
            in_service_since=self._history.promotions[0][0] if version is not None else None,
            windows={rule.name: self._windows[track].to_judge(rule.hold.of)
                     for rule in about if (track := self._track[rule.name]) is not None},
            labelled_new=labelled.labelled if labelled else 0,
            busy="a run is active" if self._runs.active else None,
            last_asked_at=self._runs.last_asked_at,
            schedule_starts=self._starts,
            fired=self._fired,
            budget=self._history.budget,
            spent=self._runs.spent,
            lives={rule.name: self._history.lives((rule.monitor, rule.segment or ""), at)
                   for rule in about if isinstance(rule, WorthRule)},
            broken=self._newest.broken(version),
            trainable=self._history.trainable,
        )  # fmt: skip
