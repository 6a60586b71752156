"""Charts as lists of shapes: pure functions turn numbers into shapes, one template writes them as SVG.

No text from data ever becomes markup here. The template escapes what it writes, and colours come from CSS classes,
so a chart follows light and dark and needs no inline style.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import ClassVar, Literal, TypeAlias

Anchor = Literal["start", "middle", "end"]
Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class Rect:
    """A rectangle; `title` is what a pointer over it tells."""

    kind: ClassVar[str] = "rect"
    x: float
    y: float
    width: float
    height: float
    css: str = ""
    title: str = ""
    radius: float = 0.0


@dataclass(frozen=True)
class Line:
    """A straight line."""

    kind: ClassVar[str] = "line"
    x1: float
    y1: float
    x2: float
    y2: float
    css: str = ""


@dataclass(frozen=True)
class Path:
    """Points joined by straight lines; closed, it is an area or a mark."""

    kind: ClassVar[str] = "path"
    points: tuple[Point, ...]
    css: str = ""
    closed: bool = False
    title: str = ""

    @property
    def coordinates(self) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclass(frozen=True)
class Circle:
    """A dot."""

    kind: ClassVar[str] = "circle"
    x: float
    y: float
    radius: float
    css: str = ""
    title: str = ""


@dataclass(frozen=True)
class Text:
    """A label."""

    kind: ClassVar[str] = "text"
    x: float
    y: float
    text: str
    css: str = ""
    anchor: Anchor = "start"


@dataclass(frozen=True)
class Group:
    """Shapes that belong together: with `href` they are one link."""

    kind: ClassVar[str] = "group"
    shapes: tuple[Shape, ...]
    css: str = ""
    title: str = ""
    href: str = ""


Shape: TypeAlias = Rect | Line | Path | Circle | Text | Group


@dataclass(frozen=True)
class Chart:
    """A drawing with the name and the summary that a screen reader says."""

    width: float
    height: float
    label: str
    summary: str
    shapes: tuple[Shape, ...] = ()
    css: str = ""


@dataclass(frozen=True)
class Scale:
    """Maps a stretch of numbers onto a stretch of pixels.

    >>> Scale(0.0, 2.0, 100.0, 0.0)(0.5)
    75.0
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)


@dataclass(frozen=True)
class TimeScale:
    """Maps a stretch of time onto a stretch of pixels; what lies outside is put at the edge."""

    first: datetime
    last: datetime
    start: float
    end: float

    def __call__(self, instant: datetime) -> float:
        span = max((self.last - self.first).total_seconds(), 1.0)
        return Scale(0.0, span, self.start, self.end)((instant - self.first).total_seconds())


