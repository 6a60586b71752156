"""Callers: which roles there are, what each may do, and who is calling."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from controlplane.access.acts import Via
from controlplane.errors import Forbidden

Scope = Literal["read", "operate", "apply", "service", "predict", "admin"]
Role = Literal["viewer", "operator", "engineer", "admin", "service", "predict"]

#: a role and the scope that its tokens have
ROLES: Final[dict[Role, Scope]] = {
    "viewer": "read",
    "operator": "operate",
    "engineer": "apply",
    "admin": "admin",
    "service": "service",
    "predict": "predict",
}
#: a scope and those that it includes; `predict` opens routes of serving only. `apply` is more than `operate`: a recipe
#: is code, which runs as Driftgate
INCLUDES: Final[dict[str, frozenset[str]]] = {
    "read": frozenset({"read"}),
    "operate": frozenset({"read", "operate"}),
    "apply": frozenset({"read", "operate", "apply"}),
    "service": frozenset({"service"}),
    "predict": frozenset(),
    "admin": frozenset({"read", "operate", "apply", "service", "admin"}),
}


@dataclass(frozen=True)
class Caller:
    """Who is calling."""

    #: of the token
    name: str
    scopes: frozenset[str]
    token_id: str | None = None
    #: a token of its own, or a page's session
    via: Via = "api"
    #: empty for tokens of release 0.1.0
    role: str = ""
    #: what forms of this session carry in the field `csrf`; empty for a caller with a token, who needs none
    csrf: str = field(default="", repr=False)


def opened_by(scopes: Iterable[str]) -> frozenset[str]:
    """All that a token with these scopes may do; a scope that is not known opens nothing."""
    return frozenset[str]().union(*(INCLUDES.get(scope, frozenset()) for scope in scopes))


def demand(caller: Caller, scope: Scope) -> None:
    """Raises Forbidden where the caller's token does not have the scope."""
    if scope not in caller.scopes:
        raise Forbidden(f"this needs a token with the scope {scope}", scope=scope)
