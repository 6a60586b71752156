"""How things stand, in a few numbers for the metrics: each from an index of what has not ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import col, func, select

from controlplane.lifecycle import VersionState
from controlplane.store.database import Database
from controlplane.store.runs import UNDER_WAY
from controlplane.tables import (
    Alert,
    AuditHead,
    Model,
    Notification,
    Observation,
    OutboxEntry,
    Rollout,
    ScoredWindow,
    TrainingRun,
    Version,
)

#: word for word as in the partial indexes
OPEN_ALERT: Final = text("alerts.state != 'resolved'")
ROLLOUT_UNDER_WAY: Final = text("rollouts.ended_at IS NULL")
NOTIFICATION_WAITS: Final = text("notifications.delivered_at IS NULL AND notifications.given_up_at IS NULL")
WINDOW_WAITS: Final = text("windows.error_at IS NULL")


@dataclass(frozen=True)
class Queue:
    """How many wait, and since when the oldest does."""

    waiting: int
    since: datetime | None


@dataclass(frozen=True)
class Standing:
    """How the installation stands."""

    models: int
    due: int
    #: by state
    runs: Mapping[str, int]
    #: when the oldest run that has not ended was asked for, on the machine's clock
    run_since: datetime | None
    rollouts: Mapping[str, int]
    #: by severity and state
    alerts: Mapping[tuple[str, str], int]
    outbox: Queue
    #: by channel
    notifications: Mapping[str, int]
    notification_since: datetime | None
    given_up: Mapping[str, int]
    audit_entries: int


@dataclass(frozen=True)
class Watched:
    """What the monitor knows of a model's version in production."""

    watermark: datetime | None
    monitored_until: datetime | None
    #: windows whose labels are not settled
    waiting: int


class Measures(Database):
    """Verbs of the metrics."""

    def standing(self, now: datetime) -> Standing:
        """How things stand at an instant of the control plane's clock."""
        asked, told = col(TrainingRun.recorded_at), col(OutboxEntry.recorded_at)
        unpublished = col(OutboxEntry.published_at).is_(None)
        with self._reading() as session:
            runs = session.exec(select(TrainingRun.state, func.count()).where(UNDER_WAY).group_by(TrainingRun.state))
            rollouts = select(Rollout.state, func.count()).where(ROLLOUT_UNDER_WAY).group_by(Rollout.state)
            alerts = select(Alert.severity, Alert.state, func.count()).where(OPEN_ALERT)
            waiting = select(Notification.channel, func.count()).where(NOTIFICATION_WAITS)
            given_up = select(Notification.channel, func.count()).where(col(Notification.given_up_at).is_not(None))
            outbox = select(func.count(), func.min(told)).where(unpublished)
            audit = session.exec(select(AuditHead.sequence)).first()
            return Standing(
                models=session.exec(select(func.count()).select_from(Model)).one(),
                due=session.exec(select(func.count()).select_from(Model).where(Model.due_at <= now)).one(),
                runs={str(state): count for state, count in runs},
                run_since=session.exec(select(func.min(asked)).where(UNDER_WAY)).one(),
                rollouts={str(state): count for state, count in session.exec(rollouts)},
                alerts={
                    (severity, str(state)): count
                    for severity, state, count in session.exec(alerts.group_by(Alert.severity, Alert.state))
                },
                outbox=Queue(*session.exec(outbox).one()),
                notifications=dict(session.exec(waiting.group_by(Notification.channel)).all()),
                notification_since=session.exec(
                    select(func.min(col(Notification.recorded_at))).where(NOTIFICATION_WAITS)
                ).one(),
                given_up=dict(session.exec(given_up.group_by(Notification.channel)).all()),
                audit_entries=audit or 0,
            )

    def watched(self) -> Mapping[str, Watched]:
        """What the monitor knows, by model."""
        production = select(Version.model, Observation.watermark, Model.monitored_until).where(
            col(Version.state) == VersionState.PRODUCTION, Model.id == Version.model,
            Observation.model == Version.model, Observation.version == Version.number,
        )  # fmt: skip
        waits = select(ScoredWindow.model, func.count()).where(WINDOW_WAITS).group_by(ScoredWindow.model)
        with self._reading() as session:
            waiting = dict(session.exec(waits).all())
            return {
                model: Watched(watermark, until, waiting.get(model, 0))
                for model, watermark, until in session.exec(production)
            }
