"""Columns of another type: text where numbers belong, numbers where categories do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from observability.monitors.case import Case
from observability.monitors.triage.hypotheses import Hypothesis

#: of the values present
_LEAST_SHARE: Final = 0.02


def find_schema_trouble(case: Case) -> Iterator[Hypothesis]:
    """Every column that holds values of another type than the model was told of."""
    for feature in case.signature.features:
        now, then = mistyped(case, feature.name, numeric=feature.type == "numeric")
        if now - then >= _LEAST_SHARE:
            what = "text in a numeric column" if feature.type == "numeric" else "numbers in a column of categories"
            said = f"{now:.0%} of the values of {feature.name} are {what}, {then:.0%} in the reference"
            yield Hypothesis("schema", (feature.name,), 1.0, now, said, {"share": now, "reference": then}, seen=True)


def mistyped(case: Case, name: str, *, numeric: bool) -> tuple[float, float]:
    """Of the values present, the share of another type: in the window and in the reference."""
    now, then = (
        _share(side[name], numeric) if name in side else 0.0 for side in (case.sample.frame, case.reference.features)
    )
    return now, then


def _share(column: pd.Series, numeric: bool) -> float:
    if pd.api.types.is_numeric_dtype(column):
        return 0.0 if numeric or not column.notna().any() else 1.0
    counts = column.astype(object).value_counts()
    counts = counts[counts.index != ""]
    numbers = pd.to_numeric(counts.index.to_series(), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    odd = np.isnan(numbers) if numeric else np.isfinite(numbers)
    return float(counts[odd].sum() / counts.sum()) if len(counts) else 0.0
