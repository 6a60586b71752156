"""When a window is looked at again, and when that is worth another verdict."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controlplane.loop.settling import is_worth_scoring, recount_after, window_of
from controlplane.tables import ScoredWindow
from observability.windows import Cursor, Window

DUE, HORIZON = datetime(2021, 1, 2, tzinfo=UTC), timedelta(days=1)


def row(window: Window) -> ScoredWindow:
    return ScoredWindow(
        id=window.id, model=window.model, version=window.version, monitor=window.monitor, segment=window.segment,
        spec_digest=window.spec_digest, after_time=window.after.event_time, after_id=window.after.id,
        until_time=window.until.event_time, until_id=window.until.id, rows=1, labelled=0, verdict={}, cut_at=DUE,
        scored_at=DUE, labels_due_at=DUE,
    )  # fmt: skip


WINDOW = Window(
    model="default/flights", version=3, monitor="m", spec_digest="d", segment="carrier=AA",
    after=Cursor(DUE - 2 * HORIZON, "a"), until=Cursor(DUE - HORIZON, "b"),
)  # fmt: skip


def test_a_row_is_the_window_that_it_was():
    assert window_of(row(WINDOW)) == WINDOW and window_of(row(WINDOW)).id == row(WINDOW).id


@pytest.mark.parametrize(
    ("watermark", "expected"),
    [
        (DUE, DUE + HORIZON),
        (DUE + timedelta(hours=23), DUE + HORIZON),
        (DUE + HORIZON, DUE + 3 * HORIZON),
        (DUE + 3 * HORIZON, None),
        (DUE + 90 * HORIZON, None),
    ],
)
def test_labels_are_counted_again_after_one_horizon_and_after_three(watermark, expected):
    assert recount_after(row(WINDOW), HORIZON, watermark) == expected


def test_labels_that_are_known_at_once_are_not_waited_for():
    assert recount_after(row(WINDOW), timedelta(0), DUE) is None


@pytest.mark.parametrize(
    ("labelled", "scored", "worth"),
    [
        (100, 100, False), (109, 100, False), (110, 100, True), (1_050, 1_000, False), (1_100, 1_000, True),
        (99, 90, False), (100, 99, True), (0, 0, False), (400, 0, True),
    ],
)  # fmt: skip
def test_a_tenth_more_labels_are_worth_another_verdict_and_so_are_the_first_that_suffice(labelled, scored, worth):
    assert is_worth_scoring(labelled, scored, min_labels=100) is worth
