"""The reference of a model that is made elsewhere: rows that its owner says are usual, in a version's form."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bundle.signature import Signature
from observability.monitors.drift.history import SCORE, encoded, history_of
from observability.monitors.reference import FEATURES_PART, HISTORY_KEY, SCORE_HISTORY_KEY, SCORES_PART

#: rows of each part that are kept, as of a version that is trained here
SAMPLE: Final = 10_000


def declared_reference(signature: Signature, frame: pd.DataFrame) -> bytes:
    """A version's reference.parquet, made of rows with the signature's feature columns and, where they are known,
    `event_time`, `score` and `label`.

    Rows with a score are compared with the scores of windows, and with their labels say what errors were usual.
    """
    times = frame.get("event_time")
    if times is not None:
        frame = frame.sort_values("event_time", kind="stable", ignore_index=True)
        times = frame["event_time"]
    features = pd.DataFrame({each.name: _column(frame[each.name], each.type) for each in signature.features})
    scores, labels = (_numbers(frame, name) for name in ("score", "label"))
    scored = np.isfinite(scores)
    none = np.full(len(features), np.nan)
    trained = _sampled(features.assign(part=FEATURES_PART, score=none, label=none))
    proven = _sampled(features.assign(part=SCORES_PART, score=scores, label=labels)[scored])
    usual = pd.DataFrame({SCORE.name: scores[scored]})
    score_times = times[scored].reset_index(drop=True) if times is not None else None
    beside = {
        HISTORY_KEY: encoded(history_of(features, signature.features, times)),
        SCORE_HISTORY_KEY: encoded(history_of(usual, [SCORE], score_times)),
    }
    return _parquet(pd.concat([trained, proven], ignore_index=True), beside)


def _column(values: pd.Series[Any], kind: str) -> pd.Series[Any]:
    return pd.to_numeric(values).astype(np.float32) if kind == "numeric" else values.astype(object)


def _numbers(frame: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    if name not in frame:
        return np.full(len(frame), np.nan)
    found: npt.NDArray[np.float64] = pd.to_numeric(frame[name]).to_numpy(np.float64)
    return found


def _sampled(part: pd.DataFrame) -> pd.DataFrame:
    return part if len(part) <= SAMPLE else part.sample(SAMPLE, random_state=0).sort_index()


def _parquet(frame: pd.DataFrame, beside: Mapping[bytes, bytes]) -> bytes:
    buffer = io.BytesIO()
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **beside}), buffer)
    return buffer.getvalue()
