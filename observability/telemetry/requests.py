"""The id of a request: taken from its caller or made, and known wherever the request is handled."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from observability.ids import new_id

HEADER: Final = b"x-request-id"
#: what a caller may call its request: it goes into logs and headers as it is
SANE: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
#: of the request that is handled; None outside of one
REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)

#: told of each answer: what was asked, the status, and the seconds that it took
Answered = Callable[[Scope, int, float], None]
Header = tuple[bytes, bytes]


def _pass_by(_scope: Scope, _status: int, _seconds: float) -> None:
    """Nobody counts."""


class Named:
    """ASGI middleware, the outermost: gives each request its id, and answers with it.

    The id stands in the request's own header afterwards, so that what is inside finds it there too.
    """

    def __init__(self, app: ASGIApp, answered: Answered = _pass_by) -> None:
        self._app = app
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        name = _said(scope["headers"])
        if name is None:
            name = new_id().encode()
            scope["headers"] = [*(each for each in scope["headers"] if each[0] != HEADER), (HEADER, name)]
        status = 500

        async def naming(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with_id(message.get("headers") or [], name)
            await send(message)

        token = REQUEST_ID.set(name.decode())
        try:
            await self._app(scope, receive, naming)
        finally:
            REQUEST_ID.reset(token)
            self._answered(scope, status, time.perf_counter() - begun)


def _said(headers: Iterable[Header]) -> bytes | None:
    """The caller's name for the request, where it gave exactly one and it is a plain one."""
    said = [each[1] for each in headers if each[0] == HEADER]
    return said[0] if len(said) == 1 and SANE.fullmatch(said[0]) else None


def _with_id(headers: Iterable[Header], name: bytes) -> list[Header]:
    """The answer's headers with the id, once."""
    kept = [each for each in headers if each[0] != HEADER]
    kept.append((HEADER, name))
    return kept
