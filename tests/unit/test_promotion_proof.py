"""What a challenger has to show in shadow: how sure, on how many rows, and when it is given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.special import ndtr

from controlplane.lifecycle import RolloutState
from controlplane.promotion.gate import GateRows
from controlplane.promotion.proof import ALIKE, Proof, confidence_on, measure, prove
from controlplane.promotion.rollout import Loaded, RolloutFacts, StepReason, next_step
from pipeline.contract.promotionspec import Better, RolloutPlan, Shadow

ASKED = Better(metric="brier", confidence=0.8, min_labels=100, max_labels=2_000)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rows(count: int, better_by: float, seed: int = 0) -> GateRows:
    """Both score with the same noise, the challenger nearer to the truth."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < 0.5).astype(float)
    champion = np.clip(0.5 + 0.2 * (labels - 0.5) + rng.normal(0, 0.1, count), 0, 1)
    challenger = np.clip(0.5 + (0.2 + better_by) * (labels - 0.5) + rng.normal(0, 0.1, count), 0, 1)
    return GateRows(labels, challenger, champion)


def looked(given_rows: GateRows, asked: Better = ASKED) -> Proof:
    return prove(asked, len(given_rows), measure(asked, given_rows, "k")).proof


def test_a_challenger_that_is_much_better_is_decided_on_few_rows() -> None:
    assert looked(rows(200, 0.2)) is Proof.BETTER
    assert looked(rows(200, -0.2)) is Proof.UNDECIDED


def test_a_small_gain_is_undecided_on_few_rows_and_shown_on_many() -> None:
    whole = rows(1_900, 0.02, seed=1)
    first = np.arange(len(whole)) < 150
    assert looked(whole.where(first)) is Proof.UNDECIDED
    assert looked(whole) is Proof.BETTER


def test_one_that_is_no_better_is_given_up_on_enough_rows_and_the_reason_has_the_numbers() -> None:
    whole = rows(2_000, 0.0)
    alike = GateRows(whole.labels, whole.challenger, whole.challenger)
    proof, detail = prove(ASKED, len(alike), measure(ASKED, alike, "k"))
    assert proof is Proof.NOT_BETTER
    assert "on 2000 labelled rows" in detail and "80%" in detail


def test_a_metric_that_cannot_be_told_decides_nothing_until_there_are_enough_labels() -> None:
    assert measure(ASKED, rows(99, 0.3), "k") is None
    assert prove(ASKED, 99, None).proof is Proof.UNDECIDED
    assert prove(ASKED, 2_000, None).proof is Proof.NOT_BETTER


@given(st.integers(20, 10**6), st.floats(0.55, 0.99))
def test_the_more_rows_the_smaller_the_lead_that_is_enough(count: int, confidence: float) -> None:
    asked = confidence_on(count, confidence)
    assert asked >= confidence_on(count + 1, confidence) >= confidence - 1e-9


def test_of_those_shown_to_be_better_as_many_are_as_was_asked_however_often_one_looks() -> None:
    """Differences drawn from the prior, looked at after every 100 rows: stopping at the first proof spoils nothing."""
    rng = np.random.default_rng(5)
    truth = rng.normal(0, ALIKE**-0.5, 4_000)
    looks = np.arange(100, 4_001, 100)
    means = np.cumsum(rng.normal(truth[:, None], 0.1, (4_000, len(looks))), axis=1) / np.arange(1, len(looks) + 1)
    needed = np.array([confidence_on(int(each), 0.8) for each in looks])
    over = ndtr(means * looks**0.5) >= needed
    shown = over.any(axis=1)
    assert float((truth[shown] > 0).mean()) > 0.78


def facts(labelled: int, better: dict[str, float] | None) -> RolloutFacts:
    compared = {
        "rows": 1_000, "failed": 0, "labelled": labelled, "improvement": None, "better": better,
        "champion_ms_p99": None, "challenger_ms_p99": None,
    }  # fmt: skip
    plan = RolloutPlan(shadow=Shadow(rows=500, better=ASKED), watch=timedelta(days=1))
    return RolloutFacts(NOW, plan, RolloutState.SHADOW, 0, NOW, NOW, 1, 1, Loaded(), compared)


@pytest.mark.parametrize(
    ("labelled", "bounds", "to", "reason"),
    [
        (300, (0.01, 0.03), RolloutState.WATCHING, StepReason.PROMOTE),
        (300, (-0.01, 0.03), None, StepReason.STAY_UNDECIDED),
        (2_000, (-0.01, 0.03), RolloutState.ABORTED, StepReason.STOP_NOT_BETTER),
        (50, None, None, StepReason.STAY_UNDECIDED),
    ],
)
def test_a_shadow_goes_on_until_it_is_decided_whether_the_challenger_is_better(
    labelled: int, bounds: tuple[float, float] | None, to: RolloutState | None, reason: StepReason
) -> None:
    found = None if bounds is None else {
        "champion": 0.2, "challenger": 0.19, "difference": 0.01, "rows": labelled, "lower": bounds[0],
        "upper": bounds[1],
    }  # fmt: skip
    step = next_step(facts(labelled, found))
    assert (step.to, step.reason) == (to, reason) and step.detail


def test_more_labels_to_begin_with_than_to_give_up_makes_no_sense() -> None:
    with pytest.raises(ValidationError, match="max_labels"):
        Better(min_labels=500, max_labels=400)
