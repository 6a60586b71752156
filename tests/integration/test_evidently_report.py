"""Evidently's own report says what we said, and nothing of the data runs in the browser of whoever reads it."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
from hypothesis import given
from hypothesis import strategies as st

from bundle.signature import Feature, RawField, Signature
from observability.monitors import evidently_report
from observability.monitors.case import Case
from observability.monitors.drift.family import decided
from observability.monitors.drift.features import judge_features
from observability.monitors.evidently_report import CATEGORICAL, COLUMNS, NUMERIC, NothingToReport, harmless, report
from observability.monitors.reference import Reference
from observability.monitors.verdicts import DriftVerdict
from observability.ports import Sample

HOSTILE = (
    "<script>alert(1)</script>", "</script><script>alert(2)</script>", "<img src=x onerror=alert(3)>",
    "'-alert(4)-'", '"-alert(5)-"', "${alert(6)}", "javascript:alert(7)", "&lt;b&gt;", "\u2028alert(8)//", "\\u003cb>",
    "<a href='javascript:alert(9)'>x</a>", "", "{{alert(10)}}", "`alert(11)`",
)  # fmt: skip


def case(rows: int = 600, shift: float = 1.0, more: int = 0) -> Case:
    random = np.random.default_rng(1)
    features = (
        Feature(name="moved", type="numeric"), Feature(name="still", type="numeric"),
        Feature(name="gone", type="numeric"), Feature(name="place", type="categorical"),
        *(Feature(name=f"more{number}", type="numeric") for number in range(more)),
    )  # fmt: skip

    def frame(moved: float) -> pd.DataFrame:
        columns = {"moved": random.normal(moved, 1, rows), "still": random.normal(size=rows), "gone": [None] * rows}
        columns["place"] = random.choice(np.array(HOSTILE, dtype=object), rows)
        columns |= {f"more{number}": random.normal(size=rows) for number in range(more)}
        return pd.DataFrame(columns).assign(score=random.random(rows), label=np.nan, prediction=0.0)

    then = frame(0.0)
    return Case(
        window="w-1",
        sample=Sample(frame(shift), rows=rows, labelled=0),
        reference=Reference(
            features=then[[feature.name for feature in features]],
            scores=then["score"].to_numpy(np.float64),
            labels=np.full(rows, np.nan),
        ),
        signature=Signature(
            model="test/report",
            task="binary",
            label="y",
            raw=(RawField(name="raw", type="string"),),
            features=features,
        ),
    )


def judged(case: Case) -> DriftVerdict:
    features, prediction = judge_features(case)
    return decided(features, prediction, None, (), case.settings.drift, case.level)


@pytest.fixture(scope="module")
def written() -> str:
    return report(case(), judged(case())).decode()


def told(written: str) -> dict[str, tuple[str, float]]:
    """Verdict and score of each column, in the order of Evidently's table."""
    row = r'"column_name": "(\w+)", "column_type".*?"data_drift": "([^"]+)", "drift_score": ([0-9.e-]+)'
    return {name: (said, float(score)) for name, said, score in re.findall(row, written)}


def test_it_says_of_each_column_what_we_said_with_our_score(written):
    scores = {each.feature: each.score for each in judged(case()).features}
    assert judged(case()).drifted == ("moved",)
    assert {name: verdict for name, (verdict, _) in told(written).items()} == {
        "moved": "Detected", "still": "Not Detected", "score": "Not Detected", "place": "Not Detected",
    }  # fmt: skip
    assert told(written)["moved"][1] < 1e-6
    assert told(written)["still"][1] == pytest.approx(scores["still"], abs=1e-5)
    assert "Driftgate, corrected p-value. The drift threshold is 0.05." in written
    assert "Dataset Drift is detected" in written


def test_a_difference_below_the_margin_is_no_drift_however_sure_it_is():
    made = case(rows=4_000, shift=0.2)
    strict = made.settings.drift.model_copy(update={"margin": 0.5})
    features, prediction = judge_features(made)
    drift = decided(features, prediction, None, (), strict, made.level)
    said, score = told(report(made, drift).decode())["moved"]
    assert said == "Not Detected" and score < made.level


def test_no_text_of_the_data_is_code_in_the_report(written):
    # Evidently's own scripts are in lines that hold no data
    data = "\n".join(line for line in written.splitlines() if '"column_name"' in line or "script alert" in line)
    assert "script alert 1" in data  # it is there, as words
    assert not re.search(r"alert\(|<script>|<img|<a |onerror=|javascript:|\\u003cb|\u2028", data)
    assert not any(text in data for text in HOSTILE if text)


@given(st.text())
def test_a_name_of_a_category_holds_nothing_that_a_browser_obeys(text):
    assert not set(harmless(text)) & set("<>&\"'`\\/(){}[]=;:$%\u2028\u2029\n\r\0") and harmless(text).isprintable()


def test_it_loads_nothing_from_anywhere(written):
    assert not re.search(r"""<(script|link|img|iframe)\b[^>]*\b(src|href)=["']?(https?:)?//""", written)


def test_drifted_columns_come_first_and_no_report_has_more_columns_than_it_may(monkeypatch):
    monkeypatch.setattr(evidently_report, "COLUMNS", 3)
    made = case(more=4)
    last = made.signature.features[-1].name
    made.sample.frame[last] += 2
    assert COLUMNS == 100
    assert sorted(told(report(made, judged(made)).decode())) == sorted(["moved", last, "still"])


def test_a_window_of_which_nothing_is_known_says_so():
    bare = case(rows=20)
    assert judged(bare).drifted_share is None
    with pytest.raises(NothingToReport, match="no column of the window has a verdict"):
        report(bare, judged(bare))


def test_evidently_takes_our_tests_by_their_names():
    random = np.random.default_rng(2)
    then = pd.DataFrame({"x": random.normal(size=2_000), "c": random.choice(["a", "b"], 2_000)})
    now = pd.DataFrame({"x": random.normal(0.5, 1, 1_000), "c": random.choice(["a", "b"], 1_000)})
    definition = DataDefinition(numerical_columns=["x"], categorical_columns=["c"])
    run = Report([DataDriftPreset(num_method=NUMERIC, cat_method=CATEGORICAL)], include_tests=True).run(
        *(Dataset.from_pandas(frame, data_definition=definition) for frame in (now, then))
    )
    said = {
        test["metric_config"]["params"]["column"]: test["status"].endswith("FAIL")
        for test in json.loads(run.json())["tests"]
        if "column" in test["metric_config"]["params"]
    }
    assert said == {"x": True, "c": False}
