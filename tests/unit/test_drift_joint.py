"""What changed between columns is seen though no column shows it, and chance alone is not taken for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bundle.signature import Feature, RawField, Signature
from observability.monitors.case import Case
from observability.monitors.drift.family import decided
from observability.monitors.drift.features import judge_features
from observability.monitors.drift.joint import judge_jointly
from observability.monitors.drift.separation import picked, tell_apart
from observability.monitors.reference import Reference
from observability.monitors.settings import DriftSettings, MonitorSettings
from observability.ports import Sample

TYPES = {"n0": "numeric", "n1": "numeric", "n2": "numeric", "c0": "categorical"}
SIGNATURE = Signature(
    model="default/test", task="binary", raw=(RawField(name="raw", type="string"),), label="label",
    features=tuple(Feature(name=name, type=kind) for name, kind in TYPES.items()),
)  # fmt: skip


def frame(rows: int, random: np.random.Generator, correlation: float = 0.6) -> pd.DataFrame:
    first, second, third = random.normal(size=(3, rows))
    second = correlation * first + np.sqrt(1 - correlation**2) * second
    third = np.where(random.random(rows) < 0.1, np.nan, np.exp(third))
    words = random.choice([*"abcdef", None], rows, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05])
    return pd.DataFrame({"n0": first, "n1": second, "n2": third, "c0": words, "score": random.random(rows)})


def case(now: pd.DataFrame, then: pd.DataFrame, window: str = "w-1", **told) -> Case:
    reference = Reference(
        then, np.zeros(0), np.zeros(0), overdispersion=told.pop("overdispersion", {}), reason=told.pop("reason", None)
    )
    return Case(window, Sample(now, rows=len(now), labelled=0), reference, SIGNATURE, **told)


def test_with_nothing_the_matter_p_values_are_uniform():
    found = []
    for seed in range(80):
        random = np.random.default_rng(seed)
        found.append(judge_jointly(case(frame(200, random), frame(600, random), f"w-{seed}")).p_value)
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.1) < 0.2


class Steps:
    """The dearest way to be wrong: it remembers rows, and says of any other what is as if chance had said it."""

    def fit(self, rows, is_now):
        self._known = dict(zip(rows[:, 0].tolist(), is_now.tolist(), strict=True))

    def decision_function(self, rows):
        return np.array([self._known.get(value, value % 0.01) for value in rows[:, 0].tolist()], dtype=float)


def test_what_is_learned_by_heart_tells_nothing():
    random = np.random.default_rng(5)
    values = [tell_apart(random.random((600, 1)), 200, Steps).p_value for _ in range(400)]
    assert stats.kstest(values, "uniform").pvalue > 0.01


def test_a_correlation_that_breaks_is_drift_though_no_column_shows_it():
    random = np.random.default_rng(3)
    broken = case(frame(2_000, random, correlation=0.0), frame(5_000, random), level=0.01)
    joint = judge_jointly(broken)
    verdict = decided(*judge_features(broken), joint, (), broken.settings.drift, broken.level)
    assert verdict.drifted == ()
    assert verdict.joint is not None and verdict.joint.drifted
    assert joint.auc is not None and joint.effect == pytest.approx(np.sqrt(2) * stats.norm.ppf(joint.auc))
    assert set(joint.leaning) == {"n0", "n1"}


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("n2", lambda values: values * 1.6),
        ("n2", lambda values: values.where(np.arange(len(values)) % 4 > 0)),
        ("c0", lambda values: values.where(np.arange(len(values)) % 4 > 0)),
        ("c0", lambda values: values.replace({"a": "new"})),
    ],
)
def test_it_leans_on_the_column_that_changed(column, change):
    random = np.random.default_rng(4)
    now = frame(2_000, random)
    now[column] = change(now[column])
    found = judge_jointly(case(now, frame(2_000, random), level=0.001))
    assert found.p_value < 1e-6
    assert found.leaning[0] == column


def test_no_scale_or_order_of_the_numbers_matters():
    random = np.random.default_rng(6)
    now, then = frame(500, random), frame(500, random)
    scaled = [part.assign(n0=part["n0"] * 1e12, n2=-(part["n2"] ** 3)) for part in (now, then)]
    assert judge_jointly(case(*scaled)).auc == pytest.approx(judge_jointly(case(now, then)).auc, abs=0.02)


def test_days_that_differ_are_allowed_for():
    found = {"allowed": 0, "taken for chance": 0}
    for seed in range(40):
        random = np.random.default_rng(100 + seed)
        days = [frame(100, random).assign(n0=random.normal(random.normal(0, 0.2), 1, 100)) for _ in range(20)]
        now, then = frame(600, random), pd.concat(days, ignore_index=True)
        now["n0"] = random.normal(random.normal(0, 0.2), 1, 600)
        factor = 1 + 0.04 * 600 * 2000 / 2600
        found["taken for chance"] += judge_jointly(case(now, then, f"d-{seed}")).p_value <= 0.05
        found["allowed"] += judge_jointly(case(now, then, f"d-{seed}", overdispersion={"n0": factor})).p_value <= 0.05
    assert found["taken for chance"] >= 8
    assert found["allowed"] <= 4


def test_the_same_case_is_judged_the_same_and_another_window_is_dealt_anew():
    random = np.random.default_rng(7)
    now, then = frame(300, random), frame(4_000, random)
    assert judge_jointly(case(now, then)) == judge_jointly(case(now, then))
    assert judge_jointly(case(now, then)).auc != judge_jointly(case(now, then, "w-2")).auc
    assert len(picked(4_000, random)) == 2_500


def test_a_window_of_which_nothing_can_be_told_says_why():
    random = np.random.default_rng(8)
    small, large = frame(99, random), frame(300, random)
    off = MonitorSettings(drift=DriftSettings(joint=False))
    told = {
        "99 rows in the window, 100 are needed": case(small, large),
        "99 rows in the reference, 100 are needed": case(large, small),
        "0 rows in the window, 100 are needed": case(large[:0], large),
        "nothing is known": case(large, large, reason="nothing is known"),
        "it is switched off: settings.drift.joint": case(large, large, settings=off),
    }
    for reason, each in told.items():
        found = judge_jointly(each)
        assert (found.auc, found.p_value, found.effect, found.reason) == (None, None, None, reason)


def test_columns_of_no_sensible_type_break_nothing():
    random = np.random.default_rng(9)
    now = frame(200, random).assign(n0="text", n1=np.inf, c0=[["a", "list"]] * 200)
    found = judge_jointly(case(now.drop(columns="n2"), frame(200, random)))
    assert found.p_value is not None and found.p_value < 1e-6
    empty = frame(200, random)[["score"]]
    found = judge_jointly(replace(case(empty, empty), settings=MonitorSettings()))
    assert (found.auc, found.p_value, found.leaning) == (0.5, 0.5, ())
