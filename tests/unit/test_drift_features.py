"""Promises of a window's features: each is judged apart, and what cannot be told says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bundle.signature import Feature, RawField, Signature
from observability.monitors.case import Case
from observability.monitors.drift import features as judging
from observability.monitors.drift.family import decided
from observability.monitors.drift.features import judge_features
from observability.monitors.reference import Reference
from observability.ports import Sample

TYPES = {"n0": "numeric", "n1": "numeric", "c0": "categorical", "c1": "categorical"}


def frame(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "n0": rng.normal(size=rows),
        "n1": 1.0 * (rng.random(rows) < 0.1),
        "c0": rng.choice(["a", "b", "c"], rows),
        "c1": rng.choice([f"v{place}" for place in range(400)], rows),
        "score": rng.beta(1, 3, rows),
    })  # fmt: skip


def case(now: pd.DataFrame, then: pd.DataFrame, **told) -> Case:
    reference = Reference(then, scores=then["score"].to_numpy(), labels=np.full(len(then), np.nan))
    signature = Signature(
        model="default/test", task="binary", raw=(RawField(name="raw", type="string"),), label="label",
        features=tuple(Feature(name=name, type=kind) for name, kind in TYPES.items()),
    )  # fmt: skip
    return replace(Case("w-1", Sample(now, rows=len(now), labelled=0), reference, signature), **told)


def verdict(found: Case):
    return decided(*judge_features(found), None, (), found.settings.drift, found.level)


def test_the_column_that_shifted_is_named_and_no_other():
    now = frame(1_000, 1)
    now["n0"] += 0.3
    found = verdict(case(now, frame(5_000, 2)))
    assert found.drifted == ("n0",)
    assert found.features[0].effect == pytest.approx(0.3, abs=0.1)
    assert found.features[0].aspect == "values"
    assert not found.prediction.drifted


def test_a_shift_of_the_scores_is_told_of_the_prediction():
    now = frame(1_000, 1)
    now["score"] = now["score"] ** 0.7
    found = verdict(case(now, frame(5_000, 2)))
    assert (found.drifted, found.prediction.drifted) == ((), True)


def test_a_column_that_is_gone_has_drifted_and_hides_no_other():
    now = frame(1_000, 1).drop(columns=["n0", "c0"])
    now["c1"] = "v1"
    found = verdict(case(now, frame(5_000, 2)))
    assert found.drifted == ("n0", "c0", "c1")
    assert [one.aspect for one in found.features] == ["missing", found.features[1].aspect, "missing", "values"]
    assert found.features[0].missing_share == 1
    assert found.features[2].unseen_share == 0


def test_a_column_that_breaks_the_comparison_says_so_and_the_others_are_judged(monkeypatch):
    real = judging.compare_numbers

    def breaks(now, *rest):
        if now.name == "n0":
            raise ValueError("no sense in it")
        return real(now, *rest)

    monkeypatch.setattr(judging, "compare_numbers", breaks)
    now = frame(1_000, 1)
    now["n1"] = 1.0
    found = verdict(case(now, frame(5_000, 2)))
    assert found.features[0].drifted is None
    assert found.features[0].reason == "could not be compared: ValueError: no sense in it"
    assert found.drifted == ("n1",)


def test_a_column_of_too_few_values_gets_no_verdict_unless_it_lost_them():
    now, then = frame(1_000, 1), frame(5_000, 2)
    now["n0"], then["n0"] = [1.0] * 10 + [None] * 990, [1.0] * 50 + [None] * 4_950
    now["n1"] = [1.0] * 10 + [None] * 990
    then["c0"] = None
    found = verdict(case(now, then))
    assert found.features[0].reason == "10 values in the window, 30 are needed"
    assert found.features[1].drifted, "it was full before"
    assert found.features[2].reason == "the reference holds no values"
    few = verdict(case(frame(20, 1), then))
    assert {one.reason for one in few.features} == {"20 values in the window, 30 are needed"}
    assert few.drifted_share is None


def test_a_reference_that_says_nothing_judges_nothing():
    found = case(frame(1_000, 1), frame(5_000, 2))
    told = verdict(replace(found, reference=replace(found.reference, reason="cannot tell: it has 3 rows")))
    assert told.drifted_share is None
    assert {one.reason for one in (*told.features, told.prediction)} == {"cannot tell: it has 3 rows"}
    assert {one.unseen_share for one in told.features} == {None}


def test_a_column_that_varies_by_itself_needs_more_and_tells_by_how_much():
    now = frame(1_000, 1)
    now["n0"] += 0.2
    found = case(now, frame(5_000, 2))
    used_to_it = replace(found, reference=replace(found.reference, overdispersion={"n0": 20.0}))
    assert verdict(found).drifted == ("n0",)
    assert verdict(used_to_it).drifted == ()
    assert [one.overdispersion for one in verdict(used_to_it).features] == [20, 1, 1, 1]


def test_the_same_case_is_judged_the_same():
    found = case(frame(1_000, 1), frame(5_000, 2))
    assert judge_features(found) == judge_features(found)
