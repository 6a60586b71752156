"""Writes the reference pages from the code: `make docs`. A test holds the pages against it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer
from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from bundle import signature
from controlplane import alerts, cli, lifecycle
from controlplane import settings as control_settings
from controlplane.promotion import gate, rejection, rollout
from controlplane.rules import decide as rules
from docs import events as event_page
from docs.metrics import metrics_page
from docs.openapi import api_page
from docs.panels import panels_page
from observability import events, windows
from observability import settings as observability_settings
from observability.monitors import settings as monitors
from observability.telemetry import settings as telemetry_settings
from pipeline import settings as pipeline_settings
from pipeline.contract import monitorspec, promotionspec, rulespec, spec, training
from serving import settings as serving_settings

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by `make docs` from the code; change it there. -->\n\n"


def pages() -> dict[str, str]:
    """File name to text."""
    return {
        "model.md": _page("model.yaml", "What a model's spec may say.", _models(SPEC)),
        "events.md": _page("Events", EVENTS_INTRO, _events()),
        "runs.md": _page("Training runs", "The files in a run's folder.", _models(RUNS)),
        "settings.md": _page("Settings", "Environment variables, read once when a process starts.", _settings()),
        "cli.md": _page("Command line", inspect.cleandoc(cli.__doc__ or ""), _commands()),
        "api.md": _page("The API", "Every route. How to use it: [the API](../api.md).", api_page()),
        "kibana.md": _page("Kibana", "What is imported into Kibana. How: [Kibana](../kibana.md).", panels_page()),
        "metrics.md": _page("Metrics", "What each process tells Prometheus, and when an alert fires.", metrics_page()),
        "reasons.md": _page("Reasons", "Why something was done, or was not, and what people are told.", _reasons()),
    }


SPEC: tuple[type[BaseModel], ...] = (
    spec.ModelSpec, spec.Source, signature.RawField, spec.Label, spec.LabelColumn, signature.Feature, spec.Entry,
    spec.Training, monitorspec.Monitor, windows.CountWindows, windows.TimeWindows, windows.SlidingWindows,
    monitorspec.Segments, monitorspec.TrainingReference, monitorspec.PinnedReference, monitorspec.SeasonalReference,
    monitorspec.TrailingReference, monitors.DriftSettings, monitors.QualitySettings, monitors.ErrorSettings,
    monitors.CostMatrix, monitors.FalseAlarms,
    rulespec.DriftRule, rulespec.NoveltyRule, rulespec.VolumeRule, rulespec.ScheduleRule, rulespec.MetricRule,
    rulespec.WorthRule, rulespec.Persistence, rulespec.ActiveHours, rulespec.Budget, promotionspec.Gate,
    promotionspec.NoWorse, promotionspec.SliceCheck, promotionspec.RolloutPlan, promotionspec.Shadow,
    promotionspec.Better, promotionspec.Canary, promotionspec.Guards,
)  # fmt: skip
EVENTS: tuple[type[BaseModel], ...] = (
    events.PredictionEvent, events.LabelEvent, events.ControlEvent, events.ServiceEvent,
)  # fmt: skip
EVENTS_INTRO = """What is written to the spool and the log store: one JSON document a line, in the names of the Elastic
Common Schema where it has one. `field` is how code calls it, `in the document` is where it stands in the line and in
Elasticsearch. A line with a field that is not here is refused and becomes a dead letter; the schema grows by addition.
A document of the kind `prediction` goes to the data stream `logs-driftgate.prediction-<namespace>`, and so on. The
body of a ControlEvent stands below `driftgate.<kind>`."""
RUNS: tuple[type[BaseModel], ...] = (
    training.TrainingRequest, training.Progress, training.TrainingReport, training.Made, training.DatasetManifest,
    training.Parity, training.Failure,
)  # fmt: skip
SETTINGS: tuple[type[BaseSettings], ...] = (
    control_settings.Settings, serving_settings.Settings, pipeline_settings.PipelineSettings,
    observability_settings.Settings, telemetry_settings.LogSettings, telemetry_settings.MetricsSettings,
)  # fmt: skip


def _page(title: str, intro: str, parts: Iterator[str]) -> str:
    return f"{NOTE}# {title}\n\n{intro}\n\n" + "\n".join(parts).rstrip() + "\n"


def _models(models: tuple[type[BaseModel], ...]) -> Iterator[str]:
    for model in models:
        yield f"## {model.__name__}\n\n{inspect.cleandoc(model.__doc__ or '')}\n"
        yield "| field | type | default | |\n|---|---|---|---|"
        comments = _comments(model)
        for name, field in model.model_fields.items():
            note = comments.get(name, "")
            yield f"| `{field.alias or name}` | {_type(model, name)} | {_default(field)} | {note} |"
        yield ""


def _events() -> Iterator[str]:
    for model in EVENTS:
        yield f"## {model.__name__}\n\n{inspect.cleandoc(model.__doc__ or '')}\n"
        yield "| field | in the document | type | default | |\n|---|---|---|---|---|"
        comments = _comments(model)
        for name, field in model.model_fields.items():
            places = ", ".join(f"`{place}`" for place in event_page.places(model, name))
            yield f"| `{name}` | {places} | {_type(model, name)} | {_default(field)} | {comments.get(name, '')} |"
        yield f"\n```json\n{event_page.example(model)}\n```\n"


def _comments(model: type[BaseModel]) -> dict[str, str]:
    """The `#:` comment above each field, also of the classes it inherits from."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base.__module__.startswith("pydantic"):
            continue
        comment: list[str] = []
        for line in inspect.getsource(base).splitlines():
            text = line.strip()
            if text.startswith("#:"):
                comment.append(text[2:].strip())
            elif match := re.match(r"(\w+): ", text):
                found[match[1]] = " ".join(comment)
                comment = []
            elif not text.startswith("#"):
                comment = []
    return found


