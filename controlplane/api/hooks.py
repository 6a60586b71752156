"""Signed webhooks: the secret of a model, and the calls that are signed with it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from controlplane.api.acting import act_of
from controlplane.api.parts import KnownModel, Parts, Reason, TheModel, TheParts
from controlplane.errors import BadSignature, Conflict
from controlplane.receiving import receive_hook, renew_hook_secret
from controlplane.views import HookSecret, RunView
from controlplane.words import one_line
from observability.clock import SystemClock

router = APIRouter(tags=["rules"])


@router.post("/api/v1/models/{ns}/{slug}/hook-secret")
def hook_secret(request: Request, parts: TheParts, model_id: KnownModel, asked: Reason) -> HookSecret:
    """A new secret of the model's webhook; the one before opens nothing any more."""
    act = act_of(request, one_line(asked.reason))
    secret = renew_hook_secret(parts.store, model_id, _key(parts), act)
    return HookSecret(model=model_id, secret=secret, path=f"/hooks/{model_id}")


@router.post("/hooks/{ns}/{slug}", status_code=202)
async def receive(request: Request, parts: TheParts, model_id: TheModel) -> RunView:
    """Ask for a run by a signed call; the same webhook-id asks for the same run."""
    body, headers = await request.body(), dict(request.headers)
    return await run_in_threadpool(_receive, parts, model_id, headers, body)


def _receive(parts: Parts, model_id: str, headers: dict[str, str], body: bytes) -> RunView:
    if not parts.hook_key:
        raise BadSignature
    now, wall = parts.clock.now(), SystemClock().now()
    run = receive_hook(parts.store, model_id, headers, body, parts.hook_key, wall, now)
    return RunView.model_validate(run)


def _key(parts: Parts) -> bytes:
    if not parts.hook_key:
        raise Conflict("this installation has no key from which secrets of webhooks are made")
    return parts.hook_key
