"""The one door: without a token only health and readiness are reached, and no body is parsed unbounded.

It stands in front of the application and of all that BentoML brings along (its own health routes, metrics,
schema, OpenAPI page, static files), and hands what passes to the application alone: BentoML's own routes
answer nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final, Protocol

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import Refused

OPEN: Final = frozenset({"/healthz", "/readyz"})
MAX_BODY: Final = 1 << 20
_BODY_SECONDS: Final = 20.0
#: of a body that is too large, so much is read and thrown away so that the caller can read the answer
_DRAIN_BYTES: Final = 64 << 20
_DRAIN_SECONDS: Final = 5.0
_JSON: Final = b"application/json"
_log = logging.getLogger("bentoml.driftgate.serving")


class Guard(Protocol):
    """Knows who may ask."""

    def check(self, authorization: bytes | None) -> None:
        """Raises Refused unless the holder of this header may ask."""
        ...


class Door:
    """ASGI middleware around BentoML's application; `inner` is the application of serving."""

    def __init__(self, app: ASGIApp, inner: ASGIApp, guard: Guard) -> None:
        self._behind = app
        self._inner = inner
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._behind(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["path"] in OPEN:
                body = b""
            else:
                headers = _interesting(scope["headers"])
                self._guard.check(headers.get(b"authorization"))
                body = await _body(headers, receive) if scope["method"] == "POST" else b""
        except Refused as refused:
            await _refuse(refused, receive, send)
        else:
            await self._inner(scope, _Once(body), send)


class _Once:
    """A receive channel with a body that has been read."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __call__(self) -> Message:
        return {"type": "http.request", "body": self._body, "more_body": False}


_NAMES: Final = frozenset({b"authorization", b"content-type", b"content-length", b"content-encoding"})


def _interesting(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    return {name: value for name, value in headers if name in _NAMES}


async def _body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != _JSON or headers.get(b"content-encoding", b"identity") != b"identity":
        raise Refused(415, "unsupported_media_type", "send application/json, not compressed")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > MAX_BODY:
        raise _too_large()
    message = await receive()
    if not message.get("more_body"):
        return _bounded(message.get("body", b""))
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await _rest(message, receive)
    except TimeoutError as error:
        raise Refused(408, "too_slow", f"the body took more than {_BODY_SECONDS:.0f} s") from error


async def _rest(message: Message, receive: Receive) -> bytes:
    body = bytearray(message.get("body", b""))
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "disconnected", "the caller went away")
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise _too_large()
    return bytes(body)


def _bounded(body: bytes) -> bytes:
    if len(body) > MAX_BODY:
        raise _too_large()
    return body


def _too_large() -> Refused:
    return Refused(413, "too_large", f"the body has more than {MAX_BODY} bytes", {"limit": MAX_BODY})


async def _refuse(refused: Refused, receive: Receive, send: Send) -> None:
    """Answer at once. Where a body is still coming, the answer stands while some of it is thrown away."""
    headers = refusal_headers(refused)
    body = orjson.dumps(refused.body)
    lingers = refused.status in (408, 413)
    if lingers:
        headers.append((b"connection", b"close"))
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": lingers})
    if lingers:
        await _drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def refusal_headers(refused: Refused) -> list[tuple[bytes, bytes]]:
    """The headers of a refusal that follow from its status."""
    headers: list[tuple[bytes, bytes]] = [(b"content-type", _JSON), (b"cache-control", b"no-store")]
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refused.status == 503:
        headers.append((b"retry-after", b"1"))
    return headers


async def _drain(receive: Receive) -> None:
    left = _DRAIN_BYTES
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                if not message.get("more_body"):
                    return
                left -= len(message.get("body", b""))
    except TimeoutError:
        _log.info("a caller went on sending a body that was refused: its connection is closed")
