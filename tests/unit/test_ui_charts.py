"""Charts are pure functions from numbers to shapes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.lifecycle import VersionState
from controlplane.tables import DecisionRecord, Version
from controlplane.ui import heatmap, timeline
from controlplane.ui.charts import (
    Chart,
    Circle,
    Group,
    Interval,
    Line,
    Path,
    Rect,
    Shape,
    Spark,
    Text,
    bounds,
    interval_bar,
    sparkline,
    spread,
    ticks,
    time_ticks,
)
from controlplane.ui.heatmap import Cell, Column, HeatMap, step_of
from controlplane.ui.reading import reigns, turns_of
from controlplane.ui.timeline import Level, Mark, Reign, Timeline, WindowPoint
from controlplane.ui.verdicts import read_verdict, severity

START = datetime(2021, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FINITE = st.floats(-1e6, 1e6)


def flat(shapes: tuple[Shape, ...]) -> list[Shape]:
    return [leaf for shape in shapes for leaf in (flat(shape.shapes) if isinstance(shape, Group) else [shape])]


def points(shape: Shape) -> list[tuple[float, float]]:
    match shape:
        case Rect():
            return [(shape.x, shape.y), (shape.x + shape.width, shape.y + shape.height)]
        case Line():
            return [(shape.x1, shape.y1), (shape.x2, shape.y2)]
        case Path():
            return list(shape.points)
        case Circle() | Text():
            return [(shape.x, shape.y)]
    return []


def assert_inside(chart: Chart, slack: float = 0.5) -> None:
    for shape in flat(chart.shapes):
        for x, y in points(shape):
            assert -slack <= x <= chart.width + slack, shape
            assert -slack <= y <= chart.height + slack, shape


def window(n: int, share: float | None = 0.1, metric: float | None = 0.75, version: int = 1) -> WindowPoint:
    return WindowPoint(version, START + n * DAY, START + (n + 1) * DAY, share, metric, f"window {n}", f"/w/{n}")


def story(windows: int = 10) -> Timeline:
    return Timeline(
        windows=tuple(window(n, share=n / windows, version=1 + n // 6) for n in range(windows)),
        marks=(Mark(START + 5 * DAY, "data", "drift"), Mark(START + 7 * DAY, "schedule", "monthly")),
        reigns=(Reign(1, START, START + 6 * DAY, 0.8), Reign(2, START + 6 * DAY, None, 0.82)),
        metric="ROC AUC",
        drift_level=0.5,
        levels=(Level(0.5, "constant 0.5", "constant"),),
    )


def test_a_timeline_without_windows_is_no_chart() -> None:
    assert timeline.draw(Timeline((), (), (), "ROC AUC")) is None


def test_everything_on_a_timeline_lies_inside_it() -> None:
    chart = timeline.draw(story())
    assert chart is not None
    assert_inside(chart)


def test_a_window_at_or_above_the_threshold_is_told_apart() -> None:
    chart = timeline.draw(story())
    assert chart is not None
    bars = [s for s in flat(chart.shapes) if isinstance(s, Rect) and s.css.startswith("bar")]
    assert [bar.css for bar in bars] == ["bar"] * 5 + ["bar over"] * 5


def test_every_window_is_a_link_with_its_numbers() -> None:
    chart = timeline.draw(story())
    assert chart is not None
    links = [shape for shape in chart.shapes if isinstance(shape, Group) and shape.href]
    assert [link.href for link in links] == [f"/w/{n}" for n in range(10)]
    assert all(link.title for link in links)


def test_each_kind_of_trigger_has_a_shape_of_its_own() -> None:
    forms = {trigger: timeline.glyph(trigger, 0, 0) for trigger in ("data", "schedule", "metric", "manual")}
    corners = {
        trigger: len(shape.points) if isinstance(shape, Path) else shape.kind for trigger, shape in forms.items()
    }
    assert len(set(corners.values())) == 4


def test_the_line_breaks_where_another_version_answers() -> None:
    chart = timeline.draw(story())
    assert chart is not None
    traces = [s for s in flat(chart.shapes) if isinstance(s, Path) and s.css == "trace"]
    assert [len(trace.points) for trace in traces] == [6, 4]


def test_windows_that_wait_for_labels_leave_the_panel_empty_in_words() -> None:
    waiting = Timeline((window(0, metric=None),), (), (), "ROC AUC")
    chart = timeline.draw(waiting)
    assert chart is not None
    assert "labels are not due yet" in [s.text for s in flat(chart.shapes) if isinstance(s, Text)]


def test_a_firing_before_the_first_window_is_left_out() -> None:
    early = Timeline((window(5),), (Mark(START, "manual", "first"),), (), "ROC AUC")
    chart = timeline.draw(early)
    assert chart is not None
    assert not [s for s in chart.shapes if isinstance(s, Group) and s.css == "mark"]


@given(st.lists(st.tuples(st.none() | st.floats(0, 1), st.none() | FINITE), min_size=1, max_size=40))
def test_any_numbers_stay_inside_a_timeline(values: list[tuple[float | None, float | None]]) -> None:
    chart = timeline.draw(Timeline(tuple(window(n, s, m) for n, (s, m) in enumerate(values)), (), (), "log loss"))
    assert chart is not None
    assert_inside(chart)


def test_a_drifted_cell_carries_a_mark_besides_its_colour() -> None:
    column = Column(1, "1 Jan", "t", "/w", {"a": Cell(2.5, True, "a"), "b": Cell(0.1, False, "b")})
    chart = heatmap.draw(HeatMap(("a", "b"), (), (column,)))
    assert chart is not None
    shapes = flat(chart.shapes)
    assert [s.css for s in shapes if isinstance(s, Rect)] == ["cell h5", "cell h0"]
    assert len([s for s in shapes if isinstance(s, Path)]) == 1


def test_a_feature_that_was_not_compared_has_an_empty_cell() -> None:
    chart = heatmap.draw(HeatMap(("a",), (), (Column(1, "1 Jan", "t", "/w", {}),)))
    assert chart is not None
    assert [s.css for s in flat(chart.shapes) if isinstance(s, Rect)] == ["cell unknown"]


@pytest.mark.parametrize("columns", [1, 9, 60, 150])
def test_any_number_of_columns_fits(columns: int) -> None:
    made = tuple(Column(1, "1 Jan", "t", "/w", {"a": Cell(0.5, False, "a")}) for _ in range(columns))
    chart = heatmap.draw(HeatMap(("a",), (), made))
    assert chart is not None
    assert_inside(chart)


def test_a_heat_map_without_windows_is_no_chart() -> None:
    assert heatmap.draw(HeatMap(("a",), (), ())) is None


@given(st.floats(0, 1e9))
def test_colours_change_at_the_threshold(value: float) -> None:
    assert (int(step_of(value)[1:]) >= 4) == (value >= 1)


def test_severity_means_the_same_for_distances_and_p_values() -> None:
    assert severity("psi", 0.1, 0.1, True) == pytest.approx(1)
    assert severity("ks", 0.001, 0.001, True) == pytest.approx(1)
    assert severity("ks", 1.0, 0.001, False) == pytest.approx(0)
    assert severity("ks", 0.0, 0.001, True) == pytest.approx(100)
    assert severity("ks", None, 0.001, None) is None


@given(st.sampled_from(["ks", "psi", "chisquare"]), st.floats(0, 1), st.floats(1e-6, 0.9), st.booleans())
def test_the_monitors_own_word_wins(method: str, score: float, threshold: float, drifted: bool) -> None:
    value = severity(method, score, threshold, drifted)
    assert value is not None
    assert (value >= 1) == drifted


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda v: st.lists(v) | st.dictionaries(
    st.sampled_from(["features", "error", "prediction", "quality", "score", "drifted", "drifted_share", "reason"]), v
)))  # fmt: skip
def test_any_stored_json_is_read_as_a_verdict(stored: object) -> None:
    read_verdict(stored if isinstance(stored, dict) else {"features": stored, "error": stored})


def test_an_interval_is_drawn_around_its_estimate() -> None:
    chart = interval_bar(Interval(0.04, 0.01, 0.07, 0.0, True), 0.1, "better")
    bar = next(s for s in chart.shapes if isinstance(s, Line) and s.css == "interval passed")
    dot = next(s for s in chart.shapes if isinstance(s, Circle))
    assert bar.x1 < dot.x < bar.x2
    assert_inside(chart)


@given(FINITE, FINITE, FINITE, st.floats(1e-6, 1e6))
def test_any_interval_stays_inside_its_bar(low: float, difference: float, high: float, reach: float) -> None:
    assert_inside(interval_bar(Interval(difference, low, high, 0.0, False), reach, ""))


@given(st.lists(st.none() | FINITE, max_size=50), st.none() | FINITE)
def test_any_values_stay_inside_a_sparkline(values: list[float | None], level: float | None) -> None:
    assert_inside(sparkline(Spark(tuple(values), level)))


@given(st.lists(FINITE, max_size=20))
def test_bounds_hold_every_value(values: list[float]) -> None:
    low, high = bounds(values)
    assert low < high
    assert all(low <= value <= high for value in values)


@given(FINITE, st.floats(1e-3, 1e6))
def test_ticks_are_few_and_inside(low: float, span: float) -> None:
    marks = ticks(low, low + span)
    assert len(marks) <= 8
    assert all(low - span * 1e-6 - 1e-9 <= mark <= low + span * (1 + 1e-6) + 1e-9 for mark in marks)


@given(st.integers(60, 10 * 365 * 86400))
def test_time_ticks_are_few_inside_and_in_order(seconds: int) -> None:
    end = START + timedelta(seconds=seconds)
    marks = [at for at, _ in time_ticks(START, end)]
    assert len(marks) <= 12
    assert marks == sorted(marks)
    assert all(START <= at <= end for at in marks)


@given(st.lists(FINITE, max_size=12))
def test_labels_never_overlap(positions: list[float]) -> None:
    placed = sorted(spread(positions, 12.0))
    assert all(after - before >= 11.99 for before, after in pairwise(placed))


def version(number: int, first: datetime | None, last: datetime | None) -> Version:
    return Version(
        number=number, state=VersionState.RETIRED, first_promoted_at=first, promoted_at=last, metrics={"roc_auc": 0.8}
    )  # fmt: skip


def test_a_rollback_gives_a_version_a_second_reign() -> None:
    versions = [
        version(1, START, START + 9 * DAY),
        version(2, START + 4 * DAY, START + 4 * DAY),
        version(3, None, None),
    ]
    found = [(reign.version, reign.since, reign.until) for reign in reigns(versions, "roc_auc")]
    assert found == [
        (1, START, START + 4 * DAY), (2, START + 4 * DAY, START + 9 * DAY), (1, START + 9 * DAY, None),
    ]  # fmt: skip


def decision(n: int, rule: str, reason: str, outcome: str = "wait") -> DecisionRecord:
    return DecisionRecord(
        id=str(n), model="m", rule=rule, kind="drift", cause="c", turn=1, outcome=outcome, reason=reason, detail="",
        numbers={}, decided_at=START + n * DAY, recorded_at=START,
    )  # fmt: skip


def test_a_reason_given_again_is_one_line_and_a_firing_stands_alone() -> None:
    reasons = [("a", "STABLE"), ("b", "COLD"), ("a", "STABLE"), ("a", "DRIFT"), ("a", "STABLE"), ("a", "STABLE")]
    newest_first = [
        decision(6 - n, rule, reason, "fire" if reason == "DRIFT" else "wait")
        for n, (rule, reason) in enumerate(reasons)
    ]
    turns = [(turn.newest.id, turn.since - START, turn.times) for turn in turns_of(newest_first)]
    assert turns == [("6", 4 * DAY, 2), ("5", 5 * DAY, 1), ("3", 3 * DAY, 1), ("2", DAY, 2)]
