"""Models: applied, listed, looked at."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from controlplane.api.acting import act_of
from controlplane.api.hearing import tag_of
from controlplane.api.paging import ThePage, read_cursor
from controlplane.api.parts import Asked, Exactly, Sentence, TheModel, TheParts
from controlplane.applying import apply_spec
from controlplane.listings import ModelsPage
from controlplane.status import status_of, statuses
from controlplane.store.standings import Stands
from controlplane.views import Applied, Status
from controlplane.words import one_line

router = APIRouter(prefix="/api/v1/models", tags=["models"])
#: what the clock and the traffic alone move: a tag that told of it would never be the same twice
_MOVES: dict[str, Any] = {
    "now": True, "decided_until": True, "monitored_until": True, "watermark": True, "labelled_new": True,
    "active_run": {"fraction", "message"}, "instances": {"__all__": {"reported_at"}},
}  # fmt: skip


class Apply(Asked):
    """A spec and the recipe's Python files."""

    spec: dict[str, Any]
    #: name to source; empty where the spec has no `entry`: the model is only watched
    recipe: dict[str, str] = Field(max_length=100)
    reason: Sentence = ""


@router.get("")
def list_models(
    parts: TheParts, page: ThePage, response: Response, team: Exactly = None, state: Stands | None = None
) -> ModelsPage:
    """Where models stand, by name; of a team, or in a state."""
    after = read_cursor("models", page.cursor, [str])
    found = statuses(
        parts.store, parts.clock.now(), parts.instance_silence, after[0] if after else "", page.limit + 1, team, state
    )
    rows, behind = page.cut("models", found, ["model"])
    answer = ModelsPage(models=rows, next=behind)
    response.headers["ETag"] = tag_of(answer.model_dump_json(exclude={"models": {"__all__": _MOVES}}).encode())
    return answer


@router.put("/{ns}/{slug}")
def apply_model(request: Request, parts: TheParts, model_id: TheModel, asked: Apply) -> Applied:
    """Declare a model. Applying the same twice changes nothing."""
    act = act_of(request, one_line(asked.reason))
    model, changed = apply_spec(parts.store, model_id, asked.spec, asked.recipe, parts.clock.now(), act)
    return Applied(model=model.id, changed=changed, spec_digest=model.spec_digest, recipe_digest=model.recipe_digest)


@router.get("/{ns}/{slug}")
def model_status(parts: TheParts, model_id: TheModel, response: Response) -> Status:
    """Where a model stands. Its tag leaves out what the clock and the traffic alone move."""
    status = status_of(parts.store, model_id, parts.clock.now(), parts.instance_silence)
    response.headers["ETag"] = tag_of(status.model_dump_json(exclude=_MOVES).encode())
    return status
