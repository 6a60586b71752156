"""Prometheus metrics of a process: told on a port of its own, to whoever asks there."""

from __future__ import annotations

import errno
import logging
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Literal
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from observability.telemetry.logs import Logs
from observability.telemetry.settings import MetricsSettings, refuse_open

LOG: Final = logging.getLogger(__name__)
#: what is asked at a scrape may be as old as this: two Prometheus servers ask once
FRESH_SECONDS: Final = 5.0
#: and asking takes at most this share of the time
_SHARE: Final = 0.05
#: for what a person or a program waits for
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: for what is done again and again in the background
LONG_SECONDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0)
#: a value by those of its labels
Values = Mapping[Any, float]


@dataclass(frozen=True)
class Measure:
    """A metric as it is declared: by this it is counted, exposed and described in docs/reference/metrics.md."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = SECONDS

    def counter(self, registry: CollectorRegistry) -> Counter:
        """Counted where it happens."""
        return Counter(self.name, self.help, self.labels, registry=registry)

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        """Set where it happens."""
        return Gauge(self.name, self.help, self.labels, registry=registry)

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        """Observed where it happens."""
        return Histogram(self.name, self.help, self.labels, registry=registry, buckets=self.buckets)

    def family(self, values: Values | float | None) -> Metric:
        """As it stands at a scrape; without samples where it is not known."""
        made = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        found = made(self.name, self.help, labels=self.labels)
        known = {} if values is None else values if isinstance(values, Mapping) else {(): float(values)}
        for labels, value in sorted(known.items()):
            found.add_metric(labels, value)
        return found


LOG_LINES: Final = Measure(
    "driftgate_log_lines_total", "counter", "Lines of the process's log, on stderr at least.", ("level",)
)
LOG_LINES_REFUSED: Final = Measure(
    "driftgate_log_lines_refused_total", "counter",
    "Lines of the process's log that are on stderr only: its queue was full, they came too fast, or the spool is full.",
    ("reason",),
)  # fmt: skip
ANSWERED: Final = Measure(
    "driftgate_http_requests_total", "counter", "Answered requests.", ("method", "route", "status")
)
ANSWER_SECONDS: Final = Measure(
    "driftgate_http_request_duration_seconds", "histogram",
    "From a request's first byte to the end of its answer; without those that wait for a change.", ("route",),
)  # fmt: skip
OF_EVERY_PROCESS: Final = (LOG_LINES, LOG_LINES_REFUSED)


class Read(Collector):
    """Metrics that are read from somewhere when they are asked for, by one thread at a time, and kept for a moment.

    What cannot be read has no samples: a wrong number would be worse, and the reason is in the log once.
    """

    def __init__(
        self,
        measures: Sequence[Measure],
        read: Callable[[], Mapping[Measure, Values | float | None]],
        fresh: float = FRESH_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._measures, self._read = measures, read
        self._fresh, self._monotonic = fresh, monotonic
        self._known: Mapping[Measure, Values | float | None] = {}
        self._until = float("-inf")
        self._failed = False
        self._lock = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        return [measure.family(None) for measure in self._measures]

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            if self._monotonic() >= self._until:
                self._refresh()
            known = self._known
        return [measure.family(known.get(measure)) for measure in self._measures]

    def _refresh(self) -> None:
        begun = self._monotonic()
        try:
            self._known, self._failed = self._read(), False
        except Exception as error:  # noqa: BLE001 - whatever it is, the other metrics must be told
            if not self._failed:
                LOG.warning("some metrics cannot be read for the moment: %s: %s", type(error).__name__, error)
            self._known, self._failed = {}, True
        now = self._monotonic()
        self._until = now + max(self._fresh, (now - begun) / _SHARE)


class Requests(Collector):
    """Counts answered requests by route, method and status.

    It is called by the one thread that answers, a few times in a millisecond: so it adds to plain numbers, which the
    thread that is asked for them copies.
    """

    def __init__(self, registry: CollectorRegistry, route_of: Callable[[Any], str]) -> None:
        self._route_of = route_of
        self._answered: dict[tuple[str, str, int], int] = {}
        #: by route: how many took up to each bound, those that took longer, and the sum of seconds
        self._seconds: dict[str, list[float]] = {}
        registry.register(self)

    def __call__(self, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        method, route = scope["method"], self._route_of(scope)
        key = (method if method in _METHODS else "other", route, status)
        self._answered[key] = self._answered.get(key, 0) + 1
        if b"wait=" in scope["query_string"]:
            return
        took = self._seconds.get(route)
        if took is None:
            took = self._seconds[route] = [0.0] * (len(SECONDS) + 2)
        took[bisect_left(SECONDS, seconds)] += 1
        took[-1] += seconds

    def describe(self) -> Iterable[Metric]:
        return [ANSWERED.family(None), HistogramMetricFamily(ANSWER_SECONDS.name, ANSWER_SECONDS.help)]

    def collect(self) -> Iterable[Metric]:
        counts = {(method, route, str(status)): n for (method, route, status), n in dict(self._answered).items()}
        yield ANSWERED.family(counts)
        took = HistogramMetricFamily(ANSWER_SECONDS.name, ANSWER_SECONDS.help, labels=ANSWER_SECONDS.labels)
        for route, known in sorted(dict(self._seconds).items()):
            *bins, total = list(known)
            bounds = [*(str(bound) for bound in SECONDS), "+Inf"]
            took.add_metric([route], list(zip(bounds, accumulate(bins), strict=True)), total)
        yield took


_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


def new_registry(logs: Logs | None = None) -> CollectorRegistry:
    """What every process tells of itself: processor time, memory, open files, its log."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    if logs is not None:
        registry.register(
            Read(
                OF_EVERY_PROCESS,
                lambda: {LOG_LINES: _by_label(logs.lines), LOG_LINES_REFUSED: _by_label(logs.refused)},
                fresh=0.0,
            )
        )
    return registry


def _by_label(counts: Mapping[str, int]) -> Values:
    return {(name,): float(count) for name, count in counts.items()}


@contextmanager
def told(registry: CollectorRegistry, settings: MetricsSettings, port: int, port_setting: str) -> Iterator[int | None]:
    """The metrics are told at this port while the context is open; yields the port, or None where they are not.

    Port 0 is for no metrics. A port that is taken is a warning: who cannot be measured goes on working, and Prometheus
    tells that nobody answers. Raises MetricsUnsafe.
    """
    refuse_open(settings)
    server = _listen(registry, settings.host, port, port_setting) if port else None
    try:
        yield server.server_port if server else None
    finally:
        if server is not None:
            server.shutdown()
            server.server_close()


def _listen(registry: CollectorRegistry, host: str, port: int, port_setting: str) -> WSGIServer | None:
    try:
        server, _thread = start_http_server(port, host, registry)
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be listened on ({error})"
        LOG.warning("no metrics: %s:%d %s; choose another port with %s", host, port, why, port_setting)
        return None
    return server
