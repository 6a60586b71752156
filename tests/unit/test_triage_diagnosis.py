"""The cause of a window: what errors make of its drift, what the past says, and a bug before all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from bundle.signature import Feature, RawField, Signature
from observability.monitors.case import Case, PastVerdict
from observability.monitors.reference import Reference
from observability.monitors.triage.diagnosis import diagnose
from observability.monitors.verdicts import (
    Diagnosis,
    DriftVerdict,
    ErrorMetrics,
    ErrorVerdict,
    EstimatedError,
    FeatureDrift,
    QualityVerdict,
    StreamVerdict,
    WindowVerdict,
)
from observability.ports import Sample

SIGNATURE = Signature(
    model="default/shop",
    task="binary",
    raw=(RawField(name="x", type="number"),),
    features=(
        Feature(name="wealth", type="numeric"),
        Feature(name="noise", type="numeric"),
        Feature(name="plan", type="categorical"),
    ),
    label="y",
)
NOW = datetime(2026, 5, 4, tzinfo=UTC)


def shop(seed: int, rows: int = 2_000, wrong: float = 0.2) -> pd.DataFrame:
    """Rich people are answered right, poor ones wrong twice as often as the rest."""
    rng = np.random.default_rng(seed)
    wealth = rng.normal(0, 1, rows)
    score = rng.uniform(0, 1, rows)
    turned = rng.random(rows) < wrong * np.where(wealth < -1, 2, np.where(wealth > 1, 0, 1))
    return pd.DataFrame(
        {
            "event_time": pd.Timestamp(NOW) + pd.to_timedelta(np.arange(rows), unit="min"),
            "wealth": wealth,
            "noise": rng.normal(0, 1, rows),
            "plan": rng.choice(["Basic", "Premium"], rows, p=[0.7, 0.3]),
            "score": score,
            "prediction": (score > 0.5).astype(int),
            "label": np.where(turned, score <= 0.5, score > 0.5).astype(float),
        }
    )


PROVEN = shop(1)
NAMES = ["wealth", "noise", "plan"]
REFERENCE = Reference(
    shop(0, 6_000)[NAMES], PROVEN["score"].to_numpy(), PROVEN["label"].to_numpy(), scored=PROVEN[NAMES]
)


def feature(name: str, *, drifted: bool | None = False, effect: float = 0.0) -> FeatureDrift:
    return FeatureDrift(
        feature=name, method="calibrated", score=0.0, threshold=0.01, drifted=drifted, effect=effect, missing_share=0,
        reference_missing_share=0,
    )  # fmt: skip


def verdict(labelled: bool = True, low: float | None = None, **effects: float) -> WindowVerdict:
    """Features with an effect have drifted; `low` is the lower end of the estimate, .2 being the reference's."""
    features = tuple(feature(name, drifted=effects.get(name, 0) > 0, effect=effects.get(name, 0)) for name in NAMES)
    return WindowVerdict(
        rows=2_000,
        sampled=2_000,
        labelled=2_000,
        drift=DriftVerdict(features=features, drifted_share=0.0, prediction=feature("score")),
        quality=QualityVerdict(missing_share={}, unseen_share={}, out_of_range_share={}),
        errors=ErrorVerdict(
            labelled=2_000, metrics=ErrorMetrics(error=0.2 if labelled else None), reference=ErrorMetrics(error=0.2)
        ),
        estimate=None
        if low is None
        else EstimatedError(error=low + 0.02, low=low, high=low + 0.04, reference=0.2, method="cbpe"),
    )


def case(rows: pd.DataFrame, past: tuple[PastVerdict, ...] = (), **facts) -> Case:
    return Case("w", Sample(rows, len(rows), len(rows)), REFERENCE, SIGNATURE, past=past, **facts)


def told(rows: pd.DataFrame, said: WindowVerdict, past: tuple[PastVerdict, ...] = ()) -> Diagnosis:
    return diagnose(case(rows, past), said)


POORER = shop(2).assign(wealth=shop(2)["wealth"] - 0.4)