def _type(model: type[BaseModel], name: str) -> str:
    """The annotation as it is written in the source."""
    written = next(own[name] for base in model.__mro__ if name in (own := inspect.get_annotations(base)))
    return f"`{written}`".replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value == "":
        return "empty"
    return f"`{type(value).__name__ if isinstance(value, BaseModel) else value}`"


def _settings() -> Iterator[str]:
    for settings in SETTINGS:
        prefix = settings.model_config.get("env_prefix", "")
        yield f"## {prefix}*\n\n{inspect.cleandoc(settings.__doc__ or '')}\n"
        yield "| variable | default | |\n|---|---|---|"
        comments = _comments(settings)
        for name, field in settings.model_fields.items():
            named = field.validation_alias.choices[0] if isinstance(field.validation_alias, AliasChoices) else None
            yield f"| `{named or prefix + name.upper()}` | {_default(field)} | {comments.get(name, '')} |"
        yield ""


def _commands() -> Iterator[str]:
    yield from _commands_of("driftgate", typer.main.get_group(cli.app).commands)


def _commands_of(group: str, commands: Mapping[str, Any]) -> Iterator[str]:
    for name, command in sorted(commands.items()):
        if (below := getattr(command, "commands", None)) is not None:
            yield from _commands_of(f"{group} {name}", below)
            continue
        yield f"## {group} {name}\n\n{inspect.cleandoc(command.help or '')}\n"
        yield "| option | |\n|---|---|"
        for parameter in command.params:
            yield f"| `{', '.join(parameter.opts)}` | {getattr(parameter, 'help', None) or ''} |"
        yield ""


def _reasons() -> Iterator[str]:
    yield from _words("Rules", "Why a rule fired, or why it waits.", rules.Reason)
    yield from _words("Gates", "Why a challenger passed, or did not.", gate.GateReason)
    yield from _words("Rejections", "Why the system rejected a version that no check had failed.", rejection.Rejection)
    yield from _words("Rollouts", "Why a rollout moved, or stays where it is.", rollout.StepReason)
    yield from _alerts()
    yield "\n## States\n\n| of a version | of a run |\n|---|---|"
    versions = [state.value for state in lifecycle.VersionState]
    runs = [state.value for state in lifecycle.RunState]
    for number in range(max(len(versions), len(runs))):
        cells = [f"`{states[number]}`" if number < len(states) else "" for states in (versions, runs)]
        yield f"| {cells[0]} | {cells[1]} |"


def _words(title: str, intro: str, reasons: type[StrEnum]) -> Iterator[str]:
    yield f"## {title}\n\n{intro}\n\n| reason | in words |\n|---|---|"
    yield from (f"| `{reason.name}` | {reason.value} |" for reason in reasons)
    yield ""


def _alerts() -> Iterator[str]:
    yield "## Alerts\n\n| alert | severity | what to do |\n|---|---|---|"
    for name in alerts.AlertName:
        link = f"[runbook](../runbook.md#{name.value.lower()})"
        yield f"| `{name.value}` | {name.severity} | {link} |"


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for file, text in pages().items():
        (REFERENCE / file).write_text(text, encoding="utf-8")
        print(REFERENCE / file)
