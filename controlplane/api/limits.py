"""How long a body may be, and how long it may take to come: both are known before anything of it is kept.

Who has shown no token yet is given the least: what waits of such a body is memory that anybody can take.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Final

from fastapi import HTTPException
from starlette.types import Message, Receive, Scope

from controlplane.access.auth import is_open
from controlplane.receiving import BODY_LIMIT

BODY_BYTES: Final = 1 << 20
APPLY_BYTES: Final = 4 << 20
BULK_BYTES: Final = 8 << 20
OPEN_BYTES: Final = 16 << 10
#: columns of rows, posted with a model's token: ordinary bodies are refused long before they hold so many
_BULK: Final = re.compile(r"/api/v1/models/[^/]+/[^/]+/(events|versions)/?")
#: a whole body comes within so many seconds
BODY_SECONDS: Final = 20.0


class TooLarge(HTTPException):
    """The body is longer than the route takes. An HTTPException, because FastAPI lets only those through."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is longer than {limit} bytes", {"Connection": "close"})
        self.limit = limit


class TooSlow(HTTPException):
    """The body does not come to its end in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(408, f"the body did not come within {seconds:g} s", {"Connection": "close"})


def is_bulk(scope: Scope) -> bool:
    """Whether the body is made of many rows."""
    return scope["method"] == "POST" and _BULK.fullmatch(scope["path"]) is not None


def limit_of(scope: Scope) -> int:
    """How many bytes the body of this request may have."""
    path = scope["path"]
    if is_open(path):
        return BODY_LIMIT if path.startswith("/hooks/") else OPEN_BYTES
    if is_bulk(scope):
        return BULK_BYTES
    return APPLY_BYTES if scope["method"] == "PUT" and path.startswith("/api/v1/models/") else BODY_BYTES


def limited(receive: Receive, limit: int, seconds: float) -> Receive:
    """The body, until it is too long or has taken too long: then TooLarge or TooSlow. What comes after it passes."""
    taken, whole, until = 0, False, time.monotonic() + seconds

    async def counted() -> Message:
        nonlocal taken, whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                message = await receive()
        except TimeoutError:
            raise TooSlow(seconds) from None
        taken += len(message.get("body", b""))
        if taken > limit:
            raise TooLarge(limit)
        whole = not message.get("more_body", False)
        return message

    return counted
