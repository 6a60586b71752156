"""When to refit a regression on a series: one policy, judged by what it served and by how often it refitted.

A refit is least squares on the last `WINDOW` rows whose labels are there; labels come `LAG` rows late. The policy never
looks at a fit that it has not paid for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from observability.monitors.errors.rising import ErrorStream, StreamState
from observability.monitors.settings import ErrorSettings

Floats: TypeAlias = npt.NDArray[np.float64]

WINDOW: Final = 104
LAG: Final = 2


@dataclass(frozen=True)
class Policy:
    """When a refit, or the return of a version that was kept, has paid for itself.

    It is that of hiring skis: one buys them when the rent that was paid has reached their price, and so never pays more
    than twice what was necessary. The rent is loss beyond what was usual at the start, or beyond what a kept version
    would have lost; a price is in usual losses of a row. An alarm warns, and does not refit by itself: when it comes,
    the window holds next to nothing of what has changed.
    """

    #: loss beyond the usual one since the last refit, from which there is another
    refit_price: float = 8.0
    #: loss beyond that of a kept version, from which that serves again
    return_price: float = 1.0
    #: rows after which there is a refit in any case
    refit_after: int | None = 52
    #: a refit is granted every so many rows; unused ones are kept up to a number, which is there at the start
    granted_every: int = 52
    granted_at_most: int = 3


@dataclass
class Outcome:
    """What came of it."""

    losses: list[float] = field(default_factory=list)
    refits: list[int] = field(default_factory=list)
    returns: int = 0
    #: rows at which an alarm was raised that no earlier one stands for
    alarms: list[int] = field(default_factory=list)

    @property
    def mean_loss(self) -> float:
        return float(np.mean(self.losses))


def losses_of_fits(features: Floats, labels: Floats, shown: Callable[[Floats], Floats] = np.asarray) -> Floats:
    """At [s, t] the absolute error on row t of the fit that would be made at row s; NaN where s has no full window.

    Labels are fitted as they are, and the errors are those of what is `shown` for them, such as a rate for its logit.
    """
    rows = len(labels)
    found = np.full((rows, rows), np.nan)
    design = np.column_stack([np.ones(rows), features])
    for row in range(WINDOW, rows):
        past = known(row)
        weights = np.linalg.lstsq(design[past], labels[past], rcond=None)[0]
        found[row] = np.abs(shown(design @ weights) - shown(labels))
    return found


def known(row: int) -> slice:
    """The newest rows with labels at this one, at most a window of them."""
    end = row - LAG + 1
    return slice(max(end - WINDOW, 0), end)


def refitted_when(losses: Floats, due: Callable[[int], bool]) -> Outcome:
    """A refit at the rows that are due, which are known beforehand."""
    outcome, serving = Outcome(), WINDOW
    for row in range(WINDOW, len(losses)):
        if row > WINDOW and due(row - WINDOW):
            serving = row
            outcome.refits.append(row)
        outcome.losses.append(float(losses[serving, row]))
    return outcome


def refitted_by(losses: Floats, policy: Policy) -> Outcome:
    """What the policy does, row by row, knowing at each row only the labels that have come."""
    desk = Desk(losses, policy)
    for row in range(WINDOW, len(losses)):
        if row > WINDOW:
            desk.decide(row)
        desk.outcome.losses.append(float(losses[desk.serving, row]))
    return desk.outcome


class Desk:
    """Where the policy is carried out: the versions that were paid for, and what speaks against the one that serves."""

    def __init__(self, losses: Floats, policy: Policy) -> None:
        self.losses, self.policy, self.outcome = losses, policy, Outcome()
        self.usual = float(losses[WINDOW, known(WINDOW)].mean())
        self.granted, self.excess = float(policy.granted_at_most), 0.0
        self.regrets: dict[int, float] = {}
        self.watch = Watch()
        self._take(WINDOW)

    def decide(self, row: int) -> None:
        """With the label that has come by this row: warn, and refit, return to a kept version, or leave it."""
        policy, told = self.policy, row - LAG
        lost = self.losses[self.serving, told]
        if self.watch.alarms(self.losses[self.newest, told]):
            self.outcome.alarms.append(row)
        self.granted = min(policy.granted_at_most, self.granted + 1 / policy.granted_every)
        self.excess = max(0.0, self.excess + lost - self.usual)
        for version in self.regrets:
            self.regrets[version] = max(0.0, self.regrets[version] + lost - self.losses[version, told])
        aged = policy.refit_after is not None and row - self.newest >= policy.refit_after
        if self.granted >= 1 and (aged or self.excess >= policy.refit_price * self.usual):
            self.granted -= 1
            self.outcome.refits.append(row)
            self._take(row)
        else:
            self._return()

    def _take(self, row: int) -> None:
        """Into service with the fit of this row. Its own window says what is usual for it."""
        self.newest = self.serving = row
        self.excess = 0.0
        self.regrets = dict.fromkeys([*self.regrets, row], 0.0)
        self.watch.begin(self.losses[row, known(row)])

    def _return(self) -> None:
        best = max(self.regrets, key=lambda version: self.regrets[version])
        if best != self.serving and self.regrets[best] >= self.policy.return_price * self.usual:
            self.serving = best
            self.regrets = dict.fromkeys(self.regrets, 0.0)
            self.outcome.returns += 1


class Watch:
    """The detector as it ships, on the errors of the newest version, whichever serves.

    An alarm stands for those that follow until the bet that won most when it was raised has lost all of it again.
    """

    def __init__(self) -> None:
        self.detector = ErrorStream(ErrorSettings().rows_between_false_alarms)
        self.state = StreamState()
        self.raised_by: int | None = None

    def begin(self, usual: Floats) -> None:
        """With a version whose usual losses are these."""
        self.state = self.detector.learn(StreamState(), usual)

    def alarms(self, loss: float) -> bool:
        """Whether there is a new alarm with this row."""
        self.state, found = self.detector.update(self.state, [loss])
        if self.raised_by is not None and self.state.won[self.raised_by] <= 0:
            self.raised_by = None
        new = bool(found) and self.raised_by is None
        if found:
            self.raised_by = int(np.argmax(self.state.won))
        return new
