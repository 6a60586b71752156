"""Who may call: tokens made, listed and revoked; and who the caller is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field, StringConstraints

from controlplane.access.callers import ROLES, Role
from controlplane.access.tokens import mint
from controlplane.api.acting import act_of, caller_of
from controlplane.api.paging import ThePage, read_cursor
from controlplane.api.parts import Asked, Sentence, TheParts
from controlplane.errors import Refused
from controlplane.views import View
from controlplane.words import one_line
from observability.clock import SystemClock
from observability.events import Instant

router = APIRouter(prefix="/api/v1", tags=["people"])
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@ -]{0,62}$")]
TokenId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]


class TokenView(View):
    """A token, without its secret, which nobody has but whoever asked for it."""

    id: str
    name: str
    #: empty for tokens of release 0.1.0, whose scopes hold
    role: str
    scopes: list[str]
    created_at: Instant
    created_by: str
    expires_at: Instant | None
    revoked_at: Instant | None


class NewToken(TokenView):
    """A token that was just made. This is the only time that it is shown."""

    token: str


class TokensPage(View):
    """Tokens of all times, newest first."""

    tokens: list[TokenView]
    next: str | None = None


class AskToken(Asked):
    """Who the token is for, what it may do, and when it ends."""

    name: Name = Field(description="unique among the tokens that let somebody in", examples=["nightly-report"])
    role: Role = Field(
        description="viewer reads, operator also runs models, engineer also applies specs with their code, admin also "
        "tokens and audit; "
        "service is for serving instances, predict for their callers"
    )
    expires_at: Instant | None = Field(default=None, description="it never ends by itself where there is none")
    reason: Sentence = ""


class Me(View):
    """Who the caller is."""

    name: str
    role: str
    scopes: list[str]
    token_id: str | None
    #: api for a token, ui for a session of the pages
    via: str


@router.get("/me")
def me(request: Request) -> Me:
    """Who the token, or the session, is."""
    caller = caller_of(request)
    return Me(
        name=caller.name, role=caller.role, scopes=sorted(caller.scopes), token_id=caller.token_id, via=caller.via
    )


@router.get("/tokens")
def list_tokens(parts: TheParts, page: ThePage) -> TokensPage:
    """Tokens of all times, without their secrets."""
    after = read_cursor("tokens", page.cursor, [str])
    rows = list(parts.store.token_page(str(after[0]) if after else None, page.limit + 1))
    shown, cursor = page.cut("tokens", rows, ["id"])
    return TokensPage(tokens=[TokenView.model_validate(row) for row in shown], next=cursor)


@router.post("/tokens", status_code=201)
def create_token(request: Request, parts: TheParts, asked: AskToken) -> NewToken:
    """A new token: this answer is the only place where it is ever shown."""
    if asked.expires_at is not None and asked.expires_at <= SystemClock().now():
        raise Refused("expires_at is past: the token would let nobody in")
    minted = mint()
    act = act_of(request, one_line(asked.reason))
    token = parts.store.create_token(minted, asked.name, asked.role, ROLES[asked.role], asked.expires_at, act)
    return NewToken(**TokenView.model_validate(token).model_dump(), token=minted.secret)


@router.delete("/tokens/{token_id}")
def revoke_token(
    request: Request, parts: TheParts, token_id: TokenId, reason: Annotated[str, Query(max_length=500)] = ""
) -> TokenView:
    """Let a token in no more, nor its sessions; serving refuses it with the next desired state."""
    return TokenView.model_validate(parts.store.revoke_token(token_id, act_of(request, one_line(reason))))
