"""Dashboards about models: all of them, one of them, their drift, and what they cost and get wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from observability.kibana.conditions import Is
from observability.kibana.panels import Between, Control, Dashboard, Metric, Over, Panel, Top

BY_MODEL: Final = Top("driftgate.model", "model")
VERSION: Final = "driftgate.version"
BY_VERSION: Final = Top(VERSION, "version")
BY_TIME: Final = Over()
OF_MODEL: Final = Control("driftgate.model", "Model", "prediction")
OF_VERSION: Final = Control(VERSION, "Version", "prediction")
#: a window without a segment is of all rows
WHOLE: Final = Is("driftgate.verdict.segment", "")
_SHARE: Final = "driftgate.verdict.verdict.drifted_share"
_ERROR: Final = "driftgate.verdict.verdict.error"
_LATENCY: Final = "event.duration"
PREDICTIONS: Final = Metric("predictions")
_QUANTILES: Final = tuple(
    Metric(f"p{of}", "percentile", _LATENCY, percentile=of, unit="nanoseconds") for of in (50, 95, 99)
)
#: a window that is scored again tells of its features again, and is one window
_WINDOWS: Final = Metric("windows", "unique", "driftgate.drift.window")
_DRIFTED: Final = replace(_WINDOWS, label="drifted", where=(Is("driftgate.drift.drifted", True),))
_BROUGHT_LATE: Final = "A window that was scored again counts again: each revision is a verdict."

FLEET: Final = Dashboard(
    slug="fleet",
    title="Driftgate: fleet",
    about="All models: what is asked of them, how much of their input has drifted, which version answers, and what "
    "people were told.",
    controls=(OF_MODEL,),
    runbook=("DriftDetected", "ErrorMetricBeyondBound", "NoServingInstance", "MonitorBehind"),
    panels=(
        Panel("Predictions", "prediction", "number", (PREDICTIONS,), width=12, height=6),
        Panel("Models asked", "prediction", "number", (Metric("models", "unique", "driftgate.model"),), width=12,
              height=6),
        Panel("Largest drifted share", "verdict", "number",
              (Metric("of the features of a window", "max", _SHARE, unit="percent"),), width=12, height=6),
        Panel("Alerts fired", "alert", "number", (Metric("alerts"),), where=(Is("driftgate.alert.state", "firing"),),
              width=12, height=6),
        Panel("Predictions by model", "prediction", "bars", (PREDICTIONS,), (BY_MODEL, BY_TIME)),
        Panel("Drifted share by model", "verdict", "line",
              (Metric("drifted share", "average", _SHARE, unit="percent"),), (BY_MODEL, BY_TIME), (WHOLE,),
              note="Of all features, in windows of all rows. " + _BROUGHT_LATE),
        Panel("Models", "prediction", "table",
              (PREDICTIONS, Metric("versions", "unique", VERSION), Metric("newest version", "max", VERSION),
               Metric("mean score", "average", "driftgate.score")), (BY_MODEL,)),
        Panel("Windows", "verdict", "table",
              (Metric("verdicts"), Metric("mean drifted share", "average", _SHARE, unit="percent"),
               Metric("largest", "max", _SHARE, unit="percent"), Metric("rows", "sum", "driftgate.verdict.rows")),
              (BY_MODEL,), (WHOLE,), note=_BROUGHT_LATE),
        Panel("Alerts by name", "alert", "bars", (Metric("alerts"),),
              (Top("driftgate.alert.name", "alert"), BY_TIME), (Is("driftgate.alert.state", "firing"),)),
        Panel("Versions in production", "promotion", "table",
              (Metric("newest version", "max", "driftgate.promotion.version"), Metric("promotions")), (BY_MODEL,),
              note="Promoted within the time shown; a rollback since is on the dashboard of decisions."),
    ),
)  # fmt: skip

MODEL: Final = Dashboard(
    slug="model",
    title="Driftgate: a model",
    about="One model: choose it above. What it was asked and answered by version and role, how fast, and which labels "
    "came back.",
    controls=(OF_MODEL, OF_VERSION),
    runbook=("ErrorMetricBeyondBound", "RolloutAborted", "DriftgateVersionNotLoaded"),
    panels=(
        Panel("Requests by version", "prediction", "bars", (PREDICTIONS,), (BY_VERSION, BY_TIME)),
        Panel("Requests by role", "prediction", "bars", (PREDICTIONS,), (Top("driftgate.role", "role"), BY_TIME)),
        Panel("Score distribution", "prediction", "bars", (PREDICTIONS,),
              (BY_VERSION, Between("driftgate.score", "score", (0, .1, .2, .3, .4, .5, .6, .7, .8, .9)))),
        Panel("Mean score by version", "prediction", "line", (Metric("mean score", "average", "driftgate.score"),),
              (BY_VERSION, BY_TIME)),
        Panel("Latency", "prediction", "line", _QUANTILES, (BY_TIME,),
              note="Of the whole request, from its coming to its answer."),
        Panel("Share predicted positive", "prediction", "line",
              (Metric("positive", "average", "driftgate.prediction", unit="percent"),), (BY_VERSION, BY_TIME),
              note="Of classifiers: the answer of a regression is its score."),
        Panel("Labels arriving", "label", "bars", (Metric("labels"),), (BY_TIME,),
              note="By label time. A label names no version: where one is chosen, there is none here."),
        Panel("Mean label", "label", "line", (Metric("mean label", "average", "driftgate.label"),), (BY_TIME,),
              note="Of a classifier the share of class 1. Labels name no version: where one is chosen, there is none."),
        Panel("Missing features", "prediction", "bars", (PREDICTIONS,), (Top("driftgate.missing", "feature"), BY_TIME)),
    ),
)  # fmt: skip

DRIFT: Final = Dashboard(
    slug="drift",
    title="Driftgate: drift by feature",
    about="Which features of which windows differ from their reference. A score is a p-value for ks and chisquare, "
    "where small means drift, and a distance for the others, where large does: compare it with its threshold.",
    controls=(OF_MODEL, Control("driftgate.drift.version", "Version", "drift"),
              Control("driftgate.drift.feature", "Feature", "drift")),
    since="now-30d",
    runbook=("DriftDetected",),
    panels=(
        Panel("Windows in which a feature drifted", "drift", "heat",
              (_DRIFTED,),
              (Top("driftgate.drift.feature", "feature", 20), BY_TIME), width=48, height=14),
        Panel("Score by feature", "drift", "line", (Metric("score", "average", "driftgate.drift.score"),),
              (Top("driftgate.drift.feature", "feature"), BY_TIME)),
        Panel("Features", "drift", "table",
              (_DRIFTED, _WINDOWS,
               Metric("smallest score", "min", "driftgate.drift.score"),
               Metric("largest score", "max", "driftgate.drift.score"),
               Metric("threshold", "average", "driftgate.drift.threshold"),
               Metric("missing", "average", "driftgate.drift.missing_share", unit="percent")),
              (Top("driftgate.drift.feature", "feature", 50), Top("driftgate.drift.method", "method", 3))),
        Panel("Drifted share by monitor", "drift", "table",
              (_WINDOWS, _DRIFTED, Metric("features", "unique", "driftgate.drift.feature"),
               Metric("rows", "average", "driftgate.drift.rows")),
              (Top("driftgate.drift.monitor", "monitor"), Top("driftgate.drift.segment", "segment"))),
        Panel("Missing by feature", "drift", "line",
              (Metric("missing", "average", "driftgate.drift.missing_share", unit="percent"),),
              (Top("driftgate.drift.feature", "feature"), BY_TIME)),
    ),
)  # fmt: skip

ERRORS: Final = Dashboard(
    slug="errors",
    title="Driftgate: errors and latency",
    about="How fast answers are, how often models are wrong as far as labels say, and what the processes themselves "
    "complain about. Lines of the processes are shown whichever model is chosen: they are seldom about one.",
    controls=(OF_MODEL,),
    runbook=("DriftgateServingErrors", "DriftgateServingSlow", "DriftgateErrorsLogged", "ErrorMetricBeyondBound"),
    panels=(
        Panel("Latency of requests", "prediction", "line", _QUANTILES, (BY_TIME,)),
        Panel("Latency by model", "prediction", "table",
              (PREDICTIONS, *_QUANTILES, Metric("slowest", "max", _LATENCY, unit="nanoseconds")), (BY_MODEL,)),
        Panel("Time of scoring, p95", "prediction", "line",
              (Metric("answered", "percentile", "driftgate.score_ms", percentile=95, unit="milliseconds"),
               Metric("rival", "percentile", "driftgate.rival.ms", percentile=95, unit="milliseconds")), (BY_TIME,),
              note="Scoring alone; the rival is the other version of a rollout, which the caller does not wait for."),
        Panel("Error of models", "verdict", "line", (Metric("error", "average", f"{_ERROR}.error", unit="percent"),),
              (BY_MODEL, BY_TIME), (WHOLE,)),
        Panel("Error metrics of windows", "verdict", "line",
              tuple(Metric(name, "average", f"{_ERROR}.{name}") for name in ("roc_auc", "log_loss", "error", "brier")),
              (BY_TIME,), (WHOLE,), note="Of windows whose labels have come. " + _BROUGHT_LATE, width=48),
        Panel("Cost of a prediction", "verdict", "line", (Metric("cost", "average", f"{_ERROR}.cost"),),
              (BY_MODEL, BY_TIME), (WHOLE,), note="By the monitor's cost matrix."),
        Panel("Errors of predicted numbers", "verdict", "line",
              tuple(Metric(name, "average", f"{_ERROR}.{name}") for name in ("mae", "rmse", "bias")),
              (BY_TIME,), (WHOLE,), note="Of regressions."),
        Panel("Errors of processes", "service", "bars", (Metric("lines"),), (Top("service.name", "service"), BY_TIME),
              (Is("log.level", "error", "critical"),), whole=True),
        Panel("Kinds of errors", "service", "table", (Metric("lines"),),
              (Top("service.name", "service", 5), Top("error.type", "error", 20)),
              (Is("log.level", "error", "critical"),), whole=True),
    ),
)  # fmt: skip
