"""Rules asked, for the models that are due: something of theirs has changed, or its time has come."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from controlplane.boundary import apart
from controlplane.tables import Model
from controlplane.triggers import apply_rules
from controlplane.work import Work


def reconcile_rules(work: Work, now: datetime) -> None:
    """Ask the rules of every model that is due."""
    for model in work.store.due_models(now):
        apart(f"the rules of {model.id}", partial(_decide, work, model, now))
    work.store.mark_ticked(now)


def _decide(work: Work, model: Model, now: datetime) -> None:
    if apply_rules(work.store, model, now) is not None:
        work.at("fired")
    work.store.mark_decided(model.id, model.changes, now, now)
