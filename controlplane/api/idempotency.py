"""Idempotency keys: the same change under the same key is made once, and its answer is given again.

A change that was refused releases its key, so that it may be tried again. A change that was made while the process
died is known from its own transaction, and is not made again: somebody may have changed the thing since.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final

from anyio import to_thread
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from controlplane.access.auth import required_scope
from controlplane.api.bodies import again, whole
from controlplane.api.conditional import API, CHANGES
from controlplane.api.failures import failure, of_error, of_http
from controlplane.api.hearing import Heard, hear
from controlplane.errors import Conflict, KeyBusy
from controlplane.store import Store
from controlplane.store.answers import CARRIED_OUT, OWNER, Claim, claimed
from controlplane.tables import Answer

KEY: Final = re.compile(r"[\x21-\x7e]{8,128}")
#: what these answer is a secret that is shown once: it is not kept, not even for a repetition
SHOWN_ONCE: Final = re.compile(r"^/api/v1/(tokens|models/[^/]+/[^/]+/hook-secret)$")


class Idempotent:
    """Changes of the API under a key."""

    def __init__(self, app: ASGIApp, store: Store) -> None:
        self._app = app
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = Headers(scope=scope).get("idempotency-key") if scope["type"] == "http" else None
        if said is None or not _changes(scope):
            await self._app(scope, receive, send)
            return
        if not KEY.fullmatch(said):
            message = "header.idempotency-key: 8 to 128 characters of ASCII without spaces, such as a UUID"
            await failure(422, "invalid", message)(scope, receive, send)
            return
        try:
            body = await whole(receive)
        except HTTPException as error:
            await of_http(error)(scope, receive, send)
            return
        await self._once(_key(_who(scope), said), body, scope, receive, send)

    async def _once(self, key: str, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _digest(scope["method"], scope["path"], scope["query_string"].decode("latin-1"), body.hex())
        try:
            ask = self._store.claim_answer
            claim = await to_thread.run_sync(ask, key, asked)
        except Conflict as error:
            response = of_error(error)
            if isinstance(error, KeyBusy):
                response.headers["Retry-After"] = "1"
            await response(scope, receive, send)
            return
        if isinstance(claim, Answer):
            await _again(claim.status or 200, claim.body)(scope, receive, send)
            return
        answer = await self._carry_out(claim, body, scope, receive, send)
        if answer is not None:
            await answer.send(send)

    async def _carry_out(self, claim: Claim, body: bytes, scope: Scope, receive: Receive, send: Send) -> Heard | None:
        token, kept = claimed.set(claim), False
        try:
            answer = await hear(self._app, scope, again(body, receive), send)
            if answer is not None and answer.status < 300:
                shown_once = SHOWN_ONCE.match(scope["path"])
                said = (CARRIED_OUT, None) if shown_once else (answer.status, _json(answer.body))
                await to_thread.run_sync(self._store.keep_answer, claim, *said)
                kept = True
            return answer
        finally:
            claimed.reset(token)
            if not kept:
                await to_thread.run_sync(self._store.release_answer, claim)


def _changes(scope: Scope) -> bool:
    """Whether the request may change something: what only asks may be asked again without a key, and keeps nothing."""
    method, path = scope["method"], scope["path"]
    return method in CHANGES and path.startswith(API) and required_scope(method, path) != "read"


def _key(who: str, said: str) -> str:
    """What is kept of a key. Those of one token begin alike, so that they can be counted."""
    return _digest(who)[:OWNER] + _digest(who, said)[OWNER:]


def _who(scope: Scope) -> str:
    caller = scope.get("state", {}).get("caller")
    return str(getattr(caller, "token_id", None) or getattr(caller, "name", ""))


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _json(body: bytes) -> Any:  # noqa: ANN401 - what a route answered
    return json.loads(body) if body else None


def _again(status: int, body: dict[str, Any] | None) -> Response:
    response = Response(status_code=status) if body is None else JSONResponse(body, status_code=status)
    response.headers["Idempotency-Replayed"] = "true"
    return response
