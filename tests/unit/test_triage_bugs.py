"""Each kind of pipeline bug is told from a world that changes: on a made-up shop, undone by no one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from bundle.signature import Feature, RawField, Signature
from observability.monitors.case import Case, PastVerdict
from observability.monitors.reference import Reference
from observability.monitors.triage.clocks import clocks_of, find_turned_clocks
from observability.monitors.triage.columns import Columns, NumericColumn
from observability.monitors.triage.diagnosis import find_bugs
from observability.monitors.triage.encoding import find_encoding
from observability.monitors.triage.exchanges import exchanged
from observability.monitors.triage.hypotheses import Hypothesis, shown
from observability.monitors.triage.replays import find_replays
from observability.monitors.triage.swaps import find_swaps
from observability.monitors.triage.units import find_units
from observability.monitors.verdicts import (
    DriftVerdict,
    ErrorMetrics,
    ErrorVerdict,
    FeatureDrift,
    QualityVerdict,
    WindowVerdict,
)
from observability.ports import Sample

NUMERIC = ("hour", "distance", "low", "high")
TEXTS = ("country", "plan")
SIGNATURE = Signature(
    model="default/shop",
    task="binary",
    raw=(RawField(name="x", type="number"),),
    features=tuple(Feature(name=n, type="numeric") for n in NUMERIC)
    + tuple(Feature(name=n, type="categorical") for n in TEXTS),
    label="y",
)
COUNTRIES = ("España", "Österreich", "Côte d'Ivoire", "Perú", "México", "France", "Italia", "Türkiye")
QUIET = FeatureDrift(
    feature="score", method="ks", score=1.0, threshold=0.1, drifted=False, missing_share=0, reference_missing_share=0
)
VERDICT = WindowVerdict(
    rows=0,
    sampled=0,
    labelled=0,
    drift=DriftVerdict(features=(), drifted_share=0.0, prediction=QUIET),
    quality=QualityVerdict(missing_share={}, unseen_share={}, out_of_range_share={}),
    errors=ErrorVerdict(labelled=0, metrics=ErrorMetrics(), reference=ErrorMetrics()),
)


def shop(seed: int, rows: int = 2_000) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    low = rng.normal(12, 6, rows).round(1)
    busy = np.exp(1.5 * np.cos((np.arange(24) - 15) / 12 * np.pi))
    return pd.DataFrame(
        {
            "event_time": pd.Timestamp("2026-03-02", tz="UTC") + pd.to_timedelta(np.arange(rows) * 5, unit="min"),
            "hour": rng.choice(24, rows, p=busy / busy.sum()) + rng.integers(0, 60, rows) / 60,
            "distance": np.exp(rng.normal(5, 0.7, rows)).round(),
            "low": low,
            "high": (low + rng.gamma(4, 2, rows)).round(1),
            "country": rng.choice(COUNTRIES, rows, p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.07, 0.05, 0.03]),
            "plan": rng.choice(["Basic", "Premium", "Family", "Student"], rows, p=[0.5, 0.25, 0.15, 0.1]),
        }
    )


REFERENCE = Reference(shop(0, 8_000)[[*NUMERIC, *TEXTS]], np.array([]), np.array([]))


def case(rows: pd.DataFrame) -> Case:
    return Case("w", Sample(rows, len(rows), 0), REFERENCE, SIGNATURE)


def bugs(rows: pd.DataFrame) -> list[Hypothesis]:
    window = case(rows)
    return find_bugs(window, VERDICT, Columns.of(window))


def the_bug(rows: pd.DataFrame) -> tuple[str, tuple[str, ...]]:
    found = bugs(rows)
    assert found, "no bug was found"
    return found[0].bug, found[0].columns


def some(rows: pd.DataFrame, share: float) -> np.ndarray:
    return np.random.default_rng(9).random(len(rows)) < share


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_clean_window_has_no_bug(seed):
    assert bugs(shop(seed)) == []


@pytest.mark.parametrize("factor", [10.0, 0.001, 1.609344, 1 / 1.609344, 0.3048, 1 / 2.204623])
def test_a_known_factor_is_a_unit_change(factor):
    rows = shop(1)
    assert the_bug(rows.assign(distance=rows["distance"] * factor)) == ("unit", ("distance",))


def test_a_scale_with_an_offset_is_a_unit_change_and_named():
    rows = shop(1)
    found = bugs(rows.assign(low=rows["low"] * 1.8 + 32))[0]
    assert (found.bug, found.columns) == ("unit", ("low",))
    assert "Fahrenheit in place of degrees Celsius" in found.said
    assert found.numbers["factor"] == pytest.approx(1.8)


def test_a_unit_that_changed_in_a_part_of_the_rows_is_told_with_the_part():
    rows = shop(1)
    hit = some(rows, 0.3)
    found = bugs(rows.assign(distance=np.where(hit, rows["distance"] * 1.609344, rows["distance"])))[0]
    assert (found.bug, found.columns) == ("unit", ("distance",))
    assert found.numbers["share"] == pytest.approx(0.3, abs=0.07)


@pytest.mark.parametrize("factor", [1.15, 1.25, 1.4, 1.5, 0.7, 0.8])
def test_a_world_that_grows_is_no_unit_change(factor):
    rows = shop(1)
    assert bugs(rows.assign(distance=(rows["distance"] * factor).round())) == []


@pytest.mark.parametrize("shift", [1.0, 3.0, 6.0, 9.0])
def test_a_world_that_warms_is_no_bug(shift):
    rows = shop(1)
    assert bugs(rows.assign(low=rows["low"] + shift, high=rows["high"] + shift)) == []


def test_columns_that_go_together_are_seen_to_be_swapped():
    rows = shop(1)
    assert the_bug(rows.assign(low=rows["high"], high=rows["low"])) == ("swapped", ("low", "high"))


def test_swapped_categories_are_seen():
    rows = shop(1)
    assert the_bug(rows.assign(country=rows["plan"], plan=rows["country"])) == ("swapped", ("country", "plan"))


@pytest.mark.parametrize(
    ("column", "value"),
    [("low", np.nan), ("low", -999.0), ("distance", 0.0), ("country", None), ("country", "unknown"), ("plan", "N/A")],
)
def test_missing_values_and_what_stands_for_them_are_nulls(column, value):
    rows = shop(1)
    broken = rows[column].copy()
    broken[some(rows, 0.25)] = value
    assert the_bug(rows.assign(**{column: broken})) == ("nulls", (column,))


@pytest.mark.parametrize("column", [*NUMERIC, *TEXTS])
def test_a_column_that_freezes_is_stale(column):
    rows = shop(1)
    frozen = rows[column].copy()
    frozen[1_200:] = frozen[1_200]
    assert the_bug(rows.assign(**{column: frozen})) == ("stale", (column,))


def test_a_column_that_holds_each_value_for_long_is_stale():
    rows = shop(1)
    held = rows["low"].to_numpy()[np.arange(len(rows)) // 50 * 50]
    assert the_bug(rows.assign(low=held)) == ("stale", ("low",))


def test_a_month_that_is_the_only_one_of_a_week_is_not_stale():
    then = shop(0, 8_000).assign(low=np.random.default_rng(1).integers(1, 7, 8_000).astype(float))
    window = Case(
        "w",
        Sample(shop(1).assign(low=3.0), 2_000, 0),
        Reference(then[[*NUMERIC, *TEXTS]], np.array([]), np.array([])),
        SIGNATURE,
    )
    assert [each.columns for each in find_bugs(window, VERDICT, Columns.of(window)) if "low" in each.columns] == []


def test_categories_that_stay_away_are_a_truncated_feed():
    rows = shop(1)
    found = bugs(rows[~rows["country"].isin(["España", "Perú"])].reset_index(drop=True))[0]
    assert (found.bug, found.columns) == ("truncated", ("country",))
    assert "'España', 'Perú'" in found.said


@pytest.mark.parametrize("hours", [(0, 11), (14, 18), (16, 24)])
def test_hours_that_stay_away_are_a_truncated_feed(hours):
    rows = shop(1)
    assert the_bug(rows[~rows["hour"].between(*hours)].reset_index(drop=True)) == ("truncated", ("hour",))


@pytest.mark.parametrize(
    "write",
    [
        lambda text: text.encode().decode("latin-1"), str.upper, lambda text: f" {text} ", lambda text: f'"{text}"',
        lambda text: text.encode("ascii", "replace").decode(), lambda text: f"\ufeff{text}",
        lambda text: f"b'{text.lower()} '",
    ],
)  # fmt: skip
def test_known_categories_in_another_writing_are_an_encoding_bug(write):
    rows = shop(1)
    assert the_bug(rows.assign(country=rows["country"].map(write))) == ("encoding", ("country",))


def test_a_mojibake_is_told_with_an_example():
    rows = shop(1)
    broken = case(rows.assign(country=[text.encode().decode("latin-1") for text in rows["country"]]))
    found = next(find_encoding(Columns.of(broken)))
    assert "UTF-8 read as Latin-1" in found.said
    assert "'EspaÃ±a' for 'España'" in found.said


def test_new_categories_are_no_encoding_bug():
    rows = shop(1)
    assert bugs(rows.assign(country=np.where(some(rows, 0.2), "Japan", rows["country"]))) == []


@pytest.mark.parametrize("turn", [-5, 2, 8])
def test_hours_that_are_turned_are_a_time_zone(turn):
    rows = shop(1)
    found = bugs(rows.assign(hour=(rows["hour"] + turn) % 24))[0]
    assert (found.bug, found.columns) == ("timezone", ("hour",))
    assert found.numbers["hours"] == turn


def test_a_batch_that_comes_twice_is_a_replay_of_the_source():
    rows = shop(1)
    assert the_bug(pd.concat([rows, rows[500:1_000]], ignore_index=True)) == ("duplicates", ())


def test_text_in_a_numeric_column_is_a_schema_bug():
    rows = shop(1)
    broken = rows["distance"].astype(object)
    broken[some(rows, 0.3)] = "12 km"
    assert the_bug(rows.assign(distance=broken)) == ("schema", ("distance",))


def test_two_columns_that_break_alike_are_both_named():
    rows = shop(1)
    kind, columns = the_bug(rows.assign(low=rows["low"] * 1.8 + 32, high=rows["high"] * 1.8 + 32))
    assert kind == "unit" and set(columns) <= {"low", "high"}


@pytest.mark.parametrize("rows", [shop(1)[:0], shop(1)[:1], shop(1)[["event_time", "low"]], shop(1).assign(low=None)])
def test_next_to_nothing_raises_nothing(rows):
    assert isinstance(bugs(rows.reset_index(drop=True)), list)


@pytest.mark.parametrize("bug", ["encoding", "nulls", "stale", "truncated"])
def test_text_of_the_data_is_cut_and_without_control_characters_in_what_is_said(bug):
    tail = "\x1b[31m\n" + "x" * 20_000
    then = shop(0, 8_000)[[*NUMERIC, *TEXTS]].replace({"country": {"France": "France" + tail}})
    rows = shop(60).replace({"country": {"France": "France" + tail}})
    if bug == "encoding":
        rows["country"] = rows["country"].str.upper()
    elif bug == "nulls":
        rows["country"] = np.where(some(rows, 0.4), "unknown".center(20_000), rows["country"])
    elif bug == "stale":
        rows.loc[1_000:, "country"] = "France" + tail
    else:
        rows = rows[~rows["country"].str.startswith("France")].reset_index(drop=True)
    window = Case("w", Sample(rows, len(rows), 0), Reference(then, np.array([]), np.array([])), SIGNATURE)
    said = [each.said for each in find_bugs(window, VERDICT, Columns.of(window)) if each.bug == bug]
    assert said
    assert all(len(each) < 1_000 and each.isprintable() for each in said)


def test_a_value_is_shown_short_and_an_invisible_mark_in_it_is_seen():
    assert shown("Paris") == "'Paris'"
    assert shown("Par\u200bis\n") == "'Par\\u200bis\\n'"
    assert shown(np.float64(999)) == "999"
    assert len(shown("\x00" * 20_000)) < 50
    assert len(shown("x" * 20_000)) < 50


def test_swapped_columns_are_found_among_more_that_moved_than_are_looked_at():
    rng = np.random.default_rng(0)
    names = [f"n{i}" for i in range(60)]

    def wide(rows: int) -> pd.DataFrame:
        return pd.DataFrame({name: rng.normal(place * 3, 1, rows) for place, name in enumerate(names)})

    rows = wide(1_000)
    rows[names[2:]] += 0.3
    rows["n0"], rows["n1"] = rows["n1"].copy(), rows["n0"].copy()
    signature = SIGNATURE.model_copy(update={"features": tuple(Feature(name=n, type="numeric") for n in names)})
    window = Case("w", Sample(rows, len(rows), 0), Reference(wide(4_000), np.array([]), np.array([])), signature)
    assert [each.columns for each in find_swaps(Columns.of(window))] == [("n0", "n1")]


def known(*clocks: dict[str, int]) -> tuple[PastVerdict, ...]:
    """Windows before, newest first, with the hours that columns were ahead of the event."""
    first = pd.Timestamp("2026-03-02", tz="UTC").to_pydatetime()
    return tuple(
        PastVerdict(first - timedelta(days=place), 2_000, 0, True, {"diagnosis": {"cause": "stable", "clocks": told}})
        for place, told in enumerate(clocks)
    )


def by_the_clock(turn: int = 0) -> pd.DataFrame:
    """Hours of the events themselves, as often each, an hour ahead of UTC, turned by some more."""
    rows = shop(1)
    return rows.assign(hour=((rows["event_time"].dt.hour + 1 + turn) % 24).astype(float))


@pytest.mark.parametrize("turn", [-5, 3, 12])
def test_an_hour_that_is_turned_beside_the_event_is_seen_though_every_hour_comes_as_often(turn):
    window = replace(case(by_the_clock(turn)), past=known({"hour": 1}))
    found = find_bugs(window, VERDICT, Columns.of(window))[0]
    assert (found.bug, found.columns, found.numbers["hours"]) == ("timezone", ("hour",), turn)


def test_summer_time_is_no_time_zone_bug():
    start = pd.Timestamp("2026-03-30", tz="UTC")
    rows = by_the_clock(1)
    rows["event_time"] = start + (rows["event_time"] - rows["event_time"].min())
    before = tuple(replace(each, until=start.to_pydatetime() - timedelta(days=1)) for each in known({"hour": 1}))
    for past, told in ((before, []), (known({"hour": 3}), ["timezone"])):
        window = replace(case(rows), past=past)
        assert [each.bug for each in find_turned_clocks(window, Columns.of(window))] == told


def test_the_hours_that_a_column_is_ahead_are_told_for_the_next_window():
    assert clocks_of(Columns.of(case(by_the_clock()))) == {"hour": 1}
    assert clocks_of(Columns.of(case(shop(1)))) == {}


def test_a_batch_that_comes_again_later_is_a_replay_though_every_row_alone_is_common():
    rng = np.random.default_rng(3)

    def coarse(rows: int) -> pd.DataFrame:
        return shop(1, rows).assign(
            hour=0.0, distance=rng.integers(0, 4, rows) * 1.0, low=0.0, high=0.0, country="France", plan="Basic"
        )

    rows = coarse(2_000)
    again = pd.concat([rows, rows[500:1_000].assign(event_time=rows["event_time"].max())], ignore_index=True)
    again["event_time"] = rows["event_time"].min() + pd.to_timedelta(np.arange(len(again)), unit="min")
    reference = Reference(coarse(8_000)[[*NUMERIC, *TEXTS]], np.array([]), np.array([]))
    for frame, told in ((rows, []), (again, ["duplicates"])):
        window = Case("w", Sample(frame, len(frame), 0), reference, SIGNATURE)
        assert [each.bug for each in find_replays(window, Columns.of(window))] == told


def test_columns_that_a_season_moved_are_seen_to_be_swapped_by_what_they_exchange():
    rng, rows = np.random.default_rng(4), 2_000
    then = pd.DataFrame({"gappy": rng.normal(0, 1, rows), "full": rng.normal(5, 1, rows), "whole": 1.0})
    then.loc[rng.random(rows) < 0.7, "gappy"] = np.nan
    now = then.assign(gappy=then["full"] + 3, full=then["gappy"] + 3)
    one, other = (NumericColumn(name, now[name].to_numpy(), then[name].to_numpy()) for name in ("gappy", "full"))
    assert exchanged(one, other) == pytest.approx(1, abs=0.05)
    moved = NumericColumn("full", then["full"].to_numpy() + 3, then["full"].to_numpy())
    assert exchanged(NumericColumn("gappy", then["gappy"].to_numpy() + 3, then["gappy"].to_numpy()), moved) is None


def test_a_small_part_in_another_unit_is_seen_by_the_gap_beyond_the_range():
    rows = shop(1)
    pressure = pd.Series(np.random.default_rng(5).normal(1_013, 8, len(rows)).round(1))
    then = shop(0, 8_000).assign(low=np.random.default_rng(6).normal(1_005, 8, 8_000).round(1))
    broken = np.where(some(rows, 0.1), (pressure / 10).round(1), pressure)
    reference = Reference(then[[*NUMERIC, *TEXTS]], np.array([]), np.array([]))
    window = Case("w", Sample(rows.assign(low=broken), len(rows), 0), reference, SIGNATURE)
    found = next(each for each in find_units(Columns.of(window)))
    assert (found.columns, found.numbers["factor"], found.seen) == (("low",), pytest.approx(0.1), True)


def told_beside(then: pd.DataFrame, rows: pd.DataFrame, **facts: object) -> list[tuple[str, str]]:
    """Bugs and their columns, of rows beside others as the reference."""
    reference = Reference(then[[*NUMERIC, *TEXTS]].reset_index(drop=True), np.array([]), np.array([]))
    window = replace(Case("w", Sample(rows, len(rows), 0), reference, SIGNATURE), **facts)
    return [(each.bug, name) for each in find_bugs(window, VERDICT, Columns.of(window)) for name in each.columns or "-"]


@pytest.mark.parametrize(("before", "now"), [(0.6, 0.85), (0.8, 0.95), (0.3, 0.7)])
def test_more_rows_of_a_value_that_is_usual_are_neither_a_unit_nor_missing(before, now):
    def rained(rows: pd.DataFrame, dry: float) -> pd.DataFrame:
        return rows.assign(distance=np.where(some(rows, dry), 0.0, rows["distance"]))

    assert told_beside(rained(shop(0, 8_000), before), rained(shop(1), now)) == []


def test_a_sensor_that_is_full_more_often_is_no_bug():
    def loaded(seed: int, rows: int, mean: float) -> pd.DataFrame:
        load = np.random.default_rng(seed).normal(mean, 15, rows).clip(0, 100).round(1)
        return shop(seed, rows).assign(distance=load)

    rows = loaded(1, 2_000, 70)
    rows.loc[500:900, "distance"] = 100.0
    mixed = rows.assign(distance=rows["distance"].sample(frac=1, random_state=0).to_numpy())
    assert told_beside(loaded(0, 8_000, 75), mixed) == []
    assert told_beside(loaded(0, 8_000, 75), rows) == [("stale", "distance")]


@pytest.mark.parametrize("held", [500, 1_000])
def test_a_value_that_is_new_and_stays_as_others_did_is_not_stale(held):
    def campaigns(rows: pd.DataFrame, first: int) -> pd.DataFrame:
        return rows.assign(low=first + np.arange(len(rows)) // held * 1.0, plan=f"v{first}")

    then = campaigns(shop(0, 8_000), 0).assign(plan=[f"v{row // 900}" for row in range(8_000)])
    assert [each for each in told_beside(then, campaigns(shop(1), 99)) if each[0] == "stale"] == []


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Asia/Tokyo", "UTC"])
def test_parts_of_local_time_are_no_bug_of_a_short_window(zone):
    def local(rows: pd.DataFrame) -> pd.DataFrame:
        times = rows["event_time"].dt.tz_convert(zone)
        week = times.dt.isocalendar().week.astype(float)
        return rows.assign(low=times.dt.dayofweek * 1.0, high=week, distance=times.dt.month * 1.0)

    year = shop(0, 8_000).assign(event_time=pd.date_range("2025-02-01", "2026-03-01", periods=8_000, tz="UTC"))
    assert told_beside(local(year), local(shop(1, 288))) == []


def test_an_hour_of_customers_in_two_time_zones_is_no_clock():
    rows = shop(1)
    local = (rows["event_time"].dt.hour + np.where(some(rows, 0.12), 19, 1)) % 24
    assert clocks_of(Columns.of(case(rows.assign(hour=local.astype(float))))) == {}


def test_who_asks_twice_as_customers_did_before_is_no_replay():
    def asked(seed: int, rows: int) -> pd.DataFrame:
        once = shop(seed, rows)
        again = once[some(once, 0.15)]
        again = again.assign(event_time=again["event_time"] + pd.Timedelta(minutes=42))
        return pd.concat([once, again]).sort_values("event_time").reset_index(drop=True)

    assert told_beside(asked(0, 16_000), asked(1, 1_000)) == []
    assert told_beside(shop(0, 16_000), asked(1, 1_000)) == [("duplicates", "-")]


def test_the_minute_of_an_hourly_window_is_not_stale():
    def minutes(rows: pd.DataFrame, seconds: int) -> pd.DataFrame:
        times = rows["event_time"].min() + pd.to_timedelta(np.arange(len(rows)) * seconds, unit="s")
        return rows.assign(event_time=times, low=times.minute * 1.0)

    assert told_beside(minutes(shop(0, 8_000), 900), minutes(shop(1, 1_000), 3)) == []


def test_free_text_is_full_of_new_writings_of_what_is_known_and_that_is_no_encoding_bug():
    rng = np.random.default_rng(51)
    marks = ["", " \U0001f30d", ", ", "!", " \U0001f1ee\U0001f1ea", ", Europe", " \u2764", "-"]

    def wrote(seed: int, rows: int) -> pd.DataFrame:
        own = [f"place {number}" for number in rng.integers(1_000_000, size=rows)]
        towns = [f"town {rng.integers(200)}{rng.choice(marks)}" for _ in range(rows)]
        return shop(seed, rows).assign(country=np.where(rng.random(rows) < 0.4, own, towns).astype(object))

    assert told_beside(wrote(0, 1_600), wrote(1, 400)) == []


def test_marks_of_which_nothing_is_left_are_not_alike():
    then = shop(0, 4_000).assign(country=np.resize(np.array(["\U0001f1ee\U0001f1ea", "a", "b", "c"], object), 4_000))
    now = shop(1).assign(country=np.resize(np.array(["\U0001f30d", "\U0001f1ea\U0001f1fa", "a", "b"], object), 2_000))
    assert "encoding" not in [bug for bug, _ in told_beside(then, now)]


def test_gaps_that_come_and_go_are_not_missing_values():
    rng = np.random.default_rng(52)

    def gusts(seed: int, *shares: float) -> pd.DataFrame:
        still = np.concatenate([rng.random(2_000) < share for share in shares])
        gusts = np.where(still, np.nan, rng.gamma(2.0, 5.0, len(still)))
        return shop(seed, len(still)).assign(distance=gusts)

    assert told_beside(gusts(0, 0.5, 0.75, 0.6, 0.8), gusts(1, 0.9)) == []
    assert told_beside(gusts(0, 0.7, 0.71, 0.7, 0.69), gusts(1, 0.9)) == [("nulls", "distance")]


def test_a_value_that_stays_for_spells_of_any_length_is_not_stale():
    rng = np.random.default_rng(53)

    def sight(seed: int, *spells: int) -> pd.DataFrame:
        """Far sight for so many rows, then haze, and again."""
        told = np.concatenate([np.append(np.full(spell, 10.0), np.round(rng.uniform(1, 9, 20), 1)) for spell in spells])
        return shop(seed, len(told)).assign(distance=told)

    now = sight(1, *[5] * 10, 500)
    assert told_beside(sight(0, *[5] * 40, 60, 200, 90, 250, 120), now) == []
    assert ("stale", "distance") in told_beside(sight(0, *[5] * 80), now)


def test_a_flag_that_is_set_more_seldom_is_in_no_other_unit_and_one_that_is_is_seen():
    def flagged(seed: int, rows: int, share: float) -> pd.DataFrame:
        table = shop(seed, rows)
        return table.assign(distance=np.where(some(table, share), 1.0, 0.0))

    assert told_beside(flagged(0, 8_000, 0.1), flagged(1, 5_000, 0.06)) == []
    tens = flagged(1, 2_000, 0.12)
    assert ("unit", "distance") in told_beside(flagged(0, 8_000, 0.12), tens.assign(distance=tens["distance"] * 10))
