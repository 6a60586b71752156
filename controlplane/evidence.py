"""Gathers what is known of a model into the facts that its rules judge."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from controlplane.budget import Spent
from controlplane.conditions import causes
from controlplane.facts import Facts, Held, WindowFacts, WindowRule
from controlplane.lifecycle import VersionState
from controlplane.store import Store
from controlplane.tables import Json, ScoredWindow, TrainingRun, Version
from pipeline.contract.rulespec import Budget, MetricRule, Rule, ScheduleRule, VolumeRule

#: windows that a rule judges at one tick
AT_ONCE: Final = 50
#: what a version that is on its way is going through, in words
DOING: Final[Mapping[VersionState, str]] = {
    VersionState.CANDIDATE: "is being judged by the gate",
    VersionState.AWAITING_APPROVAL: "awaits approval",
    VersionState.STAGING: "is being loaded by serving",
    VersionState.SHADOW: "is in shadow",
    VersionState.CANARY: "is in canary",
}


def gather(
    store: Store, model_id: str, now: datetime, rules: Sequence[Rule] = (), budget: Budget | None = None
) -> Facts:
    """The model's level at this instant: what these rules judge, and what could keep them from firing."""
    production = store.production(model_id)
    observation = None
    if production is not None and _any(rules, VolumeRule):
        observation = store.observation(model_id, production.number)
    scheduled = _any(rules, ScheduleRule)
    windows = _windows(store, production, rules, now) if production else {}
    facts = Facts(
        now=now,
        version=production.number if production else None,
        in_service_since=store.in_service_since(model_id) if scheduled else None,
        windows=windows,
        more=any(sum(window.judge for window in each) >= AT_ONCE for each in windows.values()),
        labelled_new=observation.labelled_new if observation else None,
        busy=busy(store.active_run(model_id), store.on_their_way(model_id)),
        last_asked_at=store.last_asked_at(model_id, now) if rules else None,
        schedule_starts=store.schedule_starts(model_id) if scheduled else {},
        holds={hold.what: Held(hold.by, hold.why, hold.until) for hold in store.holds(model_id, now)} if rules else {},
        budget=budget or Budget(),
        spent=store.spent(model_id, now) if budget and budget != Budget() else Spent(),
    )
    presentable = {(rule.name, cause) for rule in rules for cause in causes(rule, facts)}
    dry = [rule.name for rule in rules if rule.dry_run]
    return replace(facts, fired=store.fired_causes(model_id, presentable, dry))


def _any(rules: Iterable[Rule], kind: type) -> bool:
    return any(isinstance(rule, kind) for rule in rules)


def _windows(
    store: Store, production: Version, rules: Iterable[Rule], now: datetime
) -> dict[str, tuple[WindowFacts, ...]]:
    return {rule.name: _to_judge(store, production, rule, now) for rule in rules if isinstance(rule, WindowRule)}


def _to_judge(store: Store, production: Version, rule: WindowRule, now: datetime) -> tuple[WindowFacts, ...]:
    """The windows to judge, and among them, not to judge, those before each that its hysteresis looks at."""
    since, settled = production.promoted_at or now, isinstance(rule, MetricRule)
    judged = store.to_judge(production, since, rule.name, rule.monitor, settled, AT_ONCE)
    before = store.windows_before(judged, since, settled, rule.hold.of - 1) if rule.hold.of > 1 else []
    ids = {window.id for window in judged}
    rows = {window.id: window for window in (*before, *judged)}
    in_order = sorted(rows.values(), key=lambda window: (window.until_time, window.until_id))
    return tuple(replace(window_facts(window), judge=window.id in ids) for window in in_order)


def busy(run: TrainingRun | None, on_their_way: Iterable[Version]) -> str | None:
    """What is under way, in words; None where nothing is."""
    if run is not None:
        return f"run {run.key} is {run.state}"
    for version in on_their_way:
        return f"version {version.number} {DOING[version.state]}"
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
