"""Sessions of the admin pages: begun with a token, named by a random cookie that is not the token.

Of the cookie only the SHA-256 is kept. What every form must carry is derived from the cookie, so that a page can write
it at any time, and another site, which cannot read the cookie, cannot. Reference: OWASP, Cross-Site Request Forgery
Prevention (a token bound to the session by HMAC).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from controlplane.access.acts import Act
from controlplane.access.callers import Caller, demand, opened_by
from controlplane.access.throttle import Throttle
from controlplane.access.tokens import is_live
from controlplane.errors import Forbidden, Unauthenticated
from controlplane.store import Store
from controlplane.tables import SignIn
from observability.clock import Clock

LOG: Final = logging.getLogger(__name__)
COOKIE: Final = "driftgate_session"
CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "x-csrf-token"
#: a page that looks for news keeps its session; one that nobody has open loses it after IDLE
IDLE: Final = timedelta(hours=1)
LONGEST: Final = timedelta(hours=12)
#: that somebody is there is written down no more often than this
SEEN_EVERY: Final = timedelta(minutes=1)
_CSRF_PURPOSE: Final = b"driftgate: changes come from our own pages"


@dataclass(frozen=True)
class Begun:
    """A session that has begun: what goes into the cookie, and for how long."""

    cookie: str = field(repr=False)
    seconds: int
    caller: Caller


class Sessions:
    """Begins, resumes and ends sessions."""

    def __init__(
        self,
        store: Store,
        wall: Clock,
        throttle: Throttle | None = None,
        idle: timedelta = IDLE,
        longest: timedelta = LONGEST,
    ) -> None:
        self._store = store
        self._throttle = throttle or Throttle(store)
        self._wall = wall
        self._idle = idle
        self._longest = longest

    def begin(self, caller: Caller, request_id: str, replaced: str = "") -> Begun:
        """A session of this caller, who came with a token; the one that the browser had before ends.

        Raises Forbidden where the token may not read, and TooManyAttempts where it has begun too many lately.
        """
        demand(caller, "read")
        assert caller.token_id is not None  # noqa: S101 - the authenticator found it by its token
        cookie, now = secrets.token_urlsafe(32), self._wall.now()
        self._throttle.count_sign_in(caller.token_id, now)
        row = SignIn(
            sha256=_digest(cookie), token_id=caller.token_id, csrf_sha256=_digest(csrf_of(cookie)), began_at=now,
            seen_at=now, expires_at=now + self._longest,
        )  # fmt: skip
        act = Act(caller.name, caller.token_id, "ui", request_id)
        self._store.begin_session(row, _digest(replaced) if replaced else None, self._idle, act)
        inside = replace(caller, via="ui", csrf=csrf_of(cookie))
        return Begun(cookie, int(self._longest.total_seconds()), inside)

    def resume(self, cookie: str) -> Caller:
        """Who the session belongs to; its token's scopes hold as they are now.

        Raises Unauthenticated where it has ended, be it that its token was revoked or has expired.
        """
        now = self._wall.now()
        found = self._store.session(_digest(cookie)) if cookie else None
        if found is None:
            raise Unauthenticated
        sign_in, token = found
        idle = now - sign_in.seen_at
        if sign_in.expires_at <= now or idle >= self._idle or not is_live(token.expires_at, token.revoked_at, now):
            raise Unauthenticated("the session has ended: sign in again")
        if idle >= SEEN_EVERY:
            self._store.mark_seen(sign_in.sha256, now)
        return Caller(token.name, opened_by(token.scopes), token.id, "ui", token.role, csrf_of(cookie))

    def end(self, cookie: str, request_id: str) -> None:
        """Sign out. What is not there any more is no error."""
        ended = self._store.end_session(_digest(cookie), request_id)
        if ended:
            LOG.info("%s signed out (%s)", ended, request_id)


def csrf_of(cookie: str) -> str:
    """What every form of this session carries."""
    return hmac.new(cookie.encode(), _CSRF_PURPOSE, hashlib.sha256).hexdigest()


def check_csrf(caller: Caller, said: str) -> None:
    """Raises Forbidden where a change of a session does not carry the session's own token."""
    if not hmac.compare_digest(caller.csrf.encode(), said.encode(errors="replace")) or not caller.csrf:
        raise Forbidden("this page is out of date: load it again, then repeat the change")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
