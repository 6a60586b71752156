"""What a replay sends, when, and what it says of the answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from controlplane.replay.drive import spans
from controlplane.replay.rows import Answer, ReplayRow, batches, stretch
from controlplane.replay.source import ReplayRefused, check_history, default_cut, recipe_folder
from controlplane.replay.summary import period_of, quality
from pipeline.contract.specfile import read_recipe

START = datetime(2021, 1, 1, tzinfo=UTC)


def row(number: int, hours: float = 0.0, label: int = 0) -> ReplayRow:
    return ReplayRow(f"r{number:05d}", START + timedelta(hours=hours), {}, label)


def answered(number: int, hours: float, label: int, score: float) -> Answer:
    return Answer(row(number, hours, label), f"p{number}", score, 1, 0.0)


@given(st.lists(st.floats(0, 500), min_size=1, max_size=80).map(sorted), st.floats(0.5, 100))
def test_no_label_is_due_in_the_part_that_its_row_is_in(hours, horizon):
    rows = [row(number, hour) for number, hour in enumerate(hours)]

    parts = list(spans(rows, timedelta(hours=horizon)))

    assert [each for part in parts for each in part] == rows
    assert all(part[-1].event_time - part[0].event_time < timedelta(hours=horizon) for part in parts)


@given(st.integers(0, 50), st.integers(1, 20))
def test_batches_hold_every_row_once(count, size):
    rows = [row(number) for number in range(count)]

    assert [each for batch in batches(rows, size) for each in batch] == rows


def test_a_stretch_is_bounded_in_rows_and_in_time():
    rows = [row(number, hours=number) for number in range(100)]

    assert len(stretch(rows, 10, timedelta(hours=50))) == 10
    assert len(stretch(rows, 80, timedelta(hours=50))) == 51
    assert len(stretch(rows[:1], 80, timedelta(hours=50))) == 1


def test_history_is_five_weeks():
    rows = [row(number, hours=number) for number in range(24 * 7 * 12)]

    assert default_cut(rows) == START + timedelta(weeks=5)


def test_one_stray_date_does_not_move_the_history():
    stray = ReplayRow("stray", datetime(1970, 1, 1, tzinfo=UTC), {}, 0)
    rows = [stray, *(row(number, hours=number) for number in range(1_000))]

    cut = default_cut(rows)

    assert sum(each.event_time < cut for each in rows) == pytest.approx(400, abs=1)


def test_periods_are_months_in_a_long_replay_and_weeks_in_a_short_one():
    assert period_of(START, START + timedelta(days=200), datetime(2021, 3, 5, tzinfo=UTC)) == "2021-03"
    assert period_of(START, START + timedelta(days=20), datetime(2021, 1, 12, tzinfo=UTC)) == "2021-W02"


def test_quality_is_that_of_scikit_learn_by_period_and_pooled():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 600)
    live, first = labels + rng.normal(0, 0.6, 600), labels + rng.normal(0, 1.5, 600)
    answers = [answered(n, n, int(labels[n]), float(live[n])) for n in range(600)]

    periods, pooled = quality(answers, {f"r{n:05d}": float(first[n]) for n in range(600)})

    assert sum(period.rows for period in periods) == 600
    assert pooled.live_auc == pytest.approx(roc_auc_score(labels, live), abs=1e-4)
    assert pooled.first_version_auc == pytest.approx(roc_auc_score(labels, first), abs=1e-4)
    difference = roc_auc_score(labels, live) - roc_auc_score(labels, first)
    assert 0 < pooled.difference_low < difference < pooled.difference_high


def test_equal_scores_differ_by_nothing():
    answers = [answered(n, n, n % 2, n / 100) for n in range(100)]

    _, pooled = quality(answers, {answer.row.id: answer.score for answer in answers})

    assert (pooled.difference_low, pooled.difference_high) == (0.0, 0.0)


def test_a_period_of_one_class_has_no_auc():
    answers = [answered(n, 24 * 7 * n / 10, int(n >= 10), 0.5) for n in range(20)]

    periods, pooled = quality(answers, {answer.row.id: 0.5 for answer in answers})

    assert periods[0].live_auc is None
    assert pooled.live_auc == 0.5


def test_a_history_whose_labels_are_not_known_in_time_is_refused_before_anything_starts():
    spec, _ = read_recipe(recipe_folder("tweets"))

    with pytest.raises(ReplayRefused, match=r"0 labels are known by 2021-01-01 00:00.*train\.min_rows asks for 500"):
        check_history(spec, 0, START)
    with pytest.raises(ReplayRefused, match=r"120 of them would be held out.*gate\.min_rows asks for 200"):
        check_history(spec, 1_000, START)
    check_history(spec, 2_000, START)


def test_an_unknown_recipe_is_refused():
    with pytest.raises(ReplayRefused, match="tweets or flights"):
        recipe_folder("nothing-of-the-kind")
