"""What a request brings into its own transaction: the key under which it may be repeated, and what it expects.

Both are said once, where the request comes in, and hold for every verb that it calls: an audited change marks its key
as used in the transaction of the change, and a change of a model that is not as expected writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, delete, select, update

from controlplane.access.acts import Act
from controlplane.errors import AnswerLost, Changed, KeyBusy, KeyReused
from controlplane.store.database import Database
from controlplane.tables import Answer, Json, Model

#: an answer is kept so long
KEEP: Final = timedelta(hours=24)
#: whoever worked on a request for longer is gone
ABANDONED: Final = timedelta(minutes=1)
#: instead of a status: the change is committed, its answer is not kept
CARRIED_OUT: Final = 0


@dataclass(frozen=True)
class Expected:
    """A change may only be written while the model's counter stands here."""

    model: str
    changes: int


#: of the request that is being worked on
expected: Final[ContextVar[Expected | None]] = ContextVar("expected", default=None)
used_key: Final[ContextVar[str | None]] = ContextVar("used_key", default=None)


class Answers(Database):
    """Verbs about answers that were given before."""

    def claim_answer(self, key: str, request: str, repeatable: bool) -> Answer | None:
        """None where this request is to be worked on now; the answer where it was given before.

        Raises KeyReused where another request came under the key, KeyBusy while the first is being worked on, and
        AnswerLost where it was carried out, but its answer is not known and it must not be carried out again.
        """
        try:
            with self._plain() as session:
                now = self._wall.now()
                session.exec(delete(Answer).where(col(Answer.recorded_at) < now - KEEP))
                session.add(Answer(key=key, request=request, recorded_at=now))
                return None
        except IntegrityError:
            return self._known(key, request, repeatable)

    def _known(self, key: str, request: str, repeatable: bool) -> Answer | None:
        with self._plain() as session:
            known, now = session.get(Answer, key), self._wall.now()
            if known is None:
                raise KeyBusy
            if known.request != request:
                raise KeyReused
            if known.status is None or (known.status == CARRIED_OUT and repeatable):
                if known.recorded_at > now - ABANDONED:
                    raise KeyBusy
                mine = update(Answer).where(col(Answer.key) == key, col(Answer.recorded_at) == known.recorded_at)
                if session.exec(mine.values(recorded_at=now)).rowcount == 0:
                    raise KeyBusy
                return None
            if known.status == CARRIED_OUT:
                raise AnswerLost
            return known

    def keep_answer(self, key: str, status: int, body: Json | None) -> None:
        """From now on this is the answer."""
        with self._plain() as session:
            session.exec(update(Answer).where(col(Answer.key) == key).values(status=status, body=body))

    def release_answer(self, key: str) -> None:
        """Nothing was changed: the request may come again under this key. What was carried out stays so."""
        with self._plain() as session:
            session.exec(delete(Answer).where(col(Answer.key) == key, col(Answer.status).is_(None)))

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
        if act is not None and (key := used_key.get()) is not None:
            session.exec(update(Answer).where(col(Answer.key) == key).values(status=CARRIED_OUT))
