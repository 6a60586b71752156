"""A rule may look at every error that its model has, and at no other."""

from __future__ import annotations

import pytest

from pipeline.contract.rulespec import METRICS_OF
from pipeline.contract.specfile import SpecInvalid, parse_spec

GOOD = """\
model: default/churn
task: binary
team: growth
data_owner: billing
source: {id: row, time: at}
raw: [{name: spend, type: number}]
label: {name: left, horizon: 7d, from: [{column: left}]}
features: [{name: spend, type: numeric}]
entry: {features: features.py:features, pipeline: training.py:pipeline}
monitors:
  - {name: weekly, window: {kind: time, every: 7d}, errors: {costs: {false_negative: 20}}}
rules:
  - {name: wrong, kind: metric, monitor: weekly, metric: error, above: 0.3}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SpecInvalid) as caught:
        parse_spec(text, "model.yaml")
    return caught.value.problems


@pytest.mark.parametrize("metric", METRICS_OF["binary"])
def test_a_rule_may_look_at_every_error_of_a_classifier(metric: str):
    assert parse_spec(GOOD.replace("metric: error", f"metric: {metric}"), "a").rules[0].metric == metric


def test_a_rule_on_an_error_that_the_model_does_not_have_would_never_fire_and_is_refused():
    told = problems(GOOD.replace("metric: error", "metric: mae"))
    assert "rule wrong: a binary model has no mae: it has roc_auc, pr_auc" in told[0]


def test_a_regression_with_code_to_train_it_is_refused_as_long_as_none_is_trained():
    told = problems(GOOD.replace("task: binary", "task: regression"))
    assert "a regression model can be watched, it is not trained or served here yet" in told[0]


def test_worth_weighs_wrong_answers_and_is_refused_for_a_regression_that_has_none():
    watched = GOOD.replace("task: binary", "task: regression").replace("entry: {features: f", "# {f").replace(
        "{name: wrong, kind: metric, monitor: weekly, metric: error, above: 0.3}",
        "{name: paying, kind: worth, monitor: weekly}",
    ).replace("errors: {costs: {false_negative: 20}}", "sample: 1000")  # fmt: skip
    assert "rule paying: wrong answers are weighed" in problems(watched)[0]


def test_two_versions_are_not_compared_by_what_the_gate_cannot_measure():
    assert any("gate.metric" in each for each in problems("gate: {metric: cost}\n" + GOOD))
