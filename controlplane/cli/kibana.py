"""Commands about Kibana: `driftgate kibana ...`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from controlplane.cli.calling import AsJson, say
from controlplane.errors import Refused, Unreachable
from controlplane.settings import Settings as ControlSettings
from observability.ports import LogStoreUnavailable
from observability.settings import Settings

kibana = typer.Typer(no_args_is_help=True, help="Kibana: dashboards, data views and alert rules over the log store.")
Runbook = Annotated[
    str | None, typer.Option(help="where the runbook is read; CONTROLPLANE_RUNBOOK_URL or the control plane's own page")
]
DAYS: Final = 30


@kibana.command(name="export")
def export_file(
    file: Annotated[Path, typer.Argument(help="such as driftgate.ndjson", dir_okay=False)],
    runbook: Runbook = None,
    as_json: AsJson = False,
) -> None:
    """Write the saved objects to a file, which Kibana takes under Stack Management, Saved Objects, Import.

    Alert rules are no saved objects that can be imported from a file: `driftgate kibana import` makes them.
    """
    made = _objects(runbook)
    try:
        file.write_bytes(_module("objects").ndjson(made))
    except OSError as error:
        raise Refused(f"{file} cannot be written: {error.strerror}") from error
    counted = Counter(each["type"] for each in made)
    say(as_json, {"file": str(file), "objects": counted}, f"{file}: {_counted(counted)}")


@kibana.command(name="import")
def import_objects(
    url: Annotated[str, typer.Option(help="where Kibana is; OBSERVABILITY_KIBANA_URL where it is not said")] = "",
    space: Annotated[str | None, typer.Option(help="the space to import into; OBSERVABILITY_KIBANA_SPACE")] = None,
    rules: Annotated[bool, typer.Option(help="the alert rules, too")] = True,
    runbook: Runbook = None,
    as_json: AsJson = False,
) -> None:
    """Put data views, dashboards and alert rules into Kibana. Doing it again changes nothing but what people changed.

    The API key is OBSERVABILITY_KIBANA_API_KEY. What was changed by hand in a dashboard of ours is replaced: save it
    under another name first. Exits with 1 where Kibana did not take an object, and with 3 where it does not answer.
    """
    settings, connection, made = Settings(), _module("connection"), _objects(runbook)
    try:
        with connection.Kibana(settings, url, space) as connected:
            refused = connected.import_objects(_module("objects").ndjson(made))
            put = dict(_put_rules(connected, settings, _runbook(runbook))) if rules else {}
    except connection.KibanaUnavailable as error:
        raise Unreachable(str(error)) from error
    except connection.KibanaError as error:
        raise Refused(str(error)) from error
    told = {
        "imported": len(made) - len(refused),
        "refused": [{"type": each.type, "id": each.id, "reason": each.reason} for each in refused],
        "rules": put,
    }
    say(as_json, told, "\n".join(_in_words(told)))
    if refused:
        raise typer.Exit(1)


@kibana.command()
def check(
    days: Annotated[int, typer.Option(min=1, help="ask for the last days")] = DAYS,
    as_json: AsJson = False,
) -> None:
    """Ask Elasticsearch what each panel asks, without Kibana: which panels have data, and which query is refused.

    Takes the OBSERVABILITY_ELASTICSEARCH settings. Exits with 1 where a query is refused; a panel without data is none.
    """
    settings = Settings()
    if settings.store == "embedded":
        raise Refused("the embedded log store is nothing that Kibana can read: set OBSERVABILITY_STORE=elasticsearch")
    now = datetime.now(UTC)
    try:
        found = [each.told() for each in _module("proving").prove(settings, now - timedelta(days=days), now)]
    except LogStoreUnavailable as error:
        raise Unreachable(str(error)) from error
    say(as_json, found, lambda: _show(found))
    if any(each["refused"] for each in found):
        raise typer.Exit(1)


def _module(name: str) -> ModuleType:
    """Loaded when it is used: other commands need no client of Elasticsearch."""
    return import_module(f"observability.kibana.{name}")


def _objects(runbook: str | None) -> list[dict[str, Any]]:
    namespace = Settings().namespace
    made: list[dict[str, Any]] = _module("objects").saved_objects(
        _module("dashboards").DASHBOARDS, namespace, _runbook(runbook)
    )
    return made


def _runbook(named: str | None) -> str:
    """Where the links lead: what is named, or where the control plane's own alerts lead."""
    if named:
        return named
    settings = ControlSettings()
    page: str = import_module("controlplane.notifying.assembly").RUNBOOK
    return settings.runbook_url or (settings.public_url or settings.url).rstrip("/") + page


def _put_rules(connected: Any, settings: Settings, runbook: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - loaded late
    rules = _module("rules")
    for rule in rules.RULES:
        body = rules.rule_body(rule, settings.namespace, runbook)
        yield rule.title, connected.put_rule(rule.id(settings.namespace), body)


def _counted(counted: Counter[str]) -> str:
    return ", ".join(f"{number} of {name}" for name, number in sorted(counted.items()))


def _in_words(told: dict[str, Any]) -> Iterator[str]:
    yield f"{told['imported']} objects imported"
    yield from (f"refused: {each['type']} {each['id']}: {each['reason']}" for each in told["refused"])
    yield from (f"{done}: rule {title}" for title, done in told["rules"].items())


def _show(found: list[dict[str, Any]]) -> None:
    table = Table("dashboard", "panel", "documents", "")
    for each in found:
        table.add_row(each["dashboard"], each["panel"], str(each["documents"]), escape(each["refused"] or ""))
    Console().print(table)
