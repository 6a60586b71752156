"""A rule is tried over the past at a cost that does not grow with the runs that it would have asked for."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from controlplane.rules.budget import Spent, overspent
from controlplane.rules.pastruns import PastRun, RunsSoFar
from controlplane.rules.trying import STEPS, History, Replay
from pipeline.contract.rulespec import Budget, ScheduleRule
from tests.controlplane_world import START

HOUR = timedelta(hours=1)
EACH_SECOND = ScheduleRule(name="x", kind="schedule", every="1s")


class Counted(datetime):
    """An instant that counts how often instants are compared."""

    compared = 0

    def _counting(name):
        def compare(self, other):
            Counted.compared += 1
            return getattr(datetime, name)(self, other)

        return compare

    __lt__, __le__, __gt__, __ge__ = map(_counting, ("__lt__", "__le__", "__gt__", "__ge__"))
    __hash__ = datetime.__hash__


@given(
    st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 900) | st.none(), st.floats(0, 5)), max_size=30),
    st.builds(
        Budget, runs_per_day=st.none() | st.integers(1, 5), cpu_hours_per_month=st.none() | st.floats(0.1, 20)
    ),
    st.lists(st.integers(0, 2000), min_size=1, max_size=20),
)  # fmt: skip
def test_at_each_instant_it_knows_of_the_runs_what_a_look_at_all_of_them_tells(said, budget, instants):
    runs = [PastRun(START + at * HOUR, None if took is None else START + (at + took) * HOUR, hours)
            for at, took, hours in said]  # fmt: skip
    walked = RunsSoFar(runs, budget)
    for now in sorted(START + each * HOUR for each in instants):
        walked.go_to(now)
        asked = [run for run in runs if run.asked_at <= now]
        ended = tuple((run.ended_at, run.cpu_hours) for run in asked if run.ended_at and run.ended_at <= now)
        everything = Spent(tuple(run.asked_at for run in asked), ended)
        assert walked.active == any(run.ended_at is None or run.ended_at > now for run in asked)
        assert walked.last_asked_at == max((run.asked_at for run in asked), default=None)
        assert overspent(budget, walked.spent, now) == overspent(budget, everything, now)


def test_the_longest_trial_compares_instants_a_few_times_a_step_and_not_with_every_run():
    since = Counted.fromisoformat(START.isoformat())
    history = History([(since, 1)], {}, [], Budget(runs_per_day=1_000_000, cpu_hours_per_month=1e9), HOUR / 3600, 1.0)
    replay = Replay([EACH_SECOND], history, since, since + timedelta(days=30))
    Counted.compared = 0
    fired = [said for said in replay.said() if said.decision.outcome == "fire"]
    assert len(fired) > STEPS / 3 and not replay.complete
    assert STEPS < Counted.compared < 100 * STEPS


def test_a_trial_ends_when_it_has_taken_too_long_and_says_so():
    asked = iter(range(1000))
    history = History([(START, 1)], {}, [])
    replay = Replay([EACH_SECOND], history, START, START + HOUR, lambda: next(asked) > 10)
    assert len(list(replay.said())) <= 11 and not replay.complete
