"""Dashboards of the log pipeline itself, and of what the processes log."""

from __future__ import annotations

from typing import Final

from observability.kibana.conditions import Is
from observability.kibana.dashboards.models import BY_TIME
from observability.kibana.panels import Control, Dashboard, Lines, Metric, Over, Panel, Top
from observability.kibana.views import COME, LAG

_BY_STREAM: Final = Top("event.dataset", "stream", 20)
_LINES: Final = (Metric("lines"),)
_ERRORS: Final = Is("log.level", "error", "critical")
_TROUBLE: Final = Is("log.level", "warning", "error", "critical")
_SHOWN: Final = ("log.level", "service.name", "log.logger", "message", "error.message", "http.request.id")

PIPELINE: Final = Dashboard(
    slug="pipeline",
    title="Driftgate: log pipeline",
    about="Whether what is spooled comes here, and how soon: the lag is from an event's being observed to its being "
    "indexed. What a log store refused is no document, so dead letters are not here: `driftgate ledger` and "
    "`driftgate logs dead-letters` have them, and Prometheus has `driftgate_events_dead_lettered_total`. What the "
    "shipper says when it has to wait is below.",
    controls=(Control("event.dataset", "Stream", "all"),),
    runbook=("DriftgateShippingBehind", "DriftgateShippingStopped", "DriftgateDeadLetters", "DriftgateSpoolFilling",
             "DriftgateLinesUnaccounted"),
    panels=(
        Panel("Documents", "all", "number", (Metric("documents"),), width=16, height=6),
        Panel("Lag, p95", "arrivals", "number", (Metric("of all streams", "percentile", LAG, percentile=95,
              unit="milliseconds"),), width=16, height=6),
        Panel("Troubles of the shipper", "service", "number", _LINES,
              where=(Is("service.name", "shipper"), _TROUBLE), width=16, height=6, whole=True),
        Panel("Documents by stream", "all", "bars", (Metric("documents"),), (_BY_STREAM, BY_TIME)),
        Panel("Documents indexed by stream", "arrivals", "bars", (Metric("documents"),),
              (_BY_STREAM, Over(COME)), note="By when they came here, not by when it happened."),
        Panel("Ingest lag", "arrivals", "line",
              (Metric("p50", "percentile", LAG, percentile=50, unit="milliseconds"),
               Metric("p95", "percentile", LAG, percentile=95, unit="milliseconds"),
               Metric("largest", "max", LAG, unit="milliseconds")), (Over(COME),)),
        Panel("Streams", "arrivals", "table",
              (Metric("documents"), Metric("p95 of lag", "percentile", LAG, percentile=95, unit="milliseconds"),
               Metric("largest lag", "max", LAG, unit="milliseconds")), (_BY_STREAM,)),
        Panel("Troubles of processes", "service", "bars", _LINES, (Top("service.name", "service"), BY_TIME),
              (_TROUBLE,), whole=True),
        Panel("Errors by logger", "service", "table", _LINES,
              (Top("service.name", "service", 5), Top("log.logger", "logger", 20)), (_ERRORS,), whole=True),
        Lines("What the shipper says", "service", _SHOWN, (Is("service.name", "shipper"), _TROUBLE)),
    ),
)  # fmt: skip

LOGS: Final = Dashboard(
    slug="logs",
    title="Driftgate: service logs",
    about="What the processes log: search the lines below. All lines of one request have its `http.request.id`, and "
    "so have its predictions.",
    controls=(Control("service.name", "Service", "service"), Control("log.level", "Level", "service"),
              Control("host.name", "Host", "service")),
    runbook=("DriftgateErrorsLogged", "DriftgateLogLinesRefused", "DriftgateProcessRestarts"),
    panels=(
        Panel("Lines by level", "service", "bars", _LINES, (Top("log.level", "level"), BY_TIME)),
        Panel("Lines by service", "service", "bars", _LINES, (Top("service.name", "service"), BY_TIME)),
        Panel("Loggers", "service", "table",
              (Metric("lines"), Metric("errors", where=(_ERRORS,))), (Top("log.logger", "logger", 20),), width=16),
        Panel("Errors", "service", "table", _LINES, (Top("error.type", "error", 20),), width=16),
        Panel("Processes", "service", "table", (Metric("lines"), Metric("processes", "unique", "process.pid")),
              (Top("host.name", "host"), Top("service.name", "service", 5)), width=16),
        Lines("Lines", "service", _SHOWN, height=28),
    ),
)  # fmt: skip
