"""Hearing an answer of the application to its end before it is sent, where it is JSON; everything else passes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass
class Heard:
    """A whole answer."""

    start: Message
    body: bytes

    @property
    def status(self) -> int:
        return int(self.start["status"])

    @property
    def headers(self) -> MutableHeaders:
        return MutableHeaders(scope=self.start)

    async def send(self, send: Send) -> None:
        """Send it. An answer that was heard is sent as it is, however often."""
        await send(self.start)
        await send({"type": "http.response.body", "body": self.body})


async def hear(app: ASGIApp, scope: Scope, receive: Receive, send: Send | None) -> Heard | None:
    """The answer, with a tag where it is a thing that was found. None where it was no JSON and has passed to `send`."""
    start: Message = {}
    body = bytearray()
    passes = False

    async def listening(message: Message) -> None:
        nonlocal start, passes
        if message["type"] == "http.response.start":
            start = message
            passes = send is not None and not _is_heard(message)
        if passes and send is not None:
            await send(message)
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))

    await app(scope, receive, listening)
    if passes:
        return None
    heard = Heard(start, bytes(body))
    if heard.status == 200 and scope["method"] == "GET":
        heard.headers.setdefault("ETag", tag_of(heard.body))
    return heard


async def nothing_more() -> Message:
    """The body of a request that has none."""
    return {"type": "http.request", "body": b"", "more_body": False}


def tag_of(said: bytes) -> str:
    """The entity tag of what an answer says."""
    return f'"{hashlib.sha256(said).hexdigest()[:32]}"'


def _is_heard(start: Message) -> bool:
    headers = MutableHeaders(scope=start)
    return start["status"] in (204, 304) or headers.get("content-type", "").startswith("application/json")
