"""Lifecycles: the tables, and the drawings of them."""

from __future__ import annotations

import re
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
    VersionState,
    advance,
)

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


@pytest.mark.parametrize("table", [VERSION_TRANSITIONS, RUN_TRANSITIONS])
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
