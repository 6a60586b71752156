"""What was answered, as events in the spool.

They are built as plain data, because checking them on the way out would cost more than answering. A test
proves that every line is an event of the schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from bundle.columns import Columns
from observability.ids import new_id, sample_key
from observability.spool import SpoolFull, SpoolWriter


@dataclass(frozen=True)
class Answered:
    """A batch of predictions of one version, column by column."""

    model: str
    version: int
    raw: Sequence[Mapping[str, Any]]
    features: Columns
    scores: list[float]
    predictions: list[int]
    event_times: Sequence[datetime] | None
    observed: datetime
    latency_ms: float


@dataclass(frozen=True)
class Truth:
    """A label as a caller reported it."""

    prediction_id: str
    label: int
    label_time: datetime


def prediction_lines(batch: Answered, ids: Sequence[str]) -> list[bytes]:
    """One spool line a prediction."""
    names = tuple(batch.features)
    features = zip(*(column.tolist() for column in batch.features.values()), strict=True)
    times = batch.event_times or [batch.observed] * len(ids)
    latency = round(batch.latency_ms, 3)
    return [
        orjson.dumps(
            {
                "kind": "prediction",
                "schema_version": 1,
                "id": ids[row],
                "model": batch.model,
                "version": batch.version,
                "role": "production",
                "event_time": times[row],
                "observed_time": batch.observed,
                "sample_key": sample_key(ids[row]),
                "latency_ms": latency,
                "score": batch.scores[row],
                "prediction": batch.predictions[row],
                "raw": batch.raw[row],
                "features": dict(zip(names, values, strict=True)),
            }
        )
        for row, values in enumerate(features)
    ]


def label_lines(model: str, truths: Sequence[Truth], observed: datetime) -> list[bytes]:
    """One spool line a label; its sample key is the prediction's, so both are sampled or neither is."""
    return [
        orjson.dumps(
            {
                "kind": "label",
                "schema_version": 1,
                "id": new_id(),
                "model": model,
                "prediction_id": truth.prediction_id,
                "label": truth.label,
                "label_time": truth.label_time,
                "observed_time": observed,
                "sample_key": sample_key(truth.prediction_id),
            }
        )
        for truth in truths
    ]


def spool_predictions(spool: SpoolWriter, lines: Sequence[bytes]) -> int:
    """Write the lines; say how many were refused: a prediction is answered also when it cannot be kept."""
    try:
        spool.write(lines)
    except SpoolFull as full:
        return full.refused
    return 0
