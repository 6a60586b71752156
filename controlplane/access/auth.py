"""Who may call: every route needs a token or a session unless it stands in OPEN.

What a route needs follows from its path and method, so one that is added later is closed until somebody opens it.
"""

from __future__ import annotations

import hmac
import logging
import re
from typing import Final

from controlplane.access.callers import INCLUDES, Caller, Scope, demand, opened_by
from controlplane.access.sessions import Sessions
from controlplane.access.throttle import Throttle
from controlplane.access.tokens import account_of, digest_of_token, is_live, new_token
from controlplane.errors import TooManyAttempts, Unauthenticated
from controlplane.store import Store
from controlplane.tables import Token
from observability.clock import Clock, SystemClock

__all__ = [
    "INCLUDES", "OPEN", "OPEN_FOLDERS", "SAFE", "Authenticator", "Caller", "Scope", "Throttle", "demand",
    "digest_of_token", "is_open", "is_plain", "new_token", "required_scope",
]  # fmt: skip

LOG: Final = logging.getLogger(__name__)
OPEN: Final = frozenset({"/healthz", "/readyz", "/login"})
#: static files, and webhooks, which are signed
OPEN_FOLDERS: Final = ("/static/", "/hooks/")
SAFE: Final = frozenset({"GET", "HEAD"})
_SERVICE: Final = ("/api/v1/serving/", "/api/v1/blobs/")
_ADMIN: Final = re.compile(r"(/api/v1)?/(tokens|audit)(/.*)?|/api/v1/models/[^/]+/[^/]+/hook-secret/?")
#: pages that ask for the reason of a change
_FORMS: Final = re.compile(r"/(models/[^/]+/[^/]+|alerts/[^/]+)/do/[^/]+/?")
#: a recipe comes with it, which is code
_APPLIES: Final = re.compile(r"/api/v1/models/[^/]+/[^/]+/?")
#: what a model that is only watched is compared with
_REFERENCES: Final = re.compile(r"/api/v1/models/[^/]+/[^/]+/versions/?")
#: posts that change nothing
_ASKS: Final = re.compile(r"/api/v1/models/[^/]+/[^/]+/(rules/try|replay)/?")
_PLAIN: Final = re.compile(r"(/(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f]+)*/?")


def is_plain(path: str) -> bool:
    r"""Whether a path means what it says: no dots, empty segments or control characters that routes read otherwise.

    >>> is_plain("/api/v1/models"), is_plain("/static/../api"), is_plain("//healthz"), is_plain("/api/v1/tokens\n")
    (True, False, False, False)
    """
    return _PLAIN.fullmatch(path) is not None


def is_open(path: str) -> bool:
    """Whether a route answers without a token."""
    return path in OPEN or (path.startswith(OPEN_FOLDERS) and is_plain(path))


def required_scope(method: str, path: str) -> Scope:
    """The scope that a request needs.

    >>> required_scope("GET", "/api/v1/serving/desired"), required_scope("PUT", "/api/v1/clock")
    ('service', 'operate')
    >>> required_scope("GET", "/api/v1/audit"), required_scope("POST", "/api/v1/models/a/b/rules/try")
    ('admin', 'read')
    >>> required_scope("PUT", "/api/v1/models/a/b"), required_scope("POST", "/api/v1/models/a/b/runs")
    ('apply', 'operate')
    """
    if path.startswith(_SERVICE):
        return "service"
    if _ADMIN.fullmatch(path):
        return "admin"
    if _FORMS.fullmatch(path):
        return "operate"
    if (method == "PUT" and _APPLIES.fullmatch(path)) or (method == "POST" and _REFERENCES.fullmatch(path)):
        return "apply"
    return "read" if method in SAFE or (method == "POST" and _ASKS.fullmatch(path)) else "operate"


class Authenticator:
    """Turns a token into a caller."""

    def __init__(self, store: Store, throttle: Throttle | None = None, wall: Clock | None = None) -> None:
        self._store = store
        self._throttle = throttle or Throttle(store)
        self._wall: Clock = wall or SystemClock()
        self.sessions = Sessions(store, self._wall, self._throttle)

    def authenticate(self, token: str, address: str) -> Caller:
        """The caller. Raises Unauthenticated or TooManyAttempts; a missing token is not counted.

        A right token is let in whatever others of its address or under its id tried: 256 bits are not guessed, and
        locking it out would let everybody lock out everybody.
        """
        if not token:
            raise Unauthenticated
        known, now = self._find(token), self._wall.now()
        if known is None or not is_live(known.expires_at, known.revoked_at, now):
            self._count(address, known.id if known else self._named(token))
            expired = known is not None and known.revoked_at is None
            raise Unauthenticated("the token has expired: ask for a new one" if expired else "")
        return Caller(known.name, opened_by(known.scopes), known.id, "api", known.role)

    def _find(self, token: str) -> Token | None:
        digest = digest_of_token(token)
        known = self._store.token(digest)
        return known if known is not None and hmac.compare_digest(known.sha256, digest) else None

    def _named(self, token: str) -> str | None:
        """The account that a wrong token speaks of, where there is one of that id."""
        account = account_of(token)
        return account if account is not None and self._store.token_by_id(account) is not None else None

    def _count(self, address: str, account: str | None) -> None:
        try:
            self._throttle.count(address, account, self._wall.now())
        except TooManyAttempts as error:
            LOG.debug("a wrong token from %s has to wait: %s", address, error.details)
            raise
        LOG.warning("refused a wrong, expired or revoked token from %s, of account %s", address, account or "unknown")
