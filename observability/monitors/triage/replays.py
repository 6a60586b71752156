"""Rows that came twice: far more copies of other rows than the past holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from observability.monitors.case import Case
from observability.monitors.triage.hypotheses import Hypothesis

#: standard errors of the share of copies beyond which it is no chance
_SURE: Final = 5.0
#: explains less of a distance than a column that is broken, which makes copies of rows too
_WEIGHT: Final = 0.25


def find_replays(case: Case) -> Iterator[Hypothesis]:
    """The source as a whole, where rows are copies of others more often than before."""
    now, usual = copies(case)
    if is_more(case, now, usual):
        said = f"{now:.0%} of the rows are copies of another, {usual:.0%} as a rule: a part of the data came twice"
        yield Hypothesis("duplicates", (), 1.0, _WEIGHT * (now - usual), said, {"copies": now, "usual": usual})


def copies(case: Case) -> tuple[float, float]:
    """Share of rows that are copies of an earlier one: of the window, and the greater of what the reference and the
    past windows would give in as many rows."""
    names = [
        name for name in case.signature.feature_names if name in case.sample.frame and name in case.reference.features
    ]
    if not names or not len(case.sample.frame):
        return 0.0, 0.0
    now = share_of_copies(case.sample.frame[names])
    then = case.reference.features[names]
    if len(then) > len(case.sample.frame):
        then = then.sample(len(case.sample.frame), random_state=case.random("copies"))
    return now, max([share_of_copies(then), *_of_the_past(case)])


def share_of_copies(rows: pd.DataFrame) -> float:
    """Of these rows, those that are alike an earlier one in every column."""
    hashed = pd.util.hash_pandas_object(rows.astype({name: str for name in rows.select_dtypes("object")}), index=False)
    return float(hashed.duplicated().mean()) if len(rows) else 0.0


def is_more(case: Case, now: float, usual: float) -> bool:
    """Beyond the margin and chance."""
    rows = max(len(case.sample.frame), 1)
    error = np.sqrt(max(usual * (1 - usual), 1 / rows) / rows)
    return bool(now - usual > case.settings.quality.duplicates_margin + _SURE * error)


def _of_the_past(case: Case) -> list[float]:
    """Shares of copies that windows before were not blamed for."""
    shares = []
    for past in case.past:
        quality, diagnosis = past.verdict.get("quality") or {}, past.verdict.get("diagnosis") or {}
        copied, sampled = quality.get("duplicated_rows"), past.verdict.get("sampled")
        if copied is not None and sampled and diagnosis.get("cause") != "bug":
            shares.append(float(copied) / float(sampled))
    return shares
