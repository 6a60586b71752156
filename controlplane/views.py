"""What the API answers, as typed objects: the routes make them, and the client of the API gives them back."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from observability.events import Instant

Json = dict[str, Any]


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


class OnItsWay(View):
    """A version on its way to production."""

    version: int
    state: str


class CountsView(View):
    """Totals since the model was first applied; the first training and the first promotion are included."""

    #: by trigger
    firings: dict[str, int]
    #: by state
    runs: dict[str, int]
    promotions: int
    rejections: int


class InstanceView(View):
    """A serving process that reported lately, and what it said of this model."""

    id: str
    loaded: list[Json]
    failed: list[Json]
    reported_at: Instant


class HoldView(View):
    """Something of a model that a person stopped."""

    model: str
    #: `rules`, `rule:NAME` or `rollout`
    what: str
    since: Instant
    #: it ends by itself then
    until: Instant | None
    by: str
    why: str


class GateView(View):
    """The gate's verdict."""

    passed: bool
    reason: str
    detail: str
    numbers: Json
    #: every check in order
    checks: list[Json] = []
    decided_at: Instant


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
    cost: Json = {}
    mlflow_run_id: str
    mlflow_version: str
    bento_tag: str
    train_until: Instant
    made_at: Instant
    state_at: Instant
    promoted_at: Instant | None
    recorded_at: Instant
    promoted_recorded_at: Instant | None
    approved_by: str | None = None
    approved_why: str | None = None
    #: why the system rejected it by itself, such as REJECT_UNAPPROVED; empty where its gate, a guard or a person did
    rejected_for: str = ""
    gate: GateView | None = None


class EventsTaken(View):
    """How many events were posted and are on the disk."""

    predictions: int
    labels: int


class WindowView(View):
    """A window with its verdict."""

    id: str
    version: int
    monitor: str
    #: the segment that it is of, such as carrier=AA; empty where it is the whole window
    segment: str = ""
    after_time: Instant
    until_time: Instant
    rows: int
    #: came after the window was cut; not in `rows`, but in what was scored last
    late_rows: int
    labelled: int
    #: counted since the error metrics were settled
    late_labels: int = 0
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
    #: processor time that it took, in seconds
    cpu_seconds: float | None = None
    #: who asked that it end, and why
    cancel_by: str | None = None
    cancel_why: str | None = None
    asked_at: Instant
    started_at: Instant | None
    ended_at: Instant | None
    recorded_at: Instant
    ended_recorded_at: Instant | None


class RolloutView(View):
    """A version's way from the gate to production, step by step."""

    id: str
    version: int
    #: the version that it replaces, or replaced
    champion: int | None
    state: str
    #: which canary step, from 0
    step: int
    #: of the requests that the challenger answers
    share: float
    #: why it is where it is
    note: str
    began_at: Instant
    state_at: Instant
    recorded_at: Instant
    ended_at: Instant | None


class AlertView(View):
    """Something that a person should know."""

    id: str
    #: None for what concerns the installation
    model: str | None
    #: also its heading in the runbook
    name: str
    severity: str
    labels: dict[str, str]
    summary: str
    description: str
    state: str
    began_at: Instant
    state_at: Instant
    resolved_at: Instant | None
    inhibited_by: str | None
    by: str | None
    why: str | None
    silenced_until: Instant | None
    revision: int


class NotificationView(View):
    """A change of an alert that a channel has not taken yet, or that was given up."""

    id: str
    channel: str
    alert_id: str
    revision: int
    recorded_at: Instant
    due_at: Instant
    attempts: int
    last_error: str | None
    given_up_at: Instant | None


class Status(View):
    """Where a model stands."""

    model: str
    description: str
    team: str = ""
    spec_digest: str
    recipe_digest: str
    applied_at: Instant
    #: the control plane's clock
    now: Instant
    production: VersionView | None
    rollout: OnItsWay | None
    active_run: ActiveRun | None
    #: what a person stopped
    holds: list[HoldView] = []
    #: alerts that are not resolved
    open_alerts: int = 0
    #: latest event time of the model's predictions that the monitor has seen
    watermark: Instant | None
    labelled_new: int | None
    #: the clock at the last tick finished for this model; the watermark of the monitor's last finished pass
    decided_until: Instant | None
    monitored_until: Instant | None
    counts: CountsView
    instances: list[InstanceView]


class Applied(View):
    """The declaration that holds now."""

    model: str
    changed: bool
    spec_digest: str
    recipe_digest: str


class HookSecret(View):
    """The secret of a model's webhook. This is the only time that it is shown."""

    model: str
    secret: str
    #: where signed calls go
    path: str


class ClockView(View):
    """Where the control plane's clock stands."""

    clock: str
    now: Instant


class ErrorBody(View):
    """What went wrong."""

    #: for programs
    code: str
    #: for people: says what to do
    message: str
    details: Json


class ErrorView(View):
    """The one shape of every error."""

    error: ErrorBody
