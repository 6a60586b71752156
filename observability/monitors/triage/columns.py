"""A window's columns beside the reference's, in bins of their own: what every rule of the triage looks at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from observability.monitors.case import Case

Numbers: TypeAlias = npt.NDArray[np.float64]
#: numbers of a numeric column, texts of a categorical one
Values: TypeAlias = npt.NDArray[Any]
Places: TypeAlias = npt.NDArray[np.int64]

#: quantiles of each side between which bins lie; a column of fewer distinct values has a bin for each
_QUANTILES: Final = 24
#: categories with a bin of their own, the most frequent of either side
_CATEGORIES: Final = 60
#: parts of the reference, beside which it is seen how much a share varies
_PARTS: Final = (4, 16)
#: rows of a side that are looked at: more make no rule surer
_ROWS: Final = 20_000


def _in_parts(holds: npt.NDArray[np.bool_], rows: int) -> list[float]:
    """The shares in parts of so many rows, in the order of time: what comes and goes differs between them."""
    parts = int(np.clip(len(holds) // max(rows, 1), *_PARTS))
    return [float(part.mean()) for part in np.array_split(holds, parts) if len(part)] or [0.0]


def _bearable(shares: list[float]) -> float:
    """As far above the greatest as the parts differ from each other."""
    return 2 * max(shares) - min(shares)


class _Binned(ABC):
    """What both kinds of columns tell of their bins."""

    now: Values
    then: Values

    @abstractmethod
    def shares(self, values: Values) -> Numbers:
        """Of these values, in the column's bins."""

    @cached_property
    def shares_now(self) -> Numbers:
        return self.shares(self.now)

    @cached_property
    def shares_then(self) -> Numbers:
        return self.shares(self.then)

    @abstractmethod
    def lacks(self, values: Values) -> npt.NDArray[np.bool_]:
        """Which of these values are missing."""

    @property
    def missing(self) -> tuple[float, float]:
        """The share that is missing, now and in the reference."""
        return float(self.lacks(self.now).mean()), float(self.lacks(self.then).mean())

    @property
    def most_missing(self) -> float:
        """The greatest share that is missing in a part of the reference."""
        return max(_in_parts(self.lacks(self.then), len(self.now)))

    @property
    def bearable_missing(self) -> float:
        """A share missing that would surprise nobody."""
        return _bearable(_in_parts(self.lacks(self.then), len(self.now)))

    def most(self, value: float | str) -> float:
        """The greatest share that the value has in a part of the reference."""
        return max(_in_parts(self.then == value, len(self.now)))

    def bearable(self, value: float | str) -> float:
        """A share of the value that would surprise nobody."""
        return _bearable(_in_parts(self.then == value, len(self.now)))


@dataclass(frozen=True)
class NumericColumn(_Binned):
    """Numbers of now and of the reference, NaN where missing; the last bin is that of missing values."""

    name: str
    now: Values
    then: Values

    @cached_property
    def edges(self) -> Numbers:
        """Each lies halfway between two neighbouring values, so that rounding moves none across."""
        now, then = self.now[~np.isnan(self.now)], self.then[~np.isnan(self.then)]
        values = np.unique(np.concatenate([now, then]))
        if len(values) <= 2 * _QUANTILES:
            return np.asarray((values[1:] + values[:-1]) / 2)
        at = np.linspace(0, 1, _QUANTILES + 1)[1:-1]
        cuts = np.concatenate([np.quantile(side, at, method="lower") for side in (now, then) if len(side)])
        place = np.unique(np.searchsorted(values, cuts))
        place = place[place < len(values) - 1]
        return np.asarray((values[place] + values[place + 1]) / 2)

    def shares(self, values: Values) -> Numbers:
        """Of these values, in the column's bins."""
        return np.bincount(self.places(values), minlength=len(self.edges) + 2) / max(len(values), 1)

    def places(self, values: Values) -> Places:
        """The bin of each value."""
        return np.where(np.isnan(values), len(self.edges) + 1, np.searchsorted(self.edges, values))

    def lacks(self, values: Values) -> npt.NDArray[np.bool_]:
        """Which of these values are missing."""
        return np.isnan(values)


