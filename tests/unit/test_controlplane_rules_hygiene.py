"""What keeps a rule from firing though its condition holds, in which order, and until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.rules.budget import Spent, overspent
from controlplane.rules.decide import Held, Reason, decide, decide_all, decide_manual, wakes_at
from pipeline.contract.rulespec import Budget
from tests.controlplane_world import DRIFT, START
from tests.unit.test_controlplane_rules import DAILY, VOLUME, facts, only, rule, window

HOUR = timedelta(hours=1)
DRIFTED = window(drifted_share=1.0)
NIGHT = {"from": "22:00", "to": "06:00"}
EVERYTHING = facts(
    DRIFTED,
    now=START + 12 * HOUR,
    busy="run r is running",
    last_asked_at=START + 11 * HOUR,
    holds={"rules": Held("ann", "the feed is broken")},
    budget=Budget(runs_per_day=1),
    spent=Spent(asked=(START + 11 * HOUR,)),
)
STRICT = rule(DRIFT, active=NIGHT, cooldown="1d", dry_run=True)


def test_the_first_reason_is_what_a_person_said_and_the_last_is_the_dry_run():
    told, level = [], EVERYTHING
    for cleared in (
        {"holds": {}}, {"now": START + 23 * HOUR}, {"busy": None}, {"last_asked_at": None}, {"spent": Spent()}, {},
    ):  # fmt: skip
        told.append(only(STRICT, level).reason)
        level = replace(level, **cleared)
    assert told == [
        Reason.WAIT_PAUSED, Reason.WAIT_INACTIVE_HOURS, Reason.WAIT_ACTIVE_RUN, Reason.WAIT_COOLDOWN,
        Reason.WAIT_BUDGET, Reason.WAIT_DRY_RUN,
    ]  # fmt: skip
    assert only(rule(DRIFT, active=NIGHT, cooldown="1d"), level).outcome == "fire"


@pytest.mark.parametrize("what", ["rules", "rule:drifted"])
def test_a_pause_tells_who_why_and_until_when_and_stops_only_what_it_names(what):
    level = facts(DRIFTED, holds={what: Held("ann", "the feed is broken", START + HOUR)})
    decision = only(rule(DRIFT), level)
    assert decision.reason is Reason.WAIT_PAUSED and decision.until == START + HOUR
    assert "ann" in decision.detail and "the feed is broken" in decision.detail and "100%" in decision.detail
    other = replace(level, windows={"other": (DRIFTED,)})
    assert only(rule(DRIFT, name="other"), other).outcome == ("wait" if what == "rules" else "fire")


def test_a_person_is_granted_a_run_whatever_keeps_the_rules():
    assert decide_manual("r", "why", replace(EVERYTHING, busy=None)).outcome == "fire"


def persistent(*shares: float, judge: int | None = None) -> list[Reason]:
    """What is said of these windows, of which the last, or the one of this number, is judged."""
    declared = rule(DRIFT, hold={"windows": 2, "of": 3})
    judged = len(shares) - 1 if judge is None else judge
    windows = [window(n, drifted_share=share, judge=n == judged) for n, share in enumerate(shares)]
    return [decision.reason for decision in decide(declared, facts(*windows))]


@pytest.mark.parametrize(
    ("shares", "reason"),
    [
        ((1.0,), Reason.WAIT_HYSTERESIS),
        ((1.0, 1.0), Reason.RETRAIN_DRIFT),
        ((1.0, 0.0, 1.0), Reason.RETRAIN_DRIFT),
        ((1.0, 0.0, 0.0, 1.0), Reason.WAIT_HYSTERESIS),
        ((1.0, 1.0, 0.0), Reason.WAIT_STABLE),
    ],
)
def test_one_noisy_window_fires_nothing_and_one_quiet_one_resets_nothing(shares, reason):
    assert persistent(*shares) == [reason]


def test_a_window_that_is_judged_late_is_judged_with_those_before_it_and_not_with_those_after_it():
    assert persistent(0.0, 1.0, 1.0, 1.0, judge=1) == [Reason.WAIT_HYSTERESIS]
    assert persistent(0.0, 1.0, 1.0, 0.0, judge=2) == [Reason.RETRAIN_DRIFT]


def test_a_window_with_too_few_rows_does_not_count_as_holding():
    windows = [window(0, drifted_share=1.0, rows=10, judge=False), window(1, drifted_share=1.0)]
    decision = only(rule(DRIFT, hold={"windows": 2, "of": 2}), facts(*windows))
    assert decision.reason is Reason.WAIT_HYSTERESIS and "1 of the latest 2" in decision.detail


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(1, 5), st.integers(0, 4))
def test_hysteresis_counts_the_windows_that_hold(holding, windows, more):
    of = windows + more
    each = [window(n, drifted_share=float(holds)) for n, holds in enumerate(holding)]
    decisions = list(decide(rule(DRIFT, hold={"windows": windows, "of": of}), facts(*each)))
    for number, decision in enumerate(decisions):
        enough = sum(holding[max(0, number + 1 - of) : number + 1]) >= windows
        assert (decision.outcome == "fire") == (holding[number] and enough)


def test_of_several_rules_the_highest_priority_fires_and_the_others_wait_for_its_run():
    low, first, second = (rule(VOLUME, name=name, priority=at) for name, at in (("low", 0), ("a", 5), ("b", 5)))
    decisions = list(decide_all([low, first, second], facts(labelled_new=100)))
    assert [(each.rule, each.reason) for each in decisions] == [
        ("a", Reason.RETRAIN_VOLUME), ("b", Reason.WAIT_ACTIVE_RUN), ("low", Reason.WAIT_ACTIVE_RUN),
    ]  # fmt: skip
    assert "a has just fired" in decisions[1].detail


def test_a_dry_run_keeps_no_other_rule_from_firing():
    dry, live = rule(VOLUME, name="dry", priority=9, dry_run=True), rule(VOLUME, name="live")
    reasons = [each.reason for each in decide_all([dry, live], facts(labelled_new=100))]
    assert reasons == [Reason.WAIT_DRY_RUN, Reason.RETRAIN_VOLUME]


def test_a_model_sleeps_until_the_next_due_time_also_when_nothing_is_said_of_it():
    daily, fired = rule(DAILY), frozenset(("daily", (START + timedelta(days=n)).isoformat()) for n in range(1, 4))
    level = facts(now=START + timedelta(days=2, hours=23, minutes=30), fired=fired)
    decisions = list(decide(daily, level))
    assert decisions == []
    assert wakes_at([daily], level, decisions) == START + timedelta(days=3)


def test_a_model_whose_windows_were_not_all_read_is_not_put_to_sleep():
    assert wakes_at([rule(DRIFT)], facts(window(), more=True), []) == START


instants = st.integers(0, 60 * 24).map(lambda hours: START - hours * HOUR)


@given(
    asked=st.lists(instants, max_size=6),
    ended=st.lists(st.tuples(instants, st.floats(0, 5)), max_size=6),
    runs=st.one_of(st.none(), st.integers(1, 3)),
    hours=st.one_of(st.none(), st.floats(0.5, 10)),
)
def test_a_budget_is_spent_until_exactly_the_instant_that_is_told(asked, ended, runs, hours):
    budget, spent = Budget(runs_per_day=runs, cpu_hours_per_month=hours), Spent(tuple(asked), tuple(ended))

    def is_over(now: datetime) -> bool:
        counted = sum(at > now - timedelta(hours=24) for at in asked)
        took = sum(each for at, each in sorted(ended) if at > now - timedelta(days=30))
        return (runs is not None and counted >= runs) or (hours is not None and took >= hours)

    over = overspent(budget, spent, START)
    assert (over is not None) == is_over(START)
    if over is not None:
        assert is_over(over.until - timedelta(microseconds=1))
        assert not is_over(over.until)


OPTIONS = st.fixed_dictionaries(
    {
        "cooldown": st.sampled_from(["0s", "5h", "2d"]),
        "active": st.sampled_from([None, NIGHT, {"from": "09:00", "to": "17:00", "days": ["fri", "mon"]}]),
        "dry_run": st.booleans(),
    }
)


@given(
    options=OPTIONS,
    every=st.sampled_from(["6h", "1d"]),
    at=st.integers(0, 24 * 14),
    asked=st.one_of(st.none(), st.integers(0, 72)),
    held=st.one_of(st.none(), st.integers(1, 72)),
    runs=st.one_of(st.none(), st.integers(1, 2)),
)
def test_nothing_that_a_rule_says_changes_by_time_alone_before_the_instant_that_it_tells(
    options, every, at, asked, held, runs
):
    now = START + at * HOUR
    last = None if asked is None else now - asked * HOUR
    rules = [rule(DRIFT, **options), rule(DAILY, every=every, **options)]
    hold = {"rules": Held("ann", "", now + held * HOUR)} if held else {}
    level = facts(
        DRIFTED, now=now, last_asked_at=last, holds=hold, budget=Budget(runs_per_day=runs),
        spent=Spent((last,) if last else ()),
    )  # fmt: skip

    def said(instant: datetime) -> list[tuple[str, str, Reason]]:
        holds = {what: each for what, each in hold.items() if each.until > instant}
        moved = replace(level, now=instant, holds=holds)
        return [(each.rule, each.cause, each.reason) for one in rules for each in decide(one, moved)]

    decisions = [each for one in rules for each in decide(one, level)]
    wake = min(wakes_at(rules, level, decisions), now + timedelta(days=10))
    assert wake > now
    instant = now
    while instant < wake:
        assert said(instant) == said(now)
        instant += HOUR / 2
