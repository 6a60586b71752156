"""Lifecycles of versions and runs, as tables. docs/lifecycle.md draws the same, and a test compares them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar


class VersionState(StrEnum):
    """Where a version stands."""

    CANDIDATE = "candidate"
    STAGING = "staging"
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


VERSION_TRANSITIONS: Final[Mapping[VersionState, frozenset[VersionState]]] = {
    VersionState.CANDIDATE: frozenset({VersionState.STAGING, VersionState.REJECTED}),
    VersionState.STAGING: frozenset({VersionState.PRODUCTION, VersionState.REJECTED}),
    VersionState.PRODUCTION: frozenset({VersionState.RETIRED, VersionState.ROLLED_BACK}),
    VersionState.RETIRED: frozenset({VersionState.PRODUCTION}),
    VersionState.REJECTED: frozenset(),
    VersionState.ROLLED_BACK: frozenset(),
}

RUN_TRANSITIONS: Final[Mapping[RunState, frozenset[RunState]]] = {
    RunState.ASKED: frozenset({RunState.RUNNING}),
    RunState.RUNNING: frozenset({RunState.SUCCEEDED, RunState.FAILED}),
    RunState.SUCCEEDED: frozenset(),
    RunState.FAILED: frozenset(),
}

#: a version on its way to production: no rule of its model fires meanwhile
ON_ITS_WAY: Final = frozenset({VersionState.CANDIDATE, VersionState.STAGING})
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
