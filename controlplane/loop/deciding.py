"""Rules asked, for the models that are due: something of theirs has changed, or its time has come."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Final

from controlplane.loop.alerting import settle
from controlplane.loop.boundary import apart
from controlplane.loop.triggers import apply_rules
from controlplane.loop.work import Work
from controlplane.store.levels import Asleep
from controlplane.store.models import DUE_AT_ONCE
from controlplane.tables import Model

#: models that are put to sleep at once: one commit waits for the disk once, whatever it is about
AT_ONCE: Final = 50


def reconcile_rules(work: Work, now: datetime) -> None:
    """Ask the rules of every model that is due, and let each sleep until time alone changes an answer."""
    last: str | None = ""
    while last is not None:
        models = work.store.due_models(now, last)
        for start in range(0, len(models), AT_ONCE):
            slept: list[Asleep] = []
            for model in models[start : start + AT_ONCE]:
                apart(f"the rules of {model.id}", partial(_decide, work, model, now, slept))
            if slept:
                apart(f"the sleep of {len(slept)} models", partial(work.store.fall_asleep, slept, now))
        last = models[-1].id if len(models) == DUE_AT_ONCE else None
    work.store.mark_ticked(now)


def _decide(work: Work, model: Model, now: datetime, slept: list[Asleep]) -> None:
    applied = apply_rules(work.store, model, now)
    if applied.run is not None:
        work.at("fired")
    settle(work, model.id, now)
    slept.append(Asleep(model.id, model.changes, applied.wakes_at, applied.question))
