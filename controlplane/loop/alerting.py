"""Alerts brought to what holds: of the models that were decided on, and of those that time or the fleet changed.

Whether an instance serves a model is compared with what this process saw at its last tick, so that a tick costs what
changed and not what exists.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Final

from controlplane.alertfacts import Served, Ticking, Watched
from controlplane.loop.boundary import apart
from controlplane.loop.work import Work

#: a process between two ticks for longer was stopped, or its clock was set
GAP: Final = timedelta(seconds=60)
#: so often every version in production is looked for: another replica may have noted one and be gone
LOOK_AGAIN: Final = timedelta(seconds=30)


def tick_begins(work: Work, now: datetime) -> None:
    """Note whether this process has ticked until now: what could not go on meanwhile is given its time again."""
    watched, wall = work.watched, work.wall.now()
    last = watched.ticked_at
    if watched.ticking is None or last is None or not timedelta(0) <= wall - last <= GAP:
        watched.ticking = Ticking(wall, now)
    watched.ticked_at = wall


def tick_ends(work: Work) -> None:
    """A tick that took long is no gap."""
    work.watched.ticked_at = work.wall.now()


def look_at_fleet(work: Work) -> None:
    """See who serves what, and note the models whose alerts that changes."""
    store, watched, wall = work.store, work.watched, work.wall.now()
    served = _served(work)
    before, watched.served = watched.served, served
    looked_at = watched.all_looked_at
    if before is None or looked_at is None or not timedelta(0) <= wall - looked_at < LOOK_AGAIN:
        watched.all_looked_at = wall
        looked = list(store.production_manifests())
    else:
        found = (store.production_manifest(model) for model in sorted({each[0] for each in served ^ before}))
        looked = [each for each in found if each is not None]
    watched.changed |= {each[0] for each in looked if _note(watched, each, wall)}
    late = {model for model in watched.unserved if _unserved_for_long(work, model, wall)}
    watched.changed |= late - watched.settled


def _unserved_for_long(work: Work, model: str, wall: datetime) -> bool:
    since = _unserved_since(work.watched, model)
    return since is not None and wall - since >= work.patience.no_instance


def _unserved_since(watched: Watched, model: str) -> datetime | None:
    """Since when nobody serves the model, as far as somebody looked."""
    since = watched.unserved.get(model)
    return since if since is None or watched.ticking is None else max(since, watched.ticking.wall)


def _served(work: Work) -> frozenset[Served]:
    loaded = [entry for instance in work.store.live_instances(work.instance_silence) for entry in instance.loaded]
    return frozenset((str(each["model"]), int(each["version"]), str(each["manifest"])) for each in loaded)


def _note(watched: Watched, production: Served, wall: datetime) -> bool:
    """Whether a model that nobody served is served again."""
    model = production[0]
    if watched.served is None or production not in watched.served:
        watched.unserved.setdefault(model, wall)
        return False
    watched.settled.discard(model)
    return watched.unserved.pop(model, None) is not None


def settle(work: Work, model_id: str, now: datetime) -> None:
    """Bring one model's alerts to what holds. A model that was decided on must not be put to sleep before."""
    watched, wall = work.watched, work.wall.now()
    production = work.store.production_manifest(model_id)
    if production is None:
        watched.unserved.pop(model_id, None)
    else:
        _note(watched, production, wall)
    since = _unserved_since(watched, model_id)
    if work.store.settle_alerts(model_id, now, work.patience, since, watched.ticking):
        work.at("told")
    watched.changed.discard(model_id)
    if _unserved_for_long(work, model_id, wall):
        watched.settled.add(model_id)


def reconcile_alerts(work: Work, now: datetime) -> None:
    """The alerts that the fleet or time alone has changed, and those of the installation."""
    patience, ticking = work.patience, work.watched.ticking
    for model in sorted(work.watched.changed | work.store.restless_models(now, patience, ticking)):
        apart(f"the alerts of {model}", partial(settle, work, model, now))
    apart("the alerts of the installation", partial(work.store.settle_installation, now, patience, ticking))
