"""Lifecycles of versions, runs, rollouts and alerts, as tables; a test compares docs/lifecycle.md with them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar


class VersionState(StrEnum):
    """Where a version stands."""

    CANDIDATE = "candidate"
    AWAITING_APPROVAL = "awaiting_approval"
    STAGING = "staging"
    SHADOW = "shadow"
    CANARY = "canary"
    PRODUCTION = "production"
    RETIRED = "retired"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"


class RunState(StrEnum):
    """How far a training run is."""

    ASKED = "asked"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RolloutState(StrEnum):
    """Where a version is on its way from the gate to production, and for a while after."""

    LOADING = "loading"
    SHADOW = "shadow"
    CANARY = "canary"
    WATCHING = "watching"
    DONE = "done"
    ABORTED = "aborted"
    ROLLED_BACK = "rolled_back"


class AlertState(StrEnum):
    """Whether a person has to act."""

    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    SILENCED = "silenced"
    RESOLVED = "resolved"


VERSION_TRANSITIONS: Final[Mapping[VersionState, frozenset[VersionState]]] = {
    VersionState.CANDIDATE: frozenset({VersionState.AWAITING_APPROVAL, VersionState.STAGING, VersionState.REJECTED}),
    VersionState.AWAITING_APPROVAL: frozenset({VersionState.STAGING, VersionState.REJECTED}),
    VersionState.STAGING: frozenset(
        {VersionState.SHADOW, VersionState.CANARY, VersionState.PRODUCTION, VersionState.REJECTED}
    ),
    VersionState.SHADOW: frozenset({VersionState.CANARY, VersionState.PRODUCTION, VersionState.REJECTED}),
    VersionState.CANARY: frozenset({VersionState.PRODUCTION, VersionState.REJECTED}),
    VersionState.PRODUCTION: frozenset({VersionState.RETIRED, VersionState.ROLLED_BACK}),
    VersionState.RETIRED: frozenset({VersionState.PRODUCTION}),
    VersionState.REJECTED: frozenset(),
    VersionState.ROLLED_BACK: frozenset(),
}

RUN_TRANSITIONS: Final[Mapping[RunState, frozenset[RunState]]] = {
    RunState.ASKED: frozenset({RunState.RUNNING, RunState.CANCELLED}),
    RunState.RUNNING: frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED}),
    RunState.SUCCEEDED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.CANCELLED: frozenset(),
}

ROLLOUT_TRANSITIONS: Final[Mapping[RolloutState, frozenset[RolloutState]]] = {
    RolloutState.LOADING: frozenset(
        {RolloutState.SHADOW, RolloutState.CANARY, RolloutState.WATCHING, RolloutState.DONE, RolloutState.ABORTED}
    ),
    RolloutState.SHADOW: frozenset(
        {RolloutState.CANARY, RolloutState.WATCHING, RolloutState.DONE, RolloutState.ABORTED}
    ),
    RolloutState.CANARY: frozenset(
        {RolloutState.CANARY, RolloutState.WATCHING, RolloutState.DONE, RolloutState.ABORTED}
    ),
    RolloutState.WATCHING: frozenset({RolloutState.DONE, RolloutState.ROLLED_BACK}),
    RolloutState.DONE: frozenset(),
    RolloutState.ABORTED: frozenset(),
    RolloutState.ROLLED_BACK: frozenset(),
}

ALERT_TRANSITIONS: Final[Mapping[AlertState, frozenset[AlertState]]] = {
    AlertState.FIRING: frozenset({AlertState.ACKNOWLEDGED, AlertState.SILENCED, AlertState.RESOLVED}),
    AlertState.ACKNOWLEDGED: frozenset({AlertState.FIRING, AlertState.SILENCED, AlertState.RESOLVED}),
    AlertState.SILENCED: frozenset({AlertState.FIRING, AlertState.ACKNOWLEDGED, AlertState.RESOLVED}),
    AlertState.RESOLVED: frozenset(),
}

#: a version on its way to production: no rule of its model fires meanwhile
ON_ITS_WAY: Final = frozenset(
    {
        VersionState.CANDIDATE, VersionState.AWAITING_APPROVAL, VersionState.STAGING, VersionState.SHADOW,
        VersionState.CANARY,
    }
)  # fmt: skip
#: a version that serving should have loaded
DEPLOYED: Final = frozenset({VersionState.STAGING, VersionState.SHADOW, VersionState.CANARY, VersionState.PRODUCTION})
#: a run that has not ended: at most one for each model
ACTIVE: Final = frozenset({RunState.ASKED, RunState.RUNNING})

State = TypeVar("State", bound=StrEnum)


class IllegalTransition(RuntimeError):
    """A state that does not follow from the present one was asked for; nothing was changed."""

    def __init__(self, subject: str, state: StrEnum, to: StrEnum) -> None:
        super().__init__(f"{subject} is {state} and cannot become {to}")
        self.subject = subject
        self.state = state
        self.to = to


def advance(table: Mapping[State, frozenset[State]], subject: str, state: State, to: State) -> State:
    """The new state. Raises IllegalTransition where the table has no such step."""
    if to not in table[state]:
        raise IllegalTransition(subject, state, to)
    return to
