"""The reference of a version: what a window is compared with."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from observability.monitors.drift.history import History
from observability.windows import Segment

#: values of the column `part`: training rows with their features; out-of-time rows with score and label
FEATURES_PART: Final = "features"
SCORES_PART: Final = "scores"
#: under which keys the file keeps what the training rows' past says of the features, and that of the others of scores
HISTORY_KEY: Final = b"driftgate.overdispersion"
SCORE_HISTORY_KEY: Final = b"driftgate.overdispersion.score"
#: a window's rows, where nobody says how many they are
USUAL_ROWS: Final = 2_000
#: a reference of fewer rows says nothing: that of a test's chance is as large as what it should find
LEAST_ROWS: Final = 30


class ReferenceUnreadable(ValueError):
    """The bytes are no reference."""


@dataclass(frozen=True)
class Reference:
    """What a window is compared with: features, usual scores, and scores beside labels where the errors are known."""

    features: pd.DataFrame
    #: of the version's out-of-time rows: what it scored, and the truth
    scores: npt.NDArray[np.float64]
    labels: npt.NDArray[np.float64]
    #: features of the out-of-time rows
    scored: pd.DataFrame = field(default_factory=pd.DataFrame)
    #: scores that those of a window are compared with; of the out-of-time rows where it is None
    usual: npt.NDArray[np.float64] | None = None
    #: by column, how much more it varies between spans of the past than chance explains (drift.history); 1 is left out
    overdispersion: Mapping[str, float] = field(default_factory=dict)
    #: what that follows from, for windows of every size and length: the past of the features, and of the scores
    history: History = field(default_factory=History)
    score_history: History = field(default_factory=History)
    #: why nothing can be compared with it
    reason: str | None = None

    @property
    def usual_scores(self) -> npt.NDArray[np.float64]:
        return self.scores if self.usual is None else self.usual

    @classmethod
    def read(cls, data: bytes) -> Reference:
        """The reference in a version's reference.parquet. Raises ReferenceUnreadable."""
        try:
            table = pq.read_table(io.BytesIO(data))
            frame = table.to_pandas()
        except pa.ArrowException as error:
            raise ReferenceUnreadable(f"the reference is not a Parquet file: {error}") from error
        if lacking := {"part", "score", "label"} - set(frame.columns):
            raise ReferenceUnreadable(f"the reference has no column {', '.join(sorted(lacking))}")
        scored = frame[frame["part"] == SCORES_PART]
        return cls(
            features=_features(frame[frame["part"] == FEATURES_PART]),
            scores=scored["score"].to_numpy(np.float64),
            labels=scored["label"].to_numpy(np.float64),
            scored=_features(scored),
            history=_history(table, HISTORY_KEY),
            score_history=_history(table, SCORE_HISTORY_KEY),
        ).beside(USUAL_ROWS)

    def beside(self, rows: int, length: timedelta | None = None) -> Reference:
        """With the over-dispersion that a window of so many rows, from so long a time, has to allow for."""
        features = self.history.overdispersion(rows, len(self.features), length)
        scores = self.score_history.overdispersion(rows, len(self.usual_scores), length)
        return replace(self, overdispersion={**features, **scores})

    def of(self, segment: Segment) -> Reference:
        """The rows of one segment only; without features of the scored rows none of those is known to be of it."""
        scored = _is_of(self.scored, segment)
        if not len(scored):
            scored = np.zeros(len(self.scores), dtype=bool)
        return replace(
            self,
            features=self.features[_is_of(self.features, segment)].reset_index(drop=True),
            scores=self.scores[scored],
            labels=self.labels[scored],
            scored=self.scored[scored].reset_index(drop=True) if len(self.scored) else self.scored,
        )

    def served(self, features: pd.DataFrame, usual: npt.NDArray[np.float64]) -> Reference:
        """The same errors, beside features and scores of the past that was served.

        What is known of the training rows' past still holds: it is how this traffic varies from span to span.
        """
        return replace(self, features=features, usual=usual)

    def judged(self) -> Reference:
        """With the reason why it says nothing, where it has too few rows."""
        rows = len(self.features)
        if rows >= LEAST_ROWS:
            return self
        return replace(self, reason=f"cannot tell: the reference has {rows} rows, {LEAST_ROWS} are needed")


def _history(table: pa.Table, key: bytes) -> History:
    """Nothing in a file that was written before there was any."""
    kept = (table.schema.metadata or {}).get(key)
    if kept is None:
        return History()
    try:
        return History.model_validate_json(kept)
    except ValidationError as error:
        raise ReferenceUnreadable(f"the history in the reference cannot be read: {error}") from error


def _features(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop(columns=["part", "score", "label"]).reset_index(drop=True)


def _is_of(rows: pd.DataFrame, segment: Segment) -> npt.NDArray[np.bool_]:
    if segment.feature not in rows:
        return np.zeros(len(rows), dtype=bool)
    return np.asarray(rows[segment.feature] == segment.value, dtype=bool)
