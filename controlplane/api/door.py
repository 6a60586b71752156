"""The one door: limits, authentication, the body and security headers, before any route is looked at.

Browsers carry their session in a cookie of SameSite=Strict; a request of theirs that changes something must also come
from our own pages and carry the session's own token. Reference: OWASP, Cross-Site Request Forgery Prevention.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs, quote

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controlplane.access.auth import SAFE, Authenticator, is_open, is_plain, required_scope
from controlplane.access.callers import Caller, demand
from controlplane.access.hooks import check_headers
from controlplane.access.sessions import COOKIE, CSRF_FIELD, CSRF_HEADER, check_csrf
from controlplane.access.throttle import Network, address_of
from controlplane.api.bodies import BULK, ORDINARY, TooMuch, again, weighed, whole
from controlplane.api.failures import failure, of_error, of_http
from controlplane.api.limits import BODY_SECONDS, TooLarge, TooSlow, is_bulk, limit_of, limited
from controlplane.errors import ControlPlaneError, Forbidden, Unauthenticated
from observability.ids import new_id

LOG: Final = logging.getLogger(__name__)
SESSION_COOKIE: Final = COOKIE
FORM: Final = "application/x-www-form-urlencoded"
FORM_BYTES: Final = 64 << 10
REQUEST_ID: Final = re.compile("[A-Za-z0-9._-]{1,64}", re.ASCII)
FAILED: Final = "%s %s failed"
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Door:
    """Every request passes here; what is not let in never reaches a route."""

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator,
        trusted: Sequence[Network] = (),
        seconds: float = BODY_SECONDS,
    ) -> None:
        self._app = app
        self._seconds = seconds
        self._authenticator = authenticator
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id, peer = _request_id(headers), (scope.get("client") or ("unknown", 0))[0]
        address = address_of(peer, headers.getlist("x-forwarded-for"), self._trusted)
        scope.setdefault("state", {}).update(request_id=request_id, address=address)
        guarded, limit = _with_headers(send, request_id), limit_of(scope)
        try:
            refusal, receive = await self._admit(scope, headers, limited(receive, limit, self._seconds))
        except ControlPlaneError as error:
            refusal = refused(error)
        except TooLarge as error:
            refusal = _too_large(error.limit)
        except TooMuch as error:
            refusal = _too_much(error, headers)
        except TooSlow as error:
            refusal = of_http(error)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception:
            LOG.exception(FAILED, scope["method"], scope["path"])
            refusal = _broken()
        if refusal is not None:
            await refusal(scope, receive, guarded)
        else:
            await self._pass(scope, receive, guarded)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            return  # nobody is there to be answered, and nothing is wrong
        except Exception as error:
            ours = _ours(error)
            if ours is None or begun:
                LOG.exception(FAILED, scope["method"], scope["path"])
            if begun:
                raise
            await (of_error(ours) if ours else _broken())(scope, receive, send)

    async def _admit(self, scope: Scope, headers: Headers, receive: Receive) -> tuple[Response | None, Receive]:
        """What to answer instead of the application, or None and the body for it. Raises Denied, TooLarge or TooMuch.

        A length that is too long is refused before the token is looked up: that costs a query.
        """
        limit = limit_of(scope)
        refusal = _too_large(limit) if _is_too_long(headers, limit) else await self._refusal(scope)
        if refusal is not None:
            return refusal, receive
        receive = await _from_its_session(scope, headers, receive)
        if scope["method"] in SAFE or _is_form(headers):
            return None, receive
        return None, again(await weighed(receive, BULK if is_bulk(scope) else ORDINARY), receive)

    async def _refusal(self, scope: Scope) -> Response | None:
        """What to answer to a request that is not let in; None where it is. Raises Denied."""
        path, method = scope["path"], scope["method"]
        headers = Headers(scope=scope)
        if is_open(path):
            if path.startswith("/hooks/") and method not in SAFE:
                check_headers(headers)
            return None
        try:
            caller = await to_thread.run_sync(self._caller, headers, scope["state"]["address"])
        except Unauthenticated:
            if method in SAFE and not path.startswith("/api/") and "text/html" in headers.get("accept", ""):
                return RedirectResponse(_login(scope), status_code=303)
            raise
        demand(caller, required_scope(method, path))
        if not is_plain(path):
            return failure(422, "invalid", "path: dots, empty parts, backslashes and control characters lead nowhere")
        if caller.via == "ui" and method not in SAFE and not _from_our_pages(headers):
            raise Forbidden("a browser may change something only from our own pages")
        scope["state"]["caller"] = caller
        return None

    def _caller(self, headers: Headers, address: str) -> Caller:
        bearer = _bearer(headers)
        if bearer:
            return self._authenticator.authenticate(bearer, address)
        return self._authenticator.sessions.resume(cookie_of(headers))


def refused(error: ControlPlaneError) -> Response:
    """The answer to a caller who is not let in, or has to wait."""
    response = of_error(error)
    if "retry_after" in error.details:
        response.headers["Retry-After"] = str(error.details["retry_after"])
    return response


def _ours(error: BaseException) -> ControlPlaneError | None:
    """What keys, tags and waiting raise before or behind a route, where no handler of the application sees it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, ControlPlaneError) else None


