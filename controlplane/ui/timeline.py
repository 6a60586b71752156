"""The timeline: drift and error per window over event time, with what was decided and which version answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from controlplane.ui.charts import (
    Chart,
    Circle,
    Group,
    Line,
    Path,
    Rect,
    Scale,
    Shape,
    Text,
    TimeScale,
    bounds,
    diamond,
    spread,
    ticks,
    time_ticks,
    triangle,
)

WIDTH: Final = 1180.0
LEFT, RIGHT = 48.0, 1058.0
BAND_TOP, BAND_HEIGHT = 2.0, 20.0
MARK_Y = 36.0
DRIFT_TOP, DRIFT_BOTTOM = 54.0, 146.0
METRIC_TOP, METRIC_BOTTOM = 176.0, 296.0
AXIS_Y = 312.0
HEIGHT: Final = 324.0
LABEL_GAP = 13.0


@dataclass(frozen=True)
class WindowPoint:
    """One window on the timeline."""

    version: int
    start: datetime
    end: datetime
    share: float | None
    metric: float | None
    title: str
    href: str


@dataclass(frozen=True)
class Mark:
    """A firing: when, by which kind of trigger, and what it says under the pointer."""

    at: datetime
    trigger: str
    title: str


@dataclass(frozen=True)
class Reign:
    """A version's time in service; `held_out` is what the metric promised."""

    version: int
    since: datetime
    until: datetime | None
    held_out: float | None = None


@dataclass(frozen=True)
class Level:
    """A value to compare with, named at the right edge."""

    value: float
    name: str
    css: str


@dataclass(frozen=True)
class Timeline:
    """What the chart shows; windows oldest first."""

    windows: tuple[WindowPoint, ...]
    marks: tuple[Mark, ...]
    reigns: tuple[Reign, ...]
    metric: str
    #: share of drifted features at which the rule fires
    drift_level: float | None = None
    #: constant answer, bound of the metric rule
    levels: tuple[Level, ...] = ()


def draw(timeline: Timeline) -> Chart | None:
    """The chart; None where there is nothing on it yet."""
    if not timeline.windows:
        return None
    x = TimeScale(*_span(timeline), LEFT, RIGHT)
    shapes = (
        *_reigns(timeline.reigns, x),
        *_axis(x),
        *_drift(timeline, x),
        *_metric(timeline, x),
        *_marks(timeline.marks, x),
        *_targets(timeline.windows, x),
    )
    summary = (
        f"{len(timeline.windows)} windows, {len(timeline.marks)} firings, versions in service: "
        f"{', '.join(f'v{reign.version}' for reign in timeline.reigns) or 'none'}"
    )
    label = f"Drifted share and {timeline.metric} per window over event time"
    return Chart(WIDTH, HEIGHT, label, summary, tuple(shapes), "timeline")


def _span(timeline: Timeline) -> tuple[datetime, datetime]:
    first = min(window.start for window in timeline.windows)
    last = max(window.end for window in timeline.windows)
    instants = [*(mark.at for mark in timeline.marks), *(reign.since for reign in timeline.reigns)]
    last = max([last, *instants])
    return first, max(last, first + timedelta(seconds=1))


def _reigns(reigns: Sequence[Reign], x: TimeScale) -> Iterator[Shape]:
    for number, reign in enumerate(reign for reign in reigns if (reign.until or x.last) > x.first):
        start, end = x(max(reign.since, x.first)), x(reign.until or x.last)
        width = max(end - start, 1.0)
        parity = "even" if number % 2 == 0 else "odd"
        yield Rect(start, BAND_TOP, width, METRIC_BOTTOM - BAND_TOP, f"reign {parity}")
        yield Rect(start, BAND_TOP, width, BAND_HEIGHT, f"reign-head {parity}", f"version {reign.version} in service")
        if reign.since > x.first:
            yield Line(start, BAND_TOP, start, METRIC_BOTTOM, "promotion")
        if width > 22:
            yield Text(start + 7, BAND_TOP + 14, f"v{reign.version}", "reign-name")


def _axis(x: TimeScale) -> Iterator[Shape]:
    for at, label in time_ticks(x.first, x.last):
        yield Line(x(at), DRIFT_TOP, x(at), METRIC_BOTTOM, "grid")
        yield Text(x(at), AXIS_Y, label, "tick", "middle")
    yield Text(RIGHT + 8, AXIS_Y, "event time, UTC", "tick")


def _drift(timeline: Timeline, x: TimeScale) -> Iterator[Shape]:
    y = Scale(0.0, 1.0, DRIFT_BOTTOM, DRIFT_TOP)
    yield Text(LEFT, DRIFT_TOP - 6, "share of features that drifted", "panel")
    for share in (0.0, 0.5, 1.0):
        yield Line(LEFT, y(share), RIGHT, y(share), "grid")
        yield Text(LEFT - 8, y(share) + 4, f"{share:.0%}", "tick", "end")
    for window in timeline.windows:
        yield from _bar(window, timeline.drift_level, x, y)
    if timeline.drift_level is not None:
        level = y(timeline.drift_level)
        yield Line(LEFT, level, RIGHT, level, "level bound")
        yield Text(RIGHT + 8, level + 4, f"fires at {timeline.drift_level:.0%}", "level-name bound")


