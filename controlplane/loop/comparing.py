"""What the monitor measures of a rollout: the challenger beside its champion, on the rows that both were asked."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
from datetime import datetime
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from controlplane.lifecycle import RolloutState
from controlplane.loop.boundary import apart
from controlplane.promotion.gate import GateRows, error_gain, improvement
from controlplane.promotion.proof import measure
from controlplane.store import Store
from controlplane.tables import Json, Rollout
from observability.ports import LogStore, LogStoreUnavailable, Paired
from pipeline.contract.promotionspec import Guards
from pipeline.contract.training import TrainingRequest

LOG: Final = logging.getLogger(__name__)
#: labelled rows that are looked at, those with the smallest sample keys
SAMPLE: Final = 2_000
#: draws of the bootstrap
RESAMPLES: Final = 1_000
#: in these both versions score the same rows
COMPARED: Final = frozenset({RolloutState.SHADOW, RolloutState.CANARY, RolloutState.WATCHING})


def compare_rollouts(store: Store, logs: LogStore, now: datetime) -> None:
    """Measure every rollout in which two versions score the same rows. Doing it again changes nothing.

    While the log store does not answer nothing is recorded: the rollouts then stay where they are.
    """
    for rollout in store.rollouts_under_way():
        if rollout.state in COMPARED and rollout.champion is not None:
            what = f"the comparison of {rollout.model} version {rollout.version}"
            apart(what, partial(_compare_while_it_answers, store, logs, rollout, rollout.champion, now))


def _compare_while_it_answers(store: Store, logs: LogStore, rollout: Rollout, champion: int, now: datetime) -> None:
    try:
        _compare(store, logs, rollout, champion, now)
    except LogStoreUnavailable as error:
        LOG.warning("the rollout of %s is not measured for the moment: %s", rollout.model, error)


def _compare(store: Store, logs: LogStore, rollout: Rollout, champion: int, now: datetime) -> None:
    version = store.version(rollout.model, rollout.version)
    request = TrainingRequest.model_validate(store.run(version.run_key).request)
    plan = request.spec.rollout
    better = plan.shadow.better if plan.shadow is not None and rollout.state is RolloutState.SHADOW else None
    sample = SAMPLE if better is None else max(SAMPLE, better.max_labels)
    found = logs.compare(rollout.model, champion, rollout.version, rollout.recorded_at, sample)
    known = store.comparison(rollout.id)
    numbers = counted(found)
    if known is not None and known.since == rollout.recorded_at and _is_known(known.numbers, numbers):
        return
    seed = f"{rollout.id}:{rollout.recorded_at.isoformat()}"
    measured: Json = {"improvement": improved(found, plan.guards, seed)}
    if better is not None:
        rows = _rows(found)
        measured |= {"better": measure(better, rows, f"{seed}:better"), "looked_at": len(rows), **error_gain(rows)}
    store.record_comparison(rollout, numbers | measured, now)


def counted(found: Paired) -> Json:
    """What is known of two versions without looking at labels."""
    return {
        "rows": found.rows,
        "failed": found.failed,
        "labelled": found.labelled,
        "error_share": found.failed / found.rows if found.rows else None,
        "champion_ms_p99": found.champion_ms_p99,
        "challenger_ms_p99": found.challenger_ms_p99,
        # of what the bounds are computed from: they are computed anew when it changes, and only then
        "sample": hashlib.sha256(_labelled(found).tobytes()).hexdigest()[:16],
    }


def _labelled(found: Paired) -> npt.NDArray[np.float64]:
    """Labels, scores of the champion and scores of the challenger, a row each."""
    frame = found.frame[["label", "champion", "challenger"]].dropna()
    columns: npt.NDArray[np.float64] = frame.to_numpy(np.float64).T
    return columns


def _rows(found: Paired) -> GateRows:
    labels, champion, challenger = _labelled(found)
    return GateRows(labels, challenger, champion)


def _is_known(known: Json, numbers: Json) -> bool:
    return {name: known.get(name) for name in numbers} == numbers


def improved(found: Paired, guards: Guards, seed: str) -> dict[str, Any] | None:
    """How much better the challenger is on the labelled rows, with bounds at the guards' confidence.

    None where they look at no metric, where there are too few labels, or where the metric cannot be told.
    """
    if guards.metric is None or found.labelled < guards.min_labels:
        return None
    measured = improvement(guards.metric, _rows(found), guards.confidence, RESAMPLES, seed)
    if measured is None or not math.isfinite(measured.upper):
        return None
    told = dataclasses.asdict(measured)
    return {"metric": guards.metric, "confidence": guards.confidence, "champion": told.pop("other"), **told}
