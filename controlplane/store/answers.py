"""What a request brings into its own transaction: the key under which it may be repeated, and what it expects.

Both are said once, where the request comes in, and hold for every verb that it calls: an audited change marks its key
as used in the transaction of the change, and a change of a model that is not as expected writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, delete, or_, select, update

from controlplane.access.acts import Act
from controlplane.errors import AnswerLost, Changed, KeyBusy, KeyReused
from controlplane.store.database import Database
from controlplane.tables import Answer, Json, Model

#: an answer is kept so long
KEEP: Final = timedelta(hours=24)
#: of one token; then the oldest ends. Keys of a token begin alike: `key[:OWNER]` is made of the token's id
MOST: Final = 1000
OWNER: Final = 16
#: whoever worked on a request for longer is gone
ABANDONED: Final = timedelta(minutes=1)
#: instead of a status: the change is committed, its answer is not kept
CARRIED_OUT: Final = 0


@dataclass(frozen=True)
class Expected:
    """A change may only be written while the model's counter stands here."""

    model: str
    changes: int


@dataclass(frozen=True)
class Claim:
    """Who works on the request of a key: whoever takes it over claims it anew, and the one before changes nothing."""

    key: str
    since: datetime


#: of the request that is being worked on
expected: Final[ContextVar[Expected | None]] = ContextVar("expected", default=None)
claimed: Final[ContextVar[Claim | None]] = ContextVar("claimed", default=None)


class Answers(Database):
    """Verbs about answers that were given before."""

    def claim_answer(self, key: str, request: str) -> Claim | Answer:
        """The claim with which this request is to be worked on now; the answer where it was given before.

        Raises KeyReused where another request came under the key, KeyBusy while the first is being worked on, and
        AnswerLost where it was carried out, but its answer is not known: it is not made again, for somebody may have
        changed the thing since.
        """
        try:
            with self._plain() as session:
                now = self._wall.now()
                session.exec(delete(Answer).where(col(Answer.recorded_at) < now - KEEP))
                _make_room(session, key[:OWNER])
                session.add(Answer(key=key, request=request, recorded_at=now))
                return Claim(key, now)
        except IntegrityError:
            return self._known(key, request)

    def _known(self, key: str, request: str) -> Claim | Answer:
        with self._plain() as session:
            known, now = session.get(Answer, key), self._wall.now()
            if known is None:
                raise KeyBusy
            if known.request != request:
                raise KeyReused
            if known.status is None:
                if known.recorded_at > now - ABANDONED:
                    raise KeyBusy
                mine = update(Answer).where(col(Answer.key) == key, col(Answer.recorded_at) == known.recorded_at)
                if session.exec(mine.values(recorded_at=now)).rowcount == 0:
                    raise KeyBusy
                return Claim(key, now)
            if known.status == CARRIED_OUT:
                raise AnswerLost
            return known

    def keep_answer(self, claim: Claim, status: int, body: Json | None) -> None:
        """From now on this is the answer, unless somebody took the request over."""
        with self._plain() as session:
            session.exec(update(Answer).where(*_held(claim)).values(status=status, body=body))

    def release_answer(self, claim: Claim) -> None:
        """Nothing was changed: the request may come again under this key. What was carried out stays so."""
        with self._plain() as session:
            session.exec(delete(Answer).where(*_held(claim), col(Answer.status).is_(None)))

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with super()._writing() as session:
            if (seen := expected.get()) is not None:
                locked = select(Model.changes).where(Model.id == seen.model).with_for_update(key_share=True)
                if session.exec(locked).first() != seen.changes:
                    raise Changed(model=seen.model)
                expected.set(None)
            yield session

    @contextmanager
    def _plain(self) -> Iterator[Session]:
        """A transaction about the key itself: what the request expects has nothing to do with it."""
        with super()._writing() as session:
            yield session

    def _audit(
        self, session: Session, act: Act | None, action: str, subject: str, before: Json | None, after: Json | None
    ) -> None:
        super()._audit(session, act, action, subject, before, after)
        claim = claimed.get() if act is not None else None
        if claim is None:
            return
        mine = update(Answer).where(*_held(claim)).values(status=CARRIED_OUT)
        if session.exec(mine).rowcount == 0:  # taken over: the change is made once, by whoever holds it now
            raise KeyBusy


def _make_room(session: Session, owner: str) -> None:
    """Forget the oldest answers of a token, so that what one token keeps is bounded; not what is being worked on."""
    mine = select(Answer.key).where(Answer.key >= owner, Answer.key < owner + "g")  # behind every digit
    oldest = session.exec(mine.order_by(col(Answer.recorded_at).desc()).offset(MOST - 1)).all()
    if oldest:
        session.exec(delete(Answer).where(col(Answer.key).in_(oldest), col(Answer.status).is_not(None)))


def _held(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    """The answer that the claim is for, while nobody else holds it and it is not given."""
    open_still = or_(col(Answer.status).is_(None), col(Answer.status) == CARRIED_OUT)
    return col(Answer.key) == claim.key, col(Answer.recorded_at) == claim.since, open_still
