"""Who is behind a request, as the audit chain keeps it: `act_of(request, why)` is handed to the store's verbs."""

from __future__ import annotations

from starlette.requests import Request

from controlplane.access.acts import Act
from controlplane.access.callers import Caller


def caller_of(request: Request) -> Caller:
    """Who the door let in. Every request that is not on the open list has one."""
    caller: Caller = request.state.caller
    return caller


def act_of(request: Request, why: str = "") -> Act:
    """The act of this request, for `store.verb(..., act=act_of(request, asked.reason))`."""
    caller = caller_of(request)
    return Act(caller.name, caller.token_id, caller.via, request.state.request_id, why)
