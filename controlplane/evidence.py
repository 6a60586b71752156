"""Gathers what is known of a model into the facts that its rules judge."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from controlplane.lifecycle import VersionState
from controlplane.rules import Facts, WindowFacts, WindowRule
from controlplane.store import Store
from controlplane.tables import Json, ScoredWindow, TrainingRun, Version
from pipeline.contract.rulespec import MetricRule, Rule


def gather(store: Store, model_id: str, now: datetime, rules: Iterable[Rule] = ()) -> Facts:
    """The model's level at this instant, with the windows that these rules have to judge."""
    production = store.production(model_id)
    windows: dict[str, tuple[WindowFacts, ...]] = {}
    labelled_new = None
    if production is not None:
        windows = {rule.name: _windows(store, production, rule, now) for rule in rules if isinstance(rule, WindowRule)}
        observation = store.observation(model_id, production.number)
        labelled_new = observation.labelled_new if observation else None
    return Facts(
        now=now,
        version=production.number if production else None,
        in_service_since=store.in_service_since(model_id),
        windows=windows,
        labelled_new=labelled_new,
        busy=busy(store.active_run(model_id), store.on_their_way(model_id)),
        last_asked_at=store.last_asked_at(model_id, now),
        schedule_starts=store.schedule_starts(model_id),
        fired=store.fired_causes(model_id),
    )


def _windows(store: Store, production: Version, rule: WindowRule, now: datetime) -> tuple[WindowFacts, ...]:
    since, settled = production.promoted_at or now, isinstance(rule, MetricRule)
    rows = store.to_judge(production, since, rule.name, rule.monitor, settled)
    return tuple(window_facts(row) for row in rows)


def busy(run: TrainingRun | None, on_their_way: Iterable[Version]) -> str | None:
    """What is under way, in words; None where nothing is."""
    if run is not None:
        return f"run {run.key} is {run.state}"
    for version in on_their_way:
        doing = "loaded by serving" if version.state is VersionState.STAGING else "judged by the gate"
        return f"version {version.number} is being {doing}"
    return None


def window_facts(window: ScoredWindow) -> WindowFacts:
    """A stored verdict as facts. What is not a finite number counts as not known."""
    verdict = window.verdict
    features: Mapping[str, Json] = verdict.get("features") or {}
    return WindowFacts(
        id=window.id,
        rows=window.rows,
        labelled=window.labelled,
        drifted_share=_number(verdict.get("drifted_share")),
        drifted=tuple(name for name, feature in features.items() if feature.get("drifted")),
        unseen=_numbers({name: feature.get("unseen_share") for name, feature in features.items()}),
        error=_numbers(verdict.get("error") or {}),
        settled=window.error_at is not None,
    )


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    found = {name: _number(value) for name, value in values.items()}
    return {name: value for name, value in found.items() if value is not None}


def _number(value: Any) -> float | None:  # noqa: ANN401 - JSON
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
