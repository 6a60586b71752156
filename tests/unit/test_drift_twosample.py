"""Promises of the two-sample tests: right chances for the sizes at hand, exact where counts are small."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from observability.monitors.drift.twosample import (
    Difference,
    compare_graded,
    compare_nominal,
    compare_shares,
    compare_unseen,
    weighted_chi_square_tail,
)

DRAWS = 3_000


def dealt(pooled: list[int], rows: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The pooled rows dealt to two samples by chance, many times."""
    total = np.array(pooled)
    draws = np.random.default_rng(seed).multivariate_hypergeometric(total, rows, size=DRAWS)
    return [(draw, total - draw) for draw in draws]


def alarms(p_values: list[float], level: float) -> float:
    """How often a level is reached, over how often it should be."""
    return float(np.mean(np.array(p_values) <= level)) / level


@pytest.mark.parametrize(
    ("pooled", "rows"),
    [([1_722] * 6, 30), ([210] * 50, 500), ([3_000, 50, 5_000, 400, 3_000], 1_000), ([234] * 64, 5_000)],
    ids=["thirty rows", "five hundred rows", "ties", "a sample of five thousand"],
)
def test_ordered_bins_alarm_as_often_as_the_level_says(pooled, rows):
    found = [compare_graded(now, then).p_value for now, then in dealt(pooled, rows, 1)]
    assert alarms(found, 0.25) == pytest.approx(1, abs=0.15)
    assert alarms(found, 0.05) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize(
    ("pooled", "rows"), [([2_100, 4_200, 4_200], 500), ([210] * 40 + [2_100], 500), ([600] * 20 + [3_000], 5_000)]
)
def test_categories_alarm_as_often_as_the_level_says_though_the_reference_is_a_sample_too(pooled, rows):
    found = [compare_nominal(now, then).p_value for now, then in dealt(pooled, rows, 2)]
    assert alarms(found, 0.25) == pytest.approx(1, abs=0.15)
    assert alarms(found, 0.05) == pytest.approx(1, abs=0.3)


def test_a_rare_thing_is_judged_exactly():
    found = compare_shares(4, 100, 1, 900)
    table = stats.hypergeom(1_000, 5, 100)
    assert found.p_value == pytest.approx(table.pmf(5) + table.pmf(4) / 2)
    assert found.chance(found.p_value) == pytest.approx(table.sf(3)), "that 4 or more come out"


def test_the_chances_of_all_outcomes_of_a_rare_thing_are_those_of_the_p_values():
    outcomes = range(8)
    table = stats.hypergeom(1_000, 7, 200)
    for now in outcomes:
        found = compare_shares(now, 200, 7 - now, 800)
        as_small = [k for k in outcomes if compare_shares(k, 200, 7 - k, 800).p_value <= found.p_value * (1 + 1e-9)]
        assert found.chance(found.p_value) == pytest.approx(table.pmf(as_small).sum())


def test_two_bins_are_the_exact_test_of_shares_whether_ordered_or_not():
    now, then = np.array([40, 60]), np.array([250, 750])
    exact = compare_shares(40, 100, 250, 1_000)
    assert compare_graded(now, then).p_value == compare_nominal(now, then).p_value == exact.p_value


def test_more_unseen_categories_than_chance_deals_are_found_and_as_many_are_not():
    """Beside a simulation: pooled rows dealt by chance, unseen ones counted."""
    sizes = np.array([1] * 400 + [2] * 80 + [3] * 20 + [500, 900])
    found = [compare_unseen(now, then).p_value for now, then in dealt(list(sizes), 600, 3)]
    assert alarms(found, 0.05) == pytest.approx(1, abs=0.3)
    assert alarms(found, 0.25) == pytest.approx(1, abs=0.15)


