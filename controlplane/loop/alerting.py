"""Alerts brought to what holds: of the models that were decided on, and of those that time or the fleet changed.

Whether an instance serves a model is compared with what this process saw at its last tick, so that a tick costs what
changed and not what exists.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial

from controlplane.alerts import Served, Watched
from controlplane.loop.boundary import apart
from controlplane.loop.work import Work


def look_at_fleet(work: Work) -> None:
    """See who serves what, and note the models whose alerts that changes."""
    store, watched, wall = work.store, work.watched, work.wall.now()
    served = _served(work)
    before, watched.served = watched.served, served
    if before is None:
        looked = list(store.production_manifests())
    else:
        found = (store.production_manifest(model) for model in sorted({each[0] for each in served ^ before}))
        looked = [each for each in found if each is not None]
    watched.changed |= {each[0] for each in looked if _note(watched, each, wall)}
    late = {model for model, since in watched.unserved.items() if wall - since >= work.patience.no_instance}
    watched.changed |= late - watched.settled


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
    since = watched.unserved.get(model_id)
    if work.store.settle_alerts(model_id, now, work.patience, since):
        work.at("told")
    watched.changed.discard(model_id)
    if since is not None and wall - since >= work.patience.no_instance:
        watched.settled.add(model_id)


def reconcile_alerts(work: Work, now: datetime) -> None:
    """The alerts that the fleet or time alone has changed, and those of the installation."""
    for model in sorted(work.watched.changed | work.store.restless_models(now, work.patience)):
        apart(f"the alerts of {model}", partial(settle, work, model, now))
    apart("the alerts of the installation", partial(work.store.settle_installation, now, work.patience))
