"""Runs that people and programs ask for, and take back."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from controlplane.api.parts import Asked, Sentence, TheModel, TheParts
from controlplane.triggers import ask
from controlplane.views import RunView
from controlplane.words import one_line

router = APIRouter(prefix="/api/v1/models/{ns}/{slug}", tags=["runs"])


class AskRun(Asked):
    """A manual trigger; the same request id asks for the same run."""

    #: a UUID
    request_id: str = Field(pattern=r"^[0-9a-fA-F-]{36}$")
    reason: Sentence = ""


@router.post("/runs", status_code=202)
def ask_run(parts: TheParts, model_id: TheModel, asked: AskRun) -> RunView:
    """Ask for a training run."""
    run = ask(parts.store, model_id, asked.request_id.lower(), one_line(asked.reason), parts.clock.now())
    return RunView.model_validate(run)
