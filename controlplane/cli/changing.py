"""Commands that change what is trained, what is in production, and what is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from controlplane.cli.calling import (
    AsJson,
    Home,
    IfMatch,
    Model,
    Why,
    client_of,
    instant,
    say,
)
from controlplane.client import ControlClient
from controlplane.errors import Refused
from controlplane.views import RunView, VersionView

Number = Annotated[int, typer.Argument(help="the version's number")]
Ends = Annotated[str | None, typer.Option("--until", help="it ends by itself then, such as 2026-03-01T12:00:00Z")]
AwayFrom = Annotated[
    int | None, typer.Option("--from", help="the version that is bad: nothing is done where another is in production")
]
OneRule = Annotated[str | None, typer.Option(help="this rule only; all where none is named")]


class RunFailed(Refused):
    """The run that was waited for made no version."""

    code = "run_failed"


def apply(
    folder: Path, reason: Annotated[str, typer.Option(help="why, for the audit log")] = "", if_match: IfMatch = None,
    home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Declare the model of a recipe folder. Applying the same twice changes nothing."""
    with client_of(home) as client:
        applied = client.apply(folder, reason, if_match)
    change = "applied" if applied.changed else "nothing changed"
    say(as_json, applied, f"{applied.model}: {change} (spec {applied.spec_digest[:12]})")


def train(
    model: Model, reason: Why,
    request_id: Annotated[str | None, typer.Option(help="a UUID; the same again asks for the same run")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="show how far it is, and end when it has ended")] = False,
    if_match: IfMatch = None, home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Ask for a training run."""
    with client_of(home) as client:
        run = client.train(model, reason, request_id, if_match)
        if wait:
            run = _until_ended(client, run, as_json)
    say(as_json, run, f"run {run.key} {'has' if wait else 'is'} {run.state}")
    if wait and run.state != "succeeded":
        raise RunFailed(f"run {run.key} has {run.state}: {run.failure_message or run.cancel_why or 'no reason given'}")


def _until_ended(client: ControlClient, run: RunView, quiet: bool) -> RunView:
    """The run when it has ended. How far it is goes to the standard error, so that an answer stays one JSON value."""
    console = Console(stderr=True)
    with console.status("waiting to be started") as shown:
        for seen in client.watch_run(run.model, run.key):
            run = seen
            if seen.progress and not quiet:
                said = f"{seen.progress['fraction']:>4.0%}  {seen.progress['phase']}: {seen.progress['message']}"
                shown.update(escape(said))
                if not console.is_terminal:
                    console.print(said, markup=False, highlight=False)
    return run


def cancel(
    model: Model, key: Annotated[str, typer.Argument(help="the run's key, as `driftgate runs` shows it")], reason: Why,
    if_match: IfMatch = None, home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """End a run: it makes no version."""
    with client_of(home) as client:
        run = client.cancel(model, key, reason, if_match)
    say(as_json, run, f"run {run.key} will end at the next tick")


def approve(
    model: Model, number: Number, reason: Why, if_match: IfMatch = None, home: Home = None, as_json: AsJson = False
) -> None:
    """Let a version that waits for a person go on."""
    with client_of(home) as client:
        _say_version(model, client.approve(model, number, reason, if_match), as_json)


def reject(
    model: Model, number: Number, reason: Why, if_match: IfMatch = None, home: Home = None, as_json: AsJson = False
) -> None:
    """Take a version out of the way to production for good."""
    with client_of(home) as client:
        _say_version(model, client.reject(model, number, reason, if_match), as_json)


def promote(
    model: Model, number: Number, reason: Why, if_match: IfMatch = None, home: Home = None, as_json: AsJson = False
) -> None:
    """Put a version that is loaded into production at once, whatever steps remain."""
    with client_of(home) as client:
        _say_version(model, client.promote(model, number, reason, if_match), as_json)


def rollback(
    model: Model, reason: Why, away_from: AwayFrom = None, if_match: IfMatch = None, home: Home = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Put the version that was retired last back into production."""
    with client_of(home) as client:
        if away_from is None and (production := client.status(model).production) is not None:
            away_from = production.number
        version = client.roll_back(model, reason, if_match, away_from)
    say(as_json, version, f"{model}: version {version.number} is in production again")


def _say_version(model: str, version: VersionView, as_json: bool) -> None:
    say(as_json, version, f"{model}: version {version.number} is {version.state}")


def pause(
    model: Model, reason: Why, rule: OneRule = None, until: Ends = None, home: Home = None, as_json: AsJson = False
) -> None:
    """Let no rule of a model fire, or not this one."""
    _hold(model, f"rule:{rule}" if rule else "rules", reason, until, home, as_json)


def resume(model: Model, reason: Why, rule: OneRule = None, home: Home = None, as_json: AsJson = False) -> None:
    """Let the rules of a model fire again, or this one."""
    _go_on(model, f"rule:{rule}" if rule else "rules", reason, home, as_json)


def freeze(model: Model, reason: Why, until: Ends = None, home: Home = None, as_json: AsJson = False) -> None:
    """Let no version of a model move to production by itself."""
    _hold(model, "rollout", reason, until, home, as_json)


def unfreeze(model: Model, reason: Why, home: Home = None, as_json: AsJson = False) -> None:
    """Let rollouts of a model go on."""
    _go_on(model, "rollout", reason, home, as_json)


def _hold(model: str, what: str, reason: str, until: str | None, home: Path | None, as_json: bool) -> None:
    ends = instant(until, "--until")
    with client_of(home) as client:
        hold = client.hold(model, what, reason, ends)
    say(as_json, hold, f"{model}: {what} is held {f'until {ends.isoformat()}' if ends else 'until it is taken away'}")


def _go_on(model: str, what: str, reason: str, home: Path | None, as_json: bool) -> None:
    with client_of(home) as client:
        client.end_hold(model, what, reason)
    say(as_json, {"model": model, "what": what, "held": False}, f"{model}: {what} goes on")


def hook_secret(model: Model, reason: Why, home: Home = None, as_json: AsJson = False) -> None:
    """Make a new secret of a model's signed webhook and show it, this once. The one before opens nothing any more."""
    with client_of(home) as client:
        made = client.hook_secret(model, reason)
        url = f"{client.url}{made.path}"
    say(as_json, made, f"{made.secret}\nsigned calls go to {url}; the secret is not shown again")
