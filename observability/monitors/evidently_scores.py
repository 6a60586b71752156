"""What Evidently computes of a window. The one module that imports it (which takes 6 s: keep the process).

What it must be spared (0.7.23): an all-missing column, an absent one or a single-class label ends the whole
report, so each column gets its own; missing values are dropped before testing, so the shares of missing and
unseen values are measured beside; thousands of categories cost a quadratic loop, so they are pooled.
"""

from __future__ import annotations

import os

os.environ["DO_NOT_TRACK"] = "1"  # before the import: telemetry is on by default

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from evidently import BinaryClassification, DataDefinition, Dataset, Report
from evidently.metrics import (
    Accuracy,
    ConstantColumnsCount,
    DuplicatedColumnsCount,
    DuplicatedRowCount,
    EmptyColumnsCount,
    LogLoss,
    RocAuc,
    ValueDrift,
)
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss

from bundle.signature import Feature, Signature
from observability.monitors.pooling import ColumnPair, chance_threshold
from observability.monitors.settings import DriftSettings
from observability.monitors.verdicts import (
    ErrorMetrics,
    FeatureDrift,
    QualityVerdict,
)

#: what a report is known to raise on data that it cannot take
_REFUSALS: Final = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
_TESTS: Final = frozenset({"ks", "chisquare"})
#: columns above which nothing is counted: it compares every two of them, which took half of a window's time
_WIDEST: Final = 100
#: what it counts, by the name in a verdict
COUNTS: Final = {
    "duplicated_rows": DuplicatedRowCount,
    "duplicated_columns": DuplicatedColumnsCount,
    "constant_columns": ConstantColumnsCount,
    "empty_columns": EmptyColumnsCount,
}


def feature_drift(feature: Feature, pair: ColumnPair, check: DriftSettings, why_not: str | None) -> FeatureDrift:
    """One column by the method of Evidently's that the settings name, with the threshold beside it."""
    numeric = feature.type == "numeric"
    method = check.numeric_method if numeric else check.categorical_method
    threshold = check.numeric_threshold if numeric else check.categorical_threshold
    score, reason = None, why_not or _why_not(pair, check.min_rows)
    if reason is None:
        threshold = max(threshold, 0.0 if numeric else chance_threshold(method, pair))
        score, reason = _score(pair, numeric, method, threshold)
    return FeatureDrift(
        feature=feature.name,
        method=method,
        score=score,
        threshold=threshold,
        drifted=None if score is None else (score <= threshold if method in _TESTS else score >= threshold),
        missing_share=pair.missing_share,
        reference_missing_share=pair.reference_missing_share,
        unseen_share=pair.unseen_share,
        reason=reason,
    )


def _why_not(pair: ColumnPair, min_rows: int) -> str | None:
    for name, column in (("the window", pair.current), ("the reference", pair.reference)):
        if len(column) < min_rows:
            return f"{len(column)} values in {name}, {min_rows} are needed"
    if pair.reference_missing_share == 1:
        return "the reference holds no values"
    return None


def _score(pair: ColumnPair, numeric: bool, method: str, threshold: float) -> tuple[float | None, str | None]:
    """Evidently's score of one column, or why it gave none."""
    current, reference = pd.DataFrame({"value": pair.current}), pd.DataFrame({"value": pair.reference})
    definition = DataDefinition(
        numerical_columns=["value"] if numeric else [], categorical_columns=[] if numeric else ["value"]
    )
    metric = ValueDrift(column="value", method=method, threshold=threshold)
    try:
        with _quiet():
            score = _values([metric], current, reference, definition)[0]
    except _REFUSALS as error:
        return None, f"Evidently could not compare it: {type(error).__name__}: {error}"
    return (score, None) if np.isfinite(score) else (None, f"Evidently's {method} is not a number")


def count_quality(frame: pd.DataFrame, signature: Signature) -> QualityVerdict:
    """What Evidently counts of a window's data, without the shares; None with a reason where it could not."""
    present = [feature for feature in signature.features if feature.name in frame]
    nothing = QualityVerdict(missing_share={}, unseen_share={}, out_of_range_share={})
    if frame.empty or not present:
        return nothing.model_copy(update={"reason": "there are no rows with features"})
    if len(present) > _WIDEST:
        reason = f"duplicates are counted of up to {_WIDEST} columns, these are {len(present)}"
        return nothing.model_copy(update={"reason": reason})
    definition = DataDefinition(
        numerical_columns=[feature.name for feature in present if feature.type == "numeric"],
        categorical_columns=[feature.name for feature in present if feature.type == "categorical"],
    )
    try:
        with _quiet():
            counts = _values(
                [count() for count in COUNTS.values()], _plain(frame.reset_index(drop=True), present), None, definition
            )
    except _REFUSALS as error:
        reason = f"Evidently could not summarise the window: {type(error).__name__}: {error}"
        return nothing.model_copy(update={"reason": reason})
    return nothing.model_copy(update={name: int(count) for name, count in zip(COUNTS, counts, strict=True)})


def _plain(frame: pd.DataFrame, features: Sequence[Feature]) -> pd.DataFrame:
    """The features as numbers and as text, with None for what is missing; text as neutral codes."""
    columns: dict[str, Any] = {}
    for feature in features:
        column = frame[feature.name]
        if feature.type == "numeric":
            columns[feature.name] = pd.to_numeric(column, errors="coerce").astype(float)
        else:
            codes = pd.factorize(column.where(column.notna() & (column != ""), None).astype(object))[0]
            columns[feature.name] = pd.Series(codes).map(lambda code: None if code < 0 else f"category {code}")
    return pd.DataFrame(columns)


def error_metrics(
    labels: npt.NDArray[np.float64], scores: npt.NDArray[np.float64], predictions: npt.NDArray[np.float64]
) -> ErrorMetrics:
    """Errors of scores and 0/1 predictions against 0/1 labels.

    Evidently's, but for what it does not have (average precision, Brier) and for labels of a single class,
    which it cannot take.
    """
    if not len(labels):
        return ErrorMetrics()
    scores = np.clip(scores, 0.0, 1.0)
    brier = float(brier_score_loss(labels, scores, pos_label=1))
    if len(np.unique(labels)) < 2:
        loss = float(log_loss(labels, scores, labels=[0, 1]))
        return ErrorMetrics(log_loss=loss, error=float(np.mean(labels != predictions)), brier=brier)
    frame = pd.DataFrame({"label": labels.astype(int), "prediction": predictions.astype(int), "score": scores})
    definition = DataDefinition(
        numerical_columns=["score"],
        categorical_columns=["label", "prediction"],
        classification=[
            BinaryClassification(target="label", prediction_labels="prediction", prediction_probas="score", pos_label=1)
        ],
    )
    with _quiet():
        roc_auc, loss, accuracy = _values([RocAuc(), LogLoss(), Accuracy()], frame, None, definition)
    pr_auc = float(average_precision_score(labels, scores))
    return ErrorMetrics(roc_auc=roc_auc, pr_auc=pr_auc, log_loss=loss, error=1 - accuracy, brier=brier)


def _values(
    metrics: Sequence[Any], current: pd.DataFrame, reference: pd.DataFrame | None, definition: DataDefinition
) -> list[float]:
    """The metrics' values, in their order."""
    past = None if reference is None else Dataset.from_pandas(reference, data_definition=definition)
    run = Report(list(metrics)).run(Dataset.from_pandas(current, data_definition=definition), past)
    return [float(metric["value"]) for metric in run.dict()["metrics"]]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of third parties about divisions that are guarded here."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
