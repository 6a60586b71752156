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
from serving.width import NARROW, Width

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


class StillComing(Refused):
    """A refusal that does not wait for the end of the body: some of what comes is thrown away."""

    @classmethod
    def of(cls, refused: Refused) -> StillComing:
        return cls(refused.status, refused.code, refused.message, refused.details)


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
            # without what it came through, which holds the body
            await _refuse(refused.with_traceback(None), receive, send)
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
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            message = await receive()
            body: bytes = message.get("body", b"")
            if not message.get("more_body") and len(body) <= NARROW:
                return body
            return await _whole(message, receive)
    except TimeoutError:
        raise StillComing(408, "too_slow", f"the body took more than {_BODY_SECONDS:.0f} s") from None


async def _whole(message: Message, receive: Receive) -> bytes:
    """The body from its first message on. Raises Refused as soon as it is too long or too wide."""
    width, pieces, length = Width(), [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise Refused(400, "disconnected", "the caller went away")
        piece, more = message.get("body", b""), message.get("more_body", False)
        length += len(piece)
        if length > MAX_BODY:
            raise _too_large()
        if too_much := width.refusal(piece):
            raise StillComing.of(too_much) if more else too_much
        pieces.append(piece)
        if not more:
            return b"".join(pieces)
        message = await receive()


def _too_large() -> StillComing:
    return StillComing(413, "too_large", f"the body has more than {MAX_BODY} bytes", {"limit": MAX_BODY})


async def _refuse(refused: Refused, receive: Receive, send: Send) -> None:
    """Answer at once. Where a body is still coming, the answer stands while some of it is thrown away."""
    headers = refusal_headers(refused)
    body = orjson.dumps(refused.body)
    lingers = isinstance(refused, StillComing)
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
