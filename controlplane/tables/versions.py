"""Versions, what the gate said of them, and their rollouts."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final

from sqlalchemy import JSON, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from controlplane.lifecycle import DEPLOYED, ON_ITS_WAY, RolloutState, VersionState
from controlplane.tables.columns import Json, Utc, among, one_for_each_model, states, where

#: conditions of partial indexes: a query that says the same, word for word, reads no version of the past
BEFORE_PRODUCTION: Final = among(ON_ITS_WAY)
LOADED: Final = among(DEPLOYED)
IN_PRODUCTION: Final = "state = 'production'"
#: the digest of the model's bytes where they are not here: the version is served elsewhere, and watched only
ELSEWHERE: Final = ""


class Version(SQLModel, table=True):
    """A version that a run made, from candidate to its end."""

    __tablename__: ClassVar[str] = "versions"
    __table_args__ = (
        UniqueConstraint("model", "number"),
        one_for_each_model("staging", "state = 'staging'"),
        one_for_each_model("production", IN_PRODUCTION),
        Index("versions_before_production", "id", **where(BEFORE_PRODUCTION)),
        Index("versions_to_be_loaded", "model", **where(LOADED)),
    )

    id: int | None = Field(default=None, primary_key=True)
    model: str = Field(foreign_key="models.id", index=True)
    number: int
    state: VersionState = Field(sa_type=states(VersionState))
    #: why it is in this state, for people
    note: str = ""
    #: SHA-256 of the bundle's manifest
    manifest: str
    onnx_sha256: str
    #: number of the version that was in production when the run was asked for
    parent: int | None = None
    run_key: str = Field(foreign_key="training_runs.key", unique=True)
    firing_id: str = Field(foreign_key="firings.id")
    dataset: Json = Field(sa_type=JSON)
    metrics: dict[str, float] = Field(sa_type=JSON)
    constant_metrics: dict[str, float] = Field(sa_type=JSON)
    champion_metrics: dict[str, float] = Field(sa_type=JSON)
    parity: Json = Field(sa_type=JSON)
    #: digest of the Parquet blob that the gate judges
    gate_rows: str
    mlflow_run_id: str
    mlflow_version: str
    bento_tag: str
    #: rows later than this are unknown to it
    train_until: datetime = Field(sa_type=Utc)
    made_at: datetime = Field(sa_type=Utc)
    state_at: datetime = Field(sa_type=Utc)
    #: when it last went into production, and when for the first time; None before
    promoted_at: datetime | None = Field(default=None, sa_type=Utc)
    first_promoted_at: datetime | None = Field(default=None, sa_type=Utc)
    #: the machine's time of the last change of state, and of the last promotion
    recorded_at: datetime = Field(sa_type=Utc)
    promoted_recorded_at: datetime | None = Field(default=None, sa_type=Utc)
    #: bytes of its files, and milliseconds that one row took on the machine that made it: {"bytes", "row_ms_p50",
    #: "row_ms_p99"}; empty for versions of an older release
    cost: Json = Field(default_factory=dict, sa_type=JSON, sa_column_kwargs={"server_default": "{}"})
    #: who approved it and why, where its gate asks for a person
    approved_by: str | None = None
    approved_why: str | None = None
    #: the Rejection for which the system turned it down by itself; empty where its gate, a guard or a person did
    rejected_for: str = Field(default="", sa_column_kwargs={"server_default": ""})


class GateRecord(SQLModel, table=True):
    """What the gate said of a version, with its numbers."""

    __tablename__: ClassVar[str] = "gate_verdicts"

    id: str = Field(primary_key=True)
    model: str = Field(foreign_key="models.id", index=True)
    version: int
    run_key: str = Field(foreign_key="training_runs.key", unique=True)
    passed: bool
    reason: str
    detail: str
    numbers: Json = Field(sa_type=JSON)
    #: every check in order: {"check", "passed", "detail", "numbers"}
    checks: list[Json] = Field(default_factory=list, sa_type=JSON, sa_column_kwargs={"server_default": "[]"})
    decided_at: datetime = Field(sa_type=Utc)


class Rollout(SQLModel, table=True):
    """A version's way from the gate to production, step by step. At most one of a model is under way."""

    __tablename__: ClassVar[str] = "rollouts"
    __table_args__ = (
        UniqueConstraint("model", "version", "began_at"),
        one_for_each_model("rollout", "ended_at IS NULL"),
        Index("rollouts_in_order", "model", "id"),
    )

    id: str = Field(primary_key=True)
    model: str = Field(foreign_key="models.id")
    version: int
    #: the version that it replaces, or replaced; None for the first
    champion: int | None = None
    state: RolloutState = Field(sa_type=states(RolloutState))
    #: which canary step, from 0
    step: int = 0
    #: share of the requests that the challenger answers
    share: float = 0.0
    #: the StepReason of where it is; empty while it begins
    reason: str = Field(default="", sa_column_kwargs={"server_default": ""})
    #: the same in words, with the numbers
    note: str = ""
    began_at: datetime = Field(sa_type=Utc)
    state_at: datetime = Field(sa_type=Utc)
    #: the machine's time of the last change of state: evidence of this step is what was observed later
    recorded_at: datetime = Field(sa_type=Utc)
    ended_at: datetime | None = Field(default=None, sa_type=Utc)


class Comparison(SQLModel, table=True):
    """What the monitor last measured of a challenger beside its champion, since the rollout's present step began."""

    __tablename__: ClassVar[str] = "comparisons"

    rollout: str = Field(foreign_key="rollouts.id", primary_key=True)
    #: the step that it was measured in: `recorded_at` of the rollout then
    since: datetime = Field(sa_type=Utc)
    numbers: Json = Field(sa_type=JSON)
    compared_at: datetime = Field(sa_type=Utc)
