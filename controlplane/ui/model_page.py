"""The page of one model: what is in service, what happened, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from controlplane.tables import DecisionRecord, Firing, Instance, Version
from controlplane.ui import heatmap, timeline, words
from controlplane.ui.model_head import Head, first_monitor, head_of
from controlplane.ui.queries import Reader
from controlplane.ui.reading import (
    Seen,
    Turn,
    bounds_of,
    levels_of,
    reason_words,
    reigns,
    seen,
    spans_of,
    turns_of,
    watched_metric,
)
from controlplane.ui.runs import views_of
from controlplane.ui.situation import situation_of, status_with
from controlplane.ui.verdicts import FeatureVerdict
from controlplane.ui.version_views import version_views
from observability.clock import Clock
from pipeline.contract.rulespec import TRIGGERS
from pipeline.contract.spec import ModelSpec

TIMELINE_WINDOWS, HEAT_WINDOWS, TABLE_WINDOWS = 150, 60, 12
DECISIONS, RUNS, VERSIONS = 400, 20, 200
EACH = 100
PREDICTION = "score"


@dataclass(frozen=True)
class Asked:
    """What the address asks the page for."""

    monitor: str | None = None
    #: each decision, not those of one reason together
    every: bool = False
    #: of this segment; of whole windows where it is empty
    segment: str = ""


@dataclass(frozen=True)
class Loaded:
    """How far serving has followed: instances that have a version, of those that live."""

    number: int | None
    having: int
    alive: int
    failures: tuple[str, ...]


def model_page(
    reader: Reader, model_id: str, asked: Asked, clock: Clock, now: datetime, alive: timedelta
) -> dict[str, Any]:
    """Everything the page shows; `now` is the control plane's clock. Raises NotFound."""
    model = reader.model(model_id)
    spec = ModelSpec.model_validate(model.spec)
    declared = [each.name for each in spec.monitors]
    name = asked.monitor if asked.monitor in declared else first_monitor(spec, reader.totals(model_id))
    head = head_of(reader, model, clock, name)
    versions = reader.versions(model_id, VERSIONS)
    firings = {firing.id: firing for firing in reader.firings(model_id, VERSIONS)}
    segments = [segment.name for each in spec.monitors if each.name == name for segment in each.samples]
    segment = asked.segment if asked.segment in segments else ""
    windows = seen(reversed(reader.windows(model_id, TIMELINE_WINDOWS, name, segment)))
    decisions = reader.decisions(model_id, EACH if asked.every else DECISIONS)
    views = version_views(versions, firings, reader.gate_verdicts(model_id))
    situation = situation_of(reader, spec, views, decisions, now)
    return {
        "head": head,
        "situation": situation,
        "status": status_with(situation.alerts, head.status),
        "wall": clock.now(),
        "spec": spec,
        "applied_at": model.applied_at,
        "monitor": name,
        "monitors": declared,
        "segments": segments,
        "segment": segment,
        **drawn(spec, (name, segment), windows, tuple(firings.values()), versions),
        **decided(decisions, windows, asked.every),
        "decision_count": reader.decision_count(model_id),
        "versions": views,
        "runs": views_of(reader.runs(model_id, RUNS), firings, versions, clock.now()),
        "loaded": loaded(reader.live_instances(alive), model_id, head.production),
        "observation": reader.observation(model_id, head.production.number) if head.production else None,
        "active": is_active(head) or (situation.rollout is not None and situation.rollout.row.ended_at is None),
    }


def drawn(
    spec: ModelSpec,
    track: tuple[str, str],
    windows: Sequence[Seen],
    firings: Sequence[Firing],
    versions: Sequence[Version],
) -> dict[str, Any]:
    """The windows of a monitor and segment as pictures, with their keys, and the newest as a table."""
    return {
        "timeline": timeline.draw(timeline_of(spec, track, windows, firings, versions)),
        "triggers": [(trigger, timeline.key_glyph(trigger)) for trigger in dict.fromkeys(TRIGGERS.values())],
        "heat": heatmap.draw(heat_of(spec, windows[-HEAT_WINDOWS:])),
        "steps": [heatmap.key_cell(step, step >= 4) for step in range(len(heatmap.STEPS))],
        "windows": windows[-TABLE_WINDOWS:][::-1],
    }


def decided(decisions: Sequence[DecisionRecord], windows: Sequence[Seen], every: bool) -> dict[str, Any]:
    """The decisions, one by one or those of one reason together, and which windows they may link to."""
    return {
        "decisions": [Turn(each, each.decided_at, 1) for each in decisions] if every else turns_of(decisions),
        "every": every,
        "window_ids": {window.row.id for window in windows} | cause_windows(decisions),
    }


