"""When to retrain: the rules of the product, and what others do. Each is asked after a batch whose labels have come."""

from __future__ import annotations

import os

os.environ["DO_NOT_TRACK"] = "1"  # before the import: telemetry is on by default

import warnings
from dataclasses import replace
from typing import Final

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

from bench.drift_stage.s5_loop import BEGAN, DAY, FIRST, Course, Policy
from bench.drift_stage.s5_models import BATCHES, Models
from controlplane.rules.decide import decide
from controlplane.rules.facts import Facts
from pipeline.contract.rulespec import DriftRule, MetricRule, Rule, WorthRule

WINDOW_RULES: Final = (DriftRule, MetricRule, WorthRule)
#: the plain trigger fires where the error is above that of the version's out-of-time rows by this
DROP: Final = 0.02


def never(course: Course, batch: int) -> bool:
    """Whatever comes."""
    return False


def every(batches: int) -> Policy:
    """By the calendar."""
    return lambda course, batch: (batch - FIRST) % batches == 0


def by_rule(rule: Rule) -> Policy:
    """A rule of the product, asked as the control plane asks it."""

    def fires(course: Course, batch: int) -> bool:
        return any(decision.outcome == "fire" for decision in decide(rule, facts(rule, course, batch)))

    return fires


def facts(rule: Rule, course: Course, batch: int) -> Facts:
    """What is known of the model after the batch."""
    now = BEGAN + (batch + 1) * DAY
    behind = rule.hold.of - 1 if isinstance(rule, WINDOW_RULES) else 0
    batches = range(max(course.since + 1, batch - behind), batch + 1)
    windows = [
        replace(course.monitors.facts(course.serving, course.since, each), judge=each == batch) for each in batches
    ]
    return Facts(
        now=now, version=course.serving, in_service_since=BEGAN, windows={rule.name: tuple(windows)}, labelled_new=None,
        busy=None, last_asked_at=None, lives={rule.name: tuple(course.lives)},
        broken=course.monitors.broken(course.serving, course.since, batch),
    )  # fmt: skip


def on_accuracy_drop(course: Course, batch: int) -> bool:
    """The plain trigger: a window whose error is a margin above the reference's."""
    above = (course.lives[-1].reference or 0.0) + DROP
    rule = MetricRule(name="drop", kind="metric", monitor="batches", metric="error", above=above)
    return by_rule(rule)(course, batch)


class EvidentlyDrift:
    """Evidently's preset with its defaults, against the rows that the serving model has learned from."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._found: dict[tuple[int, int], tuple[bool, bool]] = {}

    def of_the_set(self, course: Course, batch: int) -> bool:
        """Half of the columns drifted: its own verdict on a data set."""
        return self._said(course.serving, batch)[0]

    def of_any_column(self, course: Course, batch: int) -> bool:
        return self._said(course.serving, batch)[1]

    def _said(self, model: int, batch: int) -> tuple[bool, bool]:
        if (model, batch) not in self._found:
            stream = self._models.stream
            reference, current = stream.part(model - BATCHES + 1, model)[0], stream.part(batch, batch)[0]
            self._found[(model, batch)] = _drifted(current, reference)
        return self._found[(model, batch)]


def _drifted(current: pd.DataFrame, reference: pd.DataFrame) -> tuple[bool, bool]:
    """Whether the data set has drifted, and whether any column has."""
    text = [str(name) for name in current if current[name].dtype == object]
    numbers = [str(name) for name in current if str(name) not in text]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = Report([DataDriftPreset()]).run(
            Dataset.from_pandas(current, data_definition=definition),
            Dataset.from_pandas(reference, data_definition=definition),
        )
    count = next(metric["value"] for metric in report.dict()["metrics"] if "DriftedColumnsCount" in metric_name(metric))
    return float(count["share"]) >= 0.5, float(count["count"]) >= 1


def metric_name(metric: dict[str, object]) -> str:
    """What a metric is called, in the forms that Evidently's dictionaries have had."""
    return str(metric.get("metric_name") or metric.get("metric_id") or metric.get("id"))
