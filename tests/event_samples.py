"""Events to test with: a prediction and its label at a number of seconds after a fixed instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from observability.events import ControlEvent, LabelEvent, PredictionEvent, ServiceEvent
from observability.ids import new_id, sample_key

MODEL = "default/tweets"
START = datetime(2021, 1, 16, 10, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def prediction(seconds: float, id: str | None = None, **changes: Any) -> PredictionEvent:
    id = id or new_id()
    values = {
        "id": id, "model": MODEL, "version": 1, "event_time": at(seconds), "observed_time": at(seconds),
        "sample_key": sample_key(id), "latency_ms": 2.5, "score": 0.25, "prediction": 0,
        "raw": {"text": "stay safe", "followers": 12}, "features": {"followers": 12.0, "place": "Paris"},
    }  # fmt: skip
    return PredictionEvent.model_validate(values | changes)


def label(of: str, value: float, seconds: float, id: str | None = None, **changes: Any) -> LabelEvent:
    values = {
        "id": id or new_id(), "model": MODEL, "prediction_id": of, "label": value, "label_time": at(seconds),
        "observed_time": at(seconds), "sample_key": sample_key(of),
    }  # fmt: skip
    return LabelEvent.model_validate(values | changes)


def decision(seconds: float, **body: Any) -> ControlEvent:
    return ControlEvent(
        kind="decision",
        id=new_id(),
        model=MODEL,
        event_time=at(seconds),
        observed_time=at(seconds),
        body=body,
    )


def line(seconds: float, message: str, **changes: Any) -> ServiceEvent:
    values = {
        "id": new_id(), "event_time": at(seconds), "observed_time": at(seconds), "service": "serving",
        "level": "info", "logger": "serving.app", "message": message,
    }  # fmt: skip
    return ServiceEvent.model_validate(values | changes)
