"""The schema of the state of record, in revisions: expand first, contract in a later release.

A release works on the schema of its own revision and of those after it, until one says in its docstring that it
contracts: so replicas of two releases may run side by side while the newer one takes over. There is no way down: a
backup is the way back. To add a revision, add a module to `versions` and move HEAD.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import OperationalError

from controlplane.errors import Busy, SchemaBehind

#: the revision that this release works on
HEAD: Final = "0004"
FOLDER: Final = Path(__file__).parent
#: one number for all replicas: who holds the lock of this name migrates
ADVISORY_LOCK: Final = 7_146_001
#: how often a lock that others hold is waited for, each time as long as the session waits for locks
ATTEMPTS: Final = 6


@dataclass(frozen=True)
class Migrated:
    """Which revision the database had, and which it has."""

    #: None where there was no revision: an empty database, or one of release 0.1.0
    before: str | None
    after: str


def migrate(engine: Engine) -> Migrated:
    """Bring the schema to this release's revision, all or nothing; one process at a time does it, others wait.

    A schema that is further already is left as it is. Raises Busy where the database or a lock was not to be had.
    """
    for left in reversed(range(ATTEMPTS if engine.dialect.name == "postgresql" else 1)):
        try:
            return _migrate(engine)
        except OperationalError as error:  # another replica migrates or works: everything was rolled back
            if not left:
                raise Busy(f"the schema was left as it is: {error.orig}") from error
    raise AssertionError("unreachable")


def require_schema(engine: Engine) -> None:
    """Raises SchemaBehind where the schema is not as far as this release."""
    with engine.connect() as connection:
        found = revision_of(connection)
    if _is_behind(found):
        raise SchemaBehind(
            f"the database is at revision {found or 'none'}, this release needs {HEAD}: run `driftgate migrate`",
            found=found, needed=HEAD,
        )  # fmt: skip


def revision_of(connection: Connection) -> str | None:
    """The revision that the database says it has; None where it says none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _is_behind(revision: str | None) -> bool:
    return revision is None or revision < HEAD


def _migrate(engine: Engine) -> Migrated:
    with engine.connect() as connection:
        before = revision_of(connection)
    if before is not None and not _is_behind(before):
        return Migrated(before, before)
    with engine.execution_options(writes=True).begin() as connection:  # on SQLite this is the lock
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        before = revision_of(connection)
        if _is_behind(before):
            _upgrade(connection)
        return Migrated(before, HEAD if before is None else max(before, HEAD))


def _upgrade(connection: Connection) -> None:
    from alembic import command, config  # only here: most starts find the schema as it should be

    settings = config.Config(attributes={"connection": connection})
    settings.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    command.upgrade(settings, "head")
