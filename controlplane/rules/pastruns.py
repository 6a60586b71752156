"""The runs of a past that is walked through in order: what rules ask of them costs the same at every step.

A trial has as many steps as it has runs, and more: whoever looked at all of them at each step would be busy for
minutes.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from controlplane.rules.budget import DAY, MONTH, Spent
from pipeline.contract.rulespec import Budget

#: hours added up one by one are not exactly their sum: so near to the limit they are added up anew
NEAR: Final = 1e-6


@dataclass(frozen=True)
class PastRun:
    """A run, of the past or of the trial."""

    asked_at: datetime
    #: None where it has not ended
    ended_at: datetime | None
    cpu_hours: float
    #: when the version that it made was on its way no more; None where it made none
    free_at: datetime | None = None


class RunsSoFar:
    """The runs up to an instant that only moves on."""

    def __init__(self, runs: Sequence[PastRun], budget: Budget) -> None:
        self._budget = budget
        self._coming = deque(sorted(runs, key=lambda run: run.asked_at))
        #: (end, hours) of those that were asked for and have not ended; what never ends is only counted
        self._active: list[tuple[datetime, float]] = []
        #: when versions that ended runs have made are on their way no more
        self._moving: list[datetime] = []
        self._endless = 0
        self._asked: deque[datetime] = deque()
        self._ended: deque[tuple[datetime, float]] = deque()
        self._hours = 0.0
        self.last_asked_at: datetime | None = None

    def add(self, run: PastRun) -> None:
        """A run that is asked for now: no other that is to come was asked for earlier."""
        self._coming.appendleft(run)

    def go_to(self, at: datetime) -> None:
        """It is this time now."""
        while self._coming and self._coming[0].asked_at <= at:
            run = self._coming.popleft()
            self.last_asked_at = run.asked_at
            self._asked.append(run.asked_at)
            if run.ended_at is None:
                self._endless += 1
            else:
                heapq.heappush(self._active, (run.ended_at, run.cpu_hours))
                heapq.heappush(self._moving, run.free_at or run.ended_at)
        while self._moving and self._moving[0] <= at:
            heapq.heappop(self._moving)
        while self._active and self._active[0][0] <= at:
            self._ended.append(heapq.heappop(self._active))
            self._hours += self._ended[-1][1]
        while self._asked and self._asked[0] <= at - DAY:
            self._asked.popleft()
        while self._ended and self._ended[0][0] <= at - MONTH:
            self._hours -= self._ended.popleft()[1]

    @property
    def active(self) -> bool:
        """Whether a run, or the version that it made, is under way."""
        return bool(self._active) or bool(self._moving) or self._endless > 0

    @property
    def spent(self) -> Spent:
        """What the budget has to be asked about. Where a limit is clearly not reached, nothing: it says the same."""
        runs, hours = self._budget.runs_per_day, self._budget.cpu_hours_per_month
        asked = tuple(self._asked) if runs is not None and len(self._asked) >= runs else ()
        ended = tuple(self._ended) if hours is not None and self._hours > hours - NEAR else ()
        return Spent(asked, ended)
