"""The fleet: one line for each model, which an on-call engineer reads at a glance; those with alerts first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from controlplane.store.reading import Row
from controlplane.ui import words
from controlplane.ui.charts import Chart, Spark, sparkline
from controlplane.ui.fleet_queries import SHOWS, Found, Wanted
from controlplane.ui.paging import Pages
from controlplane.ui.queries import Reader
from controlplane.ui.reading import Status, bounds_of, reason_words, watched_metric
from controlplane.ui.track import Track, track_of
from pipeline.contract.spec import ModelSpec

PAGE: Final = 50
TONES: Final[Mapping[str, str]] = {"critical": "bad", "warning": "warn", "info": "busy"}
#: a filter and its name
NAMES: Final[Mapping[str, str]] = {
    "alerts": "with alerts",
    "rollout": "rolling out",
    "training": "training",
    "held": "held",
    "serving": "in production",
    "new": "without a version",
}


@dataclass(frozen=True)
class Small:
    """A number of now with its small line."""

    value: float | None
    line: Chart
    #: it is beyond what was declared
    over: bool


@dataclass(frozen=True)
class FleetRow:
    """One model of the fleet."""

    id: str
    spec: ModelSpec
    status: Status
    found: Found
    metric: str
    quality: Small
    constant: float | None
    drift: Small
    #: what is under way to production, in small
    track: Track | None
    run: Mapping[str, Any] | None


def fleet(reader: Reader, wanted: Wanted, now: datetime, number: int) -> dict[str, Any]:
    """A page of models and what one may filter by; the queries are as many for a thousand as for one."""
    counts = reader.fleet_counts(wanted.text, now)
    pages = Pages.of(number, PAGE, counts[wanted.show or "all"])
    found = reader.fleet_page(wanted, now, pages.offset, PAGE)
    specs = {each.model["id"]: ModelSpec.model_validate(each.model["spec"]) for each in found}
    watched = [
        (name, each.production["number"], monitor, watched_metric(specs[name], monitor))
        for each in found
        if each.production and (monitor := monitor_of(specs[name := each.model["id"]]))
    ]
    windows = reader.recent_windows(watched)
    for each in found:
        each.windows = windows.get(each.model["id"], [])
    rows = tuple(row_of(each, specs[each.model["id"]]) for each in found)
    return {
        "rows": rows,
        "counts": counts,
        "wanted": wanted,
        "shows": [(show, NAMES[show], counts[show]) for show in NAMES if counts[show] or show == wanted.show],
        "pages": pages,
        "active": any(row.run or row.track for row in rows),
    }


def wanted_of(text: str, show: str) -> Wanted:
    """What the address asks for; a filter that there is none of shows all."""
    return Wanted(text.strip()[:100], next((each for each in SHOWS if each == show), None))


def monitor_of(spec: ModelSpec) -> str:
    """The first declared monitor."""
    return spec.monitors[0].name if spec.monitors else ""


def row_of(found: Found, spec: ModelSpec) -> FleetRow:
    """What there is to say of one model in one line."""
    monitor = monitor_of(spec)
    limit, metric = bounds_of(spec, monitor), watched_metric(spec, monitor)
    shares = tuple(share for share, _ in found.windows)
    errors = tuple(error for _, error in found.windows)
    known = [error for error in errors if error is not None]
    error, share = known[-1] if known else None, shares[-1] if shares else None
    breached = bool(limit.metric) and limit.breached(error)
    over = share is not None and limit.drifted_share is not None and share >= limit.drifted_share
    constant = found.production["constant_metrics"].get(metric) if found.production else None
    level = next((each for each in (limit.below, limit.above, constant) if each is not None), None)
    return FleetRow(
        id=found.model["id"],
        spec=spec,
        status=status_of(found, share, breached, over),
        found=found,
        metric=metric,
        quality=Small(
            error, _line(errors, level, words.metric(metric), words.number(error), breached and "bad"), breached
        ),
        constant=constant,
        drift=Small(
            share, _line(shares, limit.drifted_share, "drifted features", words.percent(share), over and "warn"), over
        ),
        track=track_of(spec.rollout, found.rollout) if found.rollout else None,
        run=running(found.run),
    )


def _line(values: tuple[float | None, ...], level: float | None, name: str, now: str, css: str | bool) -> Chart:
    label = f"{name} of the last {len(values)} windows"
    return sparkline(Spark(values, level, label, f"now {now}", width=96, height=26, css=f"spark {css or ''}".strip()))


def status_of(found: Found, share: float | None, breached: bool, over: bool) -> Status:
    """How a model is: what somebody was told of goes before what the newest window says."""
    severities = {each["severity"] for each in found.alerts if each["state"] == "firing"}
    if "critical" in severities:
        return Status("bad", "critical", "A critical alert is open.")
    if found.production is None:
        return Status("idle", "no version", "No version is in production yet.")
    if breached:
        return Status("bad", "degraded", "The error metric is beyond its bound.")
    if "warning" in severities:
        return Status("warn", "warning", "A warning is open.")
    if over:
        return Status("warn", "drifting", "The newest window drifted.")
    if share is None:
        return Status("idle", "warming up", "No window was compared yet.")
    return Status("ok", "steady", "No bound is crossed.")


def running(run: Row | None) -> Mapping[str, Any] | None:
    """How far the active run is."""
    if run is None:
        return None
    progress = run["progress"] or {}
    fraction = progress.get("fraction")
    return {
        "phase": str(progress.get("phase") or run["state"].value),
        "fraction": min(1.0, max(0.0, float(fraction))) if isinstance(fraction, int | float) else 0.0,
        "message": str(progress.get("message") or "waiting for a trainer to claim it"),
        "why": reason_words(run["reason"]),
    }
