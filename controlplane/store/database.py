"""The connection to the state of record: SQLite in WAL mode, or PostgreSQL by another URL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, event, func, inspect
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlmodel import Session, SQLModel, col, create_engine, select, update

from controlplane.access.acts import GENESIS, Act, chained
from controlplane.errors import Busy
from controlplane.migrations import Migrated, migrate, require_schema
from controlplane.store.storable import DUMPERS, storable, written
from controlplane.tables import AuditEntry, AuditHead, Json, Model, OutboxEntry
from controlplane.tables.columns import EPOCH, Utc
from observability.clock import Clock, SystemClock
from observability.events import ControlKind
from observability.ids import new_id

BUSY_SECONDS: Final = 30
#: SQLSTATE of what passes: connection lost, a transaction that stood still for too long, serialization and deadlock,
#: resources, locks, shutting down or starting
PASSING_STATES: Final = ("08", "25P03", "40", "53", "55P03", "57")
#: connections that one process keeps, and as many again for a moment
POOL_SIZE: Final = 10
#: of every session on PostgreSQL: nobody waits for ever, neither for a lock nor for an answer, and a process that
#: stands still inside a transaction keeps its locks no longer than a lease lasts
SESSION: Final = (
    "-c timezone=UTC -c lock_timeout=5s -c statement_timeout=30s -c idle_in_transaction_session_timeout=10s"
)


def open_engine(url: str, migrating: bool = True) -> Engine:
    """An engine on this release's schema. On either database several processes may use it at the same time.

    A schema of an older release is brought here first; with `migrating=False` it raises SchemaBehind instead.
    """
    engine = connect(url)
    if migrating:
        migrate(engine)
    else:
        require_schema(engine)
    return engine


def migrate_database(url: str) -> Migrated:
    """Bring the database to this release's schema and say from where to where. Raises Busy."""
    engine = connect(url)
    try:
        return migrate(engine)
    finally:
        engine.dispose()


def connect(url: str) -> Engine:
    """An engine on whatever schema there is."""
    if not url.startswith("sqlite"):
        engine = create_engine(
            url, pool_size=POOL_SIZE, max_overflow=POOL_SIZE, pool_pre_ping=True, pool_timeout=BUSY_SECONDS,
            hide_parameters=True, connect_args={"options": SESSION, "connect_timeout": 10}, json_serializer=written,
        )  # fmt: skip
        _prepare_postgresql(engine)
        return engine
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS}, json_serializer=written)
    _prepare_sqlite(engine)
    return engine


def _prepare_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
        for dumper in DUMPERS:
            connection.adapters.register_dumper(str, dumper)


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
        connection.isolation_level = None  # the driver begins nothing by itself: _begin does
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_SECONDS * 1000}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that will write takes the lock at once: one that reads first and writes later may
        # lose its
        # snapshot to another process and fail instead of waiting.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class Database:
    """What every noun's verbs stand on: one transaction for each verb."""

    def __init__(self, engine: Engine, wall: Clock | None = None) -> None:
        self._engine = engine
        self._writing_engine = engine.execution_options(writes=True)
        self._wall: Clock = wall or SystemClock()

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        """A transaction that only reads. Raises Busy."""
        with _unless_busy(), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        """A transaction that is committed at the end. Raises Busy, and then nothing was changed."""
        with _unless_busy(), Session(self._writing_engine, expire_on_commit=False) as session, session.begin():
            yield session

    def _put(self, session: Session, row: SQLModel) -> None:
        """Insert the row, or bring the one that is there to it: of several that do it at once none fails."""
        table = inspect(type(row)).local_table
        values = {column.name: getattr(row, column.name) for column in table.columns}
        sqlite = session.get_bind().dialect.name == "sqlite"
        insert = (sqlite_insert if sqlite else postgresql_insert)(table).values(values)
        keys = {column.name for column in table.primary_key}
        changed = {name: value for name, value in values.items() if name not in keys}
        session.execute(insert.on_conflict_do_update(index_elements=sorted(keys), set_=changed))

    def _touch(self, session: Session, model: str) -> None:
        """Something changed that the model's rules, rollout or alerts look at: the next tick asks them."""
        changed = update(Model).where(col(Model.id) == model)
        session.exec(changed.values(changes=Model.changes + 1, due_at=EPOCH))

    def _audit(
        self, session: Session, act: Act | None, action: str, subject: str, before: Json | None, after: Json | None
    ) -> None:
        """Append to the audit chain, in the transaction of the change. Without an act the system did it: no entry."""
        if act is None:
            return
        head = session.exec(select(AuditHead).where(AuditHead.id == 1).with_for_update()).first()
        head = head or AuditHead(sequence=0, hash=GENESIS)
        at, sequence = self._wall.now(), head.sequence + 1
        what: dict[str, Any] = {"action": action, "subject": subject, "before": before, "after": after}
        what = storable(what)  # the hash is of what is kept
        entry = AuditEntry(
            sequence=sequence, at=at, actor=act.actor, token_id=act.token_id, via=act.via, request_id=act.request_id,
            why=act.why, previous=head.hash, hash=chained(head.hash, sequence, at, act, what), **what,
        )  # fmt: skip
        head.sequence, head.hash = sequence, entry.hash
        session.add_all([entry, head])

    def _tell(self, session: Session, kind: ControlKind, model: str, body: Json, now: datetime) -> None:
        """Put an event into the outbox, in the transaction of what it tells of."""
        entry = OutboxEntry(
            event_id=new_id(), model=model, kind=kind, body=body, event_time=now, recorded_at=self._wall.now()
        )
        session.add(entry)


def database_now(session: Session) -> datetime:
    """The database's time, to the millisecond: the one clock that all holders of leases share.

    On PostgreSQL it is that of the statement, not of the transaction, which may have waited for a lock.
    """
    if session.get_bind().dialect.name == "sqlite":
        return session.exec(select(func.strftime("%Y-%m-%d %H:%M:%f", "now", type_=Utc()))).one()
    return session.exec(select(func.clock_timestamp(type_=Utc()))).one()


def lease_end(session: Session, lease: timedelta) -> datetime:
    """Until when a lease taken now is held."""
    return database_now(session) + lease


@contextmanager
def _unless_busy() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if is_passing(error):
            raise Busy from error
        raise


def is_passing(error: DBAPIError) -> bool:
    """Whether the same may go well the next time: a deadlock, a lock that was not to be had, a lost connection."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(PASSING_STATES)
    if not isinstance(error, OperationalError):
        return error.connection_invalidated
    return error.connection_invalidated or "locked" in str(error.orig) or not isinstance(error.orig, sqlite3.Error)
