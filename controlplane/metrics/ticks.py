"""How the ticks of a process go."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry

from observability.telemetry.metrics import LONG_SECONDS, Measure

TICK_SECONDS: Final = Measure(
    "driftgate_tick_duration_seconds",
    "histogram",
    "How long a tick took, also one that failed.",
    ("tick",),
    LONG_SECONDS,
)
TICK_FAILURES: Final = Measure(
    "driftgate_tick_failures_total", "counter", "Ticks that did not end well, by the kind of error.", ("tick", "reason")
)
TICK_LAST: Final = Measure(
    "driftgate_tick_last_success_timestamp_seconds", "gauge",
    "When a tick last ended well; at first, when the process began.", ("tick",),
)  # fmt: skip
MEASURES: Final = (TICK_SECONDS, TICK_FAILURES, TICK_LAST)


class Ticks:
    """Measures ticks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = TICK_SECONDS.histogram(registry)
        self._failures = TICK_FAILURES.counter(registry)
        self._last = TICK_LAST.gauge(registry)

    def measured(self, name: str, tick: Callable[[], None]) -> Callable[[], None]:
        """The same tick, measured under a name."""
        self._last.labels(name).set_to_current_time()

        def measuring() -> None:
            begun = time.perf_counter()
            try:
                tick()
            except BaseException as error:
                self._failures.labels(name, type(error).__name__).inc()
                raise
            else:
                self._last.labels(name).set_to_current_time()
            finally:
                self._seconds.labels(name).observe(time.perf_counter() - begun)

        return measuring
