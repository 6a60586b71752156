"""The state of record, as tables. What must be unique is unique here, not in an `if exists`.

Instants named `*_at` are on the control plane's clock, which in a replay follows the data; `*recorded_at` and
everything about leases, tokens, sessions, notifications and instances is on the machine's or the database's clock.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Table
from sqlmodel import SQLModel

from controlplane.tables.alerts import Alert, Notification
from controlplane.tables.columns import Json
from controlplane.tables.decisions import DecisionRecord, Firing, TrainingRun
from controlplane.tables.edges import Instance, OutboxEntry
from controlplane.tables.models import Hold, Model, ReplayTime, ScheduleStart, Ticked
from controlplane.tables.people import Answer, AuditEntry, AuditHead, Failure, SignIn, Token
from controlplane.tables.versions import Comparison, GateRecord, Rollout, Version
from controlplane.tables.windows import LateEvents, Observation, ScoredWindow

__all__ = [
    "ALL", "Alert", "Answer", "AuditEntry", "AuditHead", "Comparison", "DecisionRecord", "Failure", "Firing",
    "GateRecord", "Hold", "Instance", "Json", "LateEvents", "Model", "Notification", "Observation", "OutboxEntry",
    "ReplayTime", "Rollout", "ScheduleStart", "ScoredWindow", "SignIn", "Ticked", "Token", "TrainingRun", "Version",
]  # fmt: skip

_TABLES: Final[tuple[type[SQLModel], ...]] = (
    Model, ScheduleStart, Hold, Ticked, ReplayTime, Version, GateRecord, Rollout, Comparison, ScoredWindow, Observation,
    LateEvents, DecisionRecord, Firing, TrainingRun, Alert, Notification, Instance, OutboxEntry, Token, SignIn, Failure,
    AuditEntry, AuditHead, Answer,
)  # fmt: skip
#: the schema
ALL: Final[list[Table]] = [SQLModel.metadata.tables[str(table.__tablename__)] for table in _TABLES]
