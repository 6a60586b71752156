"""Windows and what the monitor keeps of them."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import JSON, Index
from sqlmodel import Field, SQLModel

from controlplane.tables.columns import Json, Utc, where


class ScoredWindow(SQLModel, table=True):
    """A window and what the monitor said of it."""

    __tablename__: ClassVar[str] = "windows"
    __table_args__ = (
        Index("windows_in_order", "model", "version", "monitor", "segment", "until_time", "until_id"),
        # holds all that a rule looks for, so that no verdict is read for a window that was judged before
        Index(
            "windows_to_judge",
            *("model", "version", "monitor", "segment", "until_time", "until_id", "cut_at", "error_at", "id"),
        ),
        Index("windows_awaiting_labels", "model", "labels_due_at", "id", **where("error_at IS NULL")),
        Index("windows_to_count_again", "model", "recount_at", "id", **where("recount_at IS NOT NULL")),
        Index("windows_by_change", "model", "version", "change"),
    )

    id: str = Field(primary_key=True)
    model: str = Field(foreign_key="models.id")
    version: int
    monitor: str
    #: the segment that it is of, such as carrier=AA; empty where it is the whole window
    segment: str = Field(default="", sa_column_kwargs={"server_default": ""})
    spec_digest: str
    after_time: datetime = Field(sa_type=Utc)
    after_id: str
    until_time: datetime = Field(sa_type=Utc)
    until_id: str
    #: predictions in the window when it was cut, and how many had a label when it was last scored
    rows: int
    labelled: int
    #: predictions of the window that came after it was cut, when they were last counted
    late_rows: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    #: how many had a label when the error metrics were settled, and labels that were counted since
    settled_labels: int | None = None
    late_labels: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
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
    #: once the watermark has passed this, its labels are counted again; None where nobody looks any more
    recount_at: datetime | None = Field(default=None, sa_type=Utc)
    #: what `changes` of its model was when it was cut or last scored; None where an older release did it
    change: int | None = None


class Observation(SQLModel, table=True):
    """Facts that the monitor keeps of a version, the newest only."""

    __tablename__: ClassVar[str] = "observations"

    model: str = Field(foreign_key="models.id", primary_key=True)
    version: int = Field(primary_key=True)
    watermark: datetime | None = Field(default=None, sa_type=Utc)
    #: predictions with a label, later than what the version has learned from
    labelled_new: int
    observed_at: datetime = Field(sa_type=Utc)


class LateEvents(SQLModel, table=True):
    """How much came too late for a monitor's windows, added up; once for each window that it was late for."""

    __tablename__: ClassVar[str] = "late_events"

    model: str = Field(foreign_key="models.id", primary_key=True)
    monitor: str = Field(primary_key=True)
    #: after the window was cut
    predictions: int
    #: after the window's error metrics were settled
    labels: int
