"""The reference page of the metrics, from the declarations by which they are counted and exposed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from controlplane.metrics import committed, standing, ticks
from observability.telemetry import metrics, shipping, storecalls
from observability.telemetry.metrics import Measure
from serving import metrics as serving_metrics

RULES: Final = Path(__file__).parents[1] / "deploy" / "prometheus" / "driftgate.rules.yml"
_REQUESTS: Final = (metrics.ANSWERED, metrics.ANSWER_SECONDS)
#: what each process tells besides what every one does
PROCESSES: Final[dict[str, Sequence[Measure]]] = {
    "control": (*standing.MEASURES, *committed.OF_CONTROL, *ticks.MEASURES, *_REQUESTS),
    "monitor": (*standing.OF_MONITOR, *committed.OF_MONITOR, *ticks.MEASURES, *storecalls.MEASURES),
    "shipper": (*shipping.MEASURES, *storecalls.MEASURES),
    "serving": (*serving_metrics.MEASURES, *_REQUESTS),
}


def metrics_page() -> Iterator[str]:
    """Every metric by the process that tells it, and every alert of the rules."""
    yield "Counters and histograms are of one process since it started; gauges of the control plane are read from the"
    yield "database, so that of several replicas each tells the same. `process_*` and `python_info` are told too.\n"
    yield from _table("Every process", metrics.OF_EVERY_PROCESS)
    for name, measures in PROCESSES.items():
        yield from _table(name.capitalize(), measures)
    yield "## Alerts\n\nBy `deploy/prometheus/driftgate.rules.yml`.\n"
    yield "| alert | severity | fires when | for |\n|---|---|---|---|"
    for rule in alert_rules():
        expression = " ".join(rule["expr"].split()).replace("|", "\\|")
        link = f"[{rule['alert']}](../runbook.md#{rule['alert'].lower()})"
        yield f"| {link} | {rule['labels']['severity']} | `{expression}` | {rule.get('for', '')} |"


def alert_rules() -> list[dict[str, Any]]:
    """The alerts of the rules file, in order."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def _table(title: str, measures: Sequence[Measure]) -> Iterator[str]:
    yield f"## {title}\n\n| metric | kind | labels | |\n|---|---|---|---|"
    for measure in sorted(measures, key=lambda each: each.name):
        labels = ", ".join(f"`{label}`" for label in measure.labels)
        yield f"| `{measure.name}` | {measure.kind} | {labels} | {measure.help} |"
    yield ""
