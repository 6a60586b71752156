"""Who may call, and what they did."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import JSON, Index
from sqlmodel import Field, SQLModel

from controlplane.tables.columns import Json, Utc


class Token(SQLModel, table=True):
    """A bearer token `dg_ID_SECRET`. Only the SHA-256 of the whole is kept."""

    __tablename__: ClassVar[str] = "tokens"

    #: the part of the token that is no secret: it names the account that wrong secrets are counted for
    id: str = Field(primary_key=True)
    name: str
    sha256: str = Field(unique=True)
    scopes: list[str] = Field(sa_type=JSON)
    #: viewer, operator, admin or service; empty for tokens of an older release, whose scopes hold
    role: str = Field(default="", sa_column_kwargs={"server_default": ""})
    created_at: datetime = Field(sa_type=Utc)
    created_by: str = Field(default="", sa_column_kwargs={"server_default": ""})
    expires_at: datetime | None = Field(default=None, sa_type=Utc)
    revoked_at: datetime | None = Field(default=None, sa_type=Utc)


class SignIn(SQLModel, table=True):
    """A browser's session, begun with a token. The cookie holds a random value of which only the SHA-256 is kept."""

    __tablename__: ClassVar[str] = "sign_ins"

    sha256: str = Field(primary_key=True)
    token_id: str = Field(foreign_key="tokens.id", ondelete="CASCADE", index=True)
    #: SHA-256 of what every form of the session carries
    csrf_sha256: str
    began_at: datetime = Field(sa_type=Utc)
    seen_at: datetime = Field(sa_type=Utc)
    expires_at: datetime = Field(sa_type=Utc, index=True)


class Failure(SQLModel, table=True):
    """A refused attempt to get in, so that all replicas count together."""

    __tablename__: ClassVar[str] = "auth_failures"
    __table_args__ = (Index("auth_failures_of", "subject", "at"),)

    id: str = Field(primary_key=True)
    #: `token:ID` or `address:A.B.C.D`
    subject: str
    at: datetime = Field(sa_type=Utc, index=True)


class AuditEntry(SQLModel, table=True):
    """What a person or a program did. Each entry holds the hash of the one before, so none can be changed or taken
    out unseen; the database refuses UPDATE and DELETE.
    """

    __tablename__: ClassVar[str] = "audit"
    __table_args__ = (Index("audit_of_subject", "subject", "sequence"),)

    #: 1, 2, 3, ... without a gap
    sequence: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    #: the machine's time
    at: datetime = Field(sa_type=Utc)
    #: name of the token, or `hook:MODEL`
    actor: str
    token_id: str | None = None
    #: api, ui or hook
    via: str
    #: verb and noun, such as `model.apply`, `version.approve`, `token.revoke`
    action: str
    #: what it was done to: model, version, token, alert
    subject: str
    why: str
    before: Json | None = Field(default=None, sa_type=JSON)
    after: Json | None = Field(default=None, sa_type=JSON)
    #: of the request, so that the log and the entry can be brought together
    request_id: str
    previous: str
    hash: str


class AuditHead(SQLModel, table=True):
    """The end of the chain: one row, locked by whoever appends."""

    __tablename__: ClassVar[str] = "audit_head"

    id: int = Field(default=1, primary_key=True)
    sequence: int
    hash: str


class Answer(SQLModel, table=True):
    """The answer given to a request that carried an Idempotency-Key: the same request again gets it again."""

    __tablename__: ClassVar[str] = "answers"

    #: made of the caller's token id and the key; keys of one token begin alike
    key: str = Field(primary_key=True)
    #: SHA-256 over method, path and body: another request under the same key is refused
    request: str
    #: None while the first one is being worked on
    status: int | None = None
    body: Json | None = Field(default=None, sa_type=JSON)
    recorded_at: datetime = Field(sa_type=Utc, index=True)