def is_active(head: Head) -> bool:
    """Whether something is under way that the page should follow closely."""
    return head.run is not None or head.on_its_way is not None


def cause_windows(decisions: Sequence[DecisionRecord]) -> set[str]:
    """Ids of the windows that decisions are about."""
    return {decision.cause for decision in decisions if decision.cause.startswith("w-")}


def timeline_of(
    spec: ModelSpec,
    track: tuple[str, str],
    windows: Sequence[Seen],
    firings: Sequence[Firing],
    versions: Sequence[Version],
) -> timeline.Timeline:
    """What the timeline shows of a monitor and segment."""
    metric, limit = watched_metric(spec, *track), bounds_of(spec, *track)
    production = next((version for version in versions if version.promoted_at), None)
    points = []
    for window, (start, end) in zip(windows, spans_of(windows), strict=True):
        share, value = window.verdict.drifted_share, window.metric(metric)
        version, title, href = window.row.version, window_title(window, metric), window_href(window)
        points.append(timeline.WindowPoint(version, start, end, share, value, title, href))
    return timeline.Timeline(
        windows=tuple(points),
        marks=tuple(timeline.Mark(each.fired_at, each.trigger, firing_title(each)) for each in firings),
        reigns=reigns(versions, metric),
        metric=words.metric(metric),
        drift_level=limit.drifted_share,
        levels=levels_of(spec, *track, production),
    )


def window_href(window: Seen) -> str:
    """Where a window's own page is."""
    return f"/models/{window.row.model}/windows/{window.row.id}"


def window_title(window: Seen, metric: str) -> str:
    """A window in some lines, for the pointer over it."""
    drifted = ", ".join(feature.name for feature in window.verdict.drifted) or "none"
    value = window.metric(metric)
    said = words.number(value) if value is not None else "no labels yet"
    return (
        f"v{window.row.version}, until {words.when_utc(window.row.until_time)}\n"
        f"{window.row.rows} predictions, {window.row.labelled} labelled\n"
        f"drifted: {words.percent(window.verdict.drifted_share)} ({drifted})\n"
        f"{words.metric(metric)}: {said}"
    )


def firing_title(firing: Firing) -> str:
    """A firing in some lines, for the pointer over it."""
    reason = reason_words(firing.reason)
    return f"{firing.rule} fired ({firing.trigger}), {words.when_utc(firing.fired_at)}\n{reason}\n{firing.detail}"


def heat_of(spec: ModelSpec, windows: Sequence[Seen]) -> heatmap.HeatMap:
    """What the heat map shows: the declared features, and the predictions set apart."""
    columns = tuple(
        heatmap.Column(
            version=window.row.version,
            day=f"{window.row.until_time.day} {window.row.until_time:%b}",
            title=f"v{window.row.version}, until {words.when_utc(window.row.until_time)}",
            href=window_href(window),
            cells=cells_of(window),
        )
        for window in windows
    )
    apart = (PREDICTION,) if any(window.verdict.prediction for window in windows) else ()
    return heatmap.HeatMap(tuple(feature.name for feature in spec.features), apart, columns)


def cells_of(window: Seen) -> dict[str, heatmap.Cell]:
    """The cells of one window."""
    cells = {feature.name: cell_of(feature.name, feature) for feature in window.verdict.features}
    if window.verdict.prediction is not None:
        cells[PREDICTION] = cell_of(PREDICTION, window.verdict.prediction)
    return cells


def cell_of(name: str, feature: FeatureVerdict) -> heatmap.Cell:
    """One cell, with its numbers for the pointer."""
    word = {True: "drifted", False: "not drifted", None: "not compared"}[feature.drifted]
    title = (
        f"{name}: {word}\n{feature.method} {words.number(feature.score, 4)}, "
        f"threshold {words.number(feature.threshold, 4)}\nmissing {words.percent(feature.missing_share, 1)}"
    )
    return heatmap.Cell(feature.severity, bool(feature.drifted), title)


def loaded(instances: Sequence[Instance], model_id: str, production: Version | None) -> Loaded:
    """How many of the living instances have the version in production."""
    number = production.number if production else None
    having = sum(any(_is(each, model_id, number) for each in instance.loaded) for instance in instances)
    failures = tuple(
        f"{instance.id}: v{each.get('version')}: {each.get('reason')}"
        for instance in instances
        for each in instance.failed
        if each.get("model") == model_id
    )
    return Loaded(number, having, len(instances), failures)


def _is(loaded_version: Mapping[str, Any], model_id: str, number: int | None) -> bool:
    return loaded_version.get("model") == model_id and loaded_version.get("version") == number
