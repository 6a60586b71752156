"""What is said of a window's errors: the metrics with their intervals, as of now and as they will be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from bundle.signature import Task
from observability.monitors.case import Case
from observability.monitors.errors.delay import correct_for_delay, labels_seen
from observability.monitors.errors.intervals import class_intervals, number_intervals
from observability.monitors.errors.metrics import Answered, answers_of, class_metrics, decisions, judged, number_metrics
from observability.monitors.settings import CostMatrix
from observability.monitors.verdicts import ErrorMetrics, ErrorVerdict, Interval

#: references whose errors are remembered: of a few versions, each with its segments
REMEMBERED: Final = 64


def judge_errors(case: Case) -> ErrorVerdict:
    """The window's errors beside those on the version's own out-of-time rows; None with a reason where they cannot be
    told, be it of few labels, of one class, or of scores that are none.
    """
    task, settings = case.signature.task, case.settings
    answers = answers_of(case.sample.frame, task, case.threshold)
    rows = answers.where(judged(answers, task))
    told = ErrorVerdict(labelled=len(rows), metrics=ErrorMetrics(), reference=reference_metrics(case))
    if task == "binary":
        told = told.model_copy(update={"seen": labels_seen(case)})
    if len(rows) < settings.min_labels:
        needed = f"{len(rows)} labels, {settings.min_labels} are needed"
        return told.model_copy(update={"reason": needed, "corrected_reason": None if case.settled else needed})
    metrics = metrics_of(rows, task, settings.errors.costs)
    told = told.model_copy(
        update={
            "metrics": metrics,
            "intervals": intervals_of(rows, task, metrics, case),
            "reason": "; ".join(_reasons(rows, task)) or None,
        }
    )
    return told if case.settled else told.model_copy(update=dict(correct_for_delay(case)))


def metrics_of(rows: Answered, task: Task, costs: CostMatrix) -> ErrorMetrics:
    """The errors that a task has."""
    return class_metrics(rows, costs) if task == "binary" else number_metrics(rows)


def intervals_of(rows: Answered, task: Task, metrics: ErrorMetrics, case: Case) -> Mapping[str, Interval]:
    """Where they lie, at the confidence that was set; drawn from the case, so that all see the same."""
    settings, rng = case.settings.errors, case.random("errors")
    if task == "binary":
        return class_intervals(rows, metrics, settings.costs, settings.confidence, rng)
    return number_intervals(rows, settings.confidence, rng)


def reference_metrics(case: Case) -> ErrorMetrics:
    """The errors on the version's out-of-time rows. Many windows share them, so they are computed once."""
    labels, scores = (np.asarray(each, dtype=np.float64) for each in (case.reference.labels, case.reference.scores))
    if len(labels) != len(scores):
        return ErrorMetrics()
    return _reference_metrics(
        labels.tobytes(), scores.tobytes(), case.signature.task, case.threshold, case.settings.errors.costs
    )


@lru_cache(maxsize=REMEMBERED)
def _reference_metrics(labels: bytes, scores: bytes, task: Task, threshold: float, costs: CostMatrix) -> ErrorMetrics:
    said = np.frombuffer(scores)
    rows = Answered(np.frombuffer(labels), said, decisions(said, threshold))
    known = judged(rows, task) & (np.isin(rows.labels, (0, 1)) if task == "binary" else True)
    return metrics_of(rows.where(known), task, costs)


def _reasons(rows: Answered, task: Task) -> Sequence[str]:
    """Why metrics are missing of rows that have enough labels."""
    if task == "regression":
        return ()
    scored, found = int(rows.scored.sum()), []
    if not scored:
        return ("no labelled row has a score, so only wrong answers are counted",)
    if scored < len(rows):
        found.append(f"{len(rows) - scored} of {len(rows)} labelled rows have no score")
    if len(np.unique(rows.labels[rows.scored])) < 2:
        found.append("all labels are of one class, so ranking cannot be judged")
    if not rows.probable:
        found.append("scores beyond 0 to 1 are no probabilities, so only ranking and answers are judged")
    return found
