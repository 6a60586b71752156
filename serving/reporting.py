"""What was answered, as events in the spool.

They are built as plain data, because checking them on the way out would cost more than answering. A test
proves that every line is an event of the schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from observability.documents import ECS_VERSION, NANOSECONDS, document_of, missing_of, sample_point
from observability.ids import new_id, sample_key
from observability.spool.writer import SpoolFull, SpoolWriter
from serving.requests import Truth
from serving.scoring import Verdict


class Answered(NamedTuple):
    """A request's predictions, column by column, with what the rival said of the same rows."""

    model: str
    verdict: Verdict
    event_times: Sequence[datetime] | None
    observed: datetime
    latency_ms: float
    #: of the HTTP request
    request_id: str | None = None


def prediction_lines(batch: Answered, ids: Sequence[str]) -> list[bytes]:
    """One spool line a prediction, as `documents.prediction_document` would have it.

    Each request waits for this, so what its predictions share is put together once, and nothing in between is made.
    """
    given, http = batch.verdict.given, {"request": {"id": batch.request_id}}
    event = {
        "kind": "event",
        "dataset": "driftgate.prediction",
        "created": batch.observed,
        "duration": round(round(batch.latency_ms, 3) * NANOSECONDS),
    }
    shared = {
        "schema_version": 1,
        "model": batch.model,
        "version": given.version,
        "role": batch.verdict.role,
        "score_ms": round(given.ms, 3),
    }
    names = tuple(given.features)
    rows = zip(*[column.tolist() for column in given.features.values()], strict=True)
    lines = []
    for row, values in enumerate(rows):
        key, features = sample_key(ids[row]), dict(zip(names, values, strict=True))
        own = {
            **shared,
            "sample_key": key,
            "sample_point": sample_point(key),
            "score": given.scores[row],
            "prediction": given.predictions[row],
            "raw": given.raw[row],
            "features": features,
        }
        if missing := missing_of(features):
            own["missing"] = missing
        if (rival := _rival(batch.verdict, row)) is not None:
            own["rival"] = rival
        document = {
            "@timestamp": batch.event_times[row] if batch.event_times else batch.observed,
            "ecs": _ECS,
            "event": {"id": ids[row], **event},
            "driftgate": own,
        }
        if batch.request_id is not None:
            document["http"] = http
        lines.append(orjson.dumps(document))
    return lines


_ECS: Final = {"version": ECS_VERSION}


def _rival(verdict: Verdict, row: int) -> Mapping[str, Any] | None:
    """What the other version said of a row; of one that could not score, only which it was."""
    if verdict.other_version is None:
        return None
    version = {"version": verdict.other_version}
    if verdict.other is None:
        return version
    return {**version, "ms": round(verdict.other.ms, 3), "score": verdict.other.scores[row]}


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
