"""Power: how often the column that shifted is named, over what a test finds that knows which column it is.

That test is the better one of the textbook for the shift, at a tenth of the window's level, for ten columns:
ours must find the column among them, with the scores beside them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from bench.drift_stage.columns_of import LEVEL, SHIPPED_LEVEL, TWEETS, by_evidently, case_of, scored, tweets, verdicts
from bench.form import Claim

#: of the scored runs; while it was written the parts ran on DEV
SEED: Final = 20_001
DEV: Final = 12
REFERENCE: Final = 10_000
WINDOW: Final = 1_000
REPEATS: Final = {True: 1_000, False: 100}
EVIDENTLY_REPEATS: Final = {True: 20, False: 1}
LEAST: Final = 0.95

#: what a textbook's test says of the window's column and the reference's
Knowing: TypeAlias = Callable[[pd.Series, pd.Series], float]


@dataclass(frozen=True)
class Shift:
    """What befalls one column of a window, and the tests that would know it."""

    name: str
    column: str
    inject: Callable[[npt.NDArray[Any], np.random.Generator], npt.NDArray[Any]]
    knowing: tuple[Knowing, ...]


def ranks(now: pd.Series, then: pd.Series) -> float:
    return float(stats.mannwhitneyu(now, then).pvalue)


def kolmogorov(now: pd.Series, then: pd.Series) -> float:
    return float(stats.ks_2samp(now, then, method="asymp").pvalue)


def shares(now: pd.Series, then: pd.Series) -> float:
    table = [[part.sum(), len(part) - part.sum()] for part in (now, then)]
    return float(stats.chi2_contingency(table, correction=False).pvalue)


def missing(now: pd.Series, then: pd.Series) -> float:
    return shares(now.isna(), then.isna())


def times_one_and_a_half(values: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
    return np.floor(values * 1.5)


def five_points_more(values: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
    """Verified are 11 % before: of the others so many become it that all have 5 points more."""
    return np.where((values == 0) & (rng.random(len(values)) < 0.05 / 0.89), 1.0, values)


def thirty_percent_bots(values: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
    return np.where(rng.random(len(values)) < 0.3, rng.integers(0, 21, len(values)), values)


def ten_percent_missing(values: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
    """Of all rows one in ten loses its value, if it had one."""
    return np.where(rng.random(len(values)) < 0.1, None, values)


SHIFTS: Final = (
    Shift("followers", "followers", times_one_and_a_half, (ranks, kolmogorov)),
    Shift("verified", "verified", five_points_more, (shares,)),
    Shift("bots", "followers", thirty_percent_bots, (ranks, kolmogorov)),
    Shift("missing", "location", ten_percent_missing, (missing,)),
)


def run(full: bool) -> tuple[dict[str, float], list[Claim]]:
    """For each shift the ratio of ours to the knowing test, by significance alone and as it is shipped."""
    figures: dict[str, float] = {}
    claims = []
    for place, shift in enumerate(SHIFTS):
        found = powers(shift, np.random.default_rng([SEED, place]), full)
        figures |= {f"s2_{shift.name}_{name}": value for name, value in found.items()}
        for ratio, said in (("ratio", "at a level of 5 %"), ("default_ratio", "as shipped")):
            claim = f"windows that name the shifted column, over those of a test that knows it: {shift.name}, {said}"
            claims.append(Claim.of(claim, found[ratio], ">=", LEAST))
    return figures | {"s2_windows": REPEATS[full], "s2_evidently_windows": EVIDENTLY_REPEATS[full]}, claims


def powers(shift: Shift, rng: np.random.Generator, full: bool) -> Mapping[str, float]:
    """Shares of the windows in which each names the column."""
    ours, shipped, evidently = [], [], []
    knowing: list[list[float]] = []
    for repeat in range(REPEATS[full]):
        both = scored(tweets(WINDOW + REFERENCE, rng), rng)
        now, then = both[:WINDOW].reset_index(drop=True), both[WINDOW:].reset_index(drop=True)
        now[shift.column] = shift.inject(now[shift.column].to_numpy(), rng)
        alone, default = verdicts(case_of(now, then, TWEETS, f"{shift.name}-{repeat}"))
        ours.append(shift.column in alone.drifted)
        shipped.append(shift.column in default.drifted)
        knowing.append([test(now[shift.column], then[shift.column]) for test in shift.knowing])
        if repeat < EVIDENTLY_REPEATS[full]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                evidently.append(shift.column in by_evidently(now, then, TWEETS)[0])
    best, best_shipped = (_best(knowing, level / len(TWEETS)) for level in (LEVEL, SHIPPED_LEVEL))
    return {
        "power": float(np.mean(ours)),
        "default_power": float(np.mean(shipped)),
        "knowing_power": best,
        "evidently_power": float(np.mean(evidently)),
        "ratio": float(np.mean(ours)) / best,
        "default_ratio": float(np.mean(shipped)) / best_shipped,
    }


def _best(p_values: list[list[float]], level: float) -> float:
    return float((np.array(p_values) <= level).mean(axis=0).max())
