"""Versions on their way to production: judged, loaded everywhere, promoted."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from controlplane.boundary import apart
from controlplane.errors import BrokenEvidence
from controlplane.gate import judge
from controlplane.gaterows import read_gate_rows
from controlplane.lifecycle import VersionState
from controlplane.rollout import FailedLoad, Loaded, Waiting, observe_fleet
from controlplane.tables import Version
from controlplane.work import Work
from pipeline.contract.training import TrainingRequest


def reconcile_rollouts(work: Work, now: datetime) -> None:
    """Take a step with every version that is on its way."""
    for version in work.store.on_their_way():
        apart(f"{version.model} version {version.number}", partial(_advance, work, version, now))


def _advance(work: Work, version: Version, now: datetime) -> None:
    if (why := _overtaken(work, version)) is not None:
        work.store.reject(version.model, version.number, why, now)
    elif version.state is VersionState.CANDIDATE:
        _judge(work, version, now)
    else:
        _roll_out(work, version, now)


def _overtaken(work: Work, version: Version) -> str | None:
    """Why a version may not go on though it is good: it was made to beat one that is no longer there."""
    production = work.store.production(version.model)
    champion = production.number if production else None
    if champion == version.parent:
        return None
    return f"made to replace version {version.parent}, but version {champion} is in production now"


def _judge(work: Work, version: Version, now: datetime) -> None:
    request = TrainingRequest.model_validate(work.store.run(version.run_key).request)
    try:
        rows = read_gate_rows(work.blobs, version.gate_rows, request)
    except BrokenEvidence as error:
        work.store.reject(version.model, version.number, str(error), now)
        return
    parity = version.parity
    mismatches, difference = parity["label_mismatches"], parity["max_score_difference"]
    verdict = judge(request.spec.gate, rows, version.run_key, mismatches, difference)
    work.at("judged")
    work.store.record_gate(version, verdict, now)


def _roll_out(work: Work, version: Version, now: datetime) -> None:
    match observe_fleet(version, work.store.live_instances(work.instance_silence)):
        case Loaded():
            work.at("loaded")
            work.store.promote(version.model, version.number, now)
            work.at("promoted")
        case FailedLoad(reason):
            work.store.reject(version.model, version.number, reason, now)
        case Waiting():
            pass
