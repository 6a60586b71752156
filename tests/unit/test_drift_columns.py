"""Promises of a column's comparison: what is counted does not know which row is of which sample."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observability.monitors.drift.columns import combine, compare_categories, compare_numbers
from observability.monitors.drift.twosample import Difference

ROWS, REFERENCE = 400, 2_000


def numbers(rng: np.random.Generator) -> pd.Series:
    """Heavy tails, a fifth zero, few missing."""
    values = np.where(rng.random(ROWS + REFERENCE) < 0.2, 0, rng.lognormal(6, 3, ROWS + REFERENCE))
    return pd.Series(np.where(rng.random(len(values)) < 0.004, np.nan, values))


def flags(rng: np.random.Generator) -> pd.Series:
    return pd.Series(1.0 * (rng.random(ROWS + REFERENCE) < 0.02))


def places(rng: np.random.Generator) -> pd.Series:
    """A long tail: most values stand once."""
    shares = 1 / np.arange(10, 20_010)
    drawn = rng.choice(20_000, ROWS + REFERENCE, p=shares / shares.sum()).astype(str).astype(object)
    drawn[rng.random(len(drawn)) < 0.2] = None
    return pd.Series(drawn)


def compared(both: pd.Series, categorical: bool, rows: int = ROWS):
    now, then = both[:rows].reset_index(drop=True), both[rows:].reset_index(drop=True)
    return compare_categories(now, then, 20, 30) if categorical else compare_numbers(now, then, 30)


@pytest.mark.parametrize(("column", "least"), [(numbers, 0.6), (flags, 0.5), (places, 0.6)])
def test_a_column_that_did_not_change_alarms_about_as_often_as_the_level_says(column, least):
    rng = np.random.default_rng(6)
    found = np.array([combine(compared(column(rng), column is places).tests, certain=0.01).p_value for _ in range(600)])
    for level, most in ((0.25, 1.2), (0.05, 1.45)):
        assert least <= np.mean(found <= level) / level <= most


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([numbers, flags, places]))
def test_the_order_of_the_rows_within_a_sample_changes_nothing(seed, column):
    rng = np.random.default_rng(seed)
    both = column(rng)
    again = pd.concat([both[:ROWS].sample(frac=1, random_state=1), both[ROWS:].sample(frac=1, random_state=2)])
    assert compared(both, column is places).tests.keys() == compared(again, column is places).tests.keys()
    for aspect, test in compared(both, column is places).tests.items():
        assert compared(again, column is places).tests[aspect].p_value == test.p_value


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([numbers, flags, places]))
def test_bins_come_from_the_pooled_rows_so_that_the_two_samples_may_change_places(seed, column):
    both = column(np.random.default_rng(seed))
    turned = pd.concat([both[ROWS:], both[:ROWS]])
    there = compared(both, column is places).tests
    back = compared(turned, column is places, rows=REFERENCE).tests
    for aspect in ("values", "missing"):
        assert there[aspect].p_value == pytest.approx(back[aspect].p_value, rel=1e-6)


def test_an_aspect_that_cannot_vary_costs_no_power_and_one_that_hardly_can_costs_hardly_any():
    sure, steady = Difference(0.004, 0.2), Difference(1.0, 0.0, reach=0.0)
    assert combine({"values": sure, "missing": steady}, 0.01).p_value == pytest.approx(0.004)
    rare = Difference(0.5, 0.0, (np.array([0.5, 0.001]), np.array([0.999, 0.001])))
    assert combine({"values": sure, "missing": rare}, 0.01).p_value == pytest.approx(0.005, abs=1e-4)
    assert combine({"values": sure, "missing": Difference(0.3, 0.0)}, 0.01).p_value == pytest.approx(0.008, abs=1e-4)
    assert combine({"values": steady, "missing": steady}, 0.01).p_value == 1.0


def test_the_aspect_told_is_the_one_that_changed_most_of_those_that_surely_did():
    tests = {"values": Difference(1e-9, 0.1), "missing": Difference(1e-6, 0.3), "unseen": Difference(0.4, 0.9)}
    told = combine(tests, certain=0.001)
    assert (told.aspect, told.effect) == ("missing", 0.3)
    assert told.p_value == pytest.approx(3e-9)
    assert combine(tests, certain=1e-12).aspect == "values", "where none is sure: the surest"


def test_each_aspect_is_found_by_its_name():
    rng = np.random.default_rng(8)
    then = places(rng)
    holes = places(rng)[:1_000].where(rng.random(1_000) > 0.15, "")
    fresh = places(rng)[:1_000].where(rng.random(1_000) > 0.2, pd.Series([f"new {i // 3}" for i in range(1_000)]))
    one = places(rng)[:1_000].where(rng.random(1_000) > 0.1, "3")
    for now, aspect in ((holes, "missing"), (fresh, "unseen"), (one, "values")):
        told = combine(compare_categories(now, then, 20, 30).tests, certain=0.001)
        assert (told.aspect, told.p_value < 1e-4) == (aspect, True)


def test_a_shift_among_the_rare_categories_is_seen_though_none_is_frequent():
    rng = np.random.default_rng(9)
    then = pd.Series([f"id {i}" for i in rng.integers(0, 2_000, 10_000)])
    now = pd.Series([f"id {i}" for i in rng.integers(0, 300, 2_000)])
    assert combine(compare_categories(now, then, 20, 30).tests, certain=0.001).p_value < 1e-6


@pytest.mark.parametrize("rows", [30, 60, 100])
def test_a_rare_category_of_two_is_compared_though_it_is_expected_in_few_rows(rows):
    then = pd.Series(["a"] * 9_500 + ["b"] * 500)
    now = pd.Series(["a"] * (rows // 2) + ["b"] * (rows - rows // 2))
    told = combine(compare_categories(now, then, 20, 30).tests, certain=0.01)
    assert (told.aspect, told.p_value < 1e-6) == ("values", True)


def test_categories_of_any_type_are_told_by_their_text_and_missing_ones_are_no_category():
    mixed = pd.Series(["1", 2, None, np.nan, "", ["list"], {"of": "dicts"}, True] * 20, dtype=object)
    found = compare_categories(mixed, mixed, 20, 30)
    assert found.present == 5 * 20
    assert found.missing_share == found.reference_missing_share == pytest.approx(3 / 8)
    assert found.unseen_share == 0


def test_numbers_are_what_the_model_sees_and_all_else_is_missing():
    found = compare_numbers(pd.Series(["1.5", "x", None, np.inf, 1e300, 2] * 10), pd.Series([1.5, 2.0] * 30), 30)
    assert found.missing_share == pytest.approx(4 / 6)
    assert "values" not in found.tests, "20 values are too few"
    assert found.tests["missing"].p_value < 1e-6
