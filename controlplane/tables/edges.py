"""The edges to other processes: serving instances, and events on their way to the spool."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from controlplane.tables.columns import Json, Utc


class Instance(SQLModel, table=True):
    """A serving process and what it last said of itself."""

    __tablename__: ClassVar[str] = "instances"

    id: str = Field(primary_key=True, max_length=64)
    loaded: list[Json] = Field(sa_type=JSON)
    failed: list[Json] = Field(sa_type=JSON)
    #: on the machine's clock: whether it lives has nothing to do with a replay
    reported_at: datetime = Field(sa_type=Utc)


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
