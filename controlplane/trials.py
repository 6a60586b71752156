"""A rule tried over what is stored of a model: when it would have fired, the cost, and what fired in truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError

from controlplane.applying import refuse_unkeepable
from controlplane.errors import SpecRefused
from controlplane.histories import EARLIEST, Span, read_history
from controlplane.rules.pastwindows import track_of
from controlplane.rules.schedule import BadCron, check
from controlplane.rules.trying import History, Replay, Said
from controlplane.store import Store, spec_of
from controlplane.tables import Firing, TrainingRun
from pipeline.contract.rulespec import Rule, ScheduleRule, VolumeRule
from pipeline.contract.spec import ModelSpec

#: a trial that takes longer ends where it is: whoever asks may only read, and others wait for the processor
SECONDS: Final = 5.0
_RULE: Final[TypeAdapter[Rule]] = TypeAdapter(Rule)
ASSUMPTIONS: Final = (
    "History stays as it was: versions, windows and the runs of other rules are those that were.",
    "A run takes as long as the model's runs took since then, and nothing comes of it.",
    "Windows are judged by what is known of them now, also where labels or rows came late.",
    "Pauses are left out, and so is dry_run.",
)
OF_LABELS: Final = "New labelled rows are those of the windows of the model's first monitor."


class Fired(BaseModel):
    """A firing, of the trial or in truth."""

    rule: str
    at: datetime
    cause: str
    reason: str
    detail: str


class Waited(BaseModel):
    """For what the rule would have waited."""

    reason: str
    #: how often it would have been said, once for each cause unless another reason came between
    times: int
    first_at: datetime
    last_at: datetime
    #: of the last time
    detail: str


class Cost(BaseModel):
    """What the firings would have cost; None where no run of the model tells."""

    runs: int
    #: the model's runs that the means are of
    known_runs: int
    seconds_each: float | None
    cpu_hours_each: float | None
    seconds: float | None
    cpu_hours: float | None


class Trial(BaseModel):
    """What a rule would have done."""

    model: str
    rule: str
    kind: str
    since: datetime
    until: datetime
    #: stored windows that were looked at
    windows: int
    would_fire: list[Fired]
    waited: list[Waited]
    cost: Cost
    #: what fired in truth since then, of every rule and request
    fired: list[Fired]
    #: False where the past was too long for one trial: then it was tried up to the last thing that is told
    complete: bool
    assumptions: list[str]


def try_rule(
    store: Store,
    model_id: str,
    declared: Mapping[str, Any],
    since: datetime,
    now: datetime,
    clock: Callable[[], float] = time.monotonic,
) -> Trial:
    """Replay a rule as a user declares it over the model's past since then, for a few seconds by this clock at most.

    Raises NotFound, or SpecRefused where it could not be a rule of this model.
    """
    began, since = clock(), max(since, EARLIEST)
    spec = spec_of(store.model(model_id))
    rule = _checked(declared, spec, now)
    if since >= now:
        raise SpecRefused(f"since: {since.isoformat()} has not passed", field="since")
    runs = store.runs_since(model_id, since - timedelta(days=30))
    rule = rule.model_copy(update={"dry_run": False})
    history = read_history(store, spec, Span([rule], since, now, {rule.name}), runs)
    history = replace(history, known_runs={}, fired=frozenset())
    replay = Replay([rule], history, since, now, lambda: clock() - began > SECONDS, {rule.name})
    said = list(replay.said())
    firing = [would_fire(each) for each in said if each.decision.outcome == "fire"]
    return Trial(
        model=model_id, rule=rule.name, kind=rule.kind, since=since, until=now, 
        windows=_looked_at(rule, history),
        would_fire=firing, waited=_waited(said), cost=cost_of(len(firing), [run for run, _ in runs]),
        fired=[fired_in_truth(firing) for _, firing in runs if firing.fired_at >= since], complete=replay.complete,
        assumptions=[*ASSUMPTIONS, *([OF_LABELS] if isinstance(rule, VolumeRule) else [])],
    )  # fmt: skip


def _checked(declared: Mapping[str, Any], spec: ModelSpec, now: datetime) -> Rule:
    refuse_unkeepable(declared, "rule")
    try:
        rule = _RULE.validate_python(declared)
        others = tuple(each for each in spec.rules if each.name != rule.name)
        ModelSpec.model_validate(spec.model_dump(by_alias=True) | {"rules": (*others, rule)})
        if isinstance(rule, ScheduleRule):
            check(rule, now)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise SpecRefused(f"{field or 'rule'}: {first['msg'].removeprefix('Value error, ')}", field=field) from error
    except BadCron as error:
        raise SpecRefused(str(error), field="cron") from error
    return rule


def _looked_at(rule: Rule, history: History) -> int:
    track = track_of(rule, history.first_monitor)
    return len(history.windows.get(track[:2], ())) if track else 0


def would_fire(said: Said) -> Fired:
    """A firing of a replay."""
    decision = said.decision
    return Fired(
        rule=decision.rule, at=said.at, cause=decision.cause, reason=decision.reason.name, detail=decision.detail
    )


def fired_in_truth(firing: Firing) -> Fired:
    """A firing of the past."""
    return Fired(rule=firing.rule, at=firing.fired_at, cause=firing.cause, reason=firing.reason, detail=firing.detail)


def _waited(said: Iterable[Said]) -> list[Waited]:
    """By reason, in the order in which the reasons came up."""
    found: dict[str, Waited] = {}
    for at, decision in ((each.at, each.decision) for each in said if each.decision.outcome == "wait"):
        name = decision.reason.name
        before = found.get(name)
        found[name] = Waited(
            reason=name, times=before.times + 1 if before else 1, first_at=before.first_at if before else at,
            last_at=at, detail=decision.detail,
        )  # fmt: skip
    return list(found.values())


def cost_of(count: int, runs: Sequence[TrainingRun]) -> Cost:
    """What so many runs cost where each costs the mean of these."""
    seconds = [run.report["seconds"] for run in runs if run.report and "seconds" in run.report]
    hours = [run.cpu_seconds / 3600 for run in runs if run.cpu_seconds is not None]
    each, cpu = _mean(seconds), _mean(hours)
    return Cost(
        runs=count, known_runs=len(seconds), seconds_each=each, cpu_hours_each=cpu,
        seconds=None if each is None else each * count, cpu_hours=None if cpu is None else cpu * count,
    )  # fmt: skip


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
