"""How much more a column differs between spans of the past than chance explains, and what a test must allow for it.

Rows of one day resemble each other, so two days differ by more than two draws from one pool of rows: a test that
takes rows for independent calls every other day a drift. As in quasi-likelihood (Wedderburn 1974; McCullagh and
Nelder 1989, 4.5) a column's statistic is divided by its over-dispersion. What a span has in common weighs the more the
more rows a window has, as in cluster samples, so the variance between spans is kept and not a factor; and as by Rao
and Scott (1984) it counts into how many directions it goes: what days do to a column is mostly one movement, and a
statistic of which one part moves has a far longer tail than another of the same mean.

What is compared. The history in time order is cut into blocks, as for a block bootstrap (Kuensch 1989): by the hour,
the day, the week, where that makes 8 to 400 of them, so that a window meets the variance between spans of about its own
length; by rows where no times are known. Only near blocks are compared: neighbours, as von Neumann (1941) did, and
where there are many up to seven apart, a sixteenth of the history at most. What differs between near spans is how the
traffic is; what adds up over the whole history is a trend, and to call that harmless would let every slow drift pass.
A steady trend of one standard deviation over 32 blocks counts here as 0.03 of one; each block beside all others would
take it for 0.29.

Nor does one break make all harmless, such as a new unit: where most of what there is lies across it, it is left out.

A column is over-dispersed only where a test at 1 % says so: of its location, of its scale (of a category: of the most
frequent ones), and of all else about it. The estimate is noise otherwise, and to divide by that (or by 1 where it is
smaller) would cost power and make an exact test conservative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from bundle.signature import Feature, Frozen
from observability.monitors.drift.dispersion import Positive, Spread, Table, spread_of

#: more rows of a history are not looked at
ROWS: Final = 100_000
#: a history is cut into so many blocks, which have so many rows on average
BLOCKS: Final = (8, 400)
_BLOCK_ROWS: Final = 25
#: aligned to the Unix epoch in UTC, as windows are
_UNITS: Final = tuple(timedelta(minutes=minutes) for minutes in (10, 60, 360, 1440, 10080, 43200))
_DAY: Final = timedelta(days=1)
_BINS: Final = 10
_CATEGORIES: Final = 20
#: how the scores are called beside the features; no feature can be
SCORE: Final = Feature(name="score", type="numeric")
Places = npt.NDArray[np.int64]


def missing_key(feature: str) -> str:
    """Under which name a column's missing share is kept, beside the values under the column's own."""
    return f"{feature}:missing"


class Scale(Frozen):
    """A history cut into so many blocks, and the columns that differ between them by more than chance."""

    blocks: int = Field(ge=2)
    #: of a block, on average
    rows: int = Field(ge=1)
    #: how long one lasts; None where no times are known
    seconds: Positive | None = None
    columns: Mapping[str, Spread] = Field(default_factory=dict)


class History(Frozen):
    """What a reference's own past says of its columns."""

    scales: tuple[Scale, ...] = ()

    def overdispersion(self, rows: int, reference_rows: int, length: timedelta | None = None) -> Mapping[str, float]:
        """By column (and `missing_key`), what a window of so many rows and this length allows for; 1 is left out."""
        scale = self._near(rows, length)
        if scale is None or rows < 1 or reference_rows < 1:
            return {}
        # the reference is the mean of so many spans, and the window is one of them
        harmonic = rows * reference_rows / (rows + reference_rows) * (1 + 1 / scale.blocks)
        factors = {name: spread.factor(harmonic) for name, spread in scale.columns.items()}
        return {name: factor for name, factor in factors.items() if factor > 1}

    def _near(self, rows: int, length: timedelta | None) -> Scale | None:
        """The scale whose blocks are most like the window: as long, or as many rows where a length is not known.

        What hours do to each other is a day's course and says nothing of two days, so blocks of less than half a day
        stand for no window of a day.
        """
        timed = [scale for scale in self.scales if scale.seconds is not None]
        if not timed or not length:
            return min(self.scales, key=lambda scale: abs(np.log(scale.rows / max(rows, 1))), default=None)
        least = min(length, _DAY).total_seconds() / 2
        fitting = {scale.seconds: scale for scale in timed if scale.seconds and scale.seconds >= least}
        nearest = min(fitting, key=lambda seconds: abs(np.log(seconds / length.total_seconds())), default=None)
        return None if nearest is None else fitting[nearest]