def test_the_mean_of_unseen_rows_is_exact():
    """Of one category with two rows and one with three: C(n, m) / C(n + k, m) each, by counting all deals."""
    sizes, rows = [2, 3, 7], 5
    draws = dealt(sizes, rows, 4)
    simulated = np.mean([now[then == 0].sum() for now, then in draws])
    exact = 2 * (5 * 4) / (12 * 11) + 3 * (5 * 4 * 3) / (12 * 11 * 10)
    assert simulated == pytest.approx(exact, abs=0.05)
    assert compare_unseen(np.array([0, 1, 4]), np.array([2, 2, 3])).reach == pytest.approx(exact)


def test_a_reference_without_a_category_finds_it_when_it_comes_and_says_nothing_when_none_does():
    assert compare_unseen(np.array([900, 100]), np.array([5_000, 0])).p_value < 1e-12
    assert compare_unseen(np.array([900, 100]), np.array([5_000, 500])).p_value == 1.0


def test_effects_are_in_standard_deviations_and_do_not_grow_with_the_rows():
    quantiles = stats.norm.cdf(np.linspace(-2.5, 2.5, 41))
    shares, moved = (np.diff(np.concatenate([[0], part, [1]])) for part in (quantiles, stats.norm.cdf(
        stats.norm.ppf(quantiles) - 0.3)))  # fmt: skip
    for rows in (10_000, 1_000_000):
        found = compare_graded(np.round(rows * moved).astype(int), np.round(20_000 * shares).astype(int))
        assert found.effect == pytest.approx(0.3, abs=0.015)
        share = compare_shares(round(0.16 * rows), rows, 1_100, 10_000)
        assert share.effect == pytest.approx(0.05 / np.sqrt(0.135 * 0.865), abs=0.005)
        few = compare_nominal(np.round(rows * np.array([0.5, 0.3, 0.2])).astype(int), np.array([4_000, 3_500, 2_500]))
        assert few.effect == pytest.approx(np.sqrt(2 * (0.01 / 0.9 + 0.0025 / 0.65 + 0.0025 / 0.45)), abs=0.005)


def test_a_column_that_varies_more_by_itself_needs_a_larger_difference():
    now, then = np.array([60, 50, 40]), np.array([400, 500, 600])
    for test in (compare_graded, compare_nominal, compare_unseen):
        assert test(now, then, 4.0).p_value >= test(now, then).p_value
    assert compare_shares(60, 150, 400, 1_500, 4.0).p_value > compare_shares(60, 150, 400, 1_500).p_value
    normal = 2 * stats.norm.sf(np.sqrt(stats.chi2.isf(compare_shares(500, 1_500, 4_000, 15_000).p_value, 1) / 4))
    assert compare_shares(500, 1_500, 4_000, 15_000, 4.0).p_value == pytest.approx(normal, rel=0.1)


@pytest.mark.parametrize("value", [0.5, 1.0, 3.0, 8.0, 20.0, 50.0])
def test_the_tail_of_equal_weights_is_chi_squares(value):
    exact = stats.chi2.sf(value, 3)
    assert weighted_chi_square_tail(np.ones(3), value) == pytest.approx(exact, rel=0.06)


@pytest.mark.parametrize("value", [1.0, 2.492, 3.857])
def test_the_tail_of_many_cuts_is_that_of_anderson_and_darling(value):
    """Their table: .05 at 2.492, .01 at 3.857; and a simulation about the mean, where the formula has a hole."""
    weights = 1 / (np.arange(1.0, 64) * np.arange(2, 65))
    drawn = np.random.default_rng(5).chisquare(1, (40_000, 63)) @ weights
    assert weighted_chi_square_tail(weights, value) == pytest.approx(np.mean(drawn > value), rel=0.1)


def test_what_cannot_differ_says_nothing():
    for found in (
        compare_shares(0, 100, 0, 1_000),
        compare_shares(100, 100, 1_000, 1_000),
        compare_graded(np.array([100]), np.array([1_000])),
        compare_unseen(np.array([0]), np.array([100])),
        compare_unseen(np.array([1] * 3_000 + [0] * 5_000), np.array([0] * 3_000 + [1] * 5_000)),
    ):
        assert found == Difference(1.0, 0.0, reach=0.0)
