"""Where a model stands, in one object: what the command line, the admin page and a replay look at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from controlplane.store import Store
from controlplane.store.standings import Standing, Stands
from controlplane.tables import Instance
from controlplane.views import (
    ActiveRun,
    CountsView,
    GateView,
    HoldView,
    InstanceView,
    OnItsWay,
    Status,
    VersionView,
)


def status_of(store: Store, model_id: str, now: datetime, instance_silence: timedelta) -> Status:
    """The model's status. Raises NotFound."""
    (status,) = _shown(store, [store.standing(model_id)], now, instance_silence)
    return status


def statuses(
    store: Store,
    now: datetime,
    instance_silence: timedelta,
    after: str = "",
    limit: int = 100,
    team: str | None = None,
    state: Stands | None = None,
) -> list[Status]:
    """The status of the models behind an id, by id: the queries are as many for all as for one."""
    return _shown(store, store.standings(after, limit, team, state), now, instance_silence)


def _shown(store: Store, standings: Sequence[Standing], now: datetime, silence: timedelta) -> list[Status]:
    ticked, instances = store.ticked_until(), store.live_instances(silence)
    return [_status(each, ticked, instances, now) for each in standings]


def _status(standing: Standing, ticked: datetime | None, instances: Sequence[Instance], now: datetime) -> Status:
    model, seen, moving = standing.model, standing.observation, standing.on_its_way
    return Status(
        model=model["id"],
        description=model["description"] or "",
        team=model["team"] or "",
        spec_digest=model["spec_digest"],
        recipe_digest=model["recipe_digest"],
        applied_at=model["applied_at"],
        now=now,
        production=version_view(standing.production, standing.gate) if standing.production else None,
        rollout=OnItsWay(version=moving["number"], state=moving["state"]) if moving else None,
        active_run=_active(standing.run) if standing.run else None,
        holds=[HoldView.model_validate(dict(each)) for each in standing.holds if not _ended(each, now)],
        open_alerts=standing.open_alerts,
        watermark=seen["watermark"] if seen else None,
        labelled_new=seen["labelled_new"] if seen else None,
        decided_until=_decided_until(model, ticked),
        monitored_until=model["monitored_until"],
        counts=CountsView.model_validate(standing.counts),
        instances=[_about(model["id"], each) for each in instances],
    )


def _decided_until(model: Any, ticked: datetime | None) -> datetime | None:  # noqa: ANN401 - a row
    """Until when all that was to be decided is: a model that is not due has nothing left of the time that passed."""
    asleep = ticked is not None and model["due_at"] > ticked
    found: datetime | None = ticked if asleep else model["decided_until"]
    return found


def _ended(hold: Any, now: datetime) -> bool:  # noqa: ANN401 - a row
    return hold["until"] is not None and hold["until"] <= now


def version_view(version: Any, gate: Any) -> VersionView:  # noqa: ANN401 - rows
    """A version with the gate's verdict on it, where there is one."""
    view = VersionView.model_validate(dict(version))
    return view.model_copy(update={"gate": GateView.model_validate(gate)}) if gate is not None else view


def _active(run: Any) -> ActiveRun:  # noqa: ANN401 - a row
    progress: dict[str, Any] = run["progress"] or {}
    return ActiveRun(
        key=run["key"],
        state=run["state"],
        phase=progress.get("phase"),
        fraction=progress.get("fraction", 0.0),
        message=progress.get("message", "waiting to be started"),
        rule=run["rule"],
        reason=run["reason"],
        detail=run["detail"],
        asked_at=run["asked_at"],
        recorded_at=run["recorded_at"],
    )


def _about(model_id: str, instance: Instance) -> InstanceView:
    """What an instance said of one model: what it said of a thousand others is theirs."""
    loaded, failed = (
        [each for each in said if each["model"] == model_id] for said in (instance.loaded, instance.failed)
    )
    return InstanceView(id=instance.id, loaded=loaded, failed=failed, reported_at=instance.reported_at)
