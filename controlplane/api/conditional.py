"""Conditional requests: an answer that is known is not sent again, and a change is made only to what was seen.

The tag of an answer is a digest of what it says, so it is the same from every replica. A route that sets its own tag
leaves out what the clock and the traffic alone move. `If-Match` is compared with the tag that `GET` of the same thing
would answer now, and holds until the change is written: what comes between refuses it too.
"""

from __future__ import annotations

import re
from typing import Final

import anyio
from anyio import to_thread
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from controlplane.api.failures import failure, of_error
from controlplane.api.hearing import Heard, hear, nothing_more
from controlplane.api.waiting import LONGEST, Waiters, asked_seconds
from controlplane.errors import Changed
from controlplane.store import Store
from controlplane.store.answers import Expected, expected

API: Final = "/api/v1/"
CHANGES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_MODEL: Final = re.compile(r"^/api/v1/models/([\w.-]+/[\w.-]+)(?:/|$)", re.ASCII)
_ALERT: Final = re.compile(r"^/api/v1/alerts/([\w.-]+)(?:/|$)", re.ASCII)
#: a change is about the thing that this much of its path names
_THING: Final = re.compile(
    r"^/api/v1/models/[^/]+/[^/]+/(?:versions|runs)/[^/]+(?=/)|^/api/v1/models/[^/]+/[^/]+|^/api/v1/alerts/[^/]+(?=/)"
)


def model_of(path: str) -> str | None:
    """The model that a path is about."""
    found = _MODEL.match(path)
    return found[1] if found else None


def matches(header: str, tag: str) -> bool:
    """Whether a list of tags, or `*`, names this one. A weak tag is compared by what it says.

    >>> matches('"a", W/"b"', '"b"'), matches("*", '"b"'), matches('"ab"', '"b"')
    (True, True, False)
    """
    listed = [each.strip().removeprefix("W/") for each in header.split(",")]
    return "*" in listed or tag.removeprefix("W/") in listed


class Conditional:
    """Answers of the API with tags: known ones are not repeated, and may be waited for."""

    def __init__(self, app: ASGIApp, store: Store, waiters: Waiters) -> None:
        self._app = app
        self._store = store
        self._waiters = waiters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(API):
            await self._app(scope, receive, send)
        elif scope["method"] == "GET":
            await self._read(scope, receive, send)
        elif scope["method"] in CHANGES and "if-match" in Headers(scope=scope):
            await self._change(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        seconds = asked_seconds(scope)
        if seconds is None:
            message = f"query.wait: say how many seconds, from 0 to {LONGEST:.0f}"
            await failure(422, "invalid", message)(scope, receive, send)
            return
        answer = await hear(self._app, scope, receive, send)
        if answer is None:
            return
        known = Headers(scope=scope).get("if-none-match")
        if known is not None and seconds > 0 and _is_known(answer, known):
            if self._waiters.full:
                answer.headers["Retry-After"] = "1"
            else:
                answer = await self._wait(scope, receive, known, seconds) or answer
        if known is not None and _is_known(answer, known):
            answer = _not_modified(answer)
        await answer.send(send)

    async def _wait(self, scope: Scope, receive: Receive, known: str, seconds: float) -> Heard | None:
        """The answer that differs from what is known, or the last one. None where the caller has gone."""
        found: Heard | None = None

        async def look() -> Heard:
            heard = await hear(self._app, dict(scope), nothing_more, None)
            assert heard is not None  # noqa: S101 - without a way out every answer is heard
            return heard

        async def until_it_goes(ending: anyio.CancelScope) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            ending.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_it_goes, tasks.cancel_scope)
            found = await self._waiters.wait(
                model_of(scope["path"]), seconds, look, lambda answer: not _is_known(answer, known)
            )
            tasks.cancel_scope.cancel()
        return found

    async def _change(self, scope: Scope, receive: Receive, send: Send) -> None:
        thing = _THING.match(scope["path"])
        model = model_of(scope["path"]) or await to_thread.run_sync(self._model_of_alert, scope["path"])
        path = thing[0] if thing else scope["path"]
        # the counter first: what changes while the thing is read refuses the change
        pulse = await to_thread.run_sync(self._store.pulse, model) if model else None
        reading = {**scope, "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
        seen = await hear(self._app, reading, nothing_more, None)
        if seen is not None and seen.status == 405:
            await failure(422, "invalid", f"header.if-match: {path} cannot be read alone, so it has no tag")(
                scope, receive, send
            )
            return
        tag = seen.headers.get("etag", "") if seen is not None and seen.status == 200 else ""
        if not tag or not matches(Headers(scope=scope)["if-match"], tag):
            await of_error(Changed(etag=tag or None))(scope, receive, send)
            return
        token = expected.set(Expected(model, pulse[0]) if model and pulse else None)
        try:
            await self._app(scope, receive, send)
        finally:
            expected.reset(token)

    def _model_of_alert(self, path: str) -> str | None:
        """The model whose counter an alert's change moves; None where the path names no alert of a model."""
        found = _ALERT.match(path)
        alerts = self._store.alerts_by_id([found[1]]) if found else ()
        return alerts[0].model if alerts else None


def _is_known(answer: Heard, known: str) -> bool:
    """Whether the caller has this answer already."""
    return answer.status == 304 or (answer.status == 200 and matches(known, answer.headers.get("etag", "-")))


def _not_modified(answer: Heard) -> Heard:
    """The answer to who has it already."""
    kept = [each for each in answer.start["headers"] if each[0].lower() not in (b"content-length", b"content-type")]
    return Heard({**answer.start, "status": 304, "headers": kept}, b"")
