"""The log and the metrics of a serving process, from its start to its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from observability.telemetry.logs import set_up_logging
from observability.telemetry.metrics import new_registry, told
from observability.telemetry.settings import MetricsSettings
from serving.settings import Settings


@contextmanager
def telling(settings: Settings) -> Iterator[CollectorRegistry]:
    """JSON lines on stderr and in the spool, and metrics on a port of their own. Raises MetricsUnsafe.

    BentoML runs one process for each service here; where there are several instances on a machine, each needs a port.
    """
    metrics = MetricsSettings()
    with set_up_logging("serving", settings.folders.spool) as logs:
        registry = new_registry(logs)
        with told(registry, metrics, metrics.serving_port, "OBSERVABILITY_METRICS_SERVING_PORT"):
            yield registry