@dataclass(frozen=True)
class TextColumn(_Binned):
    """Categories of now and of the reference, "" where missing; the last bins are of other and of missing ones."""

    name: str
    now: Values
    then: Values

    @cached_property
    def counted(self) -> tuple[pd.Series, pd.Series]:
        """How often each category is in the window, and in the reference."""
        return pd.Series(self.now).value_counts(), pd.Series(self.then).value_counts()

    @cached_property
    def bins(self) -> pd.Index:
        now, then = self.counted
        shares = (now / len(self.now)).add(then / len(self.then), fill_value=0).drop("", errors="ignore")
        ranked = sorted(shares.items(), key=lambda item: (-item[1], str(item[0])))
        return pd.Index([category for category, _ in ranked[:_CATEGORIES]], dtype=object)

    def shares(self, values: Values) -> Numbers:
        """Of these values, in the column's bins."""
        return np.bincount(self.places(values), minlength=len(self.bins) + 2) / max(len(values), 1)

    def places(self, values: Values) -> Places:
        """The bin of each value."""
        codes = self.bins.get_indexer(pd.Index(values, dtype=object))
        return np.where(codes >= 0, codes, np.where(values == "", len(self.bins) + 1, len(self.bins)))

    def lacks(self, values: Values) -> npt.NDArray[np.bool_]:
        """Which of these values are missing."""
        return np.asarray(values == "")


Column: TypeAlias = NumericColumn | TextColumn


@dataclass(frozen=True)
class Columns:
    """All columns of a window that can be compared, and when each row was."""

    each: Mapping[str, Column]
    #: by how much more than chance each varies over time
    overdispersion: Mapping[str, float]
    #: of the window's rows, in UTC; empty where it is not known
    times: pd.Series
    #: what rules found already, so that none is asked twice of one window
    told: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, case: Case) -> Columns:
        """The signature's features; where a side lacks one it is missing in every row."""
        now = case.sample.frame.reset_index(drop=True)
        then = case.reference.features
        now, then = (_some(side) for side in (now, then))
        columns: dict[str, Column] = {}
        for feature in case.signature.features:
            if feature.type == "numeric":
                columns[feature.name] = NumericColumn(
                    feature.name, *(numbers(side, feature.name) for side in (now, then))
                )
            else:
                columns[feature.name] = TextColumn(feature.name, *(texts(side, feature.name) for side in (now, then)))
        return cls(columns, case.reference.overdispersion, times_of(now))

    def spread(self, name: str) -> float:
        """How much more than chance the column varies between spans of the past; 1 where it is not known."""
        return self.overdispersion.get(name, 1.0)

    @property
    def numeric(self) -> tuple[NumericColumn, ...]:
        return tuple(column for column in self.each.values() if isinstance(column, NumericColumn))

    @property
    def categorical(self) -> tuple[TextColumn, ...]:
        return tuple(column for column in self.each.values() if isinstance(column, TextColumn))


def _some(rows: pd.DataFrame) -> pd.DataFrame:
    """In their order, which tells how long values stay."""
    return rows.reset_index(drop=True).sample(_ROWS, random_state=0).sort_index() if len(rows) > _ROWS else rows


def numbers(frame: pd.DataFrame, name: str) -> Numbers:
    """As the model saw them, float32, so that both sides are rounded alike; what is no number is missing."""
    if name not in frame:
        return np.full(len(frame), np.nan)
    values = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32).astype(np.float64)
    return np.where(np.isfinite(narrow), narrow, np.nan)


def texts(frame: pd.DataFrame, name: str) -> Values:
    """Categories as text; "" is missing."""
    if name not in frame:
        return np.full(len(frame), "", dtype=object)
    column = frame[name]
    return np.asarray(np.where(column.isna(), "", column.astype(str)), dtype=object)


def times_of(frame: pd.DataFrame) -> pd.Series:
    """When each row was; empty where the frame does not say."""
    if "event_time" not in frame:
        return pd.Series([], dtype="datetime64[ns, UTC]")
    times = frame["event_time"].reset_index(drop=True)
    known = isinstance(times.dtype, pd.DatetimeTZDtype) and str(times.dtype.tz) == "UTC"
    return times if known else pd.to_datetime(times, utc=True, errors="coerce")
