"""The best that hindsight could have done with so many retrainings: exact, by dynamic programming.

A model is named by the last batch it has learned from, and serves from the next one until another takes its place.
`quality[i, j]` is that of model i on batch j (composite-model evaluation); only j > i is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """The mean quality over the batches, and the batches after which a new model is made."""

    quality: float
    after: tuple[int, ...]


def plan(quality: Matrix, first: int, retrainings: int) -> Plan:
    """The best plan with at most so many retrainings, from the model `first` on, over all batches behind it."""
    return max((each for each in plans(quality, first, retrainings)), key=lambda each: each.quality)


def plans(quality: Matrix, first: int, most: int) -> list[Plan]:
    """The best plan with exactly 0, 1, ... retrainings."""
    batches = quality.shape[1]
    sums = _sums(quality)
    #: best[m]: the best total with model m as the last, of what is served before m
    best = np.full(batches, -np.inf)
    best[first] = 0.0
    came: list[npt.NDArray[np.int64]] = []
    found = []
    for _ in range(min(most, batches - first - 2) + 1):
        total = best + sums[np.arange(batches), batches] - sums[np.arange(batches), np.arange(batches) + 1]
        total[batches - 1] = -np.inf  # it would serve nothing
        last = int(np.argmax(total))
        found.append(Plan(float(total[last]) / (batches - first - 1), _path(came, last)))
        best, before = _one_more(best, sums)
        came.append(before)
    return found


def _sums(quality: Matrix) -> Matrix:
    """Of each model, what it brings in all batches before each."""
    return np.concatenate([np.zeros((len(quality), 1)), np.cumsum(np.nan_to_num(quality), axis=1)], axis=1)


def every_plan(quality: Matrix, first: int, retrainings: int) -> npt.NDArray[np.float64]:
    """The mean quality of each plan that there is with exactly so many retrainings: what chance would have brought."""
    batches = quality.shape[1]
    sums = _sums(quality)
    made = np.array(list(combinations(range(first + 1, batches - 1), retrainings)))
    models = np.concatenate([np.full((len(made), 1), first), made], axis=1)
    until = np.concatenate([made, np.full((len(made), 1), batches - 1)], axis=1)
    served: npt.NDArray[np.float64] = (sums[models, until + 1] - sums[models, models + 1]).sum(axis=1)
    return served / (batches - first - 1)


def _one_more(best: Matrix, sums: Matrix) -> tuple[Matrix, npt.NDArray[np.int64]]:
    """The best totals with one more model: from each earlier one m, which served until the new one n was made."""
    models = np.arange(len(best))
    served = best[:, None] + sums[:, 1:] - sums[models, models + 1][:, None]
    served[models[:, None] >= models[None, :]] = -np.inf
    before = served.argmax(axis=0)
    return served[before, models], before


def _path(came: list[npt.NDArray[np.int64]], last: int) -> tuple[int, ...]:
    path: list[int] = []
    for before in reversed(came):
        path.append(last)
        last = int(before[last])
    return tuple(reversed(path))


def total_by_retrainopt(quality: Matrix, first: int, price: float) -> float | str:
    """The least of errors plus `price` for each retraining, by retrainopt's exact planner; or why it is not known."""
    try:
        from retrainopt import PlannerConfig, RetrainingPlanner
        from retrainopt.interfaces import ModelAdapter, TimelineDataset
    except ImportError:
        return "retrainopt is not installed"
    steps = quality.shape[1] - first - 1

    class Batches(TimelineDataset):
        """A step is a batch that is served; what could be trained for it has learned from all batches before."""

        num_steps = steps

        def get_train_block(self, step: int) -> list[int]:
            return [first + step]

        def get_eval_block(self, step: int) -> list[int]:
            return [first + step + 1]

        def train_size(self, step: int) -> int:
            return 1

    class Named(ModelAdapter):
        """A model is its name: all were made before."""

        def fit(self, train_data: list[int], *, step: int, n_samples: int, random_seed: int) -> int:
            return train_data[0]

        def evaluate(self, model: int, eval_data: list[int], *, step: int) -> float:
            return float(1 - quality[model, eval_data[0]])

    planner = RetrainingPlanner(
        Batches(),
        Named(),
        PlannerConfig(n_choices=(1.0,)),
        training_cost_fn=lambda *, step, n_samples, training_seconds, model: 0.0 if model == first else price,
    )
    return float(planner.plan("exact", initial_model=first).total_cost)
