"""Predictions and labels put straight into a world's log store, each as a test says."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from observability.events import LabelEvent, PredictionEvent
from observability.ids import sample_key
from observability.monitors.case import Case
from observability.monitors.reference import Reference
from observability.monitors.verdicts import WindowVerdict
from tests.controlplane_world import MODEL, START, Monitored, Scores


def prediction(minute: float, id: str | None = None, **changes: Any) -> PredictionEvent:
    """One that was answered so many minutes after START."""
    at = START + timedelta(minutes=minute)
    id = id or f"p{minute:012.3f}"
    values = {
        "id": id, "model": MODEL, "version": 1, "event_time": at, "observed_time": at, "sample_key": sample_key(id),
        "latency_ms": 1.0, "score": 0.5, "prediction": 1, "raw": {"followers": 1.0},
        "features": {"followers": 1.0, "place": "x"},
    }  # fmt: skip
    return PredictionEvent.model_validate(values | changes)


def label(of: str, value: int = 1, id: str | None = None) -> LabelEvent:
    """The truth of a prediction."""
    return LabelEvent(
        id=id or f"l-{of}", model=MODEL, prediction_id=of, label=value, label_time=START, observed_time=START,
        sample_key=sample_key(of),
    )  # fmt: skip


def put(world: Monitored, events: Iterable[PredictionEvent | LabelEvent]) -> None:
    assert world.logs.append(list(events)) == []


class Compared(Scores):
    """A scorer that keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.samples: list[Any] = []
        self.references: list[Reference] = []

    def __call__(self, case: Case) -> WindowVerdict:
        self.samples.append(case.sample)
        self.references.append(case.reference)
        return super().__call__(case)
