"""Rules tried over the past, before they are applied."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any, Final

from fastapi import APIRouter
from pydantic import Field

from controlplane.api.parts import Asked, KnownModel, TheParts
from controlplane.errors import TrialsBusy
from controlplane.trials import Trial, try_rule
from observability.events import Instant

router = APIRouter(prefix="/api/v1/models/{ns}/{slug}/rules", tags=["rules"])
#: how far back a trial goes where nothing is said
BACK: Final = timedelta(days=30)
#: trials of one process at a time: each keeps a processor busy for seconds, and everybody else needs one too
AT_ONCE: Final = 2
_TRYING: Final = threading.BoundedSemaphore(AT_ONCE)


class TryRule(Asked):
    """A rule as a spec declares it, and since when it is tried: for the last 30 days where nothing is said."""

    rule: dict[str, Any] = Field(min_length=1)
    since: Instant | None = None


@router.post("/try")
def try_a_rule(parts: TheParts, model_id: KnownModel, asked: TryRule) -> Trial:
    """When a rule would have fired over what is stored, what it would have waited for, and the cost."""
    if not _TRYING.acquire(blocking=False):
        raise TrialsBusy
    try:
        now = parts.clock.now()
        return try_rule(parts.store, model_id, asked.rule, asked.since or now - BACK, now)
    finally:
        _TRYING.release()
