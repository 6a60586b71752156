"""Each check of a window's data finds what it promises, keeps quiet on clean data, and hides no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from bundle.signature import Feature, RawField, Signature
from observability.monitors.case import Case, PastVerdict
from observability.monitors.quality import judge_quality
from observability.monitors.reference import Reference
from observability.monitors.triage.volume import volume_departure
from observability.monitors.verdicts import Finding, QualityVerdict
from observability.ports import Sample

NAMES = ("amount", "age", "city", "plan")
SIGNATURE = Signature(
    model="default/shop",
    task="binary",
    raw=(RawField(name="x", type="number"),),
    features=(
        Feature(name="amount", type="numeric"),
        Feature(name="age", type="numeric"),
        Feature(name="city", type="categorical"),
        Feature(name="plan", type="categorical"),
    ),
    label="y",
)
NOW = datetime(2026, 5, 4, tzinfo=UTC)


def shop(seed: int, rows: int = 1_000) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "event_time": pd.Timestamp(NOW) + pd.to_timedelta(np.arange(rows), unit="min"),
            "amount": rng.lognormal(3, 1, rows).round(2),
            "age": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(40, 10, rows).round()),
            "city": [f"Town {min(int(draw), 5_000)}" for draw in rng.zipf(1.5, rows)],
            "plan": rng.choice(["Basic", "Premium", ""], rows, p=[0.6, 0.3, 0.1]),
        }
    )


REFERENCE = Reference(shop(0, 5_000)[list(NAMES)], np.array([]), np.array([]))


def case(rows: pd.DataFrame, reference: Reference = REFERENCE, **facts) -> Case:
    return Case("w", Sample(rows, len(rows), 0), reference, SIGNATURE, **facts)


def findings(rows: pd.DataFrame, **facts) -> dict[tuple[str, str | None], Finding]:
    return {(each.check, each.feature): each for each in judge_quality(case(rows, **facts)).findings}


@pytest.mark.parametrize("size", [50, 300, 1_000, 4_000])
def test_clean_windows_have_no_findings(size):
    assert [found for seed in range(1, 9) for found in findings(shop(seed, size))] == []


def test_one_broken_column_hides_no_other():
    rows = shop(1)
    rows["amount"] = np.nan
    rows["age"] = rows["age"] + 1_000
    rows["city"] = "Nowhere"
    rows.loc[:400, "plan"] = None
    found = findings(rows)
    assert {("empty", "amount"), ("out_of_range", "age"), ("unseen", "city"), ("missing", "plan")} <= set(found)
    assert "missing in 47.4% of the rows" in found["missing", "plan"].said
    assert found["out_of_range", "age"].numbers["share"] == 1


def test_the_exact_missing_share_of_the_whole_window_goes_before_that_of_the_sample():
    found = findings(shop(1), volume={"missing_share": {"amount": 0.4}})
    assert found["missing", "amount"].numbers["share"] == 0.4


def test_a_small_window_needs_more_than_the_margin():
    rows = shop(2, 20)
    rows.loc[:2, "amount"] = np.nan
    assert ("missing", "amount") not in findings(rows)
    many = shop(2, 2_000)
    many.loc[:299, "amount"] = np.nan
    assert ("missing", "amount") in findings(many)


def test_rare_categories_are_unseen_by_chance_and_no_finding_but_new_ones_are():
    rows = shop(3)
    assert judge_quality(case(rows)).unseen_share["city"] > 0.01
    rows.loc[:300, "city"] = "Atlantis"
    assert "by chance" in findings(rows)["unseen", "city"].said


def test_a_constant_column_is_found_only_where_the_reference_is_not():
    rows = shop(1).assign(plan="Basic")
    assert ("constant", "plan") in findings(rows)
    steady = Reference(REFERENCE.features.assign(plan="Basic"), np.array([]), np.array([]))
    assert all(each.check != "constant" for each in judge_quality(case(rows, steady)).findings)


def test_types_that_are_not_the_models_are_found():
    rows = shop(1)
    rows["amount"] = rows["amount"].astype(str) + " EUR"
    rows["plan"] = 7
    found = findings(rows)
    assert "text in a numeric column" in found["type", "amount"].said
    assert "numbers in a column of categories" in found["type", "plan"].said


def test_copies_of_rows_beyond_the_reference_are_found():
    rows = shop(1)
    found = findings(pd.concat([rows, rows[:300]], ignore_index=True))
    assert found["duplicates", None].numbers["share"] == pytest.approx(300 / 1_300, abs=0.01)


def test_a_column_that_stands_still_is_found():
    rows = shop(1)
    rows.loc[600:, "amount"] = rows.loc[600, "amount"]
    assert "for 400 rows in turn" in findings(rows)["stale", "amount"].said


def past(rates: list[float], **diagnosis) -> tuple[PastVerdict, ...]:
    return tuple(
        PastVerdict(
            NOW - timedelta(hours=6 * place), 100, 0, True,
            {"volume": {"predictions_per_minute": rate}, "diagnosis": diagnosis},
        )
        for place, rate in enumerate(rates)
    )  # fmt: skip


@pytest.mark.parametrize(("rate", "fell"), [(0.3, True), (4.0, False), (0.8, None), (1.7, None)])
def test_traffic_that_leaves_all_of_the_past_is_found(rate, fell):
    departure = volume_departure(case(shop(1), volume={"predictions_per_minute": rate}, past=past([1, 1.1, 0.9, 1])))
    assert (departure and departure.fell) is fell


def test_a_night_is_no_fall_where_nights_came_before():
    nights = past([1.0, 0.2, 1.0, 1.1, 0.2, 1.0])
    assert volume_departure(case(shop(1), volume={"predictions_per_minute": 0.25}, past=nights)) is None


def test_with_a_season_traffic_is_compared_with_whole_seasons_before():
    noons_and_nights = past([1.0, 0.2, 0.2, 0.2] * 5)
    noon = case(shop(1).assign(event_time=NOW), volume={"predictions_per_minute": 0.3}, past=noons_and_nights)
    assert volume_departure(noon) is None
    found = volume_departure(noon, timedelta(days=1))
    assert found is not None and found.fell and found.numbers["usual"] == 1.0


def test_traffic_that_stays_low_becomes_usual():
    high, low = past([1.0] * 4), past([0.2] * 6, cause="bug", bug="truncated")
    window = case(shop(1), volume={"predictions_per_minute": 0.2}, past=(*low, *high))
    assert volume_departure(window) is None
    sooner = case(shop(1), volume={"predictions_per_minute": 0.2}, past=(*low[:2], *high))
    assert volume_departure(sooner) is not None


def test_evidentlys_counts_are_kept():
    counted = QualityVerdict(missing_share={}, unseen_share={}, out_of_range_share={}, duplicated_rows=3, reason="so")
    told = judge_quality(case(shop(1)), counted)
    assert (told.duplicated_rows, told.reason) == (3, "so")
    assert told.missing_share["age"] == pytest.approx(0.1, abs=0.04)


def test_beside_next_to_nothing_nothing_is_found():
    few = Reference(shop(0, 5)[list(NAMES)], np.array([]), np.array([])).judged()
    told = judge_quality(case(shop(1), few))
    assert told.findings == () and told.unseen_share == {} and told.out_of_range_share == {}


@pytest.mark.parametrize("rows", [shop(1)[:0], shop(1)[:1], shop(1)[["event_time", "age"]]])
def test_next_to_nothing_raises_nothing(rows):
    assert isinstance(judge_quality(case(rows)), QualityVerdict)
