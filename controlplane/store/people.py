"""Tokens, sessions and refused attempts; the audit chain is read in `trail`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlmodel import Session, col, delete, or_, select, update

from controlplane.access.acts import Act
from controlplane.access.tokens import Minted, is_live
from controlplane.errors import NameTaken, NotFound
from controlplane.store.trail import Trail
from controlplane.tables import AuditHead, Failure, Json, SignIn, Token
from observability.ids import new_id

#: `created_by` of tokens that stand in the credentials file
CREDENTIALS = "credentials file"
#: of one token; then the oldest ends
MOST_SESSIONS = 20


class People(Trail):
    """Verbs about people."""

    def create_token(
        self, minted: Minted, name: str, role: str, scope: str, expires_at: datetime | None, act: Act | None = None
    ) -> Token:
        """Let a new token in. Raises NameTaken where a token of this name lets somebody in already."""
        now = self._wall.now()
        with self._writing() as session:
            _one_at_a_time(session)
            named = session.exec(select(Token).where(Token.name == name)).all()
            if any(is_live(each.expires_at, each.revoked_at, now) for each in named):
                raise NameTaken(f"there is a token named {name}: revoke it, or choose another name", name=name)
            token = Token(
                id=minted.id, name=name, sha256=minted.sha256, scopes=[scope], role=role, created_at=now,
                created_by=act.actor if act else "", expires_at=expires_at,
            )  # fmt: skip
            session.add(token)
            self._audit(session, act, "token.create", token.id, None, _told(token))
            return token

    def revoke_token(self, token_id: str, act: Act | None = None) -> Token:
        """Let this token in no more, nor any session that it began. Raises NotFound; twice is the same as once."""
        with self._writing() as session:
            _one_at_a_time(session)
            token = session.exec(select(Token).where(Token.id == token_id).with_for_update()).first()
            if token is None:
                raise NotFound(f"there is no token {token_id}", token=token_id)
            if token.revoked_at is None:
                before, now = _told(token), self._wall.now()
                token.revoked_at = now
                token.expires_at = min(token.expires_at or now, now)  # a replica of release 0.1.0 knows ends only
                session.exec(delete(SignIn).where(col(SignIn.token_id) == token_id))
                self._audit(session, act, "token.revoke", token_id, before, _told(token))
            return token

    def add_token(self, name: str, sha256: str, scopes: Sequence[str], expires_at: datetime | None = None) -> bool:
        """Let in a token that was made elsewhere. False where it is known already."""
        with self._writing() as session:
            _one_at_a_time(session)
            if session.exec(select(Token).where(Token.sha256 == sha256)).first():
                return False
            token = Token(id=new_id(), name=name, sha256=sha256, scopes=list(scopes), created_at=self._wall.now())
            token.expires_at = expires_at
            session.add(token)
            return True

    def replace_tokens(self, wanted: Mapping[str, tuple[str, Sequence[str]]]) -> Sequence[str]:
        """Let in, under each name, the token with this hash and these scopes and no other, all or none.

        Tokens of other names are left alone, and so are those that a person made under one of these names; one that a
        person revoked stays revoked. Returns the names of the latter.
        """
        with self._writing() as session:
            _one_at_a_time(session)
            mine = col(Token.name).in_(list(wanted)) & col(Token.created_by).in_(["", CREDENTIALS])
            digests = [sha256 for sha256, _ in wanted.values()]
            known = session.exec(select(Token).where(or_(mine, col(Token.sha256).in_(digests)))).all()
            revoked = {token.sha256 for token in known if token.revoked_at is not None and token.sha256 in digests}
            right = {token.name for token in known if _is_right(token, wanted)}
            for token in known:
                if not (_is_right(token, wanted) or token.sha256 in revoked):
                    session.delete(token)
            session.flush()
            now = self._wall.now()
            session.add_all(
                Token(
                    id=new_id(), name=name, sha256=sha256, scopes=list(scopes), created_at=now, created_by=CREDENTIALS
                )
                for name, (sha256, scopes) in wanted.items()
                if name not in right and sha256 not in revoked
            )
            return sorted(name for name, (sha256, _) in wanted.items() if sha256 in revoked)

    def token(self, sha256: str) -> Token | None:
        """The token with this hash, whether it still lets anybody in or not."""
        with self._reading() as session:
            return session.exec(select(Token).where(Token.sha256 == sha256)).first()

    def token_by_id(self, token_id: str) -> Token | None:
        """The token with this id, whether it still lets anybody in or not."""
        with self._reading() as session:
            return session.get(Token, token_id)

    def tokens(self) -> Sequence[Token]:
        """All tokens that let somebody in."""
        now = self._wall.now()
        with self._reading() as session:
            tokens = session.exec(select(Token).where(col(Token.revoked_at).is_(None)).order_by(col(Token.id))).all()
            return [token for token in tokens if is_live(token.expires_at, None, now)]

    def token_page(self, after: str | None, limit: int) -> Sequence[Token]:
        """Tokens of all times, newest first, behind an id."""
        query = select(Token) if after is None else select(Token).where(Token.id < after)
        with self._reading() as session:
            return session.exec(query.order_by(col(Token.id).desc()).limit(limit)).all()

    def begin_session(self, row: SignIn, replaced: str | None, idle: timedelta, act: Act) -> None:
        """A session begins; the one that it replaces ends, and so does the oldest where the token has too many. Those
        that ended by themselves are forgotten.
        """
        gone = or_(
            col(SignIn.expires_at) <= row.began_at,
            col(SignIn.seen_at) <= row.began_at - idle,
            SignIn.sha256 == replaced,
        )
        with self._writing() as session:
            _one_at_a_time(session)
            session.exec(delete(SignIn).where(gone))
            mine = select(SignIn.sha256).where(SignIn.token_id == row.token_id).order_by(col(SignIn.began_at).desc())
            oldest = session.exec(mine.offset(MOST_SESSIONS - 1)).all()
            session.exec(delete(SignIn).where(col(SignIn.sha256).in_(oldest)))
            session.add(row)
            after: Json = {"expires_at": row.expires_at.isoformat()}
            self._audit(session, act, "session.begin", row.token_id, None, after)

    def session(self, sha256: str) -> tuple[SignIn, Token] | None:
        """The session and its token, whether they still hold or not."""
        query = select(SignIn, Token).where(SignIn.token_id == Token.id, SignIn.sha256 == sha256)
        with self._reading() as session:
            found = session.exec(query).first()
            return (found[0], found[1]) if found else None

    def mark_seen(self, sha256: str, now: datetime) -> None:
        """Somebody uses this session."""
        with self._writing() as session:
            session.exec(
                update(SignIn).where(col(SignIn.sha256) == sha256, col(SignIn.seen_at) < now).values(seen_at=now)
            )

    def end_session(self, sha256: str, request_id: str) -> str | None:
        """The session ends. Returns whose it was; None where it had ended."""
        query = select(SignIn, Token).where(SignIn.token_id == Token.id, SignIn.sha256 == sha256)
        with self._writing() as session:
            _one_at_a_time(session)
            found = session.exec(query).first()
            if found is None:
                return None
            row, token = found
            session.delete(row)
            act = Act(token.name, token.id, "ui", request_id)
            self._audit(session, act, "session.end", token.id, {"began_at": row.began_at.isoformat()}, None)
            return token.name

    def record_failures(self, subjects: Sequence[str], at: datetime) -> None:
        """A refused attempt counts for each of these."""
        with self._writing() as session:
            session.add_all(Failure(id=new_id(), subject=subject, at=at) for subject in subjects)

    def failures(self, subject: str, since: datetime, until: datetime, limit: int) -> Sequence[datetime]:
        """When attempts were refused, newest first, at most so many; `until` leaves out what a clock wrote ahead."""
        query = select(Failure.at).where(Failure.subject == subject, Failure.at > since, Failure.at < until)
        with self._reading() as session:
            return session.exec(query.order_by(col(Failure.at).desc()).limit(limit)).all()

    def forget_failures(self, before: datetime) -> None:
        """Refused attempts of long ago count no more."""
        with self._writing() as session:
            session.exec(delete(Failure).where(col(Failure.at) < before))


def _one_at_a_time(session: Session) -> None:
    """Who changes tokens or sessions waits for whoever does, as SQLite's writers do anyway: names are compared, and
    whoever is audited needs this row in any case, so it is locked first.
    """
    session.exec(select(AuditHead).where(AuditHead.id == 1).with_for_update()).first()


def _is_right(token: Token, wanted: Mapping[str, tuple[str, Sequence[str]]]) -> bool:
    sha256, scopes = wanted.get(token.name, ("", ()))
    whole = token.revoked_at is None and token.expires_at is None
    return whole and (token.sha256, tuple(token.scopes)) == (sha256, tuple(scopes))


def _told(token: Token) -> Json:
    ends = {"expires_at": token.expires_at, "revoked_at": token.revoked_at}
    told = {name: at.isoformat() if at else None for name, at in ends.items()}
    return {"name": token.name, "role": token.role, "scopes": list(token.scopes), **told}
