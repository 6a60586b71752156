"""What was answered, as events in the spool.

They are built as plain data, because checking them on the way out would cost more than answering. A test
proves that every line is an event of the schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from observability.documents import document_of, prediction_document
from observability.ids import new_id, sample_key
from observability.spool.writer import SpoolFull, SpoolWriter
from serving.requests import Truth
from serving.scoring import Verdict


@dataclass(frozen=True)
class Answered:
    """A request's predictions, column by column, with what the rival said of the same rows."""

    model: str
    verdict: Verdict
    event_times: Sequence[datetime] | None
    observed: datetime
    latency_ms: float
    #: of the HTTP request
    request_id: str | None = None


def prediction_lines(batch: Answered, ids: Sequence[str]) -> list[bytes]:
    """One spool line a prediction."""
    given = batch.verdict.given
    names = tuple(given.features)
    features = zip(*(column.tolist() for column in given.features.values()), strict=True)
    times = batch.event_times or [batch.observed] * len(ids)
    rivals = _rival_columns(batch.verdict, len(ids))
    same = {
        "kind": "prediction",
        "schema_version": 1,
        "model": batch.model,
        "version": given.version,
        "role": batch.verdict.role,
        "observed_time": batch.observed,
        "latency_ms": round(batch.latency_ms, 3),
        "score_ms": round(given.ms, 3),
        "request_id": batch.request_id,
    }
    return [
        orjson.dumps(
            prediction_document(
                {
                    **same,
                    "id": ids[row],
                    "event_time": times[row],
                    "sample_key": sample_key(ids[row]),
                    "score": given.scores[row],
                    "prediction": given.predictions[row],
                    "raw": given.raw[row],
                    "features": dict(zip(names, values, strict=True)),
                    **rivals[row],
                }
            )
        )
        for row, values in enumerate(features)
    ]


_NO_RIVAL: Final[Mapping[str, Any]] = {}


def _rival_columns(verdict: Verdict, rows: int) -> Sequence[Mapping[str, Any]]:
    """What the other version said of each row; of one that could not score, only which it was."""
    if verdict.other_version is None:
        return [_NO_RIVAL] * rows
    version = {"rival_version": verdict.other_version}
    if verdict.other is None:
        return [version] * rows
    same = {**version, "rival_ms": round(verdict.other.ms, 3)}
    return [{**same, "rival_score": score} for score in verdict.other.scores]


def label_lines(model: str, truths: Sequence[Truth], observed: datetime) -> list[bytes]:
    """One spool line a label; its sample key is the prediction's, so both are sampled or neither is."""
    return [
        orjson.dumps(
            document_of(
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
        )
        for truth in truths
    ]


def spool_predictions(spool: SpoolWriter, lines: Sequence[bytes]) -> int:
    """Write the lines; say how many were refused: a prediction is answered also when it cannot be kept.

    That holds where the disk fails, too; the spool counts and tells what it did not take.
    """
    try:
        spool.write(lines)
    except SpoolFull as full:
        return full.refused
    except OSError:
        return len(lines)
    return 0
