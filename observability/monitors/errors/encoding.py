"""Rows as numbers in which a calibration can be off: by the score, and by each column's values.

A number becomes its weights on a few quantiles (a line between any two), a category a column of its own. Missing, a
category that was never seen and a number beyond all that were seen have columns too, of which the reference tells
nothing: what is not known of them widens the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from bundle.signature import Feature

Floats = npt.NDArray[np.float64]
Encoder = Callable[[pd.Series], Floats]

#: columns that all features may take together
COLUMNS: Final = 256
#: quantiles of a number, and of the score
KNOTS: Final = 6
SCORE_KNOTS: Final = 8
#: with more features only the score is looked at: a correction of so many columns would be noise
MOST_FEATURES: Final = 64
_LEAST_WIDTH: Final = 4


@dataclass(frozen=True)
class Encoding:
    """How rows become numbers, in groups: the level, the slope, the score's shape, then a group for each feature."""

    centre: float
    scale: float
    shape: Floats
    features: tuple[tuple[str, Encoder], ...]

    def encode(self, log_odds: Floats, rows: pd.DataFrame) -> tuple[Floats, npt.NDArray[np.intp]]:
        """The rows, and the group of each column."""
        parts = list(self._parts(log_odds, rows))
        groups = np.repeat(np.arange(len(parts)), [part.shape[1] for part in parts])
        return np.concatenate(parts, axis=1), groups

    def _parts(self, log_odds: Floats, rows: pd.DataFrame) -> Iterator[Floats]:
        yield np.ones((len(log_odds), 1))
        yield ((log_odds - self.centre) / self.scale)[:, None]
        yield hats(log_odds, self.shape)
        for name, encoder in self.features:
            yield encoder(rows[name] if name in rows else pd.Series([None] * len(log_odds), dtype=object))


def encoding_of(log_odds: Floats, rows: pd.DataFrame, features: tuple[Feature, ...]) -> Encoding:
    """The encoding that fits these rows; by the score alone where they have no features, or too many."""
    known = [feature for feature in features if feature.name in rows]
    known = known if len(known) <= MOST_FEATURES else []
    numbers = sum(feature.type == "numeric" for feature in known)
    knots = max(_LEAST_WIDTH, min(KNOTS + 2, COLUMNS // max(len(known), 1))) - 2
    width = max(_LEAST_WIDTH, (COLUMNS - numbers * (knots + 2)) // max(len(known) - numbers, 1))
    return Encoding(
        centre=float(log_odds.mean()),
        scale=float(log_odds.std()) or 1.0,
        shape=_quantiles(log_odds, SCORE_KNOTS),
        features=tuple(
            (
                each.name,
                _number(rows[each.name], knots) if each.type == "numeric" else _text(rows[each.name], width - 2),
            )
            for each in known
        ),
    )


def hats(values: Floats, knots: Floats) -> Floats:
    """How near each value is to each knot: two neighbours share it, and beyond the last it is the last one's.

    >>> hats(np.array([0.0, 0.25, 9.0]), np.array([0.0, 1.0]))
    array([[1.  , 0.  ],
           [0.75, 0.25],
           [0.  , 1.  ]])
    """
    return np.column_stack([np.interp(values, knots, one) for one in np.eye(len(knots))])


def _number(column: pd.Series, count: int) -> Encoder:
    seen = _numbers(column)
    seen = seen[np.isfinite(seen)]
    knots = _quantiles(seen, count) if len(seen) else np.zeros(1)

    def encode(values: pd.Series) -> Floats:
        numbers = _numbers(values)
        lost = ~np.isfinite(numbers)
        outside = ~lost & ((numbers < knots[0]) | (numbers > knots[-1]))
        near = hats(np.where(lost, knots[0], numbers), knots) * ~lost[:, None]
        return np.column_stack([near, outside, lost])

    return encode


def _text(column: pd.Series, most: int) -> Encoder:
    counts = _texts(column).value_counts()
    ranked = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    names = pd.Index([name for name, _ in ranked[:most]], dtype=object)

    def encode(values: pd.Series) -> Floats:
        texts = _texts(values)
        places = np.where(texts.isna(), len(names) + 1, names.get_indexer(pd.Index(texts)))
        places[places < 0] = len(names)
        return np.eye(len(names) + 2)[places]

    return encode


def _quantiles(values: Floats, count: int) -> Floats:
    return np.unique(np.quantile(values, np.linspace(0, 1, count)))


def _numbers(column: pd.Series) -> Floats:
    """As float32 saw them: an event may hold a shorter decimal than the reference."""
    with np.errstate(over="ignore"):
        return pd.to_numeric(column, errors="coerce").to_numpy(np.float32, na_value=np.nan).astype(np.float64)


def _texts(column: pd.Series) -> pd.Series:
    texts = column.astype(object)
    return texts.where(texts.isna(), texts.astype(str)).replace("", None)
