"""The gate: what passes, what does not, and how sure it is."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from controlplane.promotion.gate import METRICS, GateReason, GateRows, draws, judge, measure
from pipeline.contract.promotionspec import Gate

NAMES = sorted(METRICS)


def rows(seed: int = 0, n: int = 600, gain: float = 0.0, champion: bool = True) -> GateRows:
    """Challenger and champion see the same signal with noise of their own; `gain` is the challenger's extra."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.4).astype(float)

    def scores(signal: float) -> np.ndarray:
        return 1 / (1 + np.exp(-(signal * (labels - 0.4) + rng.normal(size=n))))

    return GateRows(labels, scores(1.0 + gain), scores(1.0) if champion else None)


def reference(name: str, labels: np.ndarray, scores: np.ndarray) -> float:
    known = {"roc_auc": roc_auc_score, "pr_auc": average_precision_score, "brier": brier_score_loss}
    if name == "error":
        return float(np.mean((scores >= 0.5) != (labels >= 0.5)))
    return float(log_loss(labels, scores) if name == "log_loss" else known[name](labels, scores))


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 1000), decimals=st.integers(1, 6))
def test_each_metric_is_scikit_learns_on_the_rows_that_were_drawn(name, seed, decimals):
    sample = rows(seed, n=60)
    scores = np.clip(np.round(sample.challenger, decimals), 0.01, 0.99)
    for weights in draws(60, 3, str(seed)):
        computed = METRICS[name](weights, sample.labels, scores)
        for draw, value in zip(weights, computed, strict=True):
            drawn = np.repeat(np.arange(60), draw.astype(int))
            assert value == pytest.approx(reference(name, sample.labels[drawn], scores[drawn]), abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_better_challenger_passes_and_a_worse_one_does_not(name):
    better, gate = rows(gain=1.5), Gate(metric=name)
    verdict = judge(gate, better, "k")
    assert (verdict.passed, verdict.reason) == (True, GateReason.PASS_BETTER)
    assert verdict.numbers["lower"] <= verdict.numbers["difference"] <= verdict.numbers["upper"]
    worse = judge(gate, GateRows(better.labels, better.champion, better.challenger), "k")
    assert (worse.passed, worse.reason) == (False, GateReason.FAIL_NOT_BETTER)
    assert worse.numbers["difference"] == pytest.approx(-verdict.numbers["difference"])


def test_the_same_model_again_is_not_better():
    sample = rows()
    same = GateRows(sample.labels, sample.challenger, sample.challenger)
    assert judge(Gate(), same, "k").reason is GateReason.FAIL_NOT_BETTER


@pytest.mark.parametrize("name", ["roc_auc", "brier"])
def test_an_equal_challenger_passes_about_as_often_as_the_confidence_allows(name):
    gate = Gate(metric=name, confidence=0.9, resamples=200)
    passed = sum(judge(gate, rows(seed, n=300), str(seed)).passed for seed in range(300))
    # nominal 30 of 300; four standard deviations of the binomial are 21
    assert 9 <= passed <= 51


def test_the_same_run_gets_the_same_verdict_and_another_draws_other_rows():
    sample, gate = rows(gain=0.2), Gate()
    assert judge(gate, sample, "a") == judge(gate, sample, "a")
    assert judge(gate, sample, "a").numbers["lower"] != judge(gate, sample, "b").numbers["lower"]


def test_the_margin_must_be_exceeded():
    sample = rows(gain=1.5)
    lower = judge(Gate(), sample, "k").numbers["lower"]
    assert not judge(Gate(margin=lower), sample, "k").passed
    assert judge(Gate(margin=lower - 1e-9), sample, "k").passed


@pytest.mark.parametrize("name", NAMES)
def test_without_a_champion_the_constant_answer_must_be_beaten(name):
    gate = Gate(metric=name)
    assert judge(gate, rows(gain=2.5, champion=False), "k").reason is GateReason.PASS_FIRST
    rng = np.random.default_rng(1)
    noise = GateRows((rng.random(600) < 0.4).astype(float), rng.random(600), None)
    assert judge(gate, noise, "k").reason is GateReason.FAIL_CONSTANT


def test_too_few_rows_and_one_class_do_not_tell():
    assert judge(Gate(), rows(n=99), "k").reason is GateReason.FAIL_FEW_ROWS
    sample = rows()
    constant = GateRows(np.zeros(600), sample.challenger, sample.champion)
    assert judge(Gate(), constant, "k").reason is GateReason.FAIL_FEW_ROWS


@pytest.mark.parametrize(("mismatches", "difference"), [(1, 0.0), (0, 1.1e-5)])
def test_an_export_that_answers_otherwise_fails_however_good_it_is(mismatches, difference):
    verdict = judge(Gate(), rows(gain=3.0), "k", mismatches, difference)
    assert (verdict.passed, verdict.reason) == (False, GateReason.FAIL_PARITY)


@pytest.mark.parametrize("name", NAMES)
def test_two_thousand_rows_take_less_than_two_seconds(name):
    began = time.perf_counter()
    assert measure(Gate(metric=name), rows(n=2_000), "k") is not None
    assert time.perf_counter() - began < 2.0
