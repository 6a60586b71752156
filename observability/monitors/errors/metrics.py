"""How far predictions are from labels: what is known of a row's error, and the metrics over rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import (
    average_precision_score,
    mean_absolute_error,
    mean_squared_error,
    roc_auc_score,
)

from bundle.signature import Task
from observability.monitors.errors import weighted
from observability.monitors.errors.weighted import Floats
from observability.monitors.evidently_scores import error_metrics
from observability.monitors.settings import CostMatrix
from observability.monitors.verdicts import ErrorMetrics

#: a number from this on is a broken one: its square would have no place among the numbers
LARGEST: Final = 1e100
#: as scikit-learn clips scores before it takes logarithms
_EDGE: Final = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Answered:
    """Rows whose label is known, with what was answered; a score or a prediction may be missing (NaN)."""

    labels: Floats
    #: of class 1, or the number that was predicted
    scores: Floats
    #: of a classifier, 0 or 1
    predictions: Floats

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, these: npt.NDArray[np.bool_]) -> Answered:
        """Only these rows."""
        return self if these.all() else Answered(self.labels[these], self.scores[these], self.predictions[these])

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        return np.isfinite(self.scores)

    @property
    def decided(self) -> npt.NDArray[np.bool_]:
        return np.isfinite(self.predictions)

    @property
    def probable(self) -> bool:
        """Whether the scores that there are can be probabilities."""
        scores = self.scores[self.scored]
        return bool(len(scores) and scores.min() >= 0 and scores.max() <= 1)


def answers_of(frame: pd.DataFrame, task: Task, threshold: float) -> Answered:
    """All rows of a sample, with or without a label; a class that is not given follows from the score."""
    labels, scores = numbers_of(frame, "label"), numbers_of(frame, "score")
    if task == "regression":
        return Answered(labels, scores, np.full(len(labels), np.nan))
    given = numbers_of(frame, "prediction")
    predictions = np.where(np.isin(given, (0, 1)), given, decisions(scores, threshold))
    return Answered(np.where(np.isin(labels, (0, 1)), labels, np.nan), scores, predictions)


def judged(rows: Answered, task: Task) -> npt.NDArray[np.bool_]:
    """Which rows have a label and an answer."""
    if task == "regression":
        return np.asarray(rows.scored & (np.abs(rows.labels) < LARGEST) & (np.abs(rows.scores) < LARGEST))
    return np.asarray(np.isfinite(rows.labels) & (rows.scored | rows.decided))


def decisions(scores: Floats, threshold: float) -> Floats:
    """The classes that scores answer; NaN where there is no score."""
    return np.where(np.isfinite(scores), (scores > threshold).astype(np.float64), np.nan)


def class_metrics(rows: Answered, costs: CostMatrix) -> ErrorMetrics:
    """Errors of a classifier; Evidently's as far as it has them and the scores are probabilities."""
    decided, scored = rows.where(rows.decided), rows.where(rows.scored)
    whole = {
        "error": float(np.mean(decided.labels != decided.predictions)) if len(decided) else None,
        "cost": float(np.mean(costs_of(decided, costs))) if len(decided) else None,
    }
    if not rows.probable:
        return ErrorMetrics(**_ranking(scored), **whole)
    unsure = weighted.calibration_error(np.ones((1, len(scored))), scored.labels, scored.scores)
    told = error_metrics(scored.labels, scored.scores, scored.predictions)
    return told.model_copy(update=whole | {"calibration_error": float(unsure[0])})


def number_metrics(rows: Answered) -> ErrorMetrics:
    """Errors of predicted numbers."""
    if not len(rows):
        return ErrorMetrics()
    squared = float(mean_squared_error(rows.labels, rows.scores))
    return ErrorMetrics(
        mae=float(mean_absolute_error(rows.labels, rows.scores)),
        rmse=float(np.sqrt(squared)),
        bias=float(np.mean(rows.scores - rows.labels)),
    )


def costs_of(rows: Answered, costs: CostMatrix) -> Floats:
    """What each answer cost."""
    right = np.where(rows.labels == 1, costs.true_positive, costs.true_negative)
    wrong = np.where(rows.labels == 1, costs.false_negative, costs.false_positive)
    return np.where(rows.labels == rows.predictions, right, wrong)


def log_losses(rows: Answered) -> Floats:
    """By row, of probabilities."""
    scores = np.clip(rows.scores, _EDGE, 1 - _EDGE)
    return np.asarray(-np.log(np.where(rows.labels == 1, scores, 1 - scores)))


def brier_losses(rows: Answered) -> Floats:
    """By row, of probabilities."""
    return np.asarray((rows.scores - rows.labels) ** 2)


def weighted_metrics(weights: Floats, rows: Answered, costs: CostMatrix) -> Mapping[str, Floats]:
    """Every metric of a classifier by each weighting (weightings x rows)."""
    decided, scored = rows.decided, rows.scored
    if scored.all() and decided.all():
        of_scored = of_decided = weights
    else:
        of_scored, of_decided = weights[:, scored], weights[:, decided]
    known, told = rows.where(scored), rows.where(decided)
    found = {
        "error": weighted.mean(of_decided, (told.labels != told.predictions).astype(np.float64)),
        "cost": weighted.mean(of_decided, costs_of(told, costs)),
    }
    if len(known):
        found |= {name: metric(of_scored, known.labels, known.scores) for name, metric in _RANKING.items()}
    if rows.probable:
        found["log_loss"] = weighted.mean(of_scored, log_losses(known))
        found["brier"] = weighted.mean(of_scored, brier_losses(known))
        found["calibration_error"] = weighted.calibration_error(of_scored, known.labels, known.scores)
    return found


_RANKING: Final[Mapping[str, Callable[[Floats, Floats, Floats], Floats]]] = {
    "roc_auc": weighted.roc_auc, "pr_auc": weighted.pr_auc,
}  # fmt: skip


def _ranking(rows: Answered) -> Mapping[str, float]:
    """Of scores that only rank."""
    if len(np.unique(rows.labels)) < 2:
        return {}
    return {
        "roc_auc": float(roc_auc_score(rows.labels, rows.scores)),
        "pr_auc": float(average_precision_score(rows.labels, rows.scores)),
    }


def numbers_of(frame: pd.DataFrame, name: str) -> Floats:
    """A column as numbers; all missing where it lacks, and NaN for what is not a finite number."""
    if name not in frame:
        return np.full(len(frame), np.nan)
    column = np.asarray(pd.to_numeric(frame[name], errors="coerce"), dtype=np.float64)
    return np.where(np.isfinite(column), column, np.nan)