def _bar(window: WindowPoint, level: float | None, x: TimeScale, y: Scale) -> Iterator[Shape]:
    start, end = x(window.start), x(window.end)
    width = max(end - start - 1.0, 1.0)
    if window.share is None:
        yield Line(start, DRIFT_BOTTOM - 1, start + width, DRIFT_BOTTOM - 1, "unknown")
        return
    over = level is not None and window.share >= level
    top = min(y(window.share), DRIFT_BOTTOM - 1.5)
    yield Rect(start, top, width, DRIFT_BOTTOM - top, "bar over" if over else "bar")


def _metric(timeline: Timeline, x: TimeScale) -> Iterator[Shape]:
    known = [window.metric for window in timeline.windows if window.metric is not None]
    promised = [reign.held_out for reign in timeline.reigns if reign.held_out is not None]
    low, high = bounds([*known, *promised, *(level.value for level in timeline.levels)])
    y = Scale(low, high, METRIC_BOTTOM, METRIC_TOP)
    yield Text(LEFT, METRIC_TOP - 6, f"{timeline.metric} on labelled rows", "panel")
    for value in ticks(low, high):
        yield Line(LEFT, y(value), RIGHT, y(value), "grid")
        yield Text(LEFT - 8, y(value) + 4, f"{value:g}", "tick", "end")
    yield from _promises(timeline.reigns, x, y)
    yield from _levels(timeline.levels, y)
    yield from _trace(timeline.windows, x, y)
    if not known:
        middle = (METRIC_TOP + METRIC_BOTTOM) / 2
        yield Text((LEFT + RIGHT) / 2, middle, "labels are not due yet", "empty", "middle")


def _promises(reigns: Sequence[Reign], x: TimeScale, y: Scale) -> Iterator[Shape]:
    for reign in reigns:
        if reign.held_out is not None and (reign.until or x.last) > x.first:
            height = y(reign.held_out)
            yield Line(x(max(reign.since, x.first)), height, x(reign.until or x.last), height, "promise")


def _levels(levels: Sequence[Level], y: Scale) -> Iterator[Shape]:
    heights = [y(level.value) for level in levels]
    for level, height, beside in zip(levels, heights, spread(heights, LABEL_GAP), strict=True):
        yield Line(LEFT, height, RIGHT, height, f"level {level.css}")
        yield Text(RIGHT + 8, beside + 4, level.name, f"level-name {level.css}")


def _trace(windows: Sequence[WindowPoint], x: TimeScale, y: Scale) -> Iterator[Shape]:
    points: dict[int, list[tuple[float, float]]] = {}
    for window in windows:
        if window.metric is not None:
            middle = (x(window.start) + x(window.end)) / 2
            points.setdefault(window.version, []).append((middle, y(window.metric)))
    radius = 2.6 if len(windows) <= 80 else 1.8
    for of_version in points.values():
        yield Path(tuple(of_version), "trace")
        yield from (Circle(*point, radius, "dot") for point in of_version)


def _marks(marks: Sequence[Mark], x: TimeScale) -> Iterator[Shape]:
    for mark in marks:
        if mark.at >= x.first:
            at = x(mark.at)
            shapes = (
                Line(at, MARK_Y, at, METRIC_BOTTOM, f"firing {mark.trigger}"),
                glyph(mark.trigger, at, MARK_Y),
            )
            yield Group(shapes, "mark", mark.title)


def glyph(trigger: str, x: float, y: float) -> Shape:
    """The mark of a kind of trigger: each has a shape of its own, so that colour is not needed to tell them."""
    css = f"glyph {trigger}"
    match trigger:
        case "data":
            return diamond(x, y, 6.0, css)
        case "metric":
            return triangle(x, y, 5.5, css)
        case "schedule":
            return Circle(x, y, 5.0, css)
        case _:
            return Rect(x - 4.5, y - 4.5, 9.0, 9.0, css)


def _targets(windows: Sequence[WindowPoint], x: TimeScale) -> Iterator[Shape]:
    for window in windows:
        start, end = x(window.start), x(window.end)
        target = Rect(start, DRIFT_TOP, max(end - start, 2.0), METRIC_BOTTOM - DRIFT_TOP, "target")
        yield Group((target,), "", window.title, window.href)


def key_glyph(trigger: str) -> Chart:
    """The mark alone, for the key beside the chart."""
    return Chart(14, 14, "", "", (glyph(trigger, 7, 7),), "key")
