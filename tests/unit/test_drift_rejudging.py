"""A verdict judged again from what is stored is the one that the monitor would have given under those settings."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from controlplane.loop.scoring import stored
from observability.monitors.drift.family import decided
from observability.monitors.drift.rejudging import can_be_rejudged, rejudged
from observability.monitors.settings import DriftSettings
from observability.monitors.verdicts import (
    ErrorMetrics,
    ErrorVerdict,
    FeatureDrift,
    JointDrift,
    QualityVerdict,
    TextDrift,
    WindowVerdict,
)

CHANCE = st.floats(0, 1)
PART = st.tuples(CHANCE | st.none(), st.floats(0, 2))


def column(name: str, p_value: float | None, effect: float) -> FeatureDrift:
    return FeatureDrift(
        feature=name, method="calibrated", score=None, threshold=0.0, drifted=None, missing_share=0.0,
        reference_missing_share=0.0, p_value=p_value, effect=effect,
    )  # fmt: skip


def verdict(parts, margin: float, level: float) -> dict:
    """What is stored of a window with these p-values and effects: of two columns, the scores, all together, a text."""
    one, two, scores, (joint, far), (text, wide) = parts
    drift = decided(
        [column("a", *one), column("b", *two)], column("score", *scores),
        JointDrift(auc=0.6, p_value=joint, effect=far, leaning=("a",)),
        [TextDrift(field="t", length=1, reference_length=1, out_of_vocabulary=0, reference_out_of_vocabulary=0, auc=0.5,
                   p_value=text, effect=wide)],
        DriftSettings(margin=margin), level,
    )  # fmt: skip
    nothing = ErrorVerdict(labelled=0, metrics=ErrorMetrics(), reference=ErrorMetrics())
    quality = QualityVerdict(missing_share={}, unseen_share={}, out_of_range_share={})
    told = WindowVerdict(rows=100, sampled=100, labelled=0, drift=drift, quality=quality, errors=nothing)
    return json.loads(json.dumps(stored(told, settled=False)))


@given(st.tuples(PART, PART, PART, PART, PART), CHANCE, CHANCE, CHANCE, CHANCE)
def test_a_verdict_judged_again_is_the_one_of_a_window_judged_under_those_settings(parts, margin, level, other, at):
    again = rejudged(verdict(parts, margin, level), DriftSettings(margin=other), at)
    judgeable = any(p_value is not None for p_value, _ in parts)
    assert again == (verdict(parts, other, at) if judgeable else verdict(parts, margin, level))


def test_another_margin_changes_what_lies_between_the_two_and_nothing_else():
    parts = ((1e-9, 0.1), (1e-9, 0.5), (0.9, 0.9), (None, 0.0), (None, 0.0))
    before = verdict(parts, 0.08, 0.01)
    after = rejudged(before, DriftSettings(margin=0.2), 0.01)
    drifted = {name: part["drifted"] for name, part in after["features"].items()}
    assert drifted == {"a": False, "b": True} and after["drifted_share"] == 0.5
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"features", "drifted_share"}


def test_a_verdict_without_p_values_stays_as_it_is():
    for told in ({"drifted_share": 0.5, "features": {"a": {"method": "psi", "score": 0.3, "drifted": True}}}, {}):
        assert not can_be_rejudged(told)
        assert rejudged(told, DriftSettings(margin=9), 0.5) == told
