"""Labels that come sooner for one class than for the other do not make a model look better or worse than it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bundle.signature import Feature, RawField, Signature
from observability.monitors.case import Case, PastVerdict
from observability.monitors.errors.delays import shares_by_age
from observability.monitors.errors.verdict import judge_errors
from observability.monitors.reference import Reference
from observability.monitors.stored import FIRST, SEEN, first_look
from observability.monitors.verdicts import ErrorVerdict
from observability.ports import Sample

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = 3600.0
SIGNATURE = Signature(
    model="shop/fraud", task="binary", raw=(RawField(name="amount", type="number"),),
    features=(Feature(name="amount", type="numeric"),), label="fraud",
)  # fmt: skip
REFERENCE = Reference(pd.DataFrame({"amount": [0.0]}), np.array([0.2, 0.8] * 50), np.array([0.0, 1.0] * 50))
Rows = Mapping[str, npt.NDArray[np.float64]]


def window(rng: np.random.Generator, rows: int, hours: float) -> Rows:
    """Of class 1 half is missed, of class 0 a twentieth. A 1 is known within hours; a 0 when a day has gone."""
    label = (rng.random(rows) < 0.3).astype(float)
    wrong = rng.random(rows) < np.where(label == 1, 0.5, 0.05)
    answer = np.where(wrong, 1 - label, label)
    score = np.clip(0.5 + np.where(answer == 1, 1, -1) * rng.uniform(0.01, 0.45, rows), 0, 1)
    delay = np.where(label == 1, np.minimum(rng.exponential(6 * HOUR, rows), 24 * HOUR), 24 * HOUR)
    return {"label": label, "score": score, "delay": delay, "since": rng.uniform(0, hours * HOUR, rows)}


def frame(rows: Rows, look: float, *, with_delay: bool) -> pd.DataFrame:
    """What has come by the look."""
    came, number = rows["since"] + rows["delay"] <= look, len(rows["label"])
    told = pd.DataFrame({
        "id": [str(row) for row in range(number)],
        "event_time": pd.to_datetime([START] * number) + pd.to_timedelta(rows["since"], unit="s"),
        "version": 1, "score": rows["score"], "prediction": (rows["score"] > 0.5).astype(int),
        "label": np.where(came, rows["label"], np.nan), "amount": 0.0,
    })  # fmt: skip
    return told.assign(label_delay=np.where(came, rows["delay"], np.nan)) if with_delay else told


def counts(labels: npt.NDArray[np.float64], age: float | None = None) -> dict[str, object]:
    return {"by_class": {"0": int((labels == 0).sum()), "1": int((labels == 1).sum())}, "age": age}


def settled(rows: Rows, look: float) -> PastVerdict:
    came, number = rows["since"] + rows["delay"] <= look, len(rows["label"])
    told = {
        "sampled": number,
        FIRST: counts(rows["label"][came], float((look - rows["since"]).mean())),
        SEEN: counts(rows["label"]),
    }
    return PastVerdict(START, number, number, True, told)


def judged(
    told: pd.DataFrame, look: float, past: tuple[PastVerdict, ...] = (), horizon: timedelta | None = None, name="w"
) -> ErrorVerdict:
    return judge_errors(
        Case(
            window=name, sample=Sample(told, len(told), int(told["label"].notna().sum())), reference=REFERENCE,
            signature=SIGNATURE, as_of=START + timedelta(seconds=look), horizon=horizon, past=past,
        )
    )  # fmt: skip


def looked_at(number: int, hours: float, *, by_delay: bool) -> ErrorVerdict:
    rng, look = np.random.default_rng(number), hours * HOUR
    before = () if by_delay else tuple(settled(window(rng, 1_000, hours), look) for _ in range(10))
    now = frame(window(rng, 1_000, hours), look, with_delay=by_delay)
    return judged(now, look, before, timedelta(days=1) if by_delay else None, name=f"w{number}")


@pytest.mark.parametrize("by_delay", [True, False])
def test_the_corrected_error_is_unbiased_where_that_of_the_labels_so_far_is_off_by_many_points(by_delay: bool):
    told, truth = [looked_at(number, 48, by_delay=by_delay) for number in range(40)], 0.3 * 0.5 + 0.7 * 0.05
    so_far = np.mean([each.metrics.error for each in told])
    assert so_far > truth + 0.05, "the labels so far show mostly class 1"
    corrected = np.array([each.corrected.error for each in told if each.corrected])
    assert len(corrected) == 40
    assert abs(corrected.mean() - truth) < 3 * corrected.std() / 40**0.5
    held = [each.corrected_intervals["error"] for each in told]
    assert np.mean([each.low <= truth <= each.high for each in held]) >= 0.88
    assert told[0].arrived["0"] == pytest.approx(0.5, abs=0.08) and told[0].arrived["1"] > 0.8


def test_where_no_label_of_a_class_comes_before_the_first_look_nothing_is_corrected():
    told = looked_at(0, 12, by_delay=False)
    assert told.corrected is None and told.metrics.error is not None
    assert told.corrected_reason and "labels of class 0, 0.0% had come" in told.corrected_reason


def test_without_past_windows_and_delays_it_is_said_what_is_missing():
    rows = frame(window(np.random.default_rng(1), 1_000, 48), 48 * HOUR, with_delay=False)
    told = judged(rows, 48 * HOUR)
    assert told.corrected is None and told.corrected_reason and "0 settled windows" in told.corrected_reason


def test_delays_are_not_believed_where_no_row_is_as_old_as_the_horizon():
    rows = frame(window(np.random.default_rng(1), 1_000, 12), 12 * HOUR, with_delay=True)
    told = judged(rows, 12 * HOUR, horizon=timedelta(days=1))
    assert told.corrected is None and told.corrected_reason and "as old as the horizon" in told.corrected_reason


def test_windows_that_were_looked_at_at_another_age_teach_nothing():
    """A monitor that was down looks at windows late, when most labels are there."""
    rng, look = np.random.default_rng(2), 48 * HOUR
    late = tuple(settled(window(rng, 1_000, 48), 10 * look) for _ in range(10))
    told = judged(frame(window(rng, 1_000, 48), look, with_delay=False), look, late)
    assert told.corrected is None and told.corrected_reason and "0 settled windows" in told.corrected_reason


def test_labels_that_come_later_than_they_used_to_are_not_weighted_as_before():
    rng, look = np.random.default_rng(3), 48 * HOUR
    past = tuple(settled(window(rng, 1_000, 48), look) for _ in range(10))
    rows = window(rng, 1_000, 48)
    held_up = frame({**rows, "delay": rows["delay"] * 1.8}, look, with_delay=False)
    told = judged(held_up, look, past)
    assert (
        told.corrected is None and told.corrected_reason and "come later than in the windows" in told.corrected_reason
    )


def test_once_labels_are_due_nothing_is_corrected():
    rows = frame(window(np.random.default_rng(1), 500, 48), 100 * HOUR, with_delay=True)
    case = Case("w", Sample(rows, 500, 500), REFERENCE, SIGNATURE, settled=True)
    told = judge_errors(case)
    assert (told.corrected, told.corrected_reason, told.arrived) == (None, None, {})


def test_the_labels_of_the_first_look_are_kept_however_often_a_window_is_scored_again():
    first = {SEEN: counts(np.array([1.0, 1.0]), 60.0)}
    second = {SEEN: counts(np.array([0.0, 1.0, 1.0])), FIRST: first_look(first)}
    assert first_look(second) == first[SEEN] and first_look({}) is None


def test_a_window_says_which_labels_it_was_measured_on():
    rows = frame(window(np.random.default_rng(1), 400, 48), 48 * HOUR, with_delay=False)
    told = judged(rows, 48 * HOUR)
    assert told.seen and sum(told.seen.by_class.values()) == told.labelled
    assert told.seen.age == pytest.approx(24 * HOUR, rel=0.1)


def test_delays_that_are_cut_off_by_the_age_of_a_row_are_estimated_as_they_are():
    rng = np.random.default_rng(7)
    delays, ages = np.minimum(rng.exponential(1.0, 20_000), 3.0), rng.uniform(0, 5, 20_000)
    came = delays <= ages
    asked = np.array([0.5, 1.0, 2.0, 3.0])
    found = shares_by_age(delays[came], ages[came], asked, np.ones((1, int(came.sum()))))[0]
    assert found == pytest.approx([*(1 - np.exp(-asked[:3])), 1.0], abs=0.02)
    assert np.mean(delays[came] <= 1.0) > found[1] + 0.05, "those that came are the fast ones"
