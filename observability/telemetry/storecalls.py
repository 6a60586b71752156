"""How the log store answers: of each call how long it took, and how often there was no answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, cast

from prometheus_client import CollectorRegistry

from observability.ports import LogStore, LogStoreUnavailable
from observability.telemetry.metrics import LONG_SECONDS, Measure

CALL_SECONDS: Final = Measure(
    "driftgate_log_store_call_duration_seconds", "histogram", "How long the log store took to answer a call.",
    ("call",), LONG_SECONDS,
)  # fmt: skip
UNAVAILABLE: Final = Measure(
    "driftgate_log_store_unavailable_total", "counter",
    "Calls that the log store did not answer, or not as a whole: they are tried again.", ("call",),
)  # fmt: skip
MEASURES: Final = (CALL_SECONDS, UNAVAILABLE)


def counted(store: LogStore, registry: CollectorRegistry) -> LogStore:
    """The same store, whose calls are counted."""
    return cast(LogStore, _Counted(store, registry))


class _Counted:
    """Hands every call on, and measures it."""

    def __init__(self, store: LogStore, registry: CollectorRegistry) -> None:
        self._store = store
        self._seconds = CALL_SECONDS.histogram(registry)
        self._unavailable = UNAVAILABLE.counter(registry)
        self._unavailable.labels("append")

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of the store
        found = getattr(self._store, name)
        return self._measured(name, found) if callable(found) else found

    def _measured(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def calling(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - what the call takes and gives
            begun = time.perf_counter()
            try:
                answer = call(*given, **named)
            except LogStoreUnavailable:
                self._unavailable.labels(name).inc()
                raise
            self._seconds.labels(name).observe(time.perf_counter() - begun)
            return answer

        return calling
