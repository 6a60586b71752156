"""What a gate asks beside the improvement: what each check lets through, and what it holds back."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bundle.blobs import BlobStore
from controlplane.promotion.gate import GateReason, GateRows, calibration_error, judge
from controlplane.promotion.gaterows import read_gate_rows
from pipeline.contract.promotionspec import Gate, RolloutPlan
from pipeline.contract.training import TrainingRequest
from pipeline.evaluate import calibration_error as as_the_run_reports_it
from tests.controlplane_world import spec

PAGE = Path(__file__).parents[2] / "docs" / "gates-and-rollouts.md"
COST = {"bytes": 1_000.0, "row_ms_p50": 0.2, "row_ms_p99": 0.9}


def better(n: int = 900, champion: bool = True) -> GateRows:
    """A challenger that is better on the whole, and much worse where the place is `b`, a third of the rows."""
    rng = np.random.default_rng(5)
    labels = (rng.random(n) < 0.5).astype(float)
    place = np.array(["a", "b", "c"], dtype=object)[np.arange(n) % 3]
    signal = np.where(place == "b", -0.3, 0.7)
    challenger = np.clip(0.5 + signal * (labels - 0.5) + 0.2 * (rng.random(n) - 0.5), 0, 1)
    weak = np.clip(0.5 + 0.1 * (labels - 0.5) + 0.8 * (rng.random(n) - 0.5), 0, 1)
    return GateRows(labels, challenger, weak if champion else None, {"place": place})


def even(n: int = 900) -> GateRows:
    """The same without a place on which it is worse."""
    rows = better(n)
    return GateRows(rows.labels, np.where(rows.slices["place"] == "b", 1 - rows.challenger, rows.challenger),
                    rows.champion, rows.slices)  # fmt: skip


def gate(**asked) -> Gate:
    return Gate.model_validate({"resamples": 300, **asked})


def found(verdict, name: str):
    return next(check for check in verdict.checks if check.check == name)


def test_a_challenger_that_is_better_on_the_whole_may_not_pay_with_a_part_of_the_rows():
    asked = gate(slices=[{"feature": "place", "margin": 0.05}])
    verdict = judge(asked, better(), "k")
    assert (verdict.passed, verdict.reason) == (False, GateReason.FAIL_SLICE)
    assert found(verdict, "improvement").passed and "'b'" in verdict.detail and "'a'" not in verdict.detail
    values = {each["value"]: each for each in found(verdict, "slice:place").numbers["values"]}
    assert values["b"]["upper"] < -0.05 < values["a"]["upper"] and values["b"]["rows"] == 300
    assert judge(asked, even(), "k").passed


@pytest.mark.parametrize("asked", [{"min_rows": 301}, {"top": 1}], ids=["few-rows", "rare"])
def test_values_with_few_rows_and_rare_ones_are_not_judged(asked):
    verdict = judge(gate(slices=[{"feature": "place", **asked}]), better(), "k")
    judged = [each["value"] for each in found(verdict, "slice:place").numbers["values"]]
    assert verdict.passed and judged == ([] if "min_rows" in asked else ["a"])


def test_a_value_on_which_the_metric_cannot_be_told_shows_nothing():
    rows = even()
    labels = np.where(rows.slices["place"] == "c", 1.0, rows.labels)
    verdict = judge(gate(slices=[{"feature": "place"}]), GateRows(labels, labels, rows.champion, rows.slices), "k")
    assert [each["value"] for each in found(verdict, "slice:place").numbers["values"]] == ["a", "b"]


def test_rows_without_the_feature_never_pass_a_check_of_its_slices():
    rows = even()
    verdict = judge(gate(slices=[{"feature": "place"}]), GateRows(rows.labels, rows.challenger, rows.champion), "k")
    assert (verdict.passed, verdict.reason) == (False, GateReason.FAIL_EVIDENCE)
    assert "place" in verdict.detail and "train it again" in verdict.detail


def test_no_worse_asks_that_it_be_shown_and_not_only_that_nothing_else_is_shown():
    rows = even()
    far_off = GateRows(rows.labels, rows.challenger / 50, rows.champion)
    verdict = judge(gate(no_worse=[{"metric": "log_loss", "margin": 0.01}]), far_off, "k")
    assert (verdict.passed, verdict.reason) == (False, GateReason.FAIL_WORSE)
    lower = found(verdict, "no_worse:log_loss").numbers["lower"]
    for margin, passes in ((-lower - 1e-6, False), (-lower + 1e-6, True)):
        assert judge(gate(no_worse=[{"metric": "log_loss", "margin": margin}]), far_off, "k").passed is passes


def test_the_first_version_of_a_model_is_worse_than_nobody():
    asked = gate(no_worse=[{"metric": "log_loss", "margin": 0.0}], slices=[{"feature": "place"}])
    verdict = judge(asked, better(champion=False), "k")
    assert (verdict.passed, verdict.reason) == (True, GateReason.PASS_FIRST)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=50))
def test_the_calibration_error_is_that_of_the_runs_report(rows):
    labels, scores = (np.array(column, float) for column in zip(*rows, strict=True))
    assert calibration_error(labels, scores) == pytest.approx(as_the_run_reports_it(labels.astype(int), scores))


def test_scores_that_are_no_probabilities_fail_though_they_order_the_rows_well():
    rows = even()
    squeezed = GateRows(rows.labels, rows.challenger / 10, rows.champion)
    verdict = judge(gate(max_calibration_error=0.25), squeezed, "k")
    assert (verdict.passed, verdict.reason) == (False, GateReason.FAIL_CALIBRATION)
    assert judge(gate(max_calibration_error=0.25), rows, "k").passed


@pytest.mark.parametrize(
    ("asked", "cost", "reason"),
    [
        ({"max_row_ms": 0.9}, COST, None),
        ({"max_row_ms": 0.8}, COST, GateReason.FAIL_SLOW),
        ({"max_row_ms": 0.8}, {}, GateReason.FAIL_EVIDENCE),
        ({"max_bytes": 1_000}, COST, None),
        ({"max_bytes": 999}, COST, GateReason.FAIL_LARGE),
        ({"max_bytes": 999}, {}, GateReason.FAIL_EVIDENCE),
    ],
)
def test_a_budget_holds_and_what_was_not_measured_is_over_it(asked, cost, reason):
    verdict = judge(gate(**asked), even(), "k", cost=cost)
    assert (verdict.passed, verdict.reason) == (reason is None, reason or GateReason.PASS_BETTER)


def test_every_check_is_asked_and_the_reason_is_the_first_that_failed():
    asked = gate(slices=[{"feature": "place"}], max_row_ms=0.1, max_bytes=10, max_calibration_error=0.5)
    verdict = judge(asked, better(), "k", label_mismatches=2, cost=COST)
    assert verdict.reason is GateReason.FAIL_PARITY
    assert [(check.check, check.passed) for check in verdict.checks] == [
        ("parity", False), ("rows", True), ("improvement", True), ("slice:place", False), ("calibration", True),
        ("row_ms", False), ("bytes", False),
    ]  # fmt: skip
    for check in verdict.checks:
        assert (check.detail in verdict.detail) is not check.passed
        assert set(check.stored()) == {"check", "passed", "detail", "numbers"}


def test_a_gate_that_asks_for_a_person_says_so_only_of_what_passed():
    assert judge(gate(approval=True), even(), "k").needs_approval
    assert not judge(gate(approval=True, max_bytes=1), even(), "k", cost=COST).needs_approval


def test_the_same_run_gets_the_same_verdict_on_every_check():
    asked = gate(slices=[{"feature": "place"}], no_worse=[{"metric": "brier", "margin": 0.01}])
    assert judge(asked, better(), "a") == judge(asked, better(), "a")


@pytest.mark.parametrize("held", [True, False], ids=["with", "without"])
def test_the_feature_of_a_slice_is_read_where_the_rows_hold_it(tmp_path, held):
    times = pd.date_range("2022-01-01", periods=3, freq="D", tz="UTC")
    frame = pd.DataFrame({"id": list("xyz"), "event_time": times, "label": [0, 1, 1], "challenger": [0.1, 0.5, np.nan],
                          "champion": [0.2, 0.3, 0.4]})  # fmt: skip
    if held:
        frame["slice:place"] = ["a", "", "b"]
    buffer, blobs = io.BytesIO(), BlobStore(tmp_path)
    frame.to_parquet(buffer)
    request = TrainingRequest(
        key="0190c0de-0000-7000-8000-000000000001", spec=spec(gate={"slices": [{"feature": "place"}]}), recipe={},
        cutoff=datetime(2022, 2, 1, tzinfo=UTC), champion="c" * 64, champion_cutoff=times[0].to_pydatetime(),
    )  # fmt: skip
    rows = read_gate_rows(blobs, blobs.put(buffer.getvalue()), request)
    assert len(rows) == 1
    assert {name: list(column) for name, column in rows.slices.items()} == ({"place": [""]} if held else {})


def test_the_example_of_the_page_is_a_spec_and_says_everything_that_can_be_said():
    block = PAGE.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    declared = yaml.safe_load(block)
    parsed = spec([], gate=declared["gate"], rollout=declared["rollout"])
    assert set(declared["gate"]) == set(Gate.model_fields)
    assert set(declared["rollout"]) == set(RolloutPlan.model_fields)
    assert (len(parsed.rollout.canary), parsed.gate.approval) == (2, True)


@pytest.mark.parametrize("reason", GateReason)
def test_the_page_names_every_reason_of_the_gate(reason):
    assert f"`{reason.name}`" in PAGE.read_text(encoding="utf-8")
