"""The heat map: how far each feature drifted in each window, relative to its threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from controlplane.ui.charts import Chart, Group, Line, Rect, Shape, Text, diamond

WIDTH: Final = 1180.0
NAMES: Final = 170.0
TOP: Final = 26.0
ROW: Final = 22.0
WIDEST, NARROWEST = 44.0, 6.0
#: severities at which the next colour begins; 1 is the threshold
STEPS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 4.0)
#: rows that are set apart from the features
APART: Final = 6.0


@dataclass(frozen=True)
class Cell:
    """One feature in one window; `severity` is None where it could not be compared."""

    severity: float | None
    drifted: bool
    title: str


@dataclass(frozen=True)
class Column:
    """One window: the cells by row name."""

    version: int
    #: shown below a column here and there
    day: str
    title: str
    href: str
    cells: dict[str, Cell]


@dataclass(frozen=True)
class HeatMap:
    """Rows in order, of which the last ones may be set apart; columns oldest first."""

    rows: tuple[str, ...]
    apart: tuple[str, ...]
    columns: tuple[Column, ...]


def step_of(severity: float | None) -> str:
    """The colour class of a severity.

    >>> step_of(None), step_of(0.0), step_of(0.8), step_of(1.0), step_of(99.0)
    ('unknown', 'h0', 'h3', 'h4', 'h6')
    """
    if severity is None:
        return "unknown"
    return f"h{sum(severity >= step for step in STEPS[1:])}"


def draw(heat: HeatMap) -> Chart | None:
    """The chart; None where no window was scored yet."""
    if not heat.columns or not heat.rows:
        return None
    size = min(WIDEST, max(NARROWEST, (WIDTH - NAMES) / len(heat.columns)))
    tops = _tops(heat)
    bottom = max(tops.values()) + ROW
    shapes = (
        *_versions(heat.columns, size, bottom),
        *_names(tops),
        *(shape for n, column in enumerate(heat.columns) for shape in _column(column, tops, NAMES + n * size, size)),
        *_days(heat.columns, size, bottom),
    )
    drifted = sum(cell.drifted for column in heat.columns for cell in column.cells.values())
    summary = f"{len(tops)} rows over {len(heat.columns)} windows, {drifted} cells beyond their threshold"
    return Chart(WIDTH, bottom + 22, "Drift per feature over windows", summary, tuple(shapes), "heat")


def _tops(heat: HeatMap) -> dict[str, float]:
    tops = {name: TOP + n * ROW for n, name in enumerate(heat.rows)}
    start = TOP + len(heat.rows) * ROW + APART
    return tops | {name: start + n * ROW for n, name in enumerate(heat.apart)}


def _names(tops: dict[str, float]) -> Iterator[Shape]:
    for name, top in tops.items():
        shown = name if len(name) <= 24 else f"{name[:23]}…"
        yield Group((Text(NAMES - 10, top + ROW / 2 + 4, shown, "row-name", "end"),), "", name)


def _column(column: Column, tops: dict[str, float], x: float, size: float) -> Iterator[Shape]:
    cells = tuple(shape for name, top in tops.items() for shape in _cell(column.cells.get(name), x, top, size))
    yield Group(cells, "column", column.title, column.href)


def _cell(cell: Cell | None, x: float, top: float, size: float) -> Iterator[Shape]:
    severity, title = (cell.severity, cell.title) if cell else (None, "not compared")
    shapes: list[Shape] = [Rect(x + 0.5, top + 1, size - 1, ROW - 2, f"cell {step_of(severity)}", radius=2)]
    if cell is not None and cell.drifted:
        shapes.append(diamond(x + size / 2, top + ROW / 2, min(4.0, size / 2 - 0.8), "drifted"))
    yield Group(tuple(shapes), "", title)


def _versions(columns: Sequence[Column], size: float, bottom: float) -> Iterator[Shape]:
    for n, column in enumerate(columns):
        if n == 0 or columns[n - 1].version != column.version:
            x = NAMES + n * size
            yield Line(x, 4, x, bottom, "promotion" if n else "edge")
            yield Text(x + 4, 16, f"v{column.version}", "reign-name")


def _days(columns: Sequence[Column], size: float, bottom: float) -> Iterator[Shape]:
    every = max(1, round(84 / size))
    for n in range(0, len(columns), every):
        yield Text(NAMES + n * size, bottom + 15, columns[n].day, "tick")


def key_cell(step: int, drifted: bool = False) -> Chart:
    """One cell alone, for the key beside the chart."""
    shapes: list[Shape] = [Rect(0, 0, 18, 14, f"cell h{step}", radius=2)]
    if drifted:
        shapes.append(diamond(9, 7, 4.0, "drifted"))
    return Chart(18, 14, "", "", tuple(shapes), "key")
