"""What a dashboard consists of. One definition makes the panel in Kibana and the query behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from observability.kibana.conditions import Condition
from observability.kibana.views import VIEWS, DataView

#: columns of Kibana's grid
GRID: Final = 48
Operation: TypeAlias = Literal["count", "average", "max", "min", "sum", "unique", "percentile"]
Shape: TypeAlias = Literal["number", "line", "bars", "area", "table", "heat"]
Unit: TypeAlias = Literal["plain", "percent", "nanoseconds", "milliseconds", "seconds"]


@dataclass(frozen=True)
class Metric:
    """A number: of documents, or of a field's values."""

    label: str
    operation: Operation = "count"
    field: str | None = None
    percentile: int = 50
    #: of these documents only
    where: tuple[Condition, ...] = ()
    unit: Unit = "plain"


@dataclass(frozen=True)
class Over:
    """By time."""

    field: str = "@timestamp"


@dataclass(frozen=True)
class Top:
    """By the most frequent values of a field, or rather those whose first metric is the largest."""

    field: str
    label: str
    size: int = 10


@dataclass(frozen=True)
class Between:
    """By ranges of a number; the last one has no end."""

    field: str
    label: str
    edges: tuple[float, ...]


Split: TypeAlias = Over | Top | Between


@dataclass(frozen=True)
class Panel:
    """A chart, a table or a number."""

    title: str
    view: str
    shape: Shape
    metrics: tuple[Metric, ...]
    #: outermost first
    by: tuple[Split, ...] = ()
    where: tuple[Condition, ...] = ()
    #: what a reader has to know of it
    note: str = ""
    width: int = 24
    height: int = 11
    #: what is chosen for the dashboard does not narrow it
    whole: bool = False

    @property
    def reads(self) -> DataView:
        return VIEWS[self.view]

    @property
    def slug(self) -> str:
        """Its id in its dashboard.

        >>> Panel("Latency: p50, p95", "prediction", "line", ()).slug
        'latency-p50-p95'
        """
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Lines:
    """Documents one below the other, newest first."""

    title: str
    view: str
    columns: tuple[str, ...]
    where: tuple[Condition, ...] = ()
    note: str = ""
    width: int = GRID
    height: int = 20

    @property
    def reads(self) -> DataView:
        return VIEWS[self.view]

    @property
    def slug(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Control:
    """A list to choose from, which narrows a dashboard."""

    field: str
    label: str
    view: str


@dataclass(frozen=True)
class Dashboard:
    """A page of panels."""

    slug: str
    title: str
    about: str
    panels: tuple[Panel | Lines, ...]
    controls: tuple[Control, ...] = ()
    #: what it shows at first
    since: str = "now-24h"
    #: headings of the runbook for what may be seen here
    runbook: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a panel stands in the grid."""

    x: int
    y: int
    width: int
    height: int


def laid_out(sizes: Sequence[tuple[int, int]], below: int = 0) -> list[Place]:
    """Panels of these widths and heights, from left to right in rows as high as their highest.

    >>> [(place.x, place.y) for place in laid_out([(24, 10), (24, 12), (48, 5)])]
    [(0, 0), (24, 0), (0, 12)]
    """
    places, x, y, row = [], 0, below, 0
    for width, height in sizes:
        if x + width > GRID:
            x, y, row = 0, y + row, 0
        places.append(Place(x, y, width, height))
        x, row = x + width, max(row, height)
    return places
