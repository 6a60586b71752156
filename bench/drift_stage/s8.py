"""Size: what a window of a million rows costs to judge, and whether its sample says what all of its rows say.

The cost is that of the whole verdict, from rows in memory with their sampling keys. The agreement is that of the drift
verdicts as shipped, over windows in which one column, or none, shifted by two margins or a little more.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd

from bench.drift_stage.columns_of import SAMPLE, by_evidently, case_of, categories, scored, verdicts
from bench.form import Claim
from bundle.signature import FeatureType
from observability.monitors.case import Case
from observability.monitors.judging import judge
from observability.ports import Sample

#: of the scored runs; while it was written the parts ran on DEV
SEED: Final = 80_001
DEV: Final = 18
ROWS: Final = 1_000_000
REFERENCE: Final = 10_000
CATEGORIES: Final = 30_000
TYPES: Final[Mapping[str, FeatureType]] = {
    **{f"normal_{place}": "numeric" for place in range(4)},
    "skewed": "numeric", "flag": "numeric", "count": "numeric",
    "few": "categorical", "some": "categorical", "city": "categorical",
}  # fmt: skip
#: rows of a window to how many windows, in the full and the short form
AGREEMENT: Final = {True: {100_000: 1_000, ROWS: 20}, False: {100_000: 20, ROWS: 1}}
MOST_CPU: Final = 3.0
MOST_MB: Final = 150.0
LEAST_AGREEMENT: Final = 0.995

Shift: TypeAlias = Callable[[pd.DataFrame, np.random.Generator], None]


def rows_of(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Ten columns, one of 30,000 categories, beside scores."""
    columns: dict[str, Any] = {f"normal_{place}": rng.normal(size=rows) for place in range(4)}
    columns |= {"skewed": rng.lognormal(size=rows), "flag": 1.0 * (rng.random(rows) < 0.3)}
    columns |= {"count": rng.poisson(3, rows).astype(float)}
    columns |= {"few": categories(rows, rng, 3, 0, 0.7), "some": categories(rows, rng, 8, 0, 0.7)}
    columns |= {"city": categories(rows, rng, CATEGORIES, 10, 1.0)}
    return scored(pd.DataFrame(columns), rng)


def _nothing(frame: pd.DataFrame, rng: np.random.Generator) -> None:
    """The window is as the reference."""


def _mean(frame: pd.DataFrame, rng: np.random.Generator) -> None:
    frame["normal_1"] += 0.17


def _scale(frame: pd.DataFrame, rng: np.random.Generator) -> None:
    frame["skewed"] *= 1.2


def _flag(frame: pd.DataFrame, rng: np.random.Generator) -> None:
    """30 % become 38 %."""
    frame.loc[rng.random(len(frame)) < 0.08 / 0.7, "flag"] = 1.0


def _missing(frame: pd.DataFrame, rng: np.random.Generator) -> None:
    frame.loc[rng.random(len(frame)) < 0.015, "count"] = np.nan


def _new_category(frame: pd.DataFrame, rng: np.random.Generator) -> None:
    frame.loc[rng.random(len(frame)) < 0.015, "few"] = "new"


def _one_city(frame: pd.DataFrame, rng: np.random.Generator) -> None:
    frame.loc[rng.random(len(frame)) < 0.05, "city"] = frame["city"].mode()[0]


SHIFTS: Final[tuple[Shift, ...]] = (
    _nothing, _mean, _nothing, _scale, _flag, _nothing, _missing, _new_category, _one_city,
)  # fmt: skip


def run(full: bool) -> tuple[dict[str, float], list[Claim]]:
    """Cost, agreement, and in the full form what Evidently costs on all rows."""
    rng = np.random.default_rng(SEED)
    cpu, memory, evidently = _cost(rng, full)
    agreed = {rows: agreement(rows, windows, rng) for rows, windows in AGREEMENT[full].items()}
    windows = sum(AGREEMENT[full].values())
    same = sum(share * AGREEMENT[full][rows] for rows, share in agreed.items()) / windows
    figures = {"s8_cpu_s": cpu, "s8_mb": memory, "s8_agreement": same, "s8_agreement_windows": windows}
    figures |= {f"s8_agreement_{rows}": share for rows, share in agreed.items()} | evidently
    return figures, [
        Claim.of("CPU seconds to judge 10^6 rows x 10 columns, one of 30,000 categories", cpu, "<=", MOST_CPU),
        Claim.of("MB above the data", memory, "<=", MOST_MB),
        Claim.of("windows whose sample has the verdicts of all rows", same, ">=", LEAST_AGREEMENT)
        if full
        else Claim.unmeasured(
            "windows whose sample has the verdicts of all rows", ">=", LEAST_AGREEMENT, f"{windows} are too few: FULL=1"
        ),
    ]


def agreement(rows: int, windows: int, rng: np.random.Generator) -> float:
    """Share of the windows whose sample and all of whose rows name the same columns."""
    same = 0
    for place in range(windows):
        now, then = rows_of(rows, rng), rows_of(REFERENCE, rng)
        SHIFTS[place % len(SHIFTS)](now, rng)
        sample = now.iloc[rng.permutation(rows)[:SAMPLE]].reset_index(drop=True)
        of_sample, of_all = (
            verdicts(case_of(frame, then, TYPES, f"agreement-{place}", rows))[1] for frame in (sample, now)
        )
        equal = (of_sample.drifted, of_sample.prediction.drifted) == (of_all.drifted, of_all.prediction.drifted)
        if not equal:
            sys.stderr.write(f"s8: {SHIFTS[place % len(SHIFTS)].__name__}: {of_sample.drifted} of {of_all.drifted}\n")
        same += equal
    return same / windows


def _cost(rng: np.random.Generator, full: bool) -> tuple[float, float, dict[str, float]]:
    """CPU seconds, MB at most beside the data, and Evidently's seconds."""
    now, then = rows_of(ROWS, rng), rows_of(REFERENCE, rng)
    now = now.assign(label=rng.integers(0, 2, ROWS), prediction=0.0, id=np.arange(ROWS).astype(str))
    keys = rng.integers(0, 1 << 63, ROWS, dtype=np.uint64)
    case = case_of(now, then, TYPES, "size")
    _judged(replace(case, sample=Sample(now[:SAMPLE], ROWS, 0)), keys[:SAMPLE])  # what is imported once is not counted
    began = time.process_time()
    _judged(case, keys)
    cpu = time.process_time() - began
    tracemalloc.start()
    _judged(case, keys)
    memory = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    if not full:
        return cpu, memory, {}
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_evidently(now, then, TYPES)
    return cpu, memory, {"s8_evidently_cpu_s": time.process_time() - began}


def _judged(case: Case, keys: np.ndarray[Any, Any]) -> None:
    """The rows with the smallest keys, in their order, and the whole verdict of them."""
    smallest = np.argpartition(keys, SAMPLE - 1)[:SAMPLE]
    frame = case.sample.frame.iloc[smallest[np.argsort(keys[smallest])]].reset_index(drop=True)
    judge(replace(case, sample=Sample(frame, case.sample.rows, len(frame))))
