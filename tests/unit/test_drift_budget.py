"""The false alarms that a user accepts are never exceeded, however many monitors, windows and segments a model has."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability.monitors.drift.budget import MONTH, level_of

DAY = timedelta(days=1)
BUDGETS = st.floats(1e-3, 1000)
HIGHEST = st.floats(1e-3, 0.5)
#: of each monitor: how long until its next window, and how many segments it looks at
MONITORS = st.lists(
    st.tuples(st.timedeltas(timedelta(seconds=1), timedelta(days=400)), st.integers(0, 200)), min_size=1, max_size=8
)


@given(BUDGETS, HIGHEST, MONITORS)
def test_the_levels_of_a_models_windows_sum_up_to_no_more_than_the_budget(per_month, highest, monitors):
    spent = 0.0
    for span, segments in monitors:
        whole = level_of(per_month, highest, span, len(monitors), segments, whole=True)
        part = level_of(per_month, highest, span, len(monitors), segments, whole=False)
        assert 0 <= part <= highest and 0 <= whole <= highest
        spent += (whole + segments * part) * (MONTH / span)
    assert spent <= per_month * (1 + 1e-9)


@given(BUDGETS, st.timedeltas(timedelta(seconds=1), timedelta(days=400)), st.integers(0, 50))
def test_the_whole_budget_is_spent_unless_windows_are_so_rare_that_the_highest_level_holds(per_month, span, segments):
    whole = level_of(per_month, float("inf"), span, 1, segments, whole=True)
    part = level_of(per_month, float("inf"), span, 1, segments, whole=False)
    assert (whole + segments * part) * (MONTH / span) == pytest.approx(per_month)


def test_a_rare_window_is_judged_at_the_highest_level_and_a_frequent_one_far_below():
    assert level_of(1, 0.05, 60 * DAY, monitors=1, segments=0, whole=True) == 0.05
    assert level_of(1, 0.05, timedelta(hours=1), monitors=1, segments=0, whole=True) == pytest.approx(1 / 720)


def test_a_window_of_no_length_spends_nothing():
    assert level_of(1, 0.05, timedelta(0), monitors=1, segments=0, whole=True) == 0.0
