"""What days do to a column is no drift, chance alone is no over-dispersion, and a trend hides nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from bundle.signature import Feature, RawField, Signature
from observability.monitors.drift.columns import compare_categories, compare_numbers
from observability.monitors.drift.history import History, history_of, missing_key, overdispersion_of, served_history
from observability.monitors.reference import HISTORY_KEY, Reference, ReferenceUnreadable
from observability.windows import Segment
from pipeline.dataset import Rows
from pipeline.package import reference_table
from tests.unit.test_observability_reference import written

NUMBER, WORD = Feature(name="x", type="numeric"), Feature(name="c", type="categorical")
DAY = timedelta(days=1)
SHARES = np.arange(1, 13) / 78


def times(days: int, rows: int) -> pd.Series:
    return pd.Series(pd.date_range("2026-01-01", periods=days * rows, freq=pd.Timedelta(DAY) / rows, tz="UTC"))


def shifted(random: np.random.Generator, rows: int, spread: float) -> np.ndarray:
    return random.normal(random.normal(0, spread), 1, rows)


def scaled(random: np.random.Generator, rows: int, spread: float) -> np.ndarray:
    return random.normal(0, np.exp(random.normal(0, spread)), rows)


def mixed(random: np.random.Generator, rows: int, spread: float) -> np.ndarray:
    return random.choice(list("abcdefghijkl"), p=random.dirichlet(SHARES / spread**2) if spread else SHARES, size=rows)


def days_of(made, random: np.random.Generator, days: int, rows: int, spread: float) -> np.ndarray:
    return np.concatenate([made(random, rows, spread) for _ in range(days)])


@pytest.mark.parametrize("rows", [500, 8_000])
def test_a_history_of_nothing_but_chance_gives_the_factor_1_in_all_but_1_of_100(rows):
    random, histories = np.random.default_rng(rows), 150
    found: list[int] = []
    for _ in range(histories):
        frame = pd.DataFrame({"x": random.normal(size=rows), "c": mixed(random, rows, 0)})
        frame.loc[random.random(rows) < 0.2, "x"] = np.nan
        found += [len(scale.columns) for scale in history_of(frame, [NUMBER, WORD]).scales]
    columns = len([NUMBER, WORD, missing_key("x")])
    assert 0.002 < np.mean(found) / columns < 0.02


@pytest.mark.parametrize(
    ("feature", "made", "spread"), [(NUMBER, shifted, 0.1), (NUMBER, scaled, 0.1), (WORD, mixed, 0.05)]
)
@pytest.mark.parametrize("rows", [1_000, 3_000])
def test_later_windows_alarm_as_set_where_days_differ_and_many_times_as_often_without_the_history(
    feature, made, spread, rows
):
    random = np.random.default_rng(17)
    compare = {
        "numeric": lambda now, then, by: compare_numbers(now, then, 30, by),
        "categorical": lambda now, then, by: compare_categories(now, then, 20, 30, by),
    }[feature.type]
    plain, allowed = [], []
    for _ in range(8):
        past = days_of(made, random, 40, 500, spread)
        history = history_of(pd.DataFrame({feature.name: past}), [feature], times(40, 500))
        factor = history.overdispersion(rows, 10_000, DAY)[feature.name]
        then = pd.Series(past[::2])
        for _ in range(25):
            now = pd.Series(made(random, rows, spread))
            plain.append(compare(now, then, 1.0).tests["values"].p_value)
            allowed.append(compare(now, then, factor).tests["values"].p_value)
    assert np.mean(np.array(plain) <= 0.05) > 0.4 and np.mean(np.array(plain) <= 0.001) > 0.1
    assert np.mean(np.array(allowed) <= 0.05) < 0.1 and np.mean(np.array(allowed) <= 0.001) < 0.015


def test_a_missing_share_that_comes_and_goes_is_told_apart_from_the_values():
    random = np.random.default_rng(3)
    past = random.normal(size=20_000)
    past[random.random(20_000) < np.repeat(random.uniform(0, 0.2, 40), 500)] = np.nan
    found = history_of(pd.DataFrame({"x": past}), [NUMBER], times(40, 500)).overdispersion(1_000, 10_000, DAY)
    assert set(found) == {missing_key("x")} and found[missing_key("x")] > 5


def test_a_steady_trend_in_the_reference_does_not_make_its_going_on_harmless():
    random = np.random.default_rng(4)
    past = random.normal(size=32_000) + np.repeat(np.arange(32) / 32, 1_000)
    factor = history_of(pd.DataFrame({"x": past}), [NUMBER], times(32, 1_000)).overdispersion(1_000, 10_000, DAY)
    now, then = pd.Series(random.normal(1.0, 1, 1_000)), pd.Series(past[::3])
    assert factor.get("x", 1.0) < 1.5
    assert compare_numbers(now, then, 30, factor.get("x", 1.0)).tests["values"].p_value < 1e-6


def test_one_break_in_the_reference_does_not_make_every_later_one_harmless():
    random = np.random.default_rng(9)
    still = np.where(np.arange(20_000) < 8_000, 0.0, 3.0) + random.normal(size=20_000)
    assert overdispersion_over_days(still) == {}
    restless = np.where(np.arange(20_000) < 8_000, 0.0, 3.0) + days_of(shifted, random, 40, 500, 0.1)
    without = days_of(shifted, random, 40, 500, 0.1)
    assert overdispersion_over_days(restless)["x"] < 2 * overdispersion_over_days(without)["x"]


def overdispersion_over_days(past: np.ndarray) -> Mapping[str, float]:
    return history_of(pd.DataFrame({"x": past}), [NUMBER], times(40, 500)).overdispersion(1_000, 10_000, DAY)


def test_larger_windows_allow_for_more_and_each_meets_the_spans_of_its_own_length():
    random = np.random.default_rng(5)
    instants = times(330, 100)
    month = pd.factorize((instants - pd.Timestamp(0, tz="UTC")) // (30 * DAY))[0]
    past = random.normal(size=33_000) + random.normal(0, 0.3, month.max() + 1)[month]
    history = history_of(pd.DataFrame({"x": past}), [NUMBER], instants)
    months, days = (history.overdispersion(1_000, 10_000, length).get("x", 1.0) for length in (30 * DAY, DAY))
    assert months > 2 * days
    assert history.overdispersion(5_000, 10_000, 30 * DAY)["x"] > 2 * months
    assert history.overdispersion(1_000, 10_000)  # of a length that nobody knows: by its rows


def test_the_course_of_a_day_is_not_what_days_do_to_each_other():
    random = np.random.default_rng(6)
    hours = times(5, 2_400)
    past = random.normal(size=12_000) + np.sin(hours.dt.hour * np.pi / 12)
    history = history_of(pd.DataFrame({"x": past}), [NUMBER], hours)
    assert history.overdispersion(1_000, 10_000, timedelta(hours=6))["x"] > 5
    assert history.overdispersion(1_000, 10_000, DAY) == {}


@pytest.mark.parametrize(
    "column",
    [[None] * 400, [float("inf")] * 400, [1.0] * 400, ["a"] * 400, [""] * 400, [["a list"], {}] * 200, [3, "x"] * 200],
)
@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_columns_that_tell_nothing_are_left_out(column, kind):
    frame = pd.DataFrame({"x": column})
    for features in ([Feature(name="x", type=kind)], [Feature(name="gone", type=kind)]):
        assert overdispersion_of(frame, features, 50) == {}
    assert overdispersion_of(frame.iloc[:199], [Feature(name="x", type=kind)], 50) == {}
    assert overdispersion_of(frame.iloc[:0], [Feature(name="x", type=kind)], 50) == {}


def test_a_sample_of_served_rows_tells_the_same_in_whatever_order():
    random = np.random.default_rng(7)
    frame = pd.DataFrame({"x": days_of(shifted, random, 30, 300, 0.3), "event_time": times(30, 300)})
    frame["score"] = frame["x"] / 10
    shuffled = served_history(frame.sample(frac=1, random_state=1), [NUMBER])
    assert shuffled == served_history(frame, [NUMBER])
    assert set(shuffled.overdispersion(1_000, 9_000, DAY)) == {"x", "score"}


def version(days: int = 30, rows: int = 300) -> bytes:
    random = np.random.default_rng(8)
    columns = {"x": days_of(shifted, random, days, rows, 0.3), "c": mixed(random, days * rows, 0).astype(object)}
    made = Rows([str(n) for n in range(days * rows)], times(days, rows), columns, columns, np.arange(days * rows) % 2)
    signature = Signature(
        model="test/drift",
        label="y",
        task="binary",
        raw=(RawField(name="x", type="number"), RawField(name="c", type="string")),
        features=(NUMBER, WORD),
    )
    return reference_table(signature, made, made, np.clip(columns["x"] / 8 + 0.5, 0, 1))


def test_what_a_versions_training_rows_say_is_kept_with_it_and_with_each_segment():
    reference = Reference.read(version())
    assert set(reference.overdispersion) == {"x", "score"}
    day, hour = (reference.beside(1_000, length).overdispersion for length in (DAY, timedelta(hours=1)))
    assert day["x"] > 10 and hour.get("x", 1.0) < day["x"]
    segment = reference.of(Segment("c", "a"))
    assert segment.overdispersion == reference.overdispersion
    # beside fewer rows of a reference there is less to tell
    assert segment.beside(1_000, DAY).overdispersion["x"] < day["x"]
    assert reference.served(reference.features, reference.scores).beside(1_000, DAY).overdispersion == day


def test_an_older_reference_has_none_and_a_broken_one_says_so():
    plain = pd.DataFrame({"part": ["features"], "x": [1.0], "score": [None], "label": [None]})
    assert Reference.read(written(plain)).beside(1_000, DAY).overdispersion == {}
    table = pq.read_table(io.BytesIO(version()))
    for broken in (
        b"{",
        json.dumps({"scales": [{"blocks": 0}]}).encode(),
        b'{"scales": [{"blocks": 8, "rows": 1e999}]}',
    ):
        buffer = io.BytesIO()
        pq.write_table(table.replace_schema_metadata({HISTORY_KEY: broken}), buffer)
        with pytest.raises(ReferenceUnreadable, match="history"):
            Reference.read(buffer.getvalue())


def test_a_history_is_small_and_reads_as_it_was_written():
    reference = Reference.read(version())
    told = reference.history.model_dump_json()
    assert History.model_validate_json(told) == reference.history and len(told) < 2_000
