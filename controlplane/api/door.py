"""The one door: limits, authentication and security headers, before any route is looked at.

Browsers carry their token in a cookie of SameSite=Strict; a request of theirs that changes something must
also come from our own pages. Reference: OWASP, Cross-Site Request Forgery Prevention (fetch metadata).
"""

from __future__ import annotations

import logging
import re
from http.cookies import CookieError, SimpleCookie
from typing import Final

from anyio import to_thread
from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controlplane.api.failures import failure, of_error
from controlplane.auth import SAFE, Authenticator, Caller, demand, is_open, required_scope
from controlplane.errors import Denied, Forbidden, Unauthenticated
from observability.ids import new_id

LOG: Final = logging.getLogger(__name__)
SESSION_COOKIE: Final = "driftgate_session"
REQUEST_ID: Final = re.compile("[A-Za-z0-9._-]{1,64}", re.ASCII)
BODY_BYTES: Final = 1 << 20
APPLY_BYTES: Final = 4 << 20
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class TooLarge(HTTPException):
    """The body is longer than the route takes. An HTTPException, because FastAPI lets only those through."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is longer than {limit} bytes", {"Connection": "close"})


class Door:
    """Every request passes here; what is not let in never reaches a route."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        guarded = _with_headers(send, request_id)
        refusal = await self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        limit = _limit(scope)
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            await _too_large(limit)(scope, receive, guarded)
            return
        await self._pass(scope, receive, guarded, limit)

    async def _pass(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, _limited(receive, limit), watched)
        except Exception:
            LOG.exception("%s %s failed", scope["method"], scope["path"])
            if begun:
                raise
            message = "something went wrong; the log of the control plane has the details"
            await failure(500, "internal", message)(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Response | None:
        """What to answer to a request that is not let in; None where it is."""
        path, method = scope["path"], scope["method"]
        if is_open(path):
            return None
        headers = Headers(scope=scope)
        address = (scope.get("client") or ("unknown", 0))[0]
        try:
            caller = await self._caller(headers, method, address)
            demand(caller, required_scope(method, path))
        except Unauthenticated as error:
            if method in SAFE and not path.startswith("/api/") and "text/html" in headers.get("accept", ""):
                return RedirectResponse("/login", status_code=303)
            return of_error(error)
        except Denied as error:
            return of_error(error)
        scope["state"]["caller"] = caller
        return None

    async def _caller(self, headers: Headers, method: str, address: str) -> Caller:
        bearer = _bearer(headers)
        token = bearer or _cookie(headers)
        caller = await to_thread.run_sync(self._authenticator.authenticate, token, address)
        if not bearer and method not in SAFE and not _from_our_pages(headers):
            raise Forbidden("a browser may change something only from our own pages")
        return caller


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _cookie(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(SESSION_COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _from_our_pages(headers: Headers) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return headers.get("origin", "").partition("://")[2] == headers.get("host", "-")


def _limit(scope: Scope) -> int:
    applies = scope["method"] == "PUT" and scope["path"].startswith("/api/v1/models/")
    return APPLY_BYTES if applies else BODY_BYTES


def _too_large(limit: int) -> Response:
    response = failure(413, "too_large", f"the body is longer than {limit} bytes", {"limit": limit})
    response.headers["Connection"] = "close"
    return response


def _limited(receive: Receive, limit: int) -> Receive:
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise TooLarge(limit)
        return message

    return counted


def _request_id(headers: Headers) -> str:
    """The caller's name for this request where it is a plain one, else a new id."""
    said = headers.get("x-request-id", "")
    return said if REQUEST_ID.fullmatch(said) else new_id()


def _with_headers(send: Send, request_id: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = request_id
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
