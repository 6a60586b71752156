"""The sequential detector of rising errors, and how a monitor goes on with it from window to window."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.signature import Feature, RawField, Signature
from observability.monitors.case import Case, PastVerdict
from observability.monitors.errors.rising import POWERS, STEPS_PER_DOUBLING, ErrorStream, StreamState
from observability.monitors.errors.stream import judge_stream, losses_of
from observability.monitors.reference import Reference
from observability.ports import Sample

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
SIGNATURE = Signature(
    model="default/flights",
    task="binary",
    raw=(RawField(name="distance", type="number"),),
    features=(Feature(name="distance", type="numeric"),),
    label="late",
)
losses = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.1, 0.5, 1.0, 7.0]), min_size=1, max_size=80)


def ranked_one_by_one(learned: list[float], rows: list[float], threshold: float) -> tuple[list[int], np.ndarray]:
    """The definition, word for word: rank each loss among all seen, bet, sum over all first rows of a change."""
    seen = [np.floor(np.log2(loss) * STEPS_PER_DOUBLING) if loss else -np.inf for loss in learned]
    evidence, powers, alarms = np.zeros(len(POWERS)), np.array(POWERS), []
    for row, loss in enumerate(rows):
        step = np.floor(np.log2(loss) * STEPS_PER_DOUBLING) if loss else -np.inf
        seen.append(step)
        high, low = np.mean(np.array(seen) >= step), np.mean(np.array(seen) > step)
        evidence = (1 + evidence) * (high**powers - low**powers) / (high - low)
        if evidence.mean() >= threshold:
            alarms.append(row)
            evidence = np.zeros(len(POWERS))
    return alarms, evidence


@given(losses, losses, st.integers(0, 80))
def test_any_batches_of_the_same_rows_end_where_the_definition_does(learned, rows, cut):
    detector = ErrorStream(rows_between_false_alarms=20)
    state, first = detector.update(detector.learn(StreamState(), learned), rows[:cut])
    state, second = detector.update(StreamState.model_validate(json.loads(state.model_dump_json())), rows[cut:])
    alarms, evidence = ranked_one_by_one(learned, rows, 20)
    assert [alarm.row for alarm in first] + [cut + alarm.row for alarm in second] == alarms
    assert state.evidence == pytest.approx(evidence)
    assert state.rows == len(learned) + len(rows) and state.loss == pytest.approx(sum(learned) + sum(rows))


@pytest.mark.parametrize("rate", [0.02, 0.2, 0.5])
@pytest.mark.parametrize("known", [100, 2_000])
def test_unchanged_errors_of_any_rate_alarm_no_more_often_than_was_accepted(rate, known):
    rng, rows, alarms = np.random.default_rng(5), 0, 0
    detector = ErrorStream(rows_between_false_alarms=1_000)
    for _ in range(40):
        state = detector.learn(StreamState(), rng.random(known) < rate)
        alarms += len(detector.update(state, rng.random(10_000) < rate)[1])
        rows += 10_000
    assert rows / alarms >= 1_000


@pytest.mark.parametrize("losses_of_rows", [np.random.default_rng(6).lognormal, np.random.default_rng(6).exponential])
def test_losses_of_any_distribution_alarm_no_more_often_than_was_accepted(losses_of_rows):
    detector = ErrorStream(rows_between_false_alarms=1_000)
    alarms = 0
    for _ in range(40):
        state = detector.learn(StreamState(), losses_of_rows(size=500))
        alarms += len(detector.update(state, losses_of_rows(size=5_000))[1])
    assert 200_000 / alarms >= 1_000


def test_a_change_is_found_with_where_it_began_and_how_large_it_is():
    rng, detector = np.random.default_rng(7), ErrorStream()
    state = detector.learn(StreamState(), rng.random(3_000) < 0.2)
    state, alarms = detector.update(state, rng.random(1_000) < 0.4)
    baseline, current, since = state.suspicion()
    assert alarms[0].row < 200
    assert baseline == pytest.approx(0.2, abs=0.02) and current == pytest.approx(0.4, abs=0.04)
    assert since == pytest.approx(1_000, abs=60)


def test_fewer_errors_are_no_alarm():
    rng, detector = np.random.default_rng(8), ErrorStream(rows_between_false_alarms=1_000)
    state = detector.learn(StreamState(), rng.random(2_000) < 0.4)
    assert detector.update(state, rng.random(2_000) < 0.1)[1] == ()


@pytest.mark.parametrize("wrong", [[-1.0], [float("nan")], [float("inf")]])
def test_what_is_no_loss_is_refused(wrong):
    with pytest.raises(ValueError, match="leave out the rows that have none"):
        ErrorStream().update(StreamState(), wrong)


def window(rate: float, rows: int = 400, seed: int = 1, hours: int = 0, late: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    wrong = rng.random(rows) < rate
    answers = rng.integers(0, 2, rows)
    return pd.DataFrame(
        {
            "id": [f"{seed}-{row:05d}" for row in range(rows)],
            "event_time": [NOON + timedelta(hours=hours, seconds=row) for row in range(rows)],
            "score": answers * 0.8 + 0.1,
            "prediction": answers,
            "label": np.where(rng.random(rows) < late, np.nan, np.where(wrong, 1 - answers, answers)),
        }
    ).sample(frac=1, random_state=seed)


def reference(rate: float = 0.2, rows: int = 2_000) -> Reference:
    rng = np.random.default_rng(0)
    scores = rng.random(rows)
    right = (scores > 0.5).astype(float)
    return Reference(pd.DataFrame(), scores, np.where(rng.random(rows) < rate, 1 - right, right))


def case(frame: pd.DataFrame, *before: PastVerdict, settled: bool = True, known: Reference | None = None) -> Case:
    sample = Sample(frame, len(frame), int(frame["label"].notna().sum()))
    return Case("window", sample, known or reference(), SIGNATURE, settled=settled, past=before)


def judged(case: Case) -> PastVerdict:
    """As the next window finds it: through JSON."""
    verdict = json.loads(judge_stream(case).model_dump_json())
    rows = case.sample.rows
    return PastVerdict(case.sample.frame["event_time"].max(), rows, rows, case.settled, {"stream": verdict})


def test_a_version_that_errs_more_than_promised_alarms_in_its_first_window():
    verdict = judge_stream(case(window(0.45)))
    assert verdict.alarm and verdict.evidence >= verdict.threshold == 10_000
    assert verdict.baseline == pytest.approx(0.2, abs=0.03) and verdict.current == pytest.approx(0.45, abs=0.06)
    assert not judge_stream(case(window(0.2))).alarm


def test_evidence_adds_up_over_windows_that_would_be_too_small_alone():
    past: list[PastVerdict] = []
    for n in range(12):
        now = case(window(0.4, rows=20, seed=n, hours=n), *past)
        past.insert(0, judged(now))
    alarms = [one.verdict["stream"]["alarm"] for one in reversed(past)]
    assert not any(alarms[:2]) and any(alarms)


def test_the_same_rows_are_taken_once_where_windows_overlap():
    first = judged(case(window(0.2)))
    again = judge_stream(case(window(0.2), first))
    assert again.reason == "the window has no labels that were not looked at before"
    assert again.state == first.verdict["stream"]["state"]
    half = pd.concat([window(0.2), window(0.2, rows=100, seed=2, hours=1)])
    seen = dict(judge_stream(case(half, first)).state["detector"]["seen"])
    assert sum(seen.values()) == 2_000 + 400 + 100


def test_a_window_whose_labels_are_not_due_leaves_the_detector_where_it_was():
    unsettled = case(window(0.45), settled=False)
    assert judge_stream(unsettled).reason == "the labels of the window are not due yet"
    assert not judge_stream(unsettled).alarm
    following = window(0.2, seed=3, hours=1)
    assert judge_stream(case(following, judged(unsettled))) == judge_stream(case(following))


def test_order_of_the_sample_does_not_matter_and_rows_without_labels_are_left_out():
    frame = window(0.3, late=0.5)
    assert judge_stream(case(frame)) == judge_stream(case(frame.sample(frac=1, random_state=9)))
    assert (
        sum(dict(judge_stream(case(frame)).state["detector"]["seen"]).values()) == 2_000 + frame["label"].notna().sum()
    )


def test_without_labels_in_the_reference_the_first_rows_say_what_is_usual():
    bare = Reference(pd.DataFrame(), np.array([]), np.array([]))
    first = case(window(0.2, rows=150), known=bare)
    assert "0 rows with labels were known before the window: 100 are needed" in str(judge_stream(first).reason)
    assert judge_stream(case(window(0.7, seed=2, hours=1), judged(first), known=bare)).alarm


@pytest.mark.parametrize("state", [{"of": "another release"}, {"detector": {"seen": "no"}}])
def test_a_state_that_cannot_be_read_starts_anew(state):
    strange = PastVerdict(NOON, 1, 1, True, {"stream": {"state": state}})
    assert judge_stream(case(window(0.45), strange)) == judge_stream(case(window(0.45)))


def test_a_numeric_answer_errs_by_how_far_it_is_off():
    rows = pd.DataFrame({"label": [1.0, None, 3.0], "score": [2.5, 1.0, None], "prediction": [9, 9, 9]})
    assert losses_of(rows, "regression")[0] == 1.5
    assert np.isnan(losses_of(rows, "regression")[1:]).all()
