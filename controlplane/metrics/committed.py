"""What this process committed, counted as the database's sessions tell it: a rolled back transaction counts nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, event, inspect
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import UOWTransaction
from sqlmodel import Session

from controlplane.lifecycle import ACTIVE
from controlplane.store.database import is_passing
from controlplane.tables import Alert, AuditEntry, DecisionRecord, Firing, Rollout, ScoredWindow, TrainingRun
from observability.telemetry.metrics import Measure

DECISIONS: Final = Measure(
    "driftgate_decisions_total", "counter", "Decisions of rules that are new: not those that say the same again.",
    ("model", "reason"),
)  # fmt: skip
FIRINGS: Final = Measure("driftgate_firings_total", "counter", "Rules that fired.", ("model", "trigger"))
RUNS_ENDED: Final = Measure("driftgate_runs_ended_total", "counter", "Training runs that ended.", ("model", "state"))
ROLLOUTS_ENDED: Final = Measure("driftgate_rollouts_ended_total", "counter", "Rollouts that ended.", ("model", "state"))
ALERTS: Final = Measure("driftgate_alerts_raised_total", "counter", "Alerts that were opened.", ("name", "severity"))
AUDIT: Final = Measure("driftgate_audit_entries_total", "counter", "Changes by people and programs.", ("action",))
WINDOWS: Final = Measure("driftgate_windows_scored_total", "counter", "Windows cut and scored.", ("model",))
RESCORED: Final = Measure("driftgate_windows_rescored_total", "counter", "Windows scored again.", ("model",))
LATE: Final = Measure(
    "driftgate_late_events_total", "counter", "Predictions that came after their window was cut.", ("model",)
)
LATE_LABELS: Final = Measure(
    "driftgate_late_labels_total",
    "counter",
    "Labels that came after those of their window were due.",
    ("model",),
)
BUSY: Final = Measure(
    "driftgate_database_busy_total", "counter",
    "Statements that a lock, a deadlock or a lost connection ended: what wanted them is tried again.",
)  # fmt: skip
OF_CONTROL: Final = (DECISIONS, FIRINGS, RUNS_ENDED, ROLLOUTS_ENDED, ALERTS, AUDIT, BUSY)
OF_MONITOR: Final = (WINDOWS, RESCORED, LATE, LATE_LABELS, BUSY)
_PENDING: Final = "driftgate_counted"
#: what one row of the database counts for: the metric, its labels, how much
Counted = tuple[Measure, tuple[str, ...], float]


class Committed:
    """Counters of what is committed."""

    def __init__(self, registry: CollectorRegistry, measures: tuple[Measure, ...]) -> None:
        self._counters = {measure: measure.counter(registry) for measure in measures}

    @contextmanager
    def counting(self, engine: Engine) -> Iterator[None]:
        """Count while the context is open: all sessions of this process, and this engine's errors."""
        listeners: list[tuple[Any, str, Any]] = [
            (Session, "after_flush", self._flushed), (Session, "after_commit", self._committed),
            (Session, "after_rollback", self._forget), (engine, "handle_error", self._failed),
        ]  # fmt: skip
        for listener in listeners:
            event.listen(*listener)
        try:
            yield
        finally:
            for listener in listeners:
                event.remove(*listener)

    def _flushed(self, session: Session, _flush: UOWTransaction) -> None:
        pending = session.info.setdefault(_PENDING, [])
        pending += [each for row in session.new for each in of_new(row)]
        pending += [each for row in session.dirty for each in of_changed(row)]

    def _committed(self, session: Session) -> None:
        for measure, labels, much in session.info.pop(_PENDING, ()):
            counter = self._counters.get(measure)
            if counter is not None:
                counter.labels(*labels).inc(much)

    def _forget(self, session: Session) -> None:
        session.info.pop(_PENDING, None)

    def _failed(self, context: ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        if isinstance(error, DBAPIError) and is_passing(error):
            self._counters[BUSY].inc()


def of_new(row: object) -> Iterator[Counted]:
    """What a row that was inserted counts for."""
    match row:
        case DecisionRecord():
            yield DECISIONS, (row.model, row.reason), 1
        case Firing():
            yield FIRINGS, (row.model, row.trigger), 1
        case Alert():
            yield ALERTS, (row.name, row.severity), 1
        case AuditEntry():
            yield AUDIT, (row.action,), 1
        case ScoredWindow():
            yield WINDOWS, (row.model,), 1


def of_changed(row: object) -> Iterator[Counted]:
    """What a row that was updated counts for, by what it was before."""
    match row:
        case TrainingRun() if _changed(row, "state") and row.state not in ACTIVE:
            yield RUNS_ENDED, (row.model, row.state.value), 1
        case Rollout() if _changed(row, "ended_at") and row.ended_at is not None:
            yield ROLLOUTS_ENDED, (row.model, row.state.value), 1
        case ScoredWindow():
            if _changed(row, "revision"):
                yield RESCORED, (row.model,), 1
            if not row.segment:  # what is late in a segment is late in its whole window too
                yield LATE, (row.model,), _grown(row, "late_rows")
                yield LATE_LABELS, (row.model,), _grown(row, "late_labels")


def _changed(row: object, name: str) -> bool:
    history = inspect(row).attrs[name].history
    return bool(history.added) and list(history.added) != list(history.deleted)


def _grown(row: object, name: str) -> float:
    """By how much a number grew; 0 where it did not."""
    history = inspect(row).attrs[name].history
    if not history.added or not history.deleted:
        return 0.0
    return max(0.0, float(history.added[0]) - float(history.deleted[0]))
