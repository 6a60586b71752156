"""The reference of a version: what a window is compared with."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

#: values of the column `part`: training rows with their features; out-of-time rows with score and label
FEATURES_PART: Final = "features"
SCORES_PART: Final = "scores"


class ReferenceUnreadable(ValueError):
    """The bytes are no reference."""


@dataclass(frozen=True)
class Reference:
    """Features of the version's training rows, and its scores beside the labels of its out-of-time rows."""

    features: pd.DataFrame
    scores: npt.NDArray[np.float64]
    labels: npt.NDArray[np.float64]

    @classmethod
    def read(cls, data: bytes) -> Reference:
        """The reference in a version's reference.parquet. Raises ReferenceUnreadable."""
        try:
            frame = pq.read_table(io.BytesIO(data)).to_pandas()
        except pa.ArrowException as error:
            raise ReferenceUnreadable(f"the reference is not a Parquet file: {error}") from error
        if lacking := {"part", "score", "label"} - set(frame.columns):
            raise ReferenceUnreadable(f"the reference has no column {', '.join(sorted(lacking))}")
        scored = frame[frame["part"] == SCORES_PART]
        trained = frame[frame["part"] == FEATURES_PART]
        return cls(
            features=trained.drop(columns=["part", "score", "label"]).reset_index(drop=True),
            scores=scored["score"].to_numpy(np.float64),
            labels=scored["label"].to_numpy(np.float64),
        )
