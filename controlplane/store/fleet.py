"""Serving instances and the outbox: the edges to other processes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlmodel import col, delete, select, update

from controlplane.store.database import Database
from controlplane.tables import Instance, Json, OutboxEntry

FORGET_INSTANCES_AFTER = timedelta(days=1)
FORGET_PUBLISHED_AFTER = timedelta(days=1)
#: at a time, so that a long history does not make one tick long
FORGET_AT_MOST = 5_000


class Fleet(Database):
    """Verbs about who serves and what is to be told."""

    def report_instance(self, instance_id: str, loaded: list[Json], failed: list[Json]) -> None:
        """Remember what a serving instance says of itself; those silent for a day are forgotten."""
        now = self._wall.now()
        with self._writing() as session:
            session.exec(delete(Instance).where(col(Instance.reported_at) < now - FORGET_INSTANCES_AFTER))
            self._put(session, Instance(id=instance_id, loaded=loaded, failed=failed, reported_at=now))

    def live_instances(self, within: timedelta) -> Sequence[Instance]:
        """Instances that reported within this time."""
        since = self._wall.now() - within
        with self._reading() as session:
            query = select(Instance).where(Instance.reported_at >= since)
            return session.exec(query.order_by(col(Instance.id))).all()

    def unpublished(self, limit: int = 500) -> Sequence[OutboxEntry]:
        """Events that are committed and not yet in the spool, oldest first."""
        with self._reading() as session:
            query = select(OutboxEntry).where(col(OutboxEntry.published_at).is_(None))
            return session.exec(query.order_by(col(OutboxEntry.sequence)).limit(limit)).all()

    def mark_published(self, entries: Sequence[OutboxEntry]) -> None:
        """These are in the spool, on the disk; those that have been there for a day are forgotten.

        Replicas that published the same at once wait for each other in one order, so none is turned away.
        """
        sequence, published_at = col(OutboxEntry.sequence), col(OutboxEntry.published_at)
        now = self._wall.now()
        told = sequence.in_([entry.sequence for entry in entries])
        with self._writing() as session:
            session.exec(select(sequence).where(told).order_by(sequence).with_for_update()).all()
            session.exec(update(OutboxEntry).where(told, published_at.is_(None)).values(published_at=now))
            forgotten = select(sequence).where(published_at < now - FORGET_PUBLISHED_AFTER)
            forgotten = forgotten.limit(FORGET_AT_MOST).with_for_update(skip_locked=True)
            session.exec(delete(OutboxEntry).where(sequence.in_(forgotten)))
