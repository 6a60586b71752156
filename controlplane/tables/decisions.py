"""Decisions, firings and the runs that they ask for."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import JSON, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from controlplane.lifecycle import RunState
from controlplane.tables.columns import Json, Utc, one_for_each_model, states


class DecisionRecord(SQLModel, table=True):
    """What a rule decided about a cause, and why; a new turn where the reason changed."""

    __tablename__: ClassVar[str] = "decisions"
    __table_args__ = (
        UniqueConstraint("model", "rule", "cause", "turn"),
        Index("decisions_in_order", "model", "id"),
        Index("decisions_of_rule", "model", "rule", "id"),
    )

    id: str = Field(primary_key=True)
    model: str = Field(foreign_key="models.id")
    rule: str
    kind: str
    cause: str
    turn: int
    outcome: str
    reason: str
    detail: str
    numbers: Json = Field(sa_type=JSON)
    version: int | None = None
    decided_at: datetime = Field(sa_type=Utc)
    recorded_at: datetime = Field(sa_type=Utc)


class Firing(SQLModel, table=True):
    """A rule that fired: once for each cause, whatever happens."""

    __tablename__: ClassVar[str] = "firings"
    __table_args__ = (UniqueConstraint("model", "rule", "cause"),)

    id: str = Field(primary_key=True)
    model: str = Field(foreign_key="models.id", index=True)
    rule: str
    kind: str
    #: data, schedule, metric or manual, webhook
    trigger: str
    cause: str
    decision_id: str = Field(foreign_key="decisions.id", unique=True)
    reason: str
    detail: str
    fired_at: datetime = Field(sa_type=Utc)
    recorded_at: datetime = Field(sa_type=Utc)


class TrainingRun(SQLModel, table=True):
    """One run for one firing; claimed with a lease, every write fenced by the epoch."""

    __tablename__: ClassVar[str] = "training_runs"
    __table_args__ = (one_for_each_model("active_run", "state in ('asked', 'running')"),)

    key: str = Field(primary_key=True, max_length=36)
    firing_id: str = Field(foreign_key="firings.id", unique=True)
    model: str = Field(foreign_key="models.id", index=True)
    state: RunState = Field(sa_type=states(RunState))
    #: the TrainingRequest, fixed when the rule fired
    request: Json = Field(sa_type=JSON)
    parent: int | None = None
    asked_at: datetime = Field(sa_type=Utc)
    started_at: datetime | None = Field(default=None, sa_type=Utc)
    ended_at: datetime | None = Field(default=None, sa_type=Utc)
    recorded_at: datetime = Field(sa_type=Utc)
    ended_recorded_at: datetime | None = Field(default=None, sa_type=Utc)
    epoch: int = 0
    lease_owner: str | None = None
    lease_until: datetime | None = Field(default=None, sa_type=Utc)
    #: how often it was claimed
    attempts: int = 0
    progress: Json | None = Field(default=None, sa_type=JSON)
    report: Json | None = Field(default=None, sa_type=JSON)
    failure_code: str | None = None
    failure_message: str | None = None
    #: processor time that it took, children included, in seconds; while it runs, and where it died without a report, as
    #: much as was last seen
    cpu_seconds: float | None = None
    #: who asked that it end, and why; it ends at the next tick
    cancel_by: str | None = None
    cancel_why: str | None = None
