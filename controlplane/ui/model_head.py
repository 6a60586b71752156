"""The head of a model's page: how it is, from its version in production and its newest windows."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.tables import DecisionRecord, Model, Version
from controlplane.ui import words
from controlplane.ui.charts import Chart, Spark, sparkline
from controlplane.ui.queries import Reader, Totals
from controlplane.ui.reading import (
    Bounds,
    Seen,
    Status,
    better,
    bounds_of,
    seen,
    status_of,
    watched_metric,
)
from controlplane.ui.runs import RunView, views_of
from observability.clock import Clock
from pipeline.contract.spec import ModelSpec

RECENT = 40


@dataclass(frozen=True)
class Quality:
    """An error metric now, what the constant answer would have, and what was promised."""

    name: str
    value: float | None
    constant: float | None
    held_out: float | None
    beats_constant: bool | None
    breached: bool


@dataclass(frozen=True)
class Head:
    """How a model is."""

    id: str
    spec: ModelSpec
    status: Status
    production: Version | None
    quality: Quality
    quality_line: Chart
    drift_line: Chart
    last: Seen | None
    limit: Bounds
    decision: DecisionRecord | None
    run: RunView | None
    on_its_way: Version | None
    totals: Totals


def head_of(reader: Reader, model: Model, clock: Clock, monitor: str | None = None) -> Head:
    """What there is to say of a model at a glance."""
    spec = ModelSpec.model_validate(model.spec)
    totals = reader.totals(model.id)
    name = monitor or first_monitor(spec, totals)
    production = reader.production(model.id)
    windows = seen(reversed(reader.windows(model.id, RECENT, name)))
    limit, quality = bounds_of(spec, name), quality_of(spec, name, production, windows)
    last = windows[-1] if windows else None
    error = quality.value if limit.metric else None
    decisions, on_their_way = reader.decisions(model.id, 1), reader.on_their_way(model.id)
    return Head(
        id=model.id,
        spec=spec,
        status=status_of(production, last, error, limit),
        production=production,
        quality=quality,
        quality_line=quality_line(quality, windows, limit),
        drift_line=drift_line(windows, limit),
        last=last,
        limit=limit,
        decision=decisions[0] if decisions else None,
        run=active_run(reader, model.id, clock),
        on_its_way=on_their_way[0] if on_their_way else None,
        totals=totals.get(name, Totals()),
    )


def first_monitor(spec: ModelSpec, totals: dict[str, Totals]) -> str:
    """The first declared monitor that has seen anything, else the first declared."""
    names = [monitor.name for monitor in spec.monitors]
    return next((name for name in names if name in totals), names[0] if names else "")


def quality_of(spec: ModelSpec, monitor: str, production: Version | None, windows: tuple[Seen, ...]) -> Quality:
    """The error metric of the newest labelled window of the version in production."""
    metric = watched_metric(spec, monitor)
    number = production.number if production else None
    values = [w.metric(metric) for w in windows if w.row.version == number and w.metric(metric) is not None]
    value = values[-1] if values else None
    constant = production.constant_metrics.get(metric) if production else None
    return Quality(
        name=metric,
        value=value,
        constant=constant,
        held_out=production.metrics.get(metric) if production else None,
        beats_constant=better(metric, value, constant),
        breached=bounds_of(spec, monitor).breached(value),
    )


def quality_line(quality: Quality, windows: tuple[Seen, ...], limit: Bounds) -> Chart:
    """The error metric of the recent windows."""
    level = limit.below if limit.below is not None else limit.above
    values = tuple(window.metric(quality.name) for window in windows)
    now = f"{words.metric(quality.name)} {words.number(quality.value)}"
    label = f"{words.metric(quality.name)} of the last {len(windows)} windows"
    css = "spark bad" if quality.breached else "spark"
    return sparkline(Spark(values, level if level is not None else quality.constant, label, now, css=css))


def drift_line(windows: tuple[Seen, ...], limit: Bounds) -> Chart:
    """The drifted share of the recent windows."""
    values = tuple(window.verdict.drifted_share for window in windows)
    last = values[-1] if values else None
    over = last is not None and limit.drifted_share is not None and last >= limit.drifted_share
    label = f"Share of drifted features of the last {len(windows)} windows"
    css = "spark warn" if over else "spark"
    return sparkline(Spark(values, limit.drifted_share, label, f"now {words.percent(last)}", css=css))


def active_run(reader: Reader, model_id: str, clock: Clock) -> RunView | None:
    """The run that is under way."""
    run = reader.active_run(model_id)
    if run is None:
        return None
    return views_of([run], reader.firings_of([run.firing_id]), (), clock.now())[0]
