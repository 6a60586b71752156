"""Lifecycles: the tables, and the drawings of them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.lifecycle import (
    ALERT_TRANSITIONS,
    ROLLOUT_TRANSITIONS,
    RUN_TRANSITIONS,
    VERSION_TRANSITIONS,
    IllegalTransition,
    RolloutState,
    VersionState,
    advance,
)
from controlplane.promotion.rollout import FailedLoad, Loaded, RolloutFacts, Waiting, next_step, tripped
from pipeline.contract.promotionspec import Canary, Guards, RolloutPlan, Shadow

NOW = datetime(2021, 1, 9, tzinfo=UTC)
FORWARD = frozenset({RolloutState.SHADOW, RolloutState.CANARY, RolloutState.WATCHING, RolloutState.DONE})
PAGE = Path(__file__).parents[2] / "docs" / "lifecycle.md"


def drawings() -> list[set[tuple[str, str]]]:
    blocks = re.findall(r"```mermaid\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    return [set(re.findall(r"(\w+) --> (\w+)", block)) for block in blocks]


@pytest.mark.parametrize(
    ("place", "table"),
    [(0, VERSION_TRANSITIONS), (1, RUN_TRANSITIONS), (2, ROLLOUT_TRANSITIONS), (3, ALERT_TRANSITIONS)],
)
def test_the_documentation_draws_the_table(place, table):
    assert drawings()[place] == {(state, to) for state, nexts in table.items() for to in nexts}


@pytest.mark.parametrize("table", [VERSION_TRANSITIONS, RUN_TRANSITIONS, ROLLOUT_TRANSITIONS, ALERT_TRANSITIONS])
def test_every_state_has_a_row(table):
    assert set(table) == set(type(next(iter(table))))


@given(st.lists(st.sampled_from(VersionState), max_size=30))
def test_whatever_is_asked_for_a_version_moves_only_along_the_table_and_final_states_are_final(asked):
    state = VersionState.CANDIDATE
    for to in asked:
        try:
            new = advance(VERSION_TRANSITIONS, "v1", state, to)
        except IllegalTransition as error:
            assert to not in VERSION_TRANSITIONS[state] and str(state) in str(error)
            continue
        assert state not in (VersionState.REJECTED, VersionState.ROLLED_BACK)
        state = new


def test_nothing_reaches_production_without_having_been_staged():
    into = {state for state, nexts in VERSION_TRANSITIONS.items() if VersionState.PRODUCTION in nexts}
    assert into == {VersionState.STAGING, VersionState.SHADOW, VersionState.CANARY, VersionState.RETIRED}
    for state in (VersionState.SHADOW, VersionState.CANARY):
        before = {each for each, nexts in VERSION_TRANSITIONS.items() if state in nexts}
        assert before <= {VersionState.STAGING, VersionState.SHADOW}


compared = st.fixed_dictionaries(
    {"rows": st.integers(0, 200), "failed": st.integers(0, 5), "labelled": st.integers(0, 300),
     "champion_ms_p99": st.none() | st.floats(0.1, 9), "challenger_ms_p99": st.none() | st.floats(0.1, 9),
     "improvement": st.none() | st.fixed_dictionaries(
         dict.fromkeys(("challenger", "champion", "difference", "lower", "upper"), st.floats(-1, 1)))}
)  # fmt: skip
plans = st.builds(
    RolloutPlan,
    shadow=st.none() | st.just(Shadow(rows=50)),
    canary=st.sampled_from([(), (Canary(share=0.1, rows=50),), (Canary(share=0.1), Canary(share=0.5, rows=50))]),
    guards=st.just(Guards(latency_ratio=2.0, metric="roc_auc")),
    watch=st.sampled_from([timedelta(0), timedelta(hours=1)]),
)
moving = st.sampled_from([RolloutState.LOADING, RolloutState.SHADOW, RolloutState.CANARY, RolloutState.WATCHING])
facts = st.builds(
    RolloutFacts, now=st.just(NOW), plan=plans, state=moving, step=st.integers(0, 2),
    began_at=st.just(NOW - timedelta(days=1)) | st.just(NOW - timedelta(days=8)),
    state_at=st.just(NOW) | st.just(NOW - timedelta(hours=2)), champion=st.sampled_from([None, 1]),
    in_production=st.sampled_from([None, 1, 2]),
    readiness=st.sampled_from([Loaded(), Waiting(("serving-1",)), FailedLoad("golden rows differ")]),
    compared=st.none() | compared, frozen=st.none() | st.just("frozen by ann: the fair"),
)  # fmt: skip


@given(facts)
def test_whatever_is_known_of_a_rollout_its_next_step_is_one_of_the_table_and_has_a_reason(known):
    step = next_step(known)
    assert step.detail and (step.to is None or step.to in ROLLOUT_TRANSITIONS[known.state])
    assert (step.to is None) == step.reason.name.startswith("STAY")
    if step.to is RolloutState.CANARY:
        assert step.share == known.plan.canary[step.number].share


@given(facts)
def test_nothing_goes_forward_that_is_frozen_or_not_loaded_or_shown_to_be_bad(known):
    if next_step(known).to not in FORWARD:
        return
    assert known.frozen is None and tripped(known.plan.guards, known.compared) is None
    if known.state is not RolloutState.WATCHING:
        assert known.readiness == Loaded() and known.in_production == known.champion


@given(facts)
def test_a_freeze_changes_nothing_of_what_is_taken_back(known):
    back = (RolloutState.ABORTED, RolloutState.ROLLED_BACK)
    thawed, frozen = next_step(replace(known, frozen=None)), next_step(replace(known, frozen="frozen"))
    assert frozen == thawed or (frozen.to is None and (thawed.to not in back or thawed.reason.name == "STOP_DEADLINE"))