def _broken() -> Response:
    """The answer where something of ours is wrong."""
    return failure(500, "internal", "something went wrong; the log of the control plane has the details")


async def _from_its_session(scope: Scope, headers: Headers, receive: Receive) -> Receive:
    """The body of a change, once the change is known to carry its session's own token, as a header or as a field of a
    form. Raises Forbidden or TooLarge.
    """
    caller: Caller | None = scope["state"].get("caller")
    if caller is None or caller.via != "ui" or scope["method"] in SAFE:
        return receive
    said = headers.get(CSRF_HEADER)
    if said is not None or not _is_form(headers):
        check_csrf(caller, said or "")
        return receive
    body = await whole(limited(receive, FORM_BYTES, BODY_SECONDS))
    check_csrf(caller, _field(body, CSRF_FIELD))
    return again(body, receive)


def _is_form(headers: Headers) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


def _field(form: bytes, name: str) -> str:
    try:
        return parse_qs(form.decode(errors="replace"), max_num_fields=1000).get(name, [""])[-1]
    except ValueError:  # more fields than any form of ours has
        return ""


def _login(scope: Scope) -> str:
    """Where to sign in, and whereto that leads back."""
    query = scope["query_string"].decode("latin-1")
    wanted = scope["path"] + (f"?{query}" if query else "")
    return "/login" if wanted == "/" or not is_plain(scope["path"]) else f"/login?next={quote(wanted, safe='/')}"


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def cookie_of(headers: Headers) -> str:
    """What the browser calls its session; empty where it has none."""
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(SESSION_COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _from_our_pages(headers: Headers) -> bool:
    """Whether the browser says that one of our own pages sent this."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    host = headers.get("origin", "").partition("://")[2]  # of an origin that is `null` there is none
    return host != "" and host == headers.get("host")


def _is_too_long(headers: Headers, limit: int) -> bool:
    length = headers.get("content-length", "")
    return length.isdecimal() and int(length) > limit


def _too_large(limit: int) -> Response:
    response = failure(413, "too_large", f"the body is longer than {limit} bytes", {"limit": limit})
    response.headers["Connection"] = "close"
    return response


def _too_much(error: TooMuch, headers: Headers) -> Response:
    """The answer to a body that is refused for what it is made of. Of a length that was said, the rest is still taken,
    so that whoever sends it comes to read this; the end of any other is not waited for.
    """
    response = failure(422, "invalid", f"body: {error.why}")
    if not error.came and "content-length" not in headers:
        response.headers["Connection"] = "close"
    return response


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
