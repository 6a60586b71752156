"""The budget: pages of 200 years in which nothing changes, for a model of 200 features and 10 segments.

Windows of a day, and one reference a year that all of them share. A page is an alarm of a window as a whole or of a
segment; one that goes on the next day is the same page.

200 years are 160 million tests of columns, so their statistics are drawn and not computed from rows. A test sums
squares of how far the window's directions (`drift.dispersion`) are from the reference's; both are means of rows, so
each is normal with the variance 1 / rows. A segment looks at 2,000 rows of a window, and the window as a whole at the
500 of each segment that have the smallest keys, as samples are made; so what its parts share, they share here too. An
alarm is a statistic above the value that the shipped tests' own p-value at the level asks for, level / columns being
Holm's first step, and an effect above the margin.

What is drawn is held against `judge_features` on rows: shares of small p-values, and how alike two windows are that
share a reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats

from bench.drift_stage.columns_of import case_of
from bench.form import Claim
from bundle.signature import FeatureType
from observability.monitors.drift.budget import MONTH, level_of
from observability.monitors.drift.dispersion import weights_of
from observability.monitors.drift.features import judge_features
from observability.monitors.drift.twosample import weighted_chi_square_tail
from observability.monitors.settings import DriftSettings, FalseAlarms

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

#: of the scored runs; while it was written the part ran on DEV
SEED: Final = 10_501
DEV: Final = 51
YEARS: Final = {True: 200, False: 20}
DAYS: Final = 365
SEGMENTS: Final = 10
#: the scores are one more number
NUMBERS: Final = 101
CATEGORICAL: Final = 100
SHARES: Final = (0.3, 0.25, 0.2, 0.12, 0.08, 0.05)
#: rows of a segment: in the reference, in a window's sample, and in the sample of the window as a whole
REFERENCE: Final = 1_000
SAMPLE: Final = 2_000
OF_WHOLE: Final = 500
#: directions that are drawn; of a number those beyond have a sixth of the mean and nearly none of the tail
DIRECTIONS: Final = len(SHARES) - 1
#: references and windows beside each on rows
CHECKED: Final = {True: (32, 2), False: (4, 2)}


def run(full: bool) -> tuple[dict[str, float], list[Claim]]:
    figures = _pages(np.random.default_rng([SEED, 0]), YEARS[full]) | _checked(SEED, *CHECKED[full])
    claim = "S1 pages of clean years over the false alarms that were accepted"
    if not full:
        return figures, [Claim.unmeasured(claim, "<=", 1.0, f"{YEARS[full]} years are too few: FULL=1")]
    return figures, [Claim.of(claim, figures["s1_budget_ratio"], "<=", 1.0)]


def _pages(rng: np.random.Generator, years: int) -> dict[str, float]:
    """Pages over the budget: as shipped, and by significance alone."""
    margin = DriftSettings().margin
    alone, shipped = (np.array(pages) for pages in zip(*(_year(rng, margin) for _ in range(years)), strict=True))
    budget = FalseAlarms().per_month * (timedelta(days=DAYS) / MONTH)
    return {
        "s1_budget_ratio": float(shipped.mean()) / budget,
        "s1_budget_share_above_twice": float(np.mean(shipped > 2 * budget)),
        "s1_budget_ratio_without_margin": float(alone.mean()) / budget,
        "s1_budget_share_above_twice_without_margin": float(np.mean(alone > 2 * budget)),
        "s1_budget_years": float(years),
    }


def _year(rng: np.random.Generator, margin: float) -> tuple[int, int]:
    """Pages of a year's windows beside one reference: by significance alone, and those that the margin leaves."""
    columns = NUMBERS + CATEGORICAL
    then = _means(rng, (SEGMENTS, columns), REFERENCE)
    of_whole = _means(rng, (DAYS, SEGMENTS, columns), OF_WHOLE)
    others = _means(rng, (DAYS, SEGMENTS, columns), SAMPLE - OF_WHOLE)
    part = (of_whole * OF_WHOLE + others * (SAMPLE - OF_WHOLE)) / SAMPLE
    segments = _alarms(part - then, SAMPLE, REFERENCE, margin, whole=False)
    whole = _alarms(
        np.asarray(of_whole.mean(axis=1) - then.mean(axis=0), dtype=np.float32)[:, None],
        SEGMENTS * OF_WHOLE,
        SEGMENTS * REFERENCE,
        margin,
        whole=True,
    )
    both = [np.concatenate(alarms, axis=1) for alarms in zip(segments, whole, strict=True)]
    return _begun(both[0]), _begun(both[1])


def _means(rng: np.random.Generator, shape: tuple[int, ...], rows: int) -> Floats:
    drawn = rng.standard_normal((*shape, DIRECTIONS), dtype=np.float32)
    drawn *= np.float32(rows**-0.5)
    return drawn


