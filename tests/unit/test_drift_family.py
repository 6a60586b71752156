"""Promises of a window's verdict: one level for all parts, a margin, and no part hidden by another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability.monitors.drift.family import decided, holm
from observability.monitors.settings import DriftSettings
from observability.monitors.verdicts import FeatureDrift, JointDrift, TextDrift


def column(name: str, p_value: float | None, effect: float | None = 1.0, **told) -> FeatureDrift:
    return FeatureDrift(
        feature=name, method="calibrated", score=None, threshold=0.05, drifted=None, missing_share=0,
        reference_missing_share=0, p_value=p_value, effect=effect,
    ).model_copy(update=told)  # fmt: skip


def text(p_value: float) -> TextDrift:
    return TextDrift(
        field="body", length=1, reference_length=1, out_of_vocabulary=0, reference_out_of_vocabulary=0, auc=0.9,
        p_value=p_value, effect=1.0,
    )  # fmt: skip


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0.001, 0.5))
def test_holm_finds_what_its_own_definition_finds(p_values, level):
    """From the smallest on, each is compared with the level over how many are left, until one is larger."""
    rejected = set()
    for step, place in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[place] * (len(p_values) - step) > level:
            break
        rejected.add(place)
    assert {place for place, score in enumerate(holm(p_values)) if score <= level} == rejected


def test_clean_windows_alarm_in_as_many_as_the_level_says_over_all_parts_together():
    rng = np.random.default_rng(10)
    alarms = 0
    for _ in range(1_000):
        p_values = rng.random(13)
        columns = [column(f"c{place}", p_values[place]) for place in range(10)]
        joint = JointDrift(auc=0.6, p_value=p_values[11], effect=1.0)
        found = decided(
            columns, column("score", p_values[10]), joint, [text(p_values[12])], DriftSettings(margin=0), 0.05
        )
        alarms += bool(found.drifted or found.prediction.drifted or found.joint.drifted or found.texts[0].drifted)
    assert 33 <= alarms <= 67


def test_a_sure_but_small_difference_is_no_drift():
    columns = [column("small", 1e-12, effect=0.07), column("large", 1e-12, effect=0.09)]
    found = decided(columns, column("score", 0.5), None, (), DriftSettings(margin=0.08), 0.05)
    assert found.drifted == ("large",)
    assert [one.score for one in found.features] == pytest.approx([3e-12, 3e-12])
    assert found.features[0].threshold == found.level == 0.05


def test_a_part_that_could_not_be_judged_weakens_and_hides_no_other():
    judged = [column("a", 0.02), column("b", 0.9)]
    broken = [column(f"broken {place}", None, reason="could not be compared") for place in range(50)]
    found = decided([*broken, *judged], column("score", None), None, (), DriftSettings(), 0.05)
    assert found.drifted == ("a",)
    assert found.drifted_share == pytest.approx(1 / 52)
    assert all(one.drifted is None and one.reason for one in found.features[:50])
    assert found.prediction.drifted is None


def test_where_no_feature_has_a_verdict_the_share_is_not_known():
    found = decided([column("a", None)], column("score", 1e-9), None, (), DriftSettings(), 0.05)
    assert found.drifted_share is None
    assert found.prediction.drifted


def test_a_verdict_of_evidently_stays_as_it_is():
    theirs = column("theirs", None, method="psi", score=0.3, threshold=0.1, drifted=True)
    found = decided([theirs, column("ours", 0.04)], column("score", 0.5), None, (), DriftSettings(), 0.05)
    assert found.features[0] == theirs
    assert found.features[1].score == pytest.approx(0.08)
    assert found.drifted == ("theirs",)
