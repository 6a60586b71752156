"""A spec that is wrong says where: file, line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.contract.specfile import SpecInvalid, parse_spec, read_recipe

GOOD = """\
model: default/churn
task: binary
team: growth
data_owner: billing
source: {id: row, time: at}
raw:
  - {name: spend, type: number}
  - {name: plan, type: string}
label: {name: left, horizon: 7d, from: [{column: left}]}
features:
  - {name: spend, type: numeric}
  - {name: plan, type: categorical}
entry: {features: features.py:features, pipeline: training.py:pipeline}
monitors:
  - {name: weekly, window: {kind: time, every: 7d}}
rules:
  - {name: drifted, kind: drift, monitor: weekly, drifted_share: 0.5}
  - {name: monthly, kind: schedule, cron: "0 6 1 * *"}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SpecInvalid) as caught:
        parse_spec(text, "model.yaml")
    return caught.value.problems


def test_a_good_spec_is_read_and_its_digest_does_not_depend_on_layout():
    reordered = "gate: {metric: roc_auc}\n" + GOOD

    assert parse_spec(GOOD, "a").digest == parse_spec(reordered, "b").digest


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("type: number}", "type: float}", "model.yaml:7: raw.0.type: "),
        ("horizon: 7d", "horizon: a week", "model.yaml:9: label.horizon: 'a week' is no length of time"),
        ("drifted_share: 0.5", "drifted_share: 5", "model.yaml:17: rules.0.drifted_share: "),
        ("kind: schedule", "kind: sometimes", "model.yaml:18: rules.1: "),
        ("team: growth", "teem: growth", "model.yaml:3: teem: Extra inputs are not permitted"),
        ("monitor: weekly", "monitor: daily", "rule drifted: there is no monitor 'daily'"),
        ("name: plan, type: categorical", "name: score, type: categorical", "score is a column of Driftgate's own"),
        ("default/churn", "Churn", "model.yaml:1: model: 'Churn' is not a model id"),
        ("features.py:features", "../features.py:features", "model.yaml:13: entry.features: "),
        (
            "monitors:",
            "gate: {slices: [{feature: spend}]}\nmonitors:",
            "gate.slices: spend is numeric: only a categorical feature has slices",
        ),
        ("monitors:", "gate: {slices: [{feature: size}]}\nmonitors:", "gate.slices: there is no feature size"),
        ('cron: "0 6 1 * *"', 'cron: "0 6 1 * *", every: 1d', "give either cron or every"),
        ("every: 7d}}", "every: 7d}, lateness: -1h}", "model.yaml:15: monitors.0.lateness: "),
        (
            "every: 7d}}",
            "every: 7d}, segments: [{feature: spend, values: [a]}]}",
            "monitor weekly: segments: spend is numeric, not categorical",
        ),
        (
            "every: 7d}}",
            "every: 7d}, segments: [{feature: plan, values: [a, b]}, {feature: plan, values: [a]}]}",
            "segments: declared twice: plan=a",
        ),
        (
            "every: 7d}}",
            "every: 7d}, reference: {kind: seasonal, period: 1d}}",
            "reference.period: a season that is shorter than a window would hold a part of it",
        ),
        (
            "every: 7d}}",
            "every: 7d}, reference: {kind: trailing, length: 0s}}",
            "model.yaml:15: monitors.0.reference",
        ),
        ("drifted_share: 0.5", "drifted_share: 0.5, segment: plan=a", "weekly has no segment 'plan=a': it has none"),
        ("every: 7d}}", "every: 7d}, texts: [spend]}", "monitor weekly: texts: there is no raw text field spend"),
        ("task: binary", "task: [binary", "model.yaml:3: not YAML"),
    ],
)
def test_an_error_names_the_file_the_line_and_the_field(old, new, where):
    found = problems(GOOD.replace(old, new))

    assert any(where in problem for problem in found), found


def test_a_rule_may_name_a_segment_of_its_monitor_and_a_wrong_one_is_told_those_that_there_are():
    segments = "every: 7d}, segments: [{feature: plan, values: [a, b]}]}"
    with_rule = GOOD.replace("every: 7d}}", segments).replace(
        "drifted_share: 0.5", "drifted_share: 0.5, segment: plan=b"
    )
    assert parse_spec(with_rule, "a").rules[0].segment == "plan=b"
    assert "it has plan=a, plan=b" in problems(with_rule.replace("segment: plan=b", "segment: plan=c"))[0]


def test_every_problem_is_told_at_once():
    broken = GOOD.replace("type: number}", "type: float}").replace("horizon: 7d", "horizon: week")

    assert len(problems(broken)) == 2


def test_a_folder_without_the_code_that_it_names_is_refused(tmp_path: Path):
    (tmp_path / "model.yaml").write_text(GOOD)

    with pytest.raises(SpecInvalid, match=r"there is no features\.py beside the spec"):
        read_recipe(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path):
    (tmp_path / "model.yaml").write_bytes(GOOD.replace("growth", "größe").encode("latin-1"))

    with pytest.raises(SpecInvalid, match="not UTF-8 text"):
        read_recipe(tmp_path)


def test_a_control_character_is_refused():
    assert any("not YAML" in problem for problem in problems(GOOD + "\x07"))
