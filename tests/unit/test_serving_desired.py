"""What a control plane tells of a rollout is what serving understands."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from controlplane.api.fleet import wanted_versions
from controlplane.lifecycle import RolloutState, VersionState
from controlplane.tables import Rollout, Version
from serving.desired import DesiredState, ModelState

MODEL = "default/tiny"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def version(number: int, state: VersionState) -> Version:
    return Version(model=MODEL, number=number, state=state, manifest=f"{number:064x}")


def rollout(state: RolloutState, share: float = 0.0) -> Rollout:
    return Rollout(id="r", model=MODEL, version=2, champion=1, state=state, share=share, began_at=NOW)


def understood(versions: list[Version], rollouts: list[Rollout]) -> ModelState:
    (state,) = DesiredState.model_validate({"models": wanted_versions(versions, rollouts)}).models
    return state


CASES: dict[RolloutState, tuple[VersionState, VersionState, dict[str, Any]]] = {
    RolloutState.LOADING: (VersionState.PRODUCTION, VersionState.STAGING, {"production": 1, "staging": 2}),
    RolloutState.SHADOW: (VersionState.PRODUCTION, VersionState.SHADOW, {"production": 1, "rival": (2, 0.0, False)}),
    RolloutState.CANARY: (VersionState.PRODUCTION, VersionState.CANARY, {"production": 1, "rival": (2, 0.05, False)}),
    RolloutState.WATCHING: (VersionState.RETIRED, VersionState.PRODUCTION, {"production": 2, "rival": (1, 0.0, True)}),
}


@pytest.mark.parametrize("state", CASES)
def test_each_state_of_a_rollout_names_production_and_rival(state: RolloutState) -> None:
    champion, challenger, expected = CASES[state]
    share = 0.05 if state is RolloutState.CANARY else 0.0
    told = understood([version(1, champion), version(2, challenger)], [rollout(state, share)])
    assert told.production is not None
    assert told.production.version == expected["production"]
    assert (told.staging.version if told.staging else None) == expected.get("staging")
    rival = (told.rival.version, told.rival.share, told.rival.promoted) if told.rival else None
    assert rival == expected.get("rival")


def test_without_a_rollout_there_is_no_rival() -> None:
    told = understood([version(1, VersionState.PRODUCTION)], [])
    assert (told.rival, told.staging) == (None, None)


@pytest.mark.parametrize(
    ("versions", "state"),
    [
        ([version(1, VersionState.PRODUCTION), version(2, VersionState.CANARY)], RolloutState.WATCHING),
        ([version(2, VersionState.PRODUCTION)], RolloutState.CANARY),
        ([version(2, VersionState.PRODUCTION)], RolloutState.WATCHING),
        ([version(2, VersionState.STAGING)], RolloutState.LOADING),
    ],
)
def test_a_rollout_of_another_instant_than_the_versions_names_no_rival(
    versions: list[Version], state: RolloutState
) -> None:
    assert understood(versions, [rollout(state)]).rival is None


def test_a_state_that_was_saved_before_there_were_rivals_is_read() -> None:
    old = {"models": [{"model": MODEL, "production": {"version": 1, "manifest": "0" * 64}, "staging": None}]}
    assert DesiredState.model_validate(old).models[0].rival is None
