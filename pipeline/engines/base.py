"""The port that an engine fills: run the layers, fit the user's pipeline, score, export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from bundle.columns import Columns
from bundle.signature import Signature

Scores: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int64]
#: the user's pipeline function: the signature in, an unfitted pipeline out
PipelineFunction: TypeAlias = Callable[[Signature], Any]


class Step(Protocol):
    """A pure function from rows to rows. Where `by_id` holds, all rows of an id are in one call."""

    @property
    def by_id(self) -> bool: ...
    @property
    def source(self) -> pa.Schema: ...
    @property
    def target(self) -> pa.Schema: ...
    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame: ...


class Answers(NamedTuple):
    """What a pipeline says of rows, in their order."""

    scores: Scores
    predictions: Labels


class Fitted(Protocol):
    """A pipeline that has learned."""

    def score(self, features: Columns) -> Scores:
        """The probability of class 1 for each row of model columns, in order. Raises PipelineCodeError."""
        ...

    def answer(self, features: Columns) -> Answers:
        """The scores, and what the pipeline itself predicts. Raises PipelineCodeError."""
        ...

    def export(self) -> bytes:
        """The same as ONNX: an input a feature, outputs label and probabilities. Raises PipelineCodeError."""
        ...


class Engine(Protocol):
    """Runs everything that grows with the data."""

    def run(self, step: Step, source: Path, target: Path) -> None:
        """Write the step's rows as Parquet by day, whole or not at all. Raises RecipeError."""
        ...

    def fit(self, build: PipelineFunction, signature: Signature, features: Columns, labels: Labels) -> Fitted:
        """Build the user's pipeline and fit it. Raises RecipeError or PipelineCodeError."""
        ...

    def close(self) -> None:
        """Give back what the engine holds."""
        ...


def training_frame(signature: Signature, features: Columns, labels: Labels) -> pd.DataFrame:
    """The columns that a pipeline is fitted on: the features, and the label under its name."""
    frame = pd.DataFrame({name: features[name] for name in signature.feature_names})
    return frame.assign(**{signature.label: labels.astype(np.float64)})


def short(error: BaseException) -> str:
    """The first line of an error: what a user can act on, without the frames of an engine."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:500]}" if lines else type(error).__name__
