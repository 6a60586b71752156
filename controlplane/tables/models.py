"""Models, what is held of them, and the clocks."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from controlplane.tables.columns import EPOCH, EPOCH_TEXT, Json, Utc


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
    decided_until: datetime | None = Field(default=None, sa_type=Utc, index=True)
    #: when its rules have to be asked again, by time alone; whatever they judge changes, they are asked at once
    due_at: datetime = Field(default=EPOCH, sa_type=Utc, index=True, sa_column_kwargs={"server_default": EPOCH_TEXT})
    #: counts what changed of it: a tick that decided on less than the newest does not put it to sleep
    changes: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    #: no window of a change up to this is left to judge, if the rules are asked the question of this digest
    judged_changes: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    judged_by: str = Field(default="", sa_column_kwargs={"server_default": ""})
    #: the watermark of the monitor's last finished pass
    monitored_until: datetime | None = Field(default=None, sa_type=Utc)


class ScheduleStart(SQLModel, table=True):
    """Since when a schedule rule of a model that was applied before is as it is. None where it always was so."""

    __tablename__: ClassVar[str] = "schedule_starts"

    model: str = Field(foreign_key="models.id", primary_key=True)
    rule: str = Field(primary_key=True)
    since: datetime = Field(sa_type=Utc)


class Hold(SQLModel, table=True):
    """Something of a model that a person stopped: it goes on when the hold is taken away, or ends by itself."""

    __tablename__: ClassVar[str] = "holds"

    model: str = Field(foreign_key="models.id", primary_key=True)
    #: `rules` (none fires), `rule:NAME` (this one does not fire), `rollout` (no version moves by itself: frozen)
    what: str = Field(primary_key=True, max_length=80)
    since: datetime = Field(sa_type=Utc)
    #: it ends by itself when the clock has come here
    until: datetime | None = Field(default=None, sa_type=Utc)
    by: str
    why: str


class Ticked(SQLModel, table=True):
    """How far the clock was at the last finished tick: one row. A model that was not due is decided until then."""

    __tablename__: ClassVar[str] = "ticked"

    id: int = Field(default=1, primary_key=True)
    until: datetime = Field(sa_type=Utc)


class ReplayTime(SQLModel, table=True):
    """The replay clock: one row, never moved back."""

    __tablename__: ClassVar[str] = "replay_clock"

    id: int = Field(default=1, primary_key=True)
    now: datetime = Field(sa_type=Utc)
