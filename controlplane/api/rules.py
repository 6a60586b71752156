"""Rules tried over the past, before they are applied: one that is new, or all of them under other settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from fastapi import APIRouter
from pydantic import Field

from controlplane.api.parts import Asked, KnownModel, TheParts
from controlplane.errors import TrialsBusy
from controlplane.places import Places
from controlplane.replays import Replayed, replay
from controlplane.trials import Trial, try_rule
from observability.events import Instant

router = APIRouter(prefix="/api/v1/models/{ns}/{slug}", tags=["rules"])
#: how far back a trial goes where nothing is said
BACK: Final = timedelta(days=30)
#: trials of one process at a time: each keeps a processor busy for seconds, and everybody else needs one too
AT_ONCE: Final = 2
_TRYING: Final = Places(AT_ONCE, TrialsBusy)


class TryRule(Asked):
    """A rule as a spec declares it, and since when it is tried: for the last 30 days where nothing is said."""

    rule: dict[str, Any] = Field(min_length=1)
    since: Instant | None = None


@router.post("/rules/try")
def try_a_rule(parts: TheParts, model_id: KnownModel, asked: TryRule) -> Trial:
    """When a rule would have fired over what is stored, what it would have waited for, and the cost."""
    with _TRYING.one():
        now = parts.clock.now()
        return try_rule(parts.store, model_id, asked.rule, asked.since or now - BACK, now)


class ReplayRules(Asked):
    """A part of a spec: rules by name, `drift.margin` by monitor, `false_alarms`, `budget`. What is not said stays.

    Without any change it is the past over again: every decision is the same.
    """

    changes: dict[str, Any] = Field(default_factory=dict)
    since: Instant | None = None
    until: Instant | None = None


@router.post("/replay")
def replay_rules(parts: TheParts, model_id: KnownModel, asked: ReplayRules) -> Replayed:
    """What all rules would have decided over what is stored, under other settings, beside what they did."""
    with _TRYING.one():
        now = parts.clock.now()
        until = asked.until or now
        return replay(parts.store, model_id, asked.changes, asked.since or min(until, now) - BACK, until, now)
