"""The windows of a past that is walked through in order: which of them rules have to judge at an instant."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from controlplane.rules.facts import WindowFacts
from pipeline.contract.rulespec import MetricRule, Rule, ScheduleRule, VolumeRule

Place = tuple[datetime, str]


@dataclass(frozen=True)
class PastWindow:
    """A window as the monitor left it."""

    version: int
    #: its place in the sequence of its version's windows
    place: Place
    facts: WindowFacts
    cut_at: datetime
    #: when its error metrics were settled; None before
    settled_at: datetime | None
    #: how its monitor was declared when it was cut
    spec_digest: str = ""


class PastTrack(NamedTuple):
    """Which windows a rule looks at."""

    monitor: str
    #: empty for whole windows
    segment: str
    #: whether only those count whose error metrics are settled
    settled: bool


def track_of(rule: Rule, first_monitor: str) -> PastTrack | None:
    """Which windows the rule looks at; None for a schedule. New labelled rows are those of the first monitor."""
    if isinstance(rule, ScheduleRule):
        return None
    if isinstance(rule, VolumeRule):
        return PastTrack(first_monitor, "", True)
    return PastTrack(rule.monitor, rule.segment or "", isinstance(rule, MetricRule))


class WindowsSoFar:
    """The windows of one track up to an instant that only moves on."""

    def __init__(self, windows: Sequence[PastWindow], settled: bool) -> None:
        arriving = ((window.settled_at if settled else window.cut_at, window) for window in windows)
        self._arriving = sorted(((at, each) for at, each in arriving if at is not None), key=lambda each: each[0])
        self._arrived = 0
        self._version: int | None = None
        self._visible: list[tuple[Place, PastWindow]] = []
        self._new: set[Place] = set()
        #: labelled rows in the windows of the version in production
        self.labelled = 0

    @property
    def instants(self) -> set[datetime]:
        """When there is another window to see."""
        return {at for at, _ in self._arriving}

    @property
    def ids(self) -> set[str]:
        """The windows that can be seen."""
        return {window.facts.id for _, window in self._visible}

    def go_to(self, at: datetime, version: int | None, promoted_at: datetime | None) -> None:
        """It is this time now; the windows that have come since the last one are to be judged."""
        if version != self._version:
            self._version, self._visible, self.labelled = version, [], 0
        self._new = set()
        while self._arrived < len(self._arriving) and self._arriving[self._arrived][0] <= at:
            window = self._arriving[self._arrived][1]
            self._arrived += 1
            if promoted_at is not None and window.version == version and window.cut_at >= promoted_at:
                self.labelled += window.facts.labelled
                if self._see(window):
                    self._new.add(window.place)

    def _see(self, window: PastWindow) -> bool:
        """Whether rules look at it: where its monitor was changed since, only at those cut as the newest is."""
        newest = self._visible[-1][1] if self._visible else window
        if newest.spec_digest != window.spec_digest:
            if window.place < newest.place:
                return False
            self._visible = []
        insort(self._visible, (window.place, window), key=lambda each: each[0])
        return True

    def to_judge(self, of: int) -> tuple[WindowFacts, ...]:
        """The windows that have come, and the newest, each behind those before it that hysteresis looks at."""
        judged = {bisect_left(self._visible, place, key=lambda each: each[0]) for place in self._new}
        judged |= {len(self._visible) - 1} if self._visible else set()
        shown = sorted({each for number in judged for each in range(max(0, number - of + 1), number + 1)})
        windows = ((number, self._visible[number][1]) for number in shown)
        return tuple(
            replace(window.facts, judge=number in judged, settled=window.settled_at is not None)
            for number, window in windows
        )


class NewestWhole:
    """What looks broken in the newest whole window of a version, of whatever monitor, up to an instant."""

    def __init__(self, windows: Sequence[PastWindow]) -> None:
        self._coming = sorted(windows, key=lambda window: window.cut_at, reverse=True)
        self._newest: dict[int, PastWindow] = {}

    def go_to(self, at: datetime) -> None:
        """It is this time now."""
        while self._coming and self._coming[-1].cut_at <= at:
            window = self._coming.pop()
            before = self._newest.get(window.version)
            if before is None or before.place <= window.place:
                self._newest[window.version] = window

    def broken(self, version: int | None) -> str | None:
        """In words; None where nothing does."""
        newest = self._newest.get(version) if version is not None else None
        return newest.facts.broken if newest else None
