"""The next step of a rollout: a pure function of its plan, what was measured of it, the fleet and the clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias

from controlplane.lifecycle import RolloutState
from controlplane.promotion.proof import Proof, prove
from observability.durations import format_duration
from pipeline.contract.promotionspec import Canary, Guards, RolloutPlan, Shadow

#: rows from which on the share of errors and the latencies say something
ROWS_TO_JUDGE: Final = 20


class Wanted(Protocol):
    """A version that serving should have loaded."""

    @property
    def model(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def manifest(self) -> str: ...


class Reported(Protocol):
    """What a serving instance last said of itself."""

    @property
    def id(self) -> str: ...
    @property
    def loaded(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def failed(self) -> Sequence[Mapping[str, Any]]: ...


@dataclass(frozen=True)
class Loaded:
    """Every live instance has it, and there is at least one."""


@dataclass(frozen=True)
class FailedLoad:
    """An instance could not load it."""

    reason: str


@dataclass(frozen=True)
class Waiting:
    """Not every live instance has it, or none is alive."""

    on: tuple[str, ...] = ()


Readiness: TypeAlias = Loaded | FailedLoad | Waiting


def observe_fleet(version: Wanted, instances: Sequence[Reported]) -> Readiness:
    """How far the instances that reported lately are with a version."""
    name = {"model": version.model, "version": version.number}
    for instance in instances:
        for failed in instance.failed:
            if {key: failed.get(key) for key in name} == name:
                return FailedLoad(f"{instance.id} could not load it: {failed.get('reason', 'no reason given')}")
    wanted = name | {"manifest": version.manifest}
    without = tuple(instance.id for instance in instances if wanted not in instance.loaded)
    return Loaded() if instances and not without else Waiting(without)


class StepReason(StrEnum):
    """Why a rollout moves, or stays where it is."""

    GO_ON = "this step has shown enough"
    PROMOTE = "every step of the plan has shown enough"
    PROMOTE_ASKED = "a person promoted it"
    DONE = "watched for as long as planned"
    DONE_NEXT = "another version is on its way"
    STAY_FROZEN = "frozen"
    STAY_LOADING = "not loaded everywhere"
    STAY_FEW_ROWS = "too few rows"
    STAY_TIME = "too early"
    STAY_UNDECIDED = "not decided whether it is better"
    STAY_WATCHING = "being watched"
    STOP_OVERTAKEN = "made to replace a version that is not in production any more"
    STOP_LOAD = "an instance could not load it"
    STOP_ERRORS = "it fails on too many rows"
    STOP_LATENCY = "it is too slow"
    STOP_METRIC = "shown to be worse than the other version"
    STOP_NOT_BETTER = "not shown to be better than the champion in shadow"
    STOP_DEADLINE = "not in production in time"
    STOP_UNREADABLE = "this release cannot read what was asked of it"
    STOP_ASKED = "a person stopped it"


@dataclass(frozen=True)
class Step:
    """What becomes of a rollout, and why. `to` is None where it stays as it is."""

    reason: StepReason
    detail: str
    to: RolloutState | None = None
    #: of a canary: which step, and the share that it answers
    number: int = 0
    share: float = 0.0


@dataclass(frozen=True)
class RolloutFacts:
    """Everything that the next step is decided from."""

    now: datetime
    plan: RolloutPlan
    state: RolloutState
    #: which canary step, from 0
    step: int
    began_at: datetime
    state_at: datetime
    #: the version that it replaces, or replaced
    champion: int | None
    in_production: int | None
    readiness: Readiness
    #: what was measured of this very step; None before anything was
    compared: Mapping[str, Any] | None = None
    #: who holds it and why, in words
    frozen: str | None = None
    #: when the last freeze ended by itself: what was frozen has its whole time from then on
    thawed_at: datetime | None = None


def next_step(facts: RolloutFacts) -> Step:
    """Where the rollout goes now. A guard speaks before everything that could make it wait, a freeze too."""
    watching = facts.state is RolloutState.WATCHING
    stopped = (None if watching else _stopped(facts)) or tripped(facts.plan.guards, facts.compared)
    if stopped is not None:
        reason, detail = stopped
        return Step(reason, detail, RolloutState.ROLLED_BACK if watching else RolloutState.ABORTED)
    if facts.frozen is not None:
        return Step(StepReason.STAY_FROZEN, facts.frozen)
    return _watch(facts) if watching else _go_on(facts)


def _stopped(facts: RolloutFacts) -> tuple[StepReason, str] | None:
    """Why it may not go on though it may be good."""
    if facts.in_production != facts.champion:
        old, new = _named(facts.champion), _named(facts.in_production)
        return StepReason.STOP_OVERTAKEN, f"made to replace {old}, but {new} is in production now"
    if isinstance(facts.readiness, FailedLoad):
        return StepReason.STOP_LOAD, facts.readiness.reason
    return None


def _named(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"


def tripped(guards: Guards, compared: Mapping[str, Any] | None) -> tuple[StepReason, str] | None:
    """The guard that what was measured sets off, with its numbers; None where none does."""
    if compared is None:
        return None
    rows, failed = compared["rows"], compared["failed"]
    if rows >= ROWS_TO_JUDGE and failed / rows > guards.error_share:
        share = f"{failed / rows:.2%}, allowed {guards.error_share:.2%}"
        return StepReason.STOP_ERRORS, f"it could not score {failed} of {rows} rows ({share})"
    return _slow(guards, compared) or _worse(guards, compared)


def _slow(guards: Guards, compared: Mapping[str, Any]) -> tuple[StepReason, str] | None:
    ours, theirs = compared.get("challenger_ms_p99"), compared.get("champion_ms_p99")
    if guards.latency_ratio is None or compared["rows"] < ROWS_TO_JUDGE or ours is None or not theirs:
        return None
    if ours / theirs <= guards.latency_ratio:
        return None
    factor = f"{ours / theirs:.1f} times, allowed {guards.latency_ratio:g}"
    return StepReason.STOP_LATENCY, f"99 of 100 requests take {ours:.3g} ms, not {theirs:.3g} ms ({factor})"


def _worse(guards: Guards, compared: Mapping[str, Any]) -> tuple[StepReason, str] | None:
    found = compared.get("improvement")
    if guards.metric is None or found is None or compared["labelled"] < guards.min_labels:
        return None
    if found["upper"] >= -guards.margin:
        return None
    detail = (
        f"{guards.metric} {found['challenger']:.4f} against {found['champion']:.4f} on {compared['labelled']} labelled "
        f"rows: better by {found['difference']:+.4f}, at most {found['upper']:+.4f} at {guards.confidence:.0%} "
        f"confidence, may be down to {-guards.margin:+g}"
    )
    return StepReason.STOP_METRIC, detail


def _watch(facts: RolloutFacts) -> Step:
    until = facts.state_at + facts.plan.watch
    if facts.now >= until:
        return Step(StepReason.DONE, f"watched for {format_duration(facts.plan.watch)}", RolloutState.DONE)
    return Step(StepReason.STAY_WATCHING, f"watched until {until:%Y-%m-%d %H:%M:%S} UTC")


def _go_on(facts: RolloutFacts) -> Step:
    if facts.now >= max(facts.began_at, facts.thawed_at or facts.began_at) + facts.plan.deadline:
        detail = f"not in production within {format_duration(facts.plan.deadline)}"
        return Step(StepReason.STOP_DEADLINE, detail, RolloutState.ABORTED)
    if isinstance(facts.readiness, Waiting):
        return Step(StepReason.STAY_LOADING, waits_for(facts.readiness))
    return _not_yet(facts) or _forward(facts)


def unreadable(state: RolloutState, why: str) -> Step:
    """The end of a rollout whose plan cannot be read: one that is being watched stays in production."""
    watching = state is RolloutState.WATCHING
    return Step(StepReason.STOP_UNREADABLE, why, RolloutState.DONE if watching else RolloutState.ABORTED)


def waits_for(readiness: Waiting) -> str:
    """In words, which instances have to load it."""
    if not readiness.on:
        return "waits for a serving instance: none has reported lately"
    return f"waits until {', '.join(readiness.on)} has loaded it"


def _not_yet(facts: RolloutFacts) -> Step | None:
    plan = _planned(facts)
    if plan is None:
        return None
    if (until := facts.state_at + plan.at_least) > facts.now:
        return Step(StepReason.STAY_TIME, f"waits until {until:%Y-%m-%d %H:%M:%S} UTC")
    if facts.compared is None or facts.compared["rows"] - facts.compared["failed"] < plan.rows:
        return Step(StepReason.STAY_FEW_ROWS, f"waits for {plan.rows} rows that both have scored")
    return _unproven(plan, facts.compared)


def _unproven(plan: Shadow | Canary, compared: Mapping[str, Any]) -> Step | None:
    """Where a shadow has to show that the challenger is better: it waits until it does, and ends where it does not."""
    if isinstance(plan, Canary) or plan.better is None:
        return None
    # of very many pairs the log store reads some, and estimates how many are labelled: only those that it read count
    proof, detail = prove(plan.better, compared.get("looked_at", compared["labelled"]), compared.get("better"))
    if proof is Proof.BETTER:
        return None
    if proof is Proof.NOT_BETTER:
        return Step(StepReason.STOP_NOT_BETTER, detail, RolloutState.ABORTED)
    return Step(StepReason.STAY_UNDECIDED, detail)


def _planned(facts: RolloutFacts) -> Shadow | Canary | None:
    """What the present step asks for; None where it asks for nothing."""
    if facts.state is RolloutState.SHADOW:
        return facts.plan.shadow
    if facts.state is RolloutState.CANARY and facts.step < len(facts.plan.canary):
        return facts.plan.canary[facts.step]
    return None


def _forward(facts: RolloutFacts) -> Step:
    """The step behind this one. The first version of a model has nothing to be compared with: it goes at once."""
    if facts.champion is None:
        return promotion(facts.plan, facts.champion, "it is loaded everywhere, and there is nothing to compare it with")
    if facts.state is RolloutState.LOADING and facts.plan.shadow is not None:
        return Step(StepReason.GO_ON, "loaded everywhere", RolloutState.SHADOW)
    number = facts.step + 1 if facts.state is RolloutState.CANARY else 0
    if number < len(facts.plan.canary):
        share = facts.plan.canary[number].share
        return Step(StepReason.GO_ON, f"answers {share:.3%} of the requests", RolloutState.CANARY, number, share)
    return promotion(facts.plan, facts.champion, "passed the gate and was loaded" + _seen(facts))


def _seen(facts: RolloutFacts) -> str:
    return "" if facts.compared is None else f"; both scored {facts.compared['rows'] - facts.compared['failed']} rows"


def promotion(plan: RolloutPlan, champion: int | None, detail: str, reason: StepReason = StepReason.PROMOTE) -> Step:
    """Into production; watched from there on, where the plan says so and there is a version to come back."""
    watched = bool(plan.watch) and champion is not None
    return Step(reason, detail, RolloutState.WATCHING if watched else RolloutState.DONE)