def past(*effects: float, **diagnosis: object) -> tuple[PastVerdict, ...]:
    """Newest first, one a day: how far wealth was from the reference."""
    return tuple(
        PastVerdict(
            NOW - timedelta(days=1 + place), 2_000, 0, True,
            {"features": {"wealth": {"effect": effect}}, "diagnosis": diagnosis},
        )
        for place, effect in enumerate(effects)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "said", "cause"),
    [
        (shop(3), verdict(), "stable"),
        (shop(3), verdict(labelled=False), "stable"),
        (POORER, verdict(wealth=0.4), "harmless"),
        (POORER, verdict(labelled=False, low=0.19, wealth=0.4), "harmless"),
        (shop(3, wrong=0.3), verdict(wealth=0.4), "harmful"),
        (shop(3, wrong=0.3), verdict(low=0.25, wealth=0.4), "harmful"),
        (POORER, verdict(labelled=False, low=0.25, wealth=0.4), "harmful"),
        (shop(3, wrong=0.3), verdict(), "concept"),
        (shop(3, wrong=0.3), verdict(low=0.18, wealth=0.4), "concept"),
        (POORER, verdict(labelled=False, wealth=0.4), "unknown"),
    ],
)
def test_errors_say_what_drift_means(rows, said, cause):
    diagnosis = told(rows, said)
    assert diagnosis.cause == cause
    assert diagnosis.may_retrain


def test_the_explanation_has_the_numbers():
    said = told(shop(3, wrong=0.3), verdict(low=0.18)).explanation
    assert "by 2,000 labels the share of wrong answers is 0.29" in said
    assert "estimated at 0.2 (0.18 to 0.22)" in said


def test_an_alarm_of_the_error_stream_is_harm():
    said = verdict(wealth=0.4).model_copy(update={"stream": StreamVerdict(alarm=True, evidence=99.0, threshold=50.0)})
    assert told(POORER, said).cause == "harmful"


def test_a_bug_goes_before_harm_and_never_retrains():
    rows = shop(3, wrong=0.3)
    rows["wealth"] *= 1_000
    diagnosis = told(rows, verdict(wealth=3.0))
    assert (diagnosis.cause, diagnosis.bug, diagnosis.columns) == ("bug", "unit", ("wealth",))
    assert not diagnosis.may_retrain


def test_what_the_window_before_had_too_did_not_break_now():
    rows = shop(3).assign(wealth=shop(3)["wealth"] * 10)
    assert told(rows, verdict(wealth=3.0), past(0.1, 0.1)).cause == "bug"
    assert told(rows, verdict(wealth=3.0), past(2.9, 0.1)).cause == "harmless"
    assert told(rows, verdict(wealth=3.0), past(2.9, cause="bug", columns=["wealth"])).cause == "bug"


def test_drift_that_was_there_before_and_gone_in_between_is_a_season():
    weekly = past(0.05, 0.1, 0.0, 0.05, 0.1, 0.0, 0.42)
    diagnosis = told(POORER, verdict(wealth=0.4), weekly)
    assert diagnosis.cause == "season"
    assert "2026-04-27" in diagnosis.explanation
    assert told(POORER, verdict(wealth=0.4), past(0.4, 0.4, 0.4)).cause == "harmless"


def chained(said: WindowVerdict, diagnosis: Diagnosis, before: tuple[PastVerdict, ...]) -> tuple[PastVerdict, ...]:
    """The past of the next day, with what is kept of this one."""
    features = {each.feature: each.model_dump(mode="json") for each in said.drift.features}
    kept = {"features": features, "diagnosis": diagnosis.model_dump(mode="json")}
    until = before[0].until + timedelta(days=1)
    return (PastVerdict(until, 2_000, 2_000, True, kept), *before)


def days(count: int, **effects: float) -> list[Diagnosis]:
    """What is told of a column that is a thousand times as large from the first day on."""
    before, diagnoses = past(0.05, 0.0), []
    for day in range(count):
        rows = shop(10 + day, wrong=0.3)
        said = verdict(**effects)
        diagnoses.append(told(rows.assign(wealth=rows["wealth"] * 1_000), said, before))
        before = chained(said, diagnoses[-1], before)
    return diagnoses


def test_a_bug_is_told_of_every_window_that_it_broke_and_none_retrains():
    told_of = days(5, wealth=3.0, noise=0.3)
    assert {(each.cause, each.bug, each.columns) for each in told_of} == {("bug", "unit", ("wealth",))}
    assert not any(each.may_retrain for each in told_of)


def test_a_bug_that_nobody_mends_for_seven_windows_is_how_the_data_are():
    told_of = days(10, wealth=3.0, noise=0.3)
    assert [each.cause for each in told_of] == ["bug"] * 7 + ["harmful"] * 3
    assert "bug (unit of wealth) has lasted 7 windows: taken as how the data are now" in told_of[7].explanation
    assert told_of[7].may_retrain


def test_a_bug_of_another_column_is_told_after_one_that_has_lasted():
    lasted = past(*[0.0] * 7, cause="bug", bug="unit", columns=["noise"])
    rows = shop(3).assign(wealth=shop(3)["wealth"] * 1_000)
    assert told(rows, verdict(wealth=3.0), lasted).columns == ("wealth",)


