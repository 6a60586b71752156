"""How the installation stands, read from the database when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from controlplane.lifecycle import ACTIVE, AlertState, RolloutState
from controlplane.store.measures import Measures
from observability.clock import Clock
from observability.telemetry.metrics import Measure, Read, Values

MODELS: Final = Measure("driftgate_models", "gauge", "Models that were applied.")
DUE: Final = Measure("driftgate_models_due", "gauge", "Models whose rules the next tick asks.")
RUNS: Final = Measure("driftgate_runs_active", "gauge", "Training runs that have not ended.", ("state",))
RUN_AGE: Final = Measure(
    "driftgate_run_oldest_active_seconds",
    "gauge",
    "How long ago the oldest run that has not ended was asked for; 0 for none.",
)
ROLLOUTS: Final = Measure("driftgate_rollouts_active", "gauge", "Rollouts under way.", ("state",))
ALERTS_OPEN: Final = Measure(
    "driftgate_alerts_open", "gauge", "Alerts of models that are not resolved.", ("severity", "state")
)
OUTBOX: Final = Measure("driftgate_outbox_waiting", "gauge", "Events of the control plane on their way to the spool.")
OUTBOX_AGE: Final = Measure(
    "driftgate_outbox_oldest_seconds", "gauge", "How long the oldest of them has waited; 0 for none."
)
NOTIFICATIONS: Final = Measure(
    "driftgate_notifications_waiting", "gauge", "Notifications that a channel has not taken yet.", ("channel",)
)
NOTIFICATION_AGE: Final = Measure(
    "driftgate_notifications_oldest_seconds", "gauge", "How long the oldest of them has waited; 0 for none."
)
GIVEN_UP: Final = Measure(
    "driftgate_notifications_given_up", "gauge", "Notifications that no channel took for three days.", ("channel",)
)
AUDIT_LENGTH: Final = Measure("driftgate_audit_chain_entries", "gauge", "Entries of the audit chain.")
MEASURES: Final = (
    MODELS, DUE, RUNS, RUN_AGE, ROLLOUTS, ALERTS_OPEN, OUTBOX, OUTBOX_AGE, NOTIFICATIONS, NOTIFICATION_AGE, GIVEN_UP,
    AUDIT_LENGTH,
)  # fmt: skip

WATERMARK_LAG: Final = Measure(
    "driftgate_monitor_watermark_lag_seconds", "gauge",
    "How far the newest prediction in the log store is behind the clock: the log path, or there are no requests.",
    ("model",),
)  # fmt: skip
MONITORED_LAG: Final = Measure(
    "driftgate_monitor_behind_watermark_seconds", "gauge",
    "How far the monitor's last finished pass over a model is behind the newest prediction that it knows of.",
    ("model",),
)  # fmt: skip
WINDOWS_WAITING: Final = Measure(
    "driftgate_windows_awaiting_labels", "gauge", "Windows whose errors are not settled.", ("model",)
)
OF_MONITOR: Final = (WATERMARK_LAG, MONITORED_LAG, WINDOWS_WAITING)
_SEVERITIES: Final = ("critical", "info", "warning")


def standing(measures: Measures, clock: Clock, wall: Clock) -> Read:
    """How things stand in the control plane."""
    return Read(MEASURES, lambda: _standing(measures, clock.now(), wall.now()))


def watching(measures: Measures, clock: Clock) -> Read:
    """How far the monitor is."""
    return Read(OF_MONITOR, lambda: _watching(measures, clock.now()))


def _standing(measures: Measures, now: datetime, wall: datetime) -> Mapping[Measure, Values | float | None]:
    found = measures.standing(now)
    alerts = {(severity, str(state)): 0.0 for severity in _SEVERITIES for state in AlertState if state != "resolved"}
    return {
        MODELS: found.models,
        DUE: found.due,
        RUNS: {(str(state),): 0.0 for state in ACTIVE} | _labelled(found.runs),
        RUN_AGE: _age(found.run_since, wall),
        ROLLOUTS: {(str(state),): 0.0 for state in RolloutState if state in _UNDER_WAY} | _labelled(found.rollouts),
        ALERTS_OPEN: alerts | {labels: float(count) for labels, count in found.alerts.items()},
        OUTBOX: found.outbox.waiting,
        OUTBOX_AGE: _age(found.outbox.since, wall),
        NOTIFICATIONS: _labelled(found.notifications),
        NOTIFICATION_AGE: _age(found.notification_since, wall),
        GIVEN_UP: _labelled(found.given_up),
        AUDIT_LENGTH: found.audit_entries,
    }


_UNDER_WAY: Final = (RolloutState.LOADING, RolloutState.SHADOW, RolloutState.CANARY, RolloutState.WATCHING)


def _watching(measures: Measures, now: datetime) -> Mapping[Measure, Values | float | None]:
    found = measures.watched()
    return {
        WATERMARK_LAG: {(model,): _age(each.watermark, now) for model, each in found.items() if each.watermark},
        MONITORED_LAG: {
            (model,): _age(each.monitored_until, each.watermark)
            for model, each in found.items()
            if each.watermark and each.monitored_until
        },
        WINDOWS_WAITING: {(model,): float(each.waiting) for model, each in found.items()},
    }


def _labelled(counts: Mapping[str, int]) -> dict[Any, float]:
    return {(name,): float(count) for name, count in counts.items()}


def _age(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since is not None else 0.0