def encoded(history: History) -> bytes:
    """As it is kept with a reference."""
    return history.model_dump_json().encode()


def overdispersion_of(frame: pd.DataFrame, features: Sequence[Feature], block_rows: int) -> Mapping[str, float]:
    """What windows of so many rows beside this frame, whose rows are in time order, allow for; 1 is left out."""
    return history_of(frame, features).overdispersion(block_rows, len(frame))


def served_history(frame: pd.DataFrame, features: Sequence[Feature]) -> History:
    """The same of a sample of served rows, in whatever order, with their `event_time`; of the column `score` too.

    For a reference that is one long span. Spans with gaps, as seasons are, tell what their hours do to each other.
    """
    ordered = frame.sort_values("event_time", kind="stable")
    return history_of(ordered, [*features, SCORE], ordered["event_time"])


def history_of(
    frame: pd.DataFrame, features: Sequence[Feature], times: pd.Series[pd.Timestamp] | None = None
) -> History:
    """What the rows, in the order of these times, say of each column over blocks of several lengths.

    A history of fewer than 200 rows says nothing. A column that the frame lacks is left out.
    """
    picked = np.linspace(0, len(frame) - 1, min(len(frame), ROWS)).astype(int)
    cuts = _cuts(len(picked), None if times is None else times.iloc[picked])
    if not cuts:
        return History()
    found: list[dict[str, Spread]] = [{} for _ in cuts]
    for feature in features:
        if feature.name not in frame:
            continue
        cells = _cells(feature, frame[feature.name].iloc[picked])
        for (_, block), columns in zip(cuts, found, strict=True):
            for name, table in _tables(feature.name, cells, block).items():
                spread = spread_of(table, ordered=feature.type == "numeric")
                if spread is not None:
                    columns[name] = spread
    return History(
        scales=tuple(
            Scale(blocks=int(block[-1]) + 1, rows=len(block) // (int(block[-1]) + 1), seconds=seconds, columns=columns)
            for (seconds, block), columns in zip(cuts, found, strict=True)
        )
    )


def _cuts(rows: int, times: pd.Series[pd.Timestamp] | None) -> list[tuple[float | None, Places]]:
    """The lengths of blocks in seconds, each with the number of the block that each row is in."""
    found: list[tuple[float | None, Places]] = []
    if times is not None:
        instants = pd.DatetimeIndex(pd.to_datetime(times, utc=True)).as_unit("us").asi8
        for unit in _UNITS:
            spans = instants // (unit // timedelta(microseconds=1))
            block = np.cumsum(np.diff(spans, prepend=spans[:1]) != 0)
            if _fits(rows, int(block[-1]) + 1 if rows else 0):
                found.append((unit.total_seconds(), block))
    if not found:
        counts = [BLOCKS[0] << doubled for doubled in range(6)]
        found = [(None, np.arange(rows) * count // rows) for count in counts if _fits(rows, count)]
    return found


def _fits(rows: int, blocks: int) -> bool:
    return BLOCKS[0] <= blocks <= BLOCKS[1] and rows >= blocks * _BLOCK_ROWS


def _cells(feature: Feature, column: pd.Series[Any]) -> Places:
    """Into which of a few cells each row falls: tenths of a number, or a frequent category; -1 where it is missing."""
    if feature.type == "numeric":
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        present = np.isfinite(numbers)
        if not present.any():
            return np.full(len(numbers), -1)
        edges = np.unique(np.quantile(numbers[present], np.arange(1, _BINS) / _BINS))
        return np.where(present, np.searchsorted(edges, numbers, side="left"), -1)
    codes, names = pd.factorize(column.where(column.notna(), "").astype(str))
    order = np.argsort(-np.bincount(codes, minlength=len(names)), kind="stable")
    order = order[np.asarray(names[order] != "", dtype=bool)]
    cells = np.full(len(names), -1)
    cells[order] = np.minimum(np.arange(len(order)), _CATEGORIES)
    return cells[codes]


def _tables(name: str, cells: Places, block: Places) -> dict[str, Table]:
    """Rows of each block in each cell: of the values present, and missing beside present."""
    width, blocks = int(cells.max(initial=0)) + 2, int(block[-1]) + 1
    counts = np.bincount(block * width + cells + 1, minlength=blocks * width).reshape(blocks, width).astype(float)
    values, missing = counts[:, 1:], counts[:, 0]
    return {name: values, missing_key(name): np.column_stack([values.sum(axis=1), missing])}
