"""What others would expect of a chunk: its share of wrong answers, from scores and what is known of the reference."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from bundle.signature import Signature
from observability.monitors.case import Case
from observability.monitors.errors.estimated import estimate_error
from observability.monitors.reference import Reference
from observability.ports import Sample

Floats = npt.NDArray[np.float64]
#: of the rows of a chunk and their scores
Estimator: TypeAlias = Callable[[pd.DataFrame, Floats], float]


def as_the_reference(reference: Reference, _signature: Signature) -> Estimator:
    """Nothing changes."""
    error = float(np.mean((reference.scores > 0.5) != (reference.labels == 1)))
    return lambda _rows, _scores: error


def as_scored(_reference: Reference, _signature: Signature) -> Estimator:
    """The scores are probabilities."""
    return lambda _rows, scores: float(np.minimum(scores, 1 - scores).mean())


def plain_cbpe(reference: Reference, signature: Signature) -> Estimator:
    """Ours, where only the scores of the reference are known."""
    unseen = replace(reference, scored=pd.DataFrame())

    def estimate(_rows: pd.DataFrame, scores: Floats) -> float:
        frame = pd.DataFrame({"score": scores})
        said = estimate_error(Case("chunk", Sample(frame, len(frame), 0), unseen, signature))
        return float("nan") if said.error is None else said.error

    return estimate


def nannyml_cbpe(reference: Reference, _signature: Signature) -> Estimator:
    """NannyML's, where it is installed."""
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # before the import: telemetry is on by default
    make = importlib.import_module("nannyml").CBPE

    def answered(scores: Floats) -> pd.DataFrame:
        return pd.DataFrame({"score": scores, "answer": (scores > 0.5).astype(int)})

    known = answered(reference.scores).assign(label=reference.labels.astype(int))
    cbpe = make(
        metrics=["accuracy"], y_pred_proba="score", y_pred="answer", y_true="label",
        problem_type="classification_binary", chunk_number=1,
    ).fit(known)  # fmt: skip

    def estimate(_rows: pd.DataFrame, scores: Floats) -> float:
        said = cbpe.estimate(answered(scores)).filter(period="analysis").to_df()
        return 1 - float(said[("accuracy", "value")].iloc[0])

    return estimate


RIVALS: Final[Mapping[str, Callable[[Reference, Signature], Estimator]]] = {
    "as_reference": as_the_reference,
    "as_scored": as_scored,
    "plain": plain_cbpe,
}
