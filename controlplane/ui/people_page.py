"""Who may come in, and who did what: for admins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from controlplane.access.callers import ROLES, Role
from controlplane.access.tokens import is_live
from controlplane.store.trail import Wanted
from controlplane.tables import AuditEntry, Json, Token
from controlplane.ui.queries import Reader

PAGE: Final = 50
#: how long a new token lets somebody in, in days; 0 is for ever
ENDS: Final[Mapping[str, int]] = {"30 days": 30, "90 days": 90, "one year": 365, "no end": 0}
ROLE_WORDS: Final[Mapping[Role, str]] = {
    "viewer": "reads everything but audit and tokens",
    "operator": "also approves, rolls back, pauses, silences, trains",
    "engineer": "also applies models, whose recipes are code",
    "admin": "also tokens and audit",
    "service": "for serving instances",
    "predict": "for programs that ask for predictions",
}


@dataclass(frozen=True)
class Entry:
    """An entry of the audit chain, as people read it."""

    row: AuditEntry
    #: (name, before, after) of what changed
    changes: tuple[tuple[str, str, str], ...]
    #: the subject in words, where it is an id
    about: str


@dataclass(frozen=True)
class TokenRow:
    """A token, and what it is good for now."""

    row: Token
    #: live, expired or revoked
    state: str
    #: when a browser that signed in with it was last seen; None where none has a session
    seen: datetime | None


def audit_page(reader: Reader, asked: Mapping[str, str]) -> dict[str, Any]:
    """Everything the page of the audit shows."""
    names = ("actor", "subject", "action")
    wanted = Wanted(**{name: asked[name].strip()[:200] for name in names if asked.get(name, "").strip()})
    before = asked.get("before", "")
    start = int(before) if before.isascii() and before.isdecimal() and len(before) < 10 else None
    rows = list(reader.audit_page(wanted, start, PAGE + 1))
    head = reader.audit_head()
    return {
        "entries": [Entry(row, changes_of(row.before, row.after), about_of(row)) for row in rows[:PAGE]],
        "wanted": wanted,
        "before": start,
        "next": rows[PAGE - 1].sequence if len(rows) > PAGE else None,
        "head": head,
        "verdict": reader.verify_chain() if "verify" in asked else None,
        "still": True,
    }


def about_of(entry: AuditEntry) -> str:
    """What an id stands for: the alert and its model, or whose token it is."""
    said: Mapping[str, Any] = {**(entry.before or {}), **(entry.after or {})}
    if entry.action.startswith("session."):
        return f"token {entry.actor}"
    if not entry.action.startswith(("alert.", "token.")):
        return ""
    return " of ".join(str(said[name]) for name in ("name", "model") if said.get(name))


def changes_of(before: Json | None, after: Json | None) -> tuple[tuple[str, str, str], ...]:
    """What an entry changed, name by name; what stayed as it was, or is nothing, is left out.

    >>> changes_of({"state": "firing", "name": "x"}, {"state": "acknowledged", "name": "x"})
    (('state', 'firing', 'acknowledged'),)
    """
    old, new = before or {}, after or {}
    names = [*old, *(name for name in new if name not in old)]
    return tuple((name, _said(old.get(name)), _said(new.get(name))) for name in names if old.get(name) != new.get(name))


def _said(value: Any) -> str:  # noqa: ANN401 - JSON
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def tokens_page(reader: Reader, wall: datetime, before: str = "") -> dict[str, Any]:
    """Everything the page of tokens shows."""
    rows = list(reader.token_page(before[:64] or None, PAGE + 1))
    seen = reader.seen_by_token([row.id for row in rows[:PAGE]])
    return {
        "tokens": [TokenRow(row, state_of(row, wall), seen.get(row.id)) for row in rows[:PAGE]],
        "next": rows[PAGE - 1].id if len(rows) > PAGE else None,
        "roles": ROLE_WORDS,
        "ends": ENDS,
        "still": True,
    }


def state_of(token: Token, wall: datetime) -> str:
    """Whether a token lets somebody in, and if not, why."""
    if token.revoked_at is not None:
        return "revoked"
    return "live" if is_live(token.expires_at, None, wall) else "expired"


def ends_at(choice: str, wall: datetime) -> datetime | None:
    """When a token ends for which this was chosen. Raises KeyError."""
    days = ENDS[choice]
    return wall + timedelta(days=days) if days else None


def is_role(name: str) -> bool:
    """Whether there is such a role."""
    return name in ROLES
