"""Versions on their way to production: judged, then brought along their rollout, step by step."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Final

from pydantic import ValidationError

from controlplane.errors import BrokenEvidence
from controlplane.lifecycle import RolloutState, VersionState
from controlplane.loop.boundary import apart
from controlplane.loop.work import Work
from controlplane.promotion.gate import judge
from controlplane.promotion.gaterows import read_gate_rows
from controlplane.promotion.rejection import Rejection
from controlplane.promotion.rollout import RolloutFacts, Step, next_step, observe_fleet, unreadable
from controlplane.store.holds import ROLLOUT
from controlplane.tables import Hold, Rollout, Version
from observability.durations import format_duration
from pipeline.contract.training import TrainingRequest

#: by then every control plane of the installation is of one release again
ANOTHER_READS: Final = timedelta(hours=1)


def reconcile_rollouts(work: Work, now: datetime) -> None:
    """Take a step with every version that is on its way, and with every rollout."""
    under_way = {rollout.model: rollout for rollout in work.store.rollouts_under_way()}
    for version in work.store.on_their_way():
        what = f"{version.model} version {version.number}"
        apart(what, partial(_advance, work, version, under_way.get(version.model), now))
    for rollout in under_way.values():
        what = f"the rollout of {rollout.model} version {rollout.version}"
        apart(what, partial(_roll_out, work, rollout, now))


def _advance(work: Work, version: Version, rollout: Rollout | None, now: datetime) -> None:
    """What a version needs that has no rollout: a verdict, a person, or its beginning."""
    if rollout is not None and (rollout.version == version.number or rollout.state is not RolloutState.WATCHING):
        return  # its own is under way, or another's, for which it waits
    if version.state_at > now:
        work.store.bring_back(version.model, now)
    if (note := _overtaken(work, version)) is not None:
        _reject(work, version, Rejection.REJECT_OVERTAKEN, note, now)
    elif (note := _unreadable(work, version)) is not None:
        _reject(work, version, Rejection.REJECT_UNREADABLE, note, now)
    elif version.state is VersionState.CANDIDATE:
        _judge(work, version, now)
    elif version.state is VersionState.AWAITING_APPROVAL:
        _await_approval(work, version, now)
    elif rollout is None or _freeze(work, version.model, now)[0] is None:
        work.store.begin_rollout(version, now)  # else the one that is watched keeps its guards until the thaw


def _overtaken(work: Work, version: Version) -> str | None:
    """Why a version may not go on though it is good: it was made to beat one that is no longer there."""
    production = work.store.production(version.model)
    champion = production.number if production else None
    if champion == version.parent:
        return None
    return f"made to replace version {version.parent}, but version {champion} is in production now"


def _unreadable(work: Work, version: Version) -> str | None:
    """Why nobody here can go on with a version: for a while a newer control plane beside this one may read it."""
    try:
        _request_of(work, version)
    except ValidationError as error:
        if work.wall.now() < version.recorded_at + ANOTHER_READS:
            raise
        return f"what was asked cannot be read by this release: {error.errors()[0]['msg']}"
    return None


def _reject(work: Work, version: Version, why: Rejection, note: str, now: datetime) -> None:
    """Only from the state in which it was seen: a person may have been faster."""
    work.store.reject(version.model, version.number, note, now, seen=version.state, why=why)


def _request_of(work: Work, version: Version) -> TrainingRequest:
    """What was asked of the run: gate and plan are those that were declared then."""
    return TrainingRequest.model_validate(work.store.run(version.run_key).request)


def _judge(work: Work, version: Version, now: datetime) -> None:
    request = _request_of(work, version)
    try:
        rows = read_gate_rows(work.blobs, version.gate_rows, request)
    except BrokenEvidence as error:
        _reject(work, version, Rejection.REJECT_EVIDENCE, str(error), now)
        return
    mismatches, difference = version.parity["label_mismatches"], version.parity["max_score_difference"]
    verdict = judge(request.spec.gate, rows, version.run_key, mismatches, difference, version.cost)
    work.at("judged")
    work.store.record_gate(version, verdict, now)


def _await_approval(work: Work, version: Version, now: datetime) -> None:
    deadline = _request_of(work, version).spec.rollout.deadline
    frozen, thawed_at = _freeze(work, version.model, now)
    if frozen is None and now >= max(version.state_at, thawed_at or version.state_at) + deadline:
        note = f"nobody approved it within {format_duration(deadline)}"
        _reject(work, version, Rejection.REJECT_UNAPPROVED, note, now)


def _freeze(work: Work, model: str, now: datetime) -> tuple[Hold | None, datetime | None]:
    """The hold on a model's rollouts that is in force, or when the last one ended by itself."""
    hold = work.store.held_last(model, ROLLOUT)
    if hold is None or hold.until is None or hold.until > now:
        return hold, None
    return None, hold.until


def _roll_out(work: Work, rollout: Rollout, now: datetime) -> None:
    if work.store.is_ahead(rollout, now):
        work.store.bring_back(rollout.model, now)
        return  # it is as it was a tick ago: the next one sees it as it is
    step = _next(work, rollout, now)
    if step.to is None and step.detail == rollout.note:
        return
    forward = step.to in (RolloutState.WATCHING, RolloutState.DONE) and rollout.state is not RolloutState.WATCHING
    if forward:
        work.at("loaded")
    work.store.take_step(rollout, step, now)
    if forward:
        work.at("promoted")


def _next(work: Work, rollout: Rollout, now: datetime) -> Step:
    version = work.store.version(rollout.model, rollout.version)
    if (why := _unreadable(work, version)) is not None:
        return unreadable(rollout.state, why)
    return next_step(_facts(work, rollout, version, now))


def _facts(work: Work, rollout: Rollout, version: Version, now: datetime) -> RolloutFacts:
    production, compared = work.store.production(rollout.model), work.store.comparison(rollout.id)
    hold, thawed_at = _freeze(work, rollout.model, now)
    return RolloutFacts(
        now=now,
        plan=_request_of(work, version).spec.rollout,
        state=rollout.state,
        step=rollout.step,
        began_at=rollout.began_at,
        state_at=rollout.state_at,
        champion=rollout.champion,
        in_production=production.number if production else None,
        readiness=observe_fleet(version, work.store.live_instances(work.instance_silence)),
        compared=compared.numbers if compared and compared.since == rollout.recorded_at else None,
        frozen=f"frozen by {hold.by}: {hold.why}" if hold else None,
        thawed_at=thawed_at,
    )
