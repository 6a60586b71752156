"""The models of a stream: the one that would be made after each batch, and what it says of every other batch."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from bench.drift_stage.s5_sets import Labels, Stream
from bundle.signature import Signature
from observability.monitors.reference import Reference
from pipeline.engines.base import Fitted
from pipeline.engines.sklearn import SklearnEngine

Scores = npt.NDArray[np.float64]
#: a model learns from so many batches, the newest
BATCHES: Final = 4


def learner(signature: Signature) -> Pipeline:
    """Fixed: boosted trees over ordinal categories; a category that training never saw gets a code of its own."""
    trees = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.15, early_stopping=False, random_state=0)
    text = [feature.name for feature in signature.features if feature.type == "categorical"]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("text", encoder, text)], remainder="passthrough")
    return Pipeline([("columns", columns), ("trees", trees)])


class Models:
    """A model is named by the last batch that it has learned from. The fits go through the scikit-learn engine."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._fitted: dict[tuple[int, int], Fitted] = {}
        self._scores: dict[tuple[int, int, int], Scores] = {}

    def scores(self, model: int, batch: int) -> Scores:
        """The scores of a batch by the model that learned from the four batches up to `model`."""
        return self._score(model - BATCHES + 1, model, batch)

    def labels(self, batch: int) -> Labels:
        return self.stream.part(batch, batch)[1]

    def wrong(self, model: int, batch: int) -> npt.NDArray[np.bool_]:
        """Which rows of the batch the model answers wrongly."""
        return (self.scores(model, batch) > 0.5) != (self.labels(batch) == 1)

    def accuracy(self, model: int, batch: int) -> float:
        return float(1 - self.wrong(model, batch).mean())

    def reference(self, model: int) -> Reference:
        """What the version is compared with: the rows it learned from, and errors on rows later than what was learned.

        The product holds the newest rows of a training set out. Here the learner is to learn from all four batches, so
        what is out of time is told by a model of the first three, on the fourth.
        """
        features, _ = self.stream.part(model - BATCHES + 1, model)
        scored, labels = self.stream.part(model, model)
        scores = self._score(model - BATCHES + 1, model - 1, model)
        return Reference(features=features, scores=scores, labels=labels.astype(float), scored=scored)

    def _score(self, first: int, last: int, batch: int) -> Scores:
        key = (first, last, batch)
        if key not in self._scores:
            frame, _ = self.stream.part(batch, batch)
            self._scores[key] = self._fit(first, last).score(_columns(frame))
        return self._scores[key]

    def _fit(self, first: int, last: int) -> Fitted:
        if (first, last) not in self._fitted:
            frame, labels = self.stream.part(first, last)
            fitted = SklearnEngine().fit(learner, self.stream.signature, _columns(frame), labels)
            self._fitted[(first, last)] = fitted
        return self._fitted[(first, last)]


def _columns(frame: pd.DataFrame) -> dict[str, npt.NDArray[np.generic]]:
    return {str(name): frame[name].to_numpy() for name in frame}
