"""Alerts, and their way to people."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import JSON, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from controlplane.lifecycle import AlertState
from controlplane.tables.columns import Json, Utc, states, where


class Alert(SQLModel, table=True):
    """Something that a person should know, from when it began to hold until it does no more."""

    __tablename__: ClassVar[str] = "alerts"
    __table_args__ = (
        Index("one_open_alert", "fingerprint", unique=True, **where("state != 'resolved'")),
        Index("alerts_in_order", "model", "id"),
        Index("open_alerts", "model", **where("state != 'resolved'")),
    )

    id: str = Field(primary_key=True)
    #: the same for the same thing: of the name, the model and the identifying labels
    fingerprint: str
    #: None for what concerns the installation
    model: str | None = Field(default=None, foreign_key="models.id")
    #: its name, which is also its heading in the runbook
    name: str
    severity: str
    labels: dict[str, str] = Field(sa_type=JSON)
    #: what happened, in one line, and what the system already did
    summary: str
    description: str
    state: AlertState = Field(sa_type=states(AlertState))
    began_at: datetime = Field(sa_type=Utc)
    state_at: datetime = Field(sa_type=Utc)
    resolved_at: datetime | None = Field(default=None, sa_type=Utc)
    #: the machine's time at which it began and ended, which is what Alertmanager is told
    recorded_at: datetime = Field(sa_type=Utc)
    resolved_recorded_at: datetime | None = Field(default=None, sa_type=Utc)
    #: why nobody is notified though it holds: a retraining that answers it is in progress; None where none is
    inhibited_by: str | None = None
    #: who acknowledged or silenced it, and why
    by: str | None = None
    why: str | None = None
    #: on the machine's clock
    silenced_until: datetime | None = Field(default=None, sa_type=Utc)
    #: one more for each change that is told
    revision: int = 1


class Notification(SQLModel, table=True):
    """A change of an alert on its way to one channel: written with the change, tried until the channel took it."""

    __tablename__: ClassVar[str] = "notifications"
    __table_args__ = (
        UniqueConstraint("channel", "alert_id", "revision"),
        Index("notifications_due", "channel", "due_at", **where("delivered_at IS NULL AND given_up_at IS NULL")),
    )

    #: also the id under which the receiver may recognise a repetition
    id: str = Field(primary_key=True)
    channel: str
    alert_id: str = Field(foreign_key="alerts.id")
    revision: int
    body: Json = Field(sa_type=JSON)
    #: everything here is on the machine's clock
    recorded_at: datetime = Field(sa_type=Utc)
    due_at: datetime = Field(sa_type=Utc)
    attempts: int = 0
    #: who tries at the moment, and until when nobody else does
    lease_owner: str | None = None
    lease_until: datetime | None = Field(default=None, sa_type=Utc)
    last_error: str | None = None
    delivered_at: datetime | None = Field(default=None, sa_type=Utc, index=True)
    given_up_at: datetime | None = Field(default=None, sa_type=Utc)