def _alarms(
    apart: Floats, rows: int, reference: int, margin: float, whole: bool
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which windows alarm (days, parts), from how far directions are apart (days, parts, columns, directions)."""
    told = FalseAlarms()
    level = level_of(told.per_month, told.highest_level, timedelta(days=1), 1, SEGMENTS, whole)
    harmonic = rows * reference / (rows + reference)
    alone = np.zeros(apart.shape[:2], dtype=bool)
    shipped = np.zeros(apart.shape[:2], dtype=bool)
    for place, ordered in ((slice(0, NUMBERS), True), (slice(NUMBERS, None), False)):
        statistics = _statistics(apart[:, :, place], harmonic, ordered)
        heaviest, mean = (0.5, 1.0) if ordered else (1.0, float(DIRECTIONS))
        sure = statistics > _critical(level / (NUMBERS + CATEGORICAL), ordered)
        alone |= sure.any(axis=2)
        shipped |= (sure & (statistics - mean > margin**2 * heaviest * harmonic)).any(axis=2)
    return alone, shipped


def _statistics(apart: Floats, harmonic: float, ordered: bool) -> Floats:
    weights = (weights_of(DIRECTIONS, ordered) * harmonic).astype(np.float32)
    rest = 1 - weights_of(DIRECTIONS, True).sum() if ordered else 0.0
    return np.asarray(np.einsum("...k,...k,k->...", apart, apart, weights) + np.float32(rest))


def _critical(p_value: float, ordered: bool) -> float:
    """The statistic from which the shipped test's p-value is this small."""
    if not ordered:
        return float(stats.chi2.isf(p_value, DIRECTIONS))
    eigenvalues = weights_of(63, ordered)
    return float(optimize.brentq(lambda value: weighted_chi_square_tail(eigenvalues, value) - p_value, 1.5, 100))


def _begun(alarms: npt.NDArray[np.bool_]) -> int:
    """How often one begins, over the days of each part."""
    before = np.roll(alarms, 1, axis=0)
    before[0] = False
    return int((alarms & ~before).sum())


def _checked(seed: int, references: int, windows: int) -> dict[str, float]:
    """Windows of a segment, on rows and as drawn: small p-values of all columns, and what a shared reference does."""
    rng = np.random.default_rng([seed, 1])
    on_rows = np.array([_on_rows(rng, windows, f"{number}") for number in range(references)])
    drawn = np.array([_drawn(rng, windows) for _ in range(references * 20)])
    figures: dict[str, float] = {"s1_budget_checked_tests": float(on_rows.size)}
    for name, found in (("on_rows", on_rows), ("drawn", drawn)):
        figures[f"s1_budget_{name}_at_1_percent"] = float(np.mean(found <= 0.01))
        figures[f"s1_budget_{name}_at_1_in_1000"] = float(np.mean(found <= 0.001))
        figures[f"s1_budget_{name}_alike"] = _alike(found)
    return figures


def _on_rows(rng: np.random.Generator, windows: int, name: str) -> npt.NDArray[np.float64]:
    """p-values (windows, columns) of rows in which nothing changes, beside one reference."""
    types: Mapping[str, FeatureType] = {
        **{f"n{place}": "numeric" for place in range(NUMBERS - 1)},
        **{f"c{place}": "categorical" for place in range(CATEGORICAL)},
    }
    then = _rows(rng, types, REFERENCE)
    found = []
    for window in range(windows):
        features, scores = judge_features(case_of(_rows(rng, types, SAMPLE), then, types, f"{name}-{window}"))
        numbers = [scores, *features[: NUMBERS - 1]]
        found.append([each.p_value for each in (*numbers, *features[NUMBERS - 1 :])])
    return np.array(found, dtype=np.float64)


def _rows(rng: np.random.Generator, types: Mapping[str, FeatureType], rows: int) -> pd.DataFrame:
    names = np.array(list("abcdef"), dtype=object)
    columns: dict[str, Any] = {
        name: rng.normal(size=rows) if kind == "numeric" else rng.choice(names, rows, p=SHARES)
        for name, kind in types.items()
    }
    return pd.DataFrame(columns | {"score": rng.beta(1, 3, rows)})


def _drawn(rng: np.random.Generator, windows: int) -> npt.NDArray[np.float64]:
    """The same as the years are drawn."""
    columns = NUMBERS + CATEGORICAL
    apart = _means(rng, (windows, columns), SAMPLE) - _means(rng, (columns,), REFERENCE)
    harmonic = SAMPLE * REFERENCE / (SAMPLE + REFERENCE)
    numbers, categorical = (
        _statistics(part, harmonic, ordered)
        for part, ordered in ((apart[:, :NUMBERS], True), (apart[:, NUMBERS:], False))
    )
    p_values = np.exp(np.interp(numbers, *_log_tails()))
    return np.concatenate([p_values, stats.chi2.sf(categorical, DIRECTIONS)], axis=1)


@cache
def _log_tails() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Statistics of a number, and the logarithms of their p-values."""
    grid = np.linspace(0.1, 40, 2_000)
    return grid, np.log([weighted_chi_square_tail(weights_of(63, True), value) for value in grid])


def _alike(p_values: npt.NDArray[np.float64]) -> float:
    """The correlation of a column in two windows that share a reference (references, windows, columns)."""
    normal = stats.norm.isf(np.clip(p_values, 1e-12, 1 - 1e-12))
    normal -= normal.mean()
    windows = normal.shape[1]
    sums, squares = normal.sum(axis=1) ** 2, (normal**2).sum(axis=1)
    return float((sums - squares).mean() / (windows * (windows - 1)) / (normal**2).mean())
