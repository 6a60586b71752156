"""What serving tells of itself. In a request two numbers are counted; the rest is read when it is asked for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry

from observability.spool.writer import SpoolWriter
from observability.telemetry.metrics import Measure, Read, Requests, Values
from observability.telemetry.shipping import bytes_of
from serving.answering import Answering
from serving.poller import Poller

PREDICTIONS: Final = Measure("driftgate_predictions_total", "counter", "Answered rows.", ("model",))
LABELS: Final = Measure("driftgate_labels_total", "counter", "Labels that were taken.", ("model",))
REFUSALS: Final = Measure(
    "driftgate_serving_refusals_total", "counter", "Refused requests, by the error's code.", ("code",)
)
READY: Final = Measure("driftgate_serving_ready", "gauge", "1 while every model that should answer can.")
LOADED: Final = Measure("driftgate_serving_versions_loaded", "gauge", "Versions in memory.", ("model",))
FAILED: Final = Measure("driftgate_serving_versions_failed", "gauge", "Versions that cannot be loaded.", ("model",))
PRODUCTION: Final = Measure(
    "driftgate_serving_production_version", "gauge", "The number of the version that answers.", ("model",)
)
RIVAL_FAILURES: Final = Measure(
    "driftgate_serving_rival_failures_total",
    "counter",
    "Requests that the rival of a rollout could not score.",
    ("model",),
)
CONTROL_AGE: Final = Measure(
    "driftgate_serving_control_plane_age_seconds", "gauge", "How long ago the control plane last answered."
)
SPOOL_WRITTEN: Final = Measure(
    "driftgate_serving_spool_written_total", "counter", "Predictions and labels that were written to the spool."
)
SPOOL_REFUSED: Final = Measure(
    "driftgate_serving_spool_refused_total", "counter",
    "Predictions that were answered and labels that were refused because the spool took no more.",
)  # fmt: skip
SPOOL_RATIO: Final = Measure("driftgate_serving_spool_quota_ratio", "gauge", "How much of its quota the spool holds.")
MEASURES: Final = (
    PREDICTIONS, LABELS, REFUSALS, READY, LOADED, FAILED, PRODUCTION, RIVAL_FAILURES, CONTROL_AGE, SPOOL_WRITTEN,
    SPOOL_REFUSED, SPOOL_RATIO,
)  # fmt: skip


class ServingMetrics:
    """The metrics of one serving process."""

    def __init__(
        self, registry: CollectorRegistry, answering: Answering, poller: Poller, spool: SpoolWriter, quota_bytes: int
    ) -> None:
        self.answered = Requests(registry, route_of)
        self._refusals: Counter[str] = Counter()
        self._answering, self._poller, self._spool, self._quota_bytes = answering, poller, spool, quota_bytes
        registry.register(Read(MEASURES, self._read, fresh=0.0))

    def refused(self, code: str) -> None:
        """A request was refused."""
        self._refusals[code] += 1

    def _read(self) -> Mapping[Measure, Values | float | None]:
        answering, poller, spool = self._answering, self._poller, self._spool
        slots = poller.slots
        failed = Counter(wanted.model for wanted, _ in poller.failed)
        return {
            PREDICTIONS: _labelled(answering.predicted),
            LABELS: _labelled(answering.labelled),
            REFUSALS: _labelled(self._refusals),
            READY: float(poller.ready),
            LOADED: _labelled(Counter(wanted.model for wanted in poller.loaded)),
            FAILED: _labelled({**dict.fromkeys(slots.models, 0), **failed}),
            PRODUCTION: _labelled({model: slot.production.wanted.version for model, slot in slots.serving.items()}),
            RIVAL_FAILURES: _labelled(answering.rival_failures()),
            CONTROL_AGE: time.monotonic() - poller.answered_at,
            SPOOL_WRITTEN: spool.written,
            SPOOL_REFUSED: spool.refused,
            SPOOL_RATIO: bytes_of(spool.folder) / self._quota_bytes,
        }


def route_of(scope: Mapping[str, Any]) -> str:
    """The name of the route that answered; `none` where the request was not let in or led nowhere."""
    return getattr(scope.get("endpoint"), "__name__", "none")


def _labelled(counts: Mapping[str, int]) -> Values:
    return {(name,): float(count) for name, count in dict(counts).items()}
