"""Serving instances, tokens, and the outbox: the edges to other processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlmodel import col, delete, or_, select, update

from controlplane.store.database import Database
from controlplane.tables import Instance, Json, OutboxEntry, Token
from observability.ids import new_id

FORGET_INSTANCES_AFTER = timedelta(days=1)
FORGET_PUBLISHED_AFTER = timedelta(days=1)
#: at a time, so that a long history does not make one tick long
FORGET_AT_MOST = 5_000


class Fleet(Database):
    """Verbs about who serves, who may call, and what is to be told."""

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

    def add_token(self, name: str, sha256: str, scopes: Sequence[str], expires_at: datetime | None = None) -> bool:
        """Let this token in. False where it is known already."""
        with self._writing() as session:
            if session.exec(select(Token).where(Token.sha256 == sha256)).first():
                return False
            token = Token(id=new_id(), name=name, sha256=sha256, scopes=list(scopes), created_at=self._wall.now())
            token.expires_at = expires_at
            session.add(token)
            return True

    def replace_tokens(self, wanted: Mapping[str, tuple[str, Sequence[str]]]) -> bool:
        """Let in, under each name, the token with this hash and these scopes and no other, all or none.

        False where it was so already. Tokens of other names are left alone.
        """
        named = col(Token.name).in_(list(wanted))
        with self._writing() as session:
            known = session.exec(select(Token).where(named)).all()
            told = sorted((token.name, token.sha256, tuple(token.scopes), token.expires_at is None) for token in known)
            if told == sorted((name, sha256, tuple(scopes), True) for name, (sha256, scopes) in wanted.items()):
                return False
            session.exec(
                delete(Token).where(or_(named, col(Token.sha256).in_([sha256 for sha256, _ in wanted.values()])))
            )
            now = self._wall.now()
            session.add_all(
                Token(id=new_id(), name=name, sha256=sha256, scopes=list(scopes), created_at=now)
                for name, (sha256, scopes) in wanted.items()
            )
            return True

    def token(self, sha256: str) -> Token | None:
        """The token with this hash, expired or not."""
        with self._reading() as session:
            return session.exec(select(Token).where(Token.sha256 == sha256)).first()

    def tokens(self) -> Sequence[Token]:
        """All tokens that have not expired."""
        now = self._wall.now()
        with self._reading() as session:
            tokens = session.exec(select(Token).order_by(col(Token.id))).all()
            return [token for token in tokens if token.expires_at is None or token.expires_at > now]

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
