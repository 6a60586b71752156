"""The reference page of what Kibana shows, from the definitions that are imported there."""

from __future__ import annotations

from collections.abc import Iterator

from observability.kibana.conditions import kuery_of
from observability.kibana.dashboards import DASHBOARDS
from observability.kibana.panels import Between, Lines, Metric, Over, Panel, Split
from observability.kibana.rules import RULES
from observability.kibana.views import VIEWS


def panels_page() -> Iterator[str]:
    """Every dashboard with its panels, every alert rule, every data view."""
    for dashboard in DASHBOARDS:
        chosen = ", ".join(control.label.lower() for control in dashboard.controls)
        yield f"## {dashboard.title}\n\n{dashboard.about}\n"
        yield f"Shows `{dashboard.since}` to `now` at first; can be narrowed by {chosen}.\n"
        yield "| panel | of | shows | by | only | |\n|---|---|---|---|---|---|"
        for panel in dashboard.panels:
            shown, by = ("its lines", "") if isinstance(panel, Lines) else _shown(panel)
            only = f"`{kuery_of(panel.where)}`" if panel.where else ""
            yield f"| {panel.title} | {panel.view} | {shown} | {by} | {only} | {panel.note} |"
        yield ""
    yield "## Alert rules\n\n| rule | fires where within its minutes | minutes | for each | runbook |"
    yield "|---|---|---|---|---|"
    for rule in RULES:
        number = f"{'more' if rule.compared == '>' else 'fewer'} than {rule.threshold}"
        which = f" of `{kuery_of(rule.where)}`" if rule.where else ""
        link = f"[{rule.runbook}](../runbook.md#{rule.runbook.lower()})"
        each = f"`{rule.each}`" if rule.each else ""
        yield f"| {rule.title} | {number} documents of {rule.view}{which} | {rule.minutes} | {each} | {link} |"
    yield "\n## Data views\n\n| data view | data streams | its time | computed |\n|---|---|---|---|"
    for view in VIEWS.values():
        computed = ", ".join(f"`{name}`" for name in view.computed)
        yield f"| {view.name} | `{view.pattern('<namespace>')}` | `{view.time}` | {computed} |"


def _shown(panel: Panel) -> tuple[str, str]:
    return "; ".join(map(_metric, panel.metrics)), ", ".join(map(_split, panel.by))


def _metric(metric: Metric) -> str:
    how = f"p{metric.percentile}" if metric.operation == "percentile" else metric.operation
    of = f" of `{metric.field}`" if metric.field else ""
    where = f" where `{kuery_of(metric.where)}`" if metric.where else ""
    return f"{metric.label}: {how}{of}{where}"


def _split(split: Split) -> str:
    if isinstance(split, Over):
        return "time" if split.field == "@timestamp" else f"`{split.field}`"
    return f"ranges of `{split.field}`" if isinstance(split, Between) else f"`{split.field}`"