def feed(rates: list[float], step: timedelta, before: int = 0) -> list[Diagnosis]:
    """What is told of each window of a feed, by predictions a minute, from a Monday on; of those after `before`."""
    known: tuple[PastVerdict, ...] = ()
    diagnoses, minutes = [], step / timedelta(minutes=1)
    for place, rate in enumerate(rates):
        until = NOW + step * (place + 1)
        frame, volume = shop(0, 30).assign(event_time=until - step / 9), {"predictions_per_minute": rate}
        window = case(frame, known[:30], volume=volume)
        window = replace(
            window, sample=Sample(frame, int(rate * minutes), 0), reference=replace(REFERENCE, reason="no rows")
        )
        diagnosis = diagnose(window, verdict())
        diagnoses.append(diagnosis)
        kept = {"volume": volume, "diagnosis": diagnosis.model_dump(mode="json")}
        known = (PastVerdict(until, 0, 0, False, kept), *known)
    return diagnoses[before:]


def nights(hours: int, start: int) -> list[float]:
    rng = np.random.default_rng(0)
    return [(10 if 7 <= (start + hour) % 24 < 22 else 1) * rng.uniform(0.9, 1.1) for hour in range(hours)]


def weekends(days: int) -> list[float]:
    rng = np.random.default_rng(0)
    return [(10 if day % 7 < 5 else 3) * rng.uniform(0.95, 1.05) for day in range(days)]


@pytest.mark.parametrize("start", [0, 6, 9, 21])
def test_nights_are_no_bug_from_the_first_day_on(start):
    assert not [each for each in feed(nights(72, start), timedelta(hours=1)) if each.cause == "bug"]


@pytest.mark.parametrize("first", [0, 3, 5, 6])
def test_weekends_are_no_bug_from_the_first_on(first):
    assert not [each for each in feed(weekends(49)[first:], timedelta(days=1)) if each.cause == "bug"]


@pytest.mark.parametrize(
    ("usual", "step"),
    [(nights(53, 9), timedelta(hours=1)), (weekends(23), timedelta(days=1)), (weekends(27), timedelta(days=1))],
)
def test_a_feed_that_falls_beside_its_hour_and_weekday_is_a_bug_of_the_source(usual, step):
    (diagnosis,) = feed([*usual[:-1], usual[-1] * 0.3], step, len(usual) - 1)
    assert (diagnosis.cause, diagnosis.bug, diagnosis.columns) == ("bug", "truncated", ())


def test_a_feed_that_stays_low_is_taken_as_usual_after_seven_windows():
    told_of = feed([10.0] * 30 + [2.0] * 12, timedelta(days=1), 30)
    assert [each.cause for each in told_of] == ["bug"] * 7 + ["stable"] * 5
    assert "has lasted 7 windows" in told_of[7].explanation


def test_a_feed_that_stops_is_a_bug_of_the_source():
    steady = tuple(replace(each, verdict={"volume": {"predictions_per_minute": 5.0}}) for each in past(*[0.0] * 9))
    gone = diagnose(case(shop(3)[:0], steady, volume={"predictions_per_minute": 0.0}), verdict())
    assert (gone.cause, gone.bug) == ("bug", "truncated")


def test_features_are_ranked_by_their_share_of_drift_and_of_loss():
    first, second = told(POORER, verdict(wealth=0.4, noise=0.2)).ranked
    assert (first.feature, second.feature) == ("wealth", "noise")
    assert first.drift_share == pytest.approx(0.8)
    assert first.loss_share is not None and first.loss_share > 0.7


def test_without_labels_of_its_own_rows_nothing_is_said_of_loss():
    bare = replace(case(POORER), reference=Reference(REFERENCE.features, np.array([]), np.array([])))
    assert diagnose(bare, verdict(labelled=False, wealth=0.4)).ranked[0].loss_share is None


def test_the_same_case_is_diagnosed_the_same():
    assert told(POORER, verdict(wealth=0.4)) == told(POORER, verdict(wealth=0.4))


def test_traffic_that_varies_may_fall_and_steady_traffic_may_not():
    rng = np.random.default_rng(7)
    steady, wild = (list(10 * np.exp(rng.normal(0, spread, 12))) for spread in (0.02, 0.5))
    causes = [feed([*usual, 6.0], timedelta(days=3), 12)[0].cause for usual in (steady, wild)]
    assert causes == ["bug", "stable"]
