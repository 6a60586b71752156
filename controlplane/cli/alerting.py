"""Commands about alerts: `driftgate alerts ...`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from controlplane.cli.calling import AsJson, Home, IfMatch, Limit, State, Why, client_of, instant, plain, say
from controlplane.cli.showing import show_listing, show_one
from controlplane.views import AlertView

alerts = typer.Typer(no_args_is_help=True, help="Alerts: what a person should know.")
AlertId = Annotated[str, typer.Argument(help="the alert's id, as `driftgate alerts list` shows it")]


@alerts.command(name="list")
def list_alerts(
    model: Annotated[str | None, typer.Argument(help="namespace/slug; all where none is named")] = None,
    state: State = None,
    severity: Annotated[str | None, typer.Option(help="of this severity only")] = None,
    name: Annotated[str | None, typer.Option(help="with this name only")] = None,
    limit: Limit = 20, home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Alerts, newest first."""
    with client_of(home) as client:
        rows = plain(client.alerts(model, limit, state, name, severity))
    say(as_json, rows, lambda: show_listing(Console(), "alerts", rows))


@alerts.command()
def show(alert_id: AlertId, home: Home = None, as_json: AsJson = False) -> None:
    """Everything about one alert."""
    with client_of(home) as client:
        alert = plain(client.alert(alert_id))
    say(as_json, alert, lambda: show_one(Console(), alert))


@alerts.command()
def ack(alert_id: AlertId, reason: Why, if_match: IfMatch = None, home: Home = None, as_json: AsJson = False) -> None:
    """Take care of an alert: nobody is paged for it any more."""
    with client_of(home) as client:
        _say(client.acknowledge(alert_id, reason, if_match), as_json)


@alerts.command()
def silence(
    alert_id: AlertId, reason: Why, until: Annotated[str, typer.Option(help="such as 2026-03-01T12:00:00Z")],
    if_match: IfMatch = None, home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Page nobody for an alert until then."""
    ends = instant(until, "--until")
    if ends is None:
        raise typer.BadParameter("say until when", param_hint="--until")
    with client_of(home) as client:
        _say(client.silence(alert_id, reason, ends, if_match), as_json)


@alerts.command()
def unsilence(
    alert_id: AlertId, reason: Why, if_match: IfMatch = None, home: Home = None, as_json: AsJson = False
) -> None:
    """Take an acknowledgement or a silence back."""
    with client_of(home) as client:
        _say(client.unsilence(alert_id, reason, if_match), as_json)


def _say(alert: AlertView, as_json: bool) -> None:
    say(as_json, alert, f"{alert.name} is {alert.state}")
