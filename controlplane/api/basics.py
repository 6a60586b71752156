"""Health, readiness and the clock."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy.exc import OperationalError

from controlplane.api.parts import Asked, TheParts
from controlplane.errors import NotDeciding
from controlplane.replayclock import ReplayClock, set_clock
from controlplane.views import ClockView
from observability.events import Instant

router = APIRouter(tags=["basics"])


class SetClock(Asked):
    """Where a replay's clock should stand."""

    now: Instant


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "alive"}


@router.get("/readyz")
def readyz(parts: TheParts) -> dict[str, str]:
    """Whether the control plane can decide; 503 with the reason where it cannot."""
    try:
        parts.store.ticked_until()
    except OperationalError as error:
        raise NotDeciding("the database does not answer") from error
    if (trouble := parts.trouble()) is not None:
        raise NotDeciding(trouble)
    return {"status": "ready"}


@router.get("/api/v1/clock")
def read_clock(parts: TheParts) -> ClockView:
    """Where the control plane's clock stands."""
    kind = "replay" if isinstance(parts.clock, ReplayClock) else "system"
    return ClockView(clock=kind, now=parts.clock.now())


@router.put("/api/v1/clock")
def move_clock(parts: TheParts, asked: SetClock) -> ClockView:
    """Move a replay's clock forward; it never goes back."""
    return ClockView(clock="replay", now=set_clock(parts.clock, parts.store, asked.now))
