"""What people stop: rules that do not fire, rollouts that do not move."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from controlplane.api.acting import act_of
from controlplane.api.parts import Asked, KnownModel, Reason, TheParts, Why
from controlplane.listings import HoldsPage
from controlplane.views import HoldView
from controlplane.words import one_line
from observability.events import Instant

router = APIRouter(prefix="/api/v1/models/{ns}/{slug}/holds", tags=["holds"])
What = Annotated[
    str,
    Path(pattern=r"^(rules|rollout|rule:[^\x00/]{1,70})$", description="`rules`, `rule:NAME` or `rollout`"),
]


class PutHold(Asked):
    """Why it is stopped, and until when; without an end until somebody takes the hold away."""

    reason: Why
    until: Instant | None = None


@router.get("")
def holds(parts: TheParts, model_id: KnownModel) -> HoldsPage:
    """What of the model is stopped now. There are never more than its rules and two: one page."""
    found = parts.store.holds(model_id, parts.clock.now())
    return HoldsPage(holds=[HoldView.model_validate(each) for each in found])


@router.put("/{what}")
def put_hold(request: Request, parts: TheParts, model_id: KnownModel, what: What, asked: PutHold) -> HoldView:
    """Stop it: `rules` or `rule:NAME` pauses, `rollout` freezes. Saying the same again changes nothing."""
    act = act_of(request, one_line(asked.reason))
    hold = parts.store.put_hold(model_id, what, act.why, asked.until, parts.clock.now(), act.actor, act)
    return HoldView.model_validate(hold)


@router.delete("/{what}", status_code=204)
def end_hold(request: Request, parts: TheParts, model_id: KnownModel, what: What, asked: Reason) -> None:
    """Let it go on."""
    parts.store.end_hold(model_id, what, parts.clock.now(), act_of(request, one_line(asked.reason)))
