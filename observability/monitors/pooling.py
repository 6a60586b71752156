"""A column of now and of the reference, made comparable: one type, few categories, missing values apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from bundle.signature import Feature

#: chance alone may pass a threshold this often
_CHANCE: Final = 0.001


@dataclass(frozen=True)
class ColumnPair:
    """One column twice: numbers without missing values; categories as neutral names, missing being one."""

    current: pd.Series
    reference: pd.Series
    missing_share: float
    reference_missing_share: float
    unseen_share: float | None = None
    #: numbers present that lie beyond the reference's least and greatest
    out_of_range_share: float | None = None


def paired(feature: Feature, current: pd.DataFrame, reference: pd.DataFrame, top: int) -> ColumnPair:
    """The feature's two columns; a column that a frame lacks is missing in every row."""
    now, then = column(current, feature.name), column(reference, feature.name)
    return numeric_pair(now, then) if feature.type == "numeric" else categorical_pair(now, then, top)


def numeric_pair(current: pd.Series, reference: pd.Series) -> ColumnPair:
    """Numbers as float32 on both sides: the model saw those, and an event may hold a shorter decimal."""
    now, then = numbers(current), numbers(reference)
    present, known = now[~np.isnan(now)], then[~np.isnan(then)]
    outside = None
    if len(present) and len(known):
        outside = float(np.mean((present < known.min()) | (present > known.max())))
    return ColumnPair(
        current=pd.Series(present),
        reference=pd.Series(known),
        missing_share=_share_missing(len(now), len(present)),
        reference_missing_share=_share_missing(len(then), len(known)),
        out_of_range_share=outside,
    )


def categorical_pair(current: pd.Series, reference: pd.Series, top: int) -> ColumnPair:
    """The categories most frequent in both windows together, one for all others, one for missing.

    Chosen from both: the top of the reference alone gives 23 % false alarms, of both 4 %. The names are
    replaced, so that text from data reaches no third-party code.
    """
    now, then = _texts(current), _texts(reference)
    both = pd.concat([now, then])
    ranked = sorted(both[both != ""].value_counts().items(), key=lambda item: (-item[1], str(item[0])))
    names = {"": "missing"} | {category: f"category {place}" for place, (category, _) in enumerate(ranked[:top])}
    known = set(then.unique())
    unseen = float((~now.isin(known) & (now != "")).mean()) if len(now) else 0.0
    return ColumnPair(
        current=now.map(names).fillna("other"),
        reference=then.map(names).fillna("other"),
        missing_share=float((now == "").mean()) if len(now) else 0.0,
        reference_missing_share=float((then == "").mean()) if len(then) else 0.0,
        unseen_share=unseen,
    )


def chance_threshold(method: str, pair: ColumnPair) -> float:
    """What the distance of two samples of one distribution exceeds once in 1,000: it grows with categories.

    Jensen-Shannon distance squared is about chi-square / 8 times (1/n + 1/m), PSI chi-square times the same;
    zero for methods that are tests themselves.

    >>> pair = categorical_pair(pd.Series(["a", "b"] * 50), pd.Series(["a", "b"] * 500), top=20)
    >>> round(chance_threshold("jensenshannon", pair), 3)
    0.122
    """
    if method not in ("jensenshannon", "psi"):
        return 0.0
    categories = len(set(pair.current.unique()) | set(pair.reference.unique()))
    if categories < 2:
        return 0.0
    scale = 1 / len(pair.current) + 1 / len(pair.reference)
    quantile = float(stats.chi2.ppf(1 - _CHANCE, categories - 1)) * scale
    return quantile if method == "psi" else float(np.sqrt(quantile / 8))


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """The frame's column; one that it lacks is missing in every row."""
    return frame[name] if name in frame else pd.Series([None] * len(frame), dtype=object)


def numbers(values: pd.Series) -> npt.NDArray[np.float32]:
    """Numbers as the model sees them; NaN for what is none, or beyond float32."""
    wide = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    return np.where(np.isfinite(narrow), narrow, np.float32(np.nan))


def _texts(column: pd.Series) -> pd.Series:
    return pd.Series(np.where(column.isna(), "", column.astype(str)), dtype=object)


def _share_missing(rows: int, present: int) -> float:
    return 1 - present / rows if rows else 0.0
