"""Where a model stands, in one object: what the command line, the admin page and a replay look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from controlplane.store import Store
from controlplane.tables import DecisionRecord, Firing, GateRecord, Json, Model, ScoredWindow, TrainingRun, Version
from observability.events import Instant


class View(BaseModel):
    """What is shown; read from rows."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class ActiveRun(View):
    """The run that has not ended."""

    key: str
    state: str
    phase: str | None
    fraction: float
    message: str
    rule: str
    reason: str
    detail: str
    asked_at: Instant
    #: the machine's time
    recorded_at: Instant


class RolloutView(View):
    """A version on its way to production."""

    version: int
    state: str


class CountsView(View):
    """Totals since the model was first applied; the first training and the first promotion are included."""

    firings: dict[str, int]
    runs: dict[str, int]
    promotions: int
    rejections: int


class InstanceView(View):
    """A serving process that reported lately."""

    id: str
    loaded: list[Json]
    failed: list[Json]
    reported_at: Instant


class Status(View):
    """Where a model stands."""

    model: str
    description: str
    spec_digest: str
    recipe_digest: str
    applied_at: Instant
    #: the control plane's clock
    now: Instant
    production: VersionView | None
    rollout: RolloutView | None
    active_run: ActiveRun | None
    #: latest event time of the model's predictions that the monitor has seen
    watermark: Instant | None
    labelled_new: int | None
    #: the clock at the last tick finished for this model; the watermark of the monitor's last finished pass
    decided_until: Instant | None
    monitored_until: Instant | None
    counts: CountsView
    instances: list[InstanceView]


class VersionView(View):
    """A version with what it was made of and what the gate said of it."""

    number: int
    state: str
    note: str
    manifest: str
    onnx_sha256: str
    parent: int | None
    firing_id: str
    run_key: str
    dataset: Json
    metrics: dict[str, float]
    constant_metrics: dict[str, float]
    champion_metrics: dict[str, float]
    parity: Json
    mlflow_run_id: str
    mlflow_version: str
    bento_tag: str
    train_until: Instant
    made_at: Instant
    state_at: Instant
    promoted_at: Instant | None
    recorded_at: Instant
    promoted_recorded_at: Instant | None
    gate: GateView | None = None


class GateView(View):
    """The gate's verdict."""

    passed: bool
    reason: str
    detail: str
    numbers: Json
    decided_at: Instant


class WindowView(View):
    """A window with its verdict."""

    id: str
    version: int
    monitor: str
    after_time: Instant
    until_time: Instant
    rows: int
    #: came after the window was cut; not in `rows`, but in what was scored last
    late_rows: int
    labelled: int
    revision: int
    verdict: Json
    cut_at: Instant
    scored_at: Instant
    labels_due_at: Instant
    error_at: Instant | None


class DecisionView(View):
    """A decision with its reason."""

    id: str
    rule: str
    kind: str
    cause: str
    turn: int
    outcome: str
    reason: str
    detail: str
    numbers: Json
    version: int | None
    decided_at: Instant
    recorded_at: Instant


class FiringView(View):
    """A rule that fired."""

    id: str
    rule: str
    kind: str
    trigger: str
    cause: str
    reason: str
    detail: str
    decision_id: str
    fired_at: Instant
    recorded_at: Instant


class RunView(View):
    """A training run."""

    key: str
    firing_id: str
    model: str
    state: str
    parent: int | None
    attempts: int
    epoch: int
    progress: Json | None
    report: Json | None
    failure_code: str | None
    failure_message: str | None
    asked_at: Instant
    started_at: Instant | None
    ended_at: Instant | None
    recorded_at: Instant
    ended_recorded_at: Instant | None


def status_of(store: Store, model_id: str, now: datetime, instance_silence: timedelta) -> Status:
    """The model's status. Raises NotFound."""
    model = store.model(model_id)
    production = store.production(model_id)
    observation = store.observation(model_id, production.number) if production else None
    on_its_way = store.on_their_way(model_id)
    gates = store.gate_verdicts(model_id)
    return Status(
        model=model.id,
        description=str(model.spec.get("description", "")),
        spec_digest=model.spec_digest,
        recipe_digest=model.recipe_digest,
        applied_at=model.applied_at,
        now=now,
        production=version_view(production, gates) if production else None,
        rollout=_rollout(on_its_way),
        active_run=_active(store, store.active_run(model_id)),
        watermark=observation.watermark if observation else None,
        labelled_new=observation.labelled_new if observation else None,
        decided_until=_decided_until(store, model),
        monitored_until=model.monitored_until,
        counts=CountsView.model_validate(store.counts(model_id)),
        instances=[InstanceView.model_validate(each) for each in store.live_instances(instance_silence)],
    )


def _decided_until(store: Store, model: Model) -> datetime | None:
    """Until when all that was to be decided is: a model that is not due has nothing left of the time that passed."""
    ticked = store.ticked_until()
    return ticked if ticked is not None and model.due_at > ticked else model.decided_until


def version_view(version: Version, gates: Mapping[int, GateRecord]) -> VersionView:
    """A version with the gate's verdict on it."""
    view = VersionView.model_validate(version)
    gate = gates.get(version.number)
    return view.model_copy(update={"gate": GateView.model_validate(gate)}) if gate else view


def _rollout(on_its_way: Sequence[Version]) -> RolloutView | None:
    return RolloutView(version=on_its_way[0].number, state=on_its_way[0].state) if on_its_way else None


def _active(store: Store, run: TrainingRun | None) -> ActiveRun | None:
    if run is None:
        return None
    firing = store.firings_of([run.firing_id])[run.firing_id]
    progress: dict[str, Any] = run.progress or {}
    return ActiveRun(
        key=run.key,
        state=run.state,
        phase=progress.get("phase"),
        fraction=progress.get("fraction", 0.0),
        message=progress.get("message", "waiting to be started"),
        rule=firing.rule,
        reason=firing.reason,
        detail=firing.detail,
        asked_at=run.asked_at,
        recorded_at=run.recorded_at,
    )


def views(
    rows: Sequence[ScoredWindow] | Sequence[DecisionRecord] | Sequence[Firing] | Sequence[TrainingRun],
    view: type[View],
) -> list[View]:
    """Rows as they are shown."""
    return [view.model_validate(row) for row in rows]