def bounds(values: Iterable[float], pad: float = 0.12) -> tuple[float, float]:
    """The stretch that holds all the values with some room around.

    >>> bounds([1.0, 2.0], pad=0.5)
    (0.5, 2.5)
    >>> bounds([])
    (0.0, 1.0)
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    room = (high - low) * pad or max(abs(high) * 0.05, 0.01)
    return low - room, high + room


def ticks(low: float, high: float, count: int = 4) -> tuple[float, ...]:
    """Round numbers inside a stretch, about as many as asked for.

    >>> ticks(0.0, 1.0, 4)
    (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """
    if not high > low:
        return (low,)
    rough = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(size * magnitude for size in (1, 2, 2.5, 5, 10) if size * magnitude >= rough * 0.75)
    first = math.ceil(low / step - 1e-9)
    return tuple(round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1))


_STEPS = tuple(
    timedelta(minutes=minutes)
    for minutes in (1, 5, 15, 30, 60, 180, 360, 720, 1440, 2880, 10080, 20160, 43200, 86400, 262800, 525600)
)


def time_ticks(first: datetime, last: datetime, count: int = 8) -> tuple[tuple[datetime, str], ...]:
    """Instants and their labels, in UTC: at most about `count`, at round times.

    >>> time_ticks(datetime(2021, 1, 1, 22, tzinfo=UTC), datetime(2021, 1, 2, 2, tzinfo=UTC), 4)[0][1]
    '1 Jan 22:00'
    """
    span = last - first
    step = next((step for step in _STEPS if span / step <= count), _STEPS[-1])
    if step >= timedelta(days=30):
        return tuple(_months(first, last, max(1, round(step / timedelta(days=30)))))
    origin = datetime(1970, 1, 5, tzinfo=UTC)  # a Monday
    number = math.ceil((first - origin) / step)
    marks: list[tuple[datetime, str]] = []
    while (at := origin + number * step) <= last:
        marks.append((at, _tick_label(at, step)))
        number += 1
    return tuple(marks)


def _tick_label(at: datetime, step: timedelta) -> str:
    day = f"{at.day} {at:%b}"
    return day if step >= timedelta(days=1) else f"{day} {at:%H:%M}"


def _months(first: datetime, last: datetime, every: int) -> Iterable[tuple[datetime, str]]:
    number = first.year * 12 + first.month - 1
    while (at := datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)) <= last:
        if at >= first and number % every == 0:
            yield at, f"{at:%b %Y}"
        number += 1


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """The positions, each moved as little as keeps `gap` between neighbours; for labels beside lines.

    >>> spread([10.0, 11.0, 40.0], 12.0)
    [10.0, 22.0, 40.0]
    """
    order = sorted(range(len(positions)), key=positions.__getitem__)
    placed = list(positions)
    for before, after in pairwise(order):
        placed[after] = max(placed[after], placed[before] + gap)
    return placed


def diamond(x: float, y: float, size: float, css: str, title: str = "") -> Path:
    """A mark that reads without colour."""
    return Path(((x, y - size), (x + size, y), (x, y + size), (x - size, y)), css, closed=True, title=title)


def triangle(x: float, y: float, size: float, css: str, title: str = "") -> Path:
    """A mark that points up."""
    return Path(((x, y - size), (x + size, y + size * 0.8), (x - size, y + size * 0.8)), css, True, title)


@dataclass(frozen=True)
class Spark:
    """What a sparkline shows: values oldest first, None where there is none, and a level to compare with."""

    values: tuple[float | None, ...]
    level: float | None = None
    label: str = ""
    summary: str = ""
    width: float = 132.0
    height: float = 32.0
    css: str = field(default="spark")


def sparkline(spark: Spark) -> Chart:
    """A line with its last value marked, and the level as a dashed line."""
    known = [value for value in spark.values if value is not None]
    low, high = bounds([*known, *([spark.level] if spark.level is not None else [])])
    y = Scale(low, high, spark.height - 4, 4)
    x = Scale(0.0, max(len(spark.values) - 1, 1), 3, spark.width - 5)
    shapes: list[Shape] = []
    if spark.level is not None:
        shapes.append(Line(0, y(spark.level), spark.width, y(spark.level), "level"))
    points = tuple((x(n), y(value)) for n, value in enumerate(spark.values) if value is not None)
    if points:
        shapes.append(Path(points, "trace"))
        shapes.append(Circle(*points[-1], 2.6, "last"))
    return Chart(spark.width, spark.height, spark.label, spark.summary, tuple(shapes), spark.css)


@dataclass(frozen=True)
class Interval:
    """An improvement with its confidence interval; positive is better."""

    difference: float
    low: float
    high: float
    margin: float
    passed: bool


def interval_bar(interval: Interval, reach: float, summary: str, width: float = 168.0) -> Chart:
    """The interval on a line around nothing; `reach` is the largest improvement that the line shows."""
    x, middle = Scale(-reach, reach, 6, width - 6), 11.0
    css = "passed" if interval.passed else "refused"
    low, high = x(interval.low), x(interval.high)
    shapes: tuple[Shape, ...] = (
        Line(6, middle, width - 6, middle, "axis"),
        Line(x(0.0), 2, x(0.0), 20, "zero"),
        *([Line(x(interval.margin), 4, x(interval.margin), 18, "margin")] if interval.margin else []),
        Line(low, middle, high, middle, f"interval {css}"),
        Line(low, middle - 4, low, middle + 4, f"interval {css}"),
        Line(high, middle - 4, high, middle + 4, f"interval {css}"),
        Circle(x(interval.difference), middle, 3.6, f"estimate {css}"),
    )
    return Chart(width, 22, "Improvement over the champion", summary, shapes, "interval-bar")
