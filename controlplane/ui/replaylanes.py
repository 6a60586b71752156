"""A replay as a picture: what fired in truth on one lane, what would have fired on another, over one axis of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from controlplane.ui.charts import Chart, Line, Shape, Text, TimeScale, diamond, time_ticks, triangle

Row = Mapping[str, Any]
WIDTH, HEIGHT = 1000.0, 132.0
LEFT, RIGHT = 96.0, 980.0
TRUTH_Y, REPLAY_Y, AXIS_Y = 34.0, 80.0, 118.0
SIZE: Final = 6.0
#: of the file, which no page's style sheet reaches: light, and dark where the reader's machine is
STYLE: Final = """
svg { font: 12px system-ui, sans-serif; background: #fff } text { fill: #333 }
line { stroke: #ccc } .lane { stroke: #999 } .alike { fill: #8a8a8a } .only { fill: #c2410c }
@media (prefers-color-scheme: dark) {
  svg { background: #16181c } text { fill: #ddd } line { stroke: #333 } .lane { stroke: #777 }
  .alike { fill: #9a9a9a } .only { fill: #fb923c }
}
"""


def lanes(replayed: Row) -> Chart:
    """The chart. A diamond fired in both, a triangle in one of them only: it reads without colour."""
    x = TimeScale(_at(replayed["since"]), _at(replayed["until"]), LEFT, RIGHT)
    true, would = replayed["fired"], replayed["would_fire"]
    summary = f"{len(true)} fired in truth, {len(would)} in the replay"
    shapes = (*_axis(x), *_lane("in truth", TRUTH_Y, true, would, x), *_lane("in the replay", REPLAY_Y, would, true, x))
    return Chart(WIDTH, HEIGHT, "Firings in truth and in the replay", summary, tuple(shapes), "replay")


def line_of(firings: Sequence[Row], since: datetime, until: datetime, width: int) -> str:
    """The same lane in characters: a dot for nothing, how many fired in that part of the span, `+` from ten on.

    >>> from datetime import UTC
    >>> line_of([{"at": "2021-01-01T12:00:00Z"}], datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 1, 2, tzinfo=UTC), 4)
    '..1.'
    """
    counts = [0] * width
    span = max((until - since).total_seconds(), 1.0)
    for firing in firings:
        share = (_at(firing["at"]) - since).total_seconds() / span
        counts[min(width - 1, max(0, int(share * width)))] += 1
    return "".join("." if count == 0 else str(count) if count < 10 else "+" for count in counts)


def _at(said: str | datetime) -> datetime:
    return said if isinstance(said, datetime) else datetime.fromisoformat(said)


def _axis(x: TimeScale) -> Iterator[Shape]:
    for at, label in time_ticks(x.first, x.last):
        yield Line(x(at), TRUTH_Y - 18, x(at), AXIS_Y - 14, "grid")
        yield Text(x(at), AXIS_Y, label, "tick", "middle")


def _lane(name: str, y: float, mine: Sequence[Row], others: Sequence[Row], x: TimeScale) -> Iterator[Shape]:
    yield Text(LEFT - 12, y + 4, name, "lane-name", "end")
    yield Line(LEFT, y, RIGHT, y, "lane")
    both = {(each["rule"], each["cause"]) for each in others}
    for each in mine:
        at, title = _at(each["at"]), f"{each['at']} {each['rule']}: {each['detail']}"
        if (each["rule"], each["cause"]) in both:
            yield diamond(x(at), y, SIZE, "alike", title)
        else:
            yield triangle(x(at), y, SIZE, "only", title)


def as_file(chart: Chart) -> str:
    """The chart as an SVG file that stands for itself."""
    from controlplane.ui.web import TEMPLATES  # the web's parts, only where a file is written

    module: Any = TEMPLATES.get_template("shapes.html").module
    opening, _, rest = str(module.chart(chart)).strip().partition(">")
    named = opening.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return f"{named}>\n<style>{STYLE}</style>{rest}\n"
