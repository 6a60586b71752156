"""Clean windows: of 1,000 windows in which nothing changed, how many alarm? A fresh reference for each.

Beside ours, by significance alone at a family-wise level of 5 % and as it is shipped, Evidently's defaults on the first
few windows of a cell (a window takes it a second and more). A window that is larger than what a monitor looks at is
sampled: rows do not depend on their sampling keys, so those that the sample would hold are drawn alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from bench.drift_stage import s1_budget
from bench.drift_stage.columns_of import (
    PLAIN,
    REAL,
    SAMPLE,
    TWEETS,
    Columns,
    alarmed,
    by_evidently,
    case_of,
    plain,
    real_tweets,
    scored,
    tweets,
    verdicts,
)
from bench.drift_stage.data import TWEETS as TWEETS_FILE
from bench.drift_stage.data import real
from bench.form import Claim
from bundle.signature import FeatureType

#: of the scored runs; while it was written the parts ran on DEV
SEED: Final = 10_001
DEV: Final = 11
REFERENCES: Final = (1_000, 10_000)
WINDOWS: Final = (500, 2_000, 100_000)
#: of 8,809 tweets
REAL_SIZES: Final = ((1_000, 500), (1_000, 5_000), (5_000, 1_000), (8_000, 800))
REPEATS: Final = {True: 1_000, False: 40}
EVIDENTLY_REPEATS: Final = {True: 5, False: 1}
#: per 1,000 windows: the level is 50
LEAST: Final = 29
MOST: Final = 75


@dataclass(frozen=True)
class Cell:
    """Columns, and the sizes of what is compared."""

    name: str
    types: Mapping[str, FeatureType]
    #: rows in which nothing changes, or all that there are
    columns: Columns | pd.DataFrame
    reference: int
    window: int

    def drawn(self, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
        """A window, as sampled, and a reference."""
        rows = min(self.window, SAMPLE)
        if isinstance(self.columns, pd.DataFrame):
            taken = rng.permutation(len(self.columns))[: rows + self.reference]
            both = self.columns.iloc[taken].reset_index(drop=True)
        else:
            both = self.columns(rows + self.reference, rng)
        both = scored(both, rng)
        return both[:rows].reset_index(drop=True), both[rows:].reset_index(drop=True)


def run(full: bool) -> tuple[dict[str, float], list[Claim]]:
    """Alarmed windows per 1,000, least and most of all cells; and what the budget of a year becomes."""
    figures: dict[str, float] = {}
    cells = list(_cells())
    for place, cell in enumerate(cells):
        figures |= _alarms(cell, np.random.default_rng([SEED, place]), full)
    for name, kind, best in (("s1_min", "alone", min), ("s1_max", "alone", max), ("s1_default_max", "default", max)):
        figures[name] = best(figures[f"s1_{kind}_{cell.name}"] for cell in cells)
    budget, kept = s1_budget.run(full)
    figures |= budget
    figures["s1_windows_a_cell"] = REPEATS[full]
    figures["s1_evidently_windows_a_cell"] = EVIDENTLY_REPEATS[full]
    return figures, _claims(figures, full) + kept


def _claims(figures: Mapping[str, float], full: bool) -> list[Claim]:
    claims = [
        ("clean windows that alarm at a level of 5 %, of 1,000: in the cell with fewest", "s1_min", ">=", LEAST),
        ("the same in the cell with most", "s1_max", "<=", MOST),
        ("clean windows that alarm as shipped, of 1,000: in the cell with most", "s1_default_max", "<=", MOST),
    ]
    found = real(TWEETS_FILE)
    said = [
        Claim.of(claim, figures[name], sense, bar)
        if full
        else Claim.unmeasured(claim, sense, bar, f"{REPEATS[full]} windows a cell are too few: FULL=1")
        for claim, name, sense, bar in claims
    ]
    if isinstance(found, str):
        said.append(Claim.unmeasured("the same of real tweets, split at random", "<=", MOST, found))
    return said


def _cells() -> Iterator[Cell]:
    for (name, types, columns), reference, window in product(
        (("plain", PLAIN, plain), ("tweets", TWEETS, tweets)), REFERENCES, WINDOWS
    ):
        yield Cell(f"{name}_{reference}_{window}", types, columns, reference, window)
    path = real(TWEETS_FILE)
    if isinstance(path, Path):
        for reference, window in REAL_SIZES:
            yield Cell(f"real_{reference}_{window}", REAL, real_tweets(path), reference, window)


def _alarms(cell: Cell, rng: np.random.Generator, full: bool) -> dict[str, float]:
    alone, default, any_column, data_set = [], [], [], []
    for repeat in range(REPEATS[full]):
        now, then = cell.drawn(rng)
        by_level, as_shipped = verdicts(case_of(now, then, cell.types, f"{cell.name}-{repeat}", cell.window))
        alone.append(alarmed(by_level))
        default.append(alarmed(as_shipped))
        if repeat < EVIDENTLY_REPEATS[full]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                columns, drifted = by_evidently(now, then, cell.types)
            any_column.append(bool(columns))
            data_set.append(drifted)
    kinds = {"alone": alone, "default": default, "evidently": any_column, "evidently_data_set": data_set}
    return {f"s1_{kind}_{cell.name}": 1_000 * float(np.mean(alarms)) for kind, alarms in kinds.items()}
