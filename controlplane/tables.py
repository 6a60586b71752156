"""The state of record, as tables. What must be unique is unique here, not in an `if exists`.

Instants named `*_at` are on the control plane's clock, which in a replay follows the data; `*recorded_at` and
everything about leases, tokens and instances is on the machine's or the database's clock.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final

from sqlalchemy import JSON, Index, Table, UniqueConstraint
from sqlmodel import Field, SQLModel

from controlplane.columns import Utc, one_for_each_model, states, where
from controlplane.lifecycle import RunState, VersionState

Json = dict[str, Any]


class Model(SQLModel, table=True):
    """A model as it was applied."""

    __tablename__: ClassVar[str] = "models"

    id: str = Field(primary_key=True, max_length=127)
    spec: Json = Field(sa_type=JSON)
    spec_digest: str
    #: Python files, name to source
    recipe: dict[str, str] = Field(sa_type=JSON)
    recipe_digest: str
    applied_at: datetime = Field(sa_type=Utc)
    #: the clock at the last tick that was finished for this model
    decided_until: datetime | None = Field(default=None, sa_type=Utc)
    #: the watermark of the monitor's last finished pass
    monitored_until: datetime | None = Field(default=None, sa_type=Utc)


class ScheduleStart(SQLModel, table=True):
    """Since when a schedule rule of a model that was applied before is as it is. None where it always was so."""

    __tablename__: ClassVar[str] = "schedule_starts"

    model: str = Field(foreign_key="models.id", primary_key=True)
    rule: str = Field(primary_key=True)
    since: datetime = Field(sa_type=Utc)


class Version(SQLModel, table=True):
    """A version that a run made, from candidate to its end."""

    __tablename__: ClassVar[str] = "versions"
    __table_args__ = (
        UniqueConstraint("model", "number"),
        one_for_each_model("staging", "state = 'staging'"),
        one_for_each_model("production", "state = 'production'"),
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


class ScoredWindow(SQLModel, table=True):
    """A window and what the monitor said of it."""

    __tablename__: ClassVar[str] = "windows"
    __table_args__ = (
        Index("windows_in_order", "model", "version", "monitor", "until_time", "until_id"),
        # holds all that a rule looks for, so that no verdict is read for a window that was judged before
        Index("windows_to_judge", "model", "version", "monitor", "until_time", "until_id", "cut_at", "error_at", "id"),
        Index("windows_awaiting_labels", "model", "labels_due_at", "id", **where("error_at IS NULL")),
    )

    id: str = Field(primary_key=True)
    model: str = Field(foreign_key="models.id")
    version: int
    monitor: str
    spec_digest: str
    after_time: datetime = Field(sa_type=Utc)
    after_id: str
    until_time: datetime = Field(sa_type=Utc)
    until_id: str
    #: predictions in the window when it was cut, and how many had a label when it was last scored
    rows: int
    labelled: int
    #: predictions of the window that came after it was cut: the last scoring saw them too
    late_rows: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    #: the monitor's verdict; `error` inside it comes once labels are due
    verdict: Json = Field(sa_type=JSON)
    #: 1 when cut, one more each time it is scored again
    revision: int = 1
    cut_at: datetime = Field(sa_type=Utc)
    scored_at: datetime = Field(sa_type=Utc)
    #: once the watermark has passed this, the labels are due
    labels_due_at: datetime = Field(sa_type=Utc)
    #: its labels were due but too few: they are counted again when the clock has come here
    look_at: datetime | None = Field(default=None, sa_type=Utc)
    #: when the error metrics were settled, be it that there are too few labels; None before
    error_at: datetime | None = Field(default=None, sa_type=Utc)


class Observation(SQLModel, table=True):
    """Facts that the monitor keeps of a version, the newest only."""

    __tablename__: ClassVar[str] = "observations"

    model: str = Field(foreign_key="models.id", primary_key=True)
    version: int = Field(primary_key=True)
    watermark: datetime | None = Field(default=None, sa_type=Utc)
    #: predictions with a label, later than what the version has learned from
    labelled_new: int
    observed_at: datetime = Field(sa_type=Utc)


class DecisionRecord(SQLModel, table=True):
    """What a rule decided about a cause, and why; a new turn where the reason changed."""

    __tablename__: ClassVar[str] = "decisions"
    __table_args__ = (
        UniqueConstraint("model", "rule", "cause", "turn"),
        Index("decisions_in_order", "model", "id"),
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
    #: data, schedule, metric or manual
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
    decided_at: datetime = Field(sa_type=Utc)


class Instance(SQLModel, table=True):
    """A serving process and what it last said of itself."""

    __tablename__: ClassVar[str] = "instances"

    id: str = Field(primary_key=True, max_length=64)
    loaded: list[Json] = Field(sa_type=JSON)
    failed: list[Json] = Field(sa_type=JSON)
    #: on the machine's clock: whether it lives has nothing to do with a replay
    reported_at: datetime = Field(sa_type=Utc)


class Token(SQLModel, table=True):
    """A bearer token. Only its SHA-256 is kept."""

    __tablename__: ClassVar[str] = "tokens"

    id: str = Field(primary_key=True)
    name: str
    sha256: str = Field(unique=True)
    scopes: list[str] = Field(sa_type=JSON)
    created_at: datetime = Field(sa_type=Utc)
    expires_at: datetime | None = Field(default=None, sa_type=Utc)


class OutboxEntry(SQLModel, table=True):
    """An event that was committed with what it tells of, and is on its way to the spool."""

    __tablename__: ClassVar[str] = "outbox"

    sequence: int | None = Field(default=None, primary_key=True)
    event_id: str = Field(unique=True)
    model: str
    kind: str
    body: Json = Field(sa_type=JSON)
    event_time: datetime = Field(sa_type=Utc)
    recorded_at: datetime = Field(sa_type=Utc)
    published_at: datetime | None = Field(default=None, sa_type=Utc, index=True)


class ReplayTime(SQLModel, table=True):
    """The replay clock: one row, never moved back."""

    __tablename__: ClassVar[str] = "replay_clock"

    id: int = Field(default=1, primary_key=True)
    now: datetime = Field(sa_type=Utc)


_TABLES: Final[tuple[type[SQLModel], ...]] = (
    Model, ScheduleStart, Version, ScoredWindow, Observation, DecisionRecord, Firing, TrainingRun, GateRecord, Instance,
    Token, OutboxEntry, ReplayTime,
)  # fmt: skip
#: the schema
ALL: Final[list[Table]] = [SQLModel.metadata.tables[str(table.__tablename__)] for table in _TABLES]
