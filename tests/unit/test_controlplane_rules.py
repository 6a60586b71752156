"""Rules: what each decides, and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from controlplane.rules.decide import Decision, Facts, Reason, WindowFacts, decide, decide_manual
from pipeline.contract.rulespec import Rule
from tests.controlplane_world import DRIFT, START

NOVELTY = {"name": "new", "kind": "novelty", "monitor": "weekly", "unseen_share": 0.2, "features": ["place"]}
METRIC = {"name": "worse", "kind": "metric", "monitor": "weekly", "metric": "log_loss", "above": 0.6}
VOLUME = {"name": "volume", "kind": "volume", "new_labelled_rows": 100}
DAILY = {"name": "daily", "kind": "schedule", "every": "1d"}


def rule(declared: dict, **changes: object) -> Rule:
    return TypeAdapter(Rule).validate_python(declared | changes)


def facts(*windows: WindowFacts, **changes: object) -> Facts:
    level = Facts(START, 1, START, dict.fromkeys(("drifted", "new", "worse"), windows), None, None, None)
    return replace(level, **changes)


def window(number: int = 1, **changes: object) -> WindowFacts:
    return replace(WindowFacts(f"w-{number}", 200, 50, 0.0), **changes)


def only(declared: Rule, level: Facts) -> Decision:
    (decision,) = decide(declared, level)
    return decision


@pytest.mark.parametrize(
    ("declared", "level", "reason"),
    [
        (DRIFT, facts(version=None), Reason.WAIT_NO_VERSION),
        (DRIFT, facts(), Reason.WAIT_NO_DATA),
        (DRIFT, facts(window(rows=49)), Reason.WAIT_FEW_ROWS),
        (DRIFT, facts(window(drifted_share=None)), Reason.WAIT_NO_DATA),
        (DRIFT, facts(window(drifted_share=0.49)), Reason.WAIT_STABLE),
        (DRIFT, facts(window(drifted_share=0.5)), Reason.RETRAIN_DRIFT),
        (NOVELTY, facts(window(rows=99)), Reason.WAIT_FEW_ROWS),
        (NOVELTY, facts(window(unseen={"other": 0.9})), Reason.WAIT_NO_DATA),
        (NOVELTY, facts(window(unseen={"place": 0.19})), Reason.WAIT_STABLE),
        (NOVELTY, facts(window(unseen={"place": 0.2})), Reason.RETRAIN_NOVELTY),
        (METRIC, facts(window(error={"log_loss": 0.9})), Reason.WAIT_NO_DATA),
        (METRIC, facts(window(settled=True)), Reason.WAIT_FEW_LABELS),
        (METRIC, facts(window(error={"log_loss": 0.6}, settled=True)), Reason.WAIT_STABLE),
        (METRIC, facts(window(error={"log_loss": 0.61}, settled=True)), Reason.RETRAIN_METRIC),
        (VOLUME, facts(), Reason.WAIT_NO_DATA),
        (VOLUME, facts(labelled_new=99), Reason.WAIT_FEW_LABELS),
        (VOLUME, facts(labelled_new=100), Reason.RETRAIN_VOLUME),
        (DAILY, facts(now=START + timedelta(hours=23)), Reason.WAIT_NOT_DUE),
        (DAILY, facts(now=START + timedelta(hours=24)), Reason.RETRAIN_DUE),
    ],
)
def test_each_rule_gives_its_reason(declared, level, reason):
    decision = only(rule(declared), level)
    assert decision.reason is reason
    assert decision.outcome == ("fire" if reason.name.startswith("RETRAIN") else "wait")
    assert decision.detail


def test_a_rule_that_holds_waits_for_a_run_before_it_looks_at_the_cooldown():
    level = facts(window(drifted_share=1.0), busy="run r is running", last_asked_at=START)
    declared = rule(DRIFT, cooldown="1d")
    assert only(declared, level).reason is Reason.WAIT_ACTIVE_RUN
    assert only(declared, replace(level, busy=None)).reason is Reason.WAIT_COOLDOWN
    later = replace(level, busy=None, now=START + timedelta(days=1))
    assert only(declared, later).reason is Reason.RETRAIN_DRIFT


def test_a_stable_window_is_stable_whatever_else_is_going_on():
    level = facts(window(), busy="run r is running", last_asked_at=START)
    assert only(rule(DRIFT, cooldown="1d"), level).reason is Reason.WAIT_STABLE


def test_every_window_that_is_to_be_judged_is_judged_in_order():
    level = facts(*(window(number) for number in range(4)))
    assert [decision.cause for decision in decide(rule(DRIFT), level)] == ["w-0", "w-1", "w-2", "w-3"]


def test_a_cause_that_has_fired_is_never_decided_again():
    level = facts(window(drifted_share=1.0), fired=frozenset({("drifted", "w-1")}))
    assert list(decide(rule(DRIFT), level)) == []


def test_after_a_due_time_has_fired_the_next_one_is_waited_for():
    now = START + timedelta(days=3, hours=1)
    due = (START + timedelta(days=3)).isoformat()
    decision = only(rule(DAILY), facts(now=now, fired=frozenset({("daily", due)})))
    assert (decision.reason, decision.cause) == (
        Reason.WAIT_NOT_DUE,
        (START + timedelta(days=4)).isoformat(),
    )


@given(labelled=st.integers(0, 1000), crossings=st.sets(st.integers(1, 10)))
def test_a_volume_rule_fires_once_for_each_crossing_and_waits_for_the_next(labelled, crossings):
    fired = frozenset(("volume", f"v1:{crossing}") for crossing in crossings)
    decision = next(iter(decide(rule(VOLUME), facts(labelled_new=labelled, fired=fired))), None)
    crossed = labelled // 100
    expected = crossed >= 1 and crossed not in crossings
    assert (decision is not None and decision.outcome == "fire") == expected
    if decision is not None:
        assert decision.cause == f"v1:{crossed if expected else crossed + 1}"


def test_a_manual_request_needs_no_version_but_waits_for_a_run():
    assert decide_manual("r1", "why", facts(version=None)).outcome == "fire"
    assert decide_manual("r1", "why", facts(busy="run r is running")).reason is Reason.WAIT_ACTIVE_RUN


@given(
    shares=st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=6),
    rows=st.integers(0, 300),
    busy=st.booleans(),
    hours_since_run=st.one_of(st.none(), st.integers(0, 100)),
    fired=st.sets(st.integers(0, 5)),
)
def test_no_drift_rule_fires_while_busy_cooling_down_or_for_a_cause_that_fired(
    shares, rows, busy, hours_since_run, fired
):
    windows = [window(number, rows=rows, drifted_share=share) for number, share in enumerate(shares)]
    asked = None if hours_since_run is None else START - timedelta(hours=hours_since_run)
    level = facts(
        *windows,
        busy="run r is running" if busy else None,
        last_asked_at=asked,
        fired=frozenset(("drifted", f"w-{number}") for number in fired),
    )
    decisions = list(decide(rule(DRIFT, cooldown="2d"), level))
    firing = [decision for decision in decisions if decision.outcome == "fire"]
    assert len({decision.cause for decision in decisions}) == len(decisions)
    for decision in firing:
        number = int(decision.cause.removeprefix("w-"))
        assert not busy and rows >= 50 and number not in fired and (shares[number] or 0) >= 0.5
        assert hours_since_run is None or hours_since_run >= 48
    assert list(decide(rule(DRIFT, cooldown="2d"), level)) == decisions
