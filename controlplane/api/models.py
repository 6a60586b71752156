"""Models: applied, listed, looked at, trained by hand, rolled back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from controlplane.api.parts import TheModel, TheParts
from controlplane.applying import apply_spec
from controlplane.status import RunView, Status, VersionView, status_of
from controlplane.triggers import ask
from controlplane.words import one_line

router = APIRouter(prefix="/api/v1/models")
Sentence = Annotated[str, StringConstraints(max_length=500), StringConstraints(strip_whitespace=True)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Apply(_Asked):
    """A spec and the recipe's Python files."""

    spec: dict[str, Any]
    recipe: dict[str, str] = Field(min_length=1, max_length=100)


class Applied(BaseModel):
    """The declaration that holds now."""

    model: str
    changed: bool
    spec_digest: str
    recipe_digest: str


class AskRun(_Asked):
    """A manual trigger; the same request id asks for the same run."""

    request_id: str = Field(pattern=r"^[0-9a-fA-F-]{36}$")
    reason: Sentence = ""


class RollBack(_Asked):
    """Why the version in production has to go."""

    reason: Sentence = Field(min_length=1)


@router.get("")
def list_models(parts: TheParts) -> dict[str, list[Status]]:
    now, silence = parts.clock.now(), parts.instance_silence
    models = parts.store.models()
    return {"models": [status_of(parts.store, model.id, now, silence) for model in models]}


@router.put("/{ns}/{slug}")
def apply_model(parts: TheParts, model_id: TheModel, asked: Apply) -> Applied:
    model, changed = apply_spec(parts.store, model_id, asked.spec, asked.recipe, parts.clock.now())
    return Applied(model=model.id, changed=changed, spec_digest=model.spec_digest, recipe_digest=model.recipe_digest)


@router.get("/{ns}/{slug}")
def model_status(parts: TheParts, model_id: TheModel) -> Status:
    return status_of(parts.store, model_id, parts.clock.now(), parts.instance_silence)


@router.post("/{ns}/{slug}/runs", status_code=202)
def ask_run(parts: TheParts, model_id: TheModel, asked: AskRun) -> RunView:
    run = ask(parts.store, model_id, asked.request_id.lower(), one_line(asked.reason), parts.clock.now())
    return RunView.model_validate(run)


@router.post("/{ns}/{slug}/rollback")
def roll_back(parts: TheParts, model_id: TheModel, asked: Annotated[RollBack, Body()]) -> VersionView:
    parts.store.model(model_id)
    version = parts.store.roll_back(model_id, one_line(asked.reason), parts.clock.now())
    return VersionView.model_validate(version)
