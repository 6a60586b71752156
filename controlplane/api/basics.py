"""Health, readiness and the clock."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError

from controlplane.api.parts import TheParts
from controlplane.errors import NotDeciding
from controlplane.replayclock import ReplayClock, set_clock
from observability.events import Instant

router = APIRouter()


class ClockView(BaseModel):
    """Where the control plane's clock stands."""

    clock: str
    now: Instant


class SetClock(BaseModel):
    """Where a replay's clock should stand."""

    now: Instant


@router.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "alive"}


@router.get("/readyz")
def readyz(parts: TheParts) -> dict[str, str]:
    try:
        parts.store.models()
    except OperationalError as error:
        raise NotDeciding("the database does not answer") from error
    if (trouble := parts.trouble()) is not None:
        raise NotDeciding(trouble)
    return {"status": "ready"}


@router.get("/api/v1/clock")
def read_clock(parts: TheParts) -> ClockView:
    kind = "replay" if isinstance(parts.clock, ReplayClock) else "system"
    return ClockView(clock=kind, now=parts.clock.now())


@router.put("/api/v1/clock")
def move_clock(parts: TheParts, asked: SetClock) -> ClockView:
    return ClockView(clock="replay", now=set_clock(parts.clock, parts.store, asked.now))
