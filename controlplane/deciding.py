"""Rules asked, for the models that are due: something of theirs has changed, or its time has come."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from controlplane.alerting import settle
from controlplane.boundary import apart
from controlplane.tables import Model
from controlplane.triggers import apply_rules
from controlplane.work import Work


def reconcile_rules(work: Work, now: datetime) -> None:
    """Ask the rules of every model that is due, and let each sleep until time alone changes an answer."""
    last = ""
    while models := work.store.due_models(now, last):
        for model in models:
            apart(f"the rules of {model.id}", partial(_decide, work, model, now))
        last = models[-1].id
    work.store.mark_ticked(now)


def _decide(work: Work, model: Model, now: datetime) -> None:
    applied = apply_rules(work.store, model, now)
    if applied.run is not None:
        work.at("fired")
    settle(work, model.id, now)
    work.store.mark_decided(model.id, model.changes, applied.wakes_at, now)
