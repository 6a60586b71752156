"""How well a learner tells two samples apart on rows that it has not learned from, and how sure that is.

The classifier two-sample test (Friedman 2003; Lopez-Paz and Oquab 2017; Rabanser et al. 2019): if nothing changed, no
classifier does better than guessing. Rows are dealt to blocks; each block but the first is scored by what was learned
from all blocks before it. Given those, a block's labels are still dealt by chance, so its rank sum (Mann and Whitney
1947) has mean 0 and a known variance whatever was learned: the blocks' standardised sums are increments of a martingale
and add up to a standard normal. Cross-fitting would test every row, but there each fold's labels are in the other
folds' learners, so the folds' sums depend on each other and may not be added; halves would test half of the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.int64]


class Classifier(Protocol):
    """What learns from rows, of which some are of now, and scores others: high where they look like now."""

    def fit(self, X: Any, y: Any) -> Any: ...  # noqa: ANN401 - scikit-learn's
    def decision_function(self, X: Any) -> Any: ...  # noqa: ANN401


#: rows of each side that are looked at
MOST_ROWS: Final = 2_500
#: fewer of a side are not told apart: with a quarter of them in a block, the normal law of a rank sum is off
LEAST_ROWS: Final = 100
_BLOCKS: Final = 4


@dataclass(frozen=True)
class Separation:
    """What a learner made of two samples."""

    auc: float
    p_value: float
    #: in standard deviations of a shift of the mean that gives this area; 0 where it does no better than guessing
    effect: float
    #: places of the last block, which of them are of now, and what was learned from all others
    tested: Rows
    is_now: npt.NDArray[np.bool_]
    learned: Classifier


def picked(rows: int, random: np.random.Generator) -> Rows:
    """Places of the rows of a side that are looked at, in the order in which they are dealt to the blocks."""
    return random.permutation(rows)[:MOST_ROWS]


def why_not(rows: int, rows_then: int) -> str | None:
    """Why two samples of so many rows are not told apart; None where they are."""
    for name, count in (("the window", rows), ("the reference", rows_then)):
        if count < LEAST_ROWS:
            return f"{count} rows in {name}, {LEAST_ROWS} are needed"
    return None


def tell_apart(
    table: Any,  # noqa: ANN401 - an array, or a sparse one
    rows: int,
    classifier: Callable[[], Classifier],
    stretch: float = 1.0,
) -> Separation:
    """So many rows of now stand first in the table, then the reference's, each side in an order of chance (`picked`).

    `stretch` is how much more the two differ between spans than chance explains: the statistic's variance is as much
    larger.
    """
    rows_then = table.shape[0] - rows
    block = np.concatenate([np.arange(count) * _BLOCKS // count for count in (rows, rows_then)])
    is_now = np.arange(rows + rows_then) < rows
    sums, areas = [], []
    for number in range(1, _BLOCKS):
        before, tested = np.flatnonzero(block < number), np.flatnonzero(block == number)
        learned = classifier()
        learned.fit(table[before], is_now[before])
        deviate, area = rank_sum(learned.decision_function(table[tested]), is_now[tested])
        sums.append(deviate)
        areas.append(area)
    auc = float(np.mean(areas))
    deviate = float(np.sum(sums)) / np.sqrt(len(sums) * stretch)
    return Separation(
        auc=auc,
        p_value=max(float(stats.norm.sf(deviate)), float(np.finfo(np.float64).tiny)),
        effect=max(0.0, float(np.sqrt(2) * stats.norm.ppf(min(auc, 1 - 0.5 / (rows * rows_then))))),
        tested=tested,
        is_now=is_now[tested],
        learned=learned,
    )


def rank_sum(scores: Floats, is_now: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The standardised rank sum of now's scores, with ties, and the area under the ROC curve that it is of.

    >>> deviate, area = rank_sum(np.array([1.0, 2, 2, 3, 3, 4]), np.array([False, False, True, False, True, True]))
    >>> round(deviate, 2), round(area, 2)
    (1.12, 0.78)
    """
    rows, now = len(scores), int(is_now.sum())
    pairs = now * (rows - now)
    wins = float(stats.rankdata(scores)[is_now].sum()) - now * (now + 1) / 2
    tied = np.unique(scores, return_counts=True)[1].astype(np.float64)
    variance = pairs / 12 * (rows + 1 - float(np.sum(tied**3 - tied)) / (rows * (rows - 1)))
    return (wins - pairs / 2) / float(np.sqrt(variance)) if variance > 0 else 0.0, wins / pairs
