"""Runs that people and programs ask for, and take back."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import Field

from controlplane.api.acting import act_of
from controlplane.api.history import Key
from controlplane.api.parts import Asked, KnownModel, Reason, Sentence, TheModel, TheParts
from controlplane.loop.triggers import ask
from controlplane.views import RunView
from controlplane.words import one_line

router = APIRouter(prefix="/api/v1/models/{ns}/{slug}", tags=["runs"])


class AskRun(Asked):
    """A manual trigger; the same request id asks for the same run."""

    #: a UUID
    request_id: str = Field(pattern=r"^[0-9a-fA-F-]{36}$")
    reason: Sentence = ""


@router.post("/runs", status_code=202)
def ask_run(request: Request, parts: TheParts, model_id: TheModel, asked: AskRun) -> RunView:
    """Ask for a training run."""
    act = act_of(request, one_line(asked.reason))
    run = ask(parts.store, model_id, asked.request_id.lower(), act.why, parts.clock.now(), act)
    return RunView.model_validate(run)


@router.post("/runs/{key}/cancel", status_code=202)
def cancel_run(request: Request, parts: TheParts, model_id: KnownModel, key: Key, asked: Reason) -> RunView:
    """Ask that a run end: it does at the next tick, and makes no version."""
    act = act_of(request, one_line(asked.reason))
    parts.store.one("runs", model_id, key=key)
    return RunView.model_validate(parts.store.cancel_run(key, act.actor, act.why, parts.clock.now(), act))
