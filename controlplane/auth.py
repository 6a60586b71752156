"""Who may call: bearer tokens of 256 bits, kept as hashes, with scopes; wrong ones are slowed down.

Every route needs a token unless it stands in OPEN; what a route needs follows from its path and method, so
one that is added later is closed until somebody opens it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from controlplane.acts import Via
from controlplane.errors import Forbidden, TooManyAttempts, Unauthenticated
from controlplane.store import Store
from observability.clock import Clock, SystemClock

Scope = Literal["read", "operate", "service", "predict", "admin"]

PREFIX: Final = "dg_"
OPEN: Final = frozenset({"/healthz", "/readyz", "/login"})
OPEN_FOLDER: Final = "/static/"
#: a scope and those that it includes
INCLUDES: Final[dict[str, frozenset[str]]] = {
    "read": frozenset({"read"}),
    "operate": frozenset({"read", "operate"}),
    "service": frozenset({"service"}),
    "predict": frozenset(),
    "admin": frozenset({"read", "operate", "service", "admin"}),
}
SAFE: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Caller:
    """Who is calling."""

    name: str
    scopes: frozenset[str]
    token_id: str | None = None
    #: a token of its own, or a page's session
    via: Via = "api"


def new_token() -> str:
    """A token that nobody can guess."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of_token(token: str) -> str:
    """What is kept of a token. It has 256 random bits, so a plain hash cannot be turned back."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_open(path: str) -> bool:
    """Whether a route answers without a token."""
    return path in OPEN or (path.startswith(OPEN_FOLDER) and ".." not in path)


def required_scope(method: str, path: str) -> Scope:
    """The scope that a request needs.

    >>> required_scope("GET", "/api/v1/serving/desired"), required_scope("PUT", "/api/v1/clock")
    ('service', 'operate')
    """
    if path.startswith(("/api/v1/serving/", "/api/v1/blobs/")):
        return "service"
    return "read" if method in SAFE else "operate"


class Throttle:
    """At most so many failures in a minute from one address; after that, a wrong token is told to wait."""

    def __init__(self, failures: int = 10, seconds: float = 60.0, now: Callable[[], float] = time.monotonic) -> None:
        self._failures = failures
        self._seconds = seconds
        self._now = now
        self._lock = threading.Lock()
        self._failed: dict[str, deque[float]] = {}

    def check(self, address: str) -> None:
        """Raises TooManyAttempts."""
        with self._lock:
            if len(self._recent(address)) >= self._failures:
                raise TooManyAttempts

    def failed(self, address: str) -> None:
        """Count a failure."""
        with self._lock:
            recent = self._recent(address)
            recent.append(self._now())
            self._failed[address] = recent

    def _recent(self, address: str) -> deque[float]:
        recent = self._failed.get(address, deque())
        while recent and recent[0] <= self._now() - self._seconds:
            recent.popleft()
        if not recent:
            self._failed.pop(address, None)
        return recent


class Authenticator:
    """Turns a token into a caller."""

    def __init__(self, store: Store, throttle: Throttle | None = None, wall: Clock | None = None) -> None:
        self._store = store
        self._throttle = throttle or Throttle()
        self._wall: Clock = wall or SystemClock()

    def authenticate(self, token: str, address: str) -> Caller:
        """The caller. Raises Unauthenticated or TooManyAttempts; a missing token is not counted.

        A valid token is let in whatever others of its address tried: all programs of one machine share 127.0.0.1.
        """
        if not token:
            raise Unauthenticated
        digest = digest_of_token(token)
        known = self._store.token(digest)
        if known is None or not hmac.compare_digest(known.sha256, digest):
            self._count(address)
            raise Unauthenticated
        if known.expires_at is not None and known.expires_at <= self._wall.now():
            self._count(address)
            raise Unauthenticated("the token has expired: ask for a new one")
        scopes = frozenset[str]().union(*(INCLUDES.get(scope, frozenset()) for scope in known.scopes))
        return Caller(known.name, scopes, known.id)

    def _count(self, address: str) -> None:
        self._throttle.check(address)
        self._throttle.failed(address)


def demand(caller: Caller, scope: Scope) -> None:
    """Raises Forbidden where the caller's token does not have the scope."""
    if scope not in caller.scopes:
        raise Forbidden(f"this needs a token with the scope {scope}", scope=scope)
