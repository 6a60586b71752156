"""Commands that look at models and at what has happened to them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from controlplane.cli.calling import (
    AsJson,
    Home,
    Limit,
    Model,
    Rule,
    Since,
    State,
    Until,
    client_of,
    instant,
    plain,
    say,
)
from controlplane.cli.showing import show_listing, show_one, show_statuses, told_change
from controlplane.views import Status


def status(
    model: Annotated[str | None, typer.Argument(help="namespace/slug; every model where none is named")] = None,
    team: Annotated[str | None, typer.Option(help="of this team only")] = None,
    state: Annotated[str | None, typer.Option(help="new, training, rollout or serving")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="say it again whenever it changes, until Ctrl-C")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Where a model stands, or every model."""
    with client_of(home) as client:
        if model and watch:
            _watch(client.watch(model), as_json)
            return
        if watch:
            raise typer.BadParameter("name the model to watch", param_hint="--watch")
        found = [client.status(model)] if model else list(client.models(team=team, state=state))
    say(as_json, found[0] if model else found, lambda: show_statuses(Console(), plain(found)))


def _watch(changes: Iterable[Status], as_json: bool) -> None:
    try:
        for each in changes:
            print(json.dumps(plain(each)) if as_json else told_change(plain(each)), flush=True)
    except KeyboardInterrupt:
        return


def _list(kind: str, model: str | None, limit: int, home: Path | None, as_json: bool, **asked: Any) -> None:  # noqa: ANN401
    for bound in ("since", "until"):
        if bound in asked:
            asked[bound] = instant(asked[bound], f"--{bound}")
    with client_of(home) as client:
        rows = plain(getattr(client, kind)(*([model] if model else []), limit=limit, **asked))
    say(as_json, rows, lambda: show_listing(Console(), kind, rows))


def versions(
    model: Model, limit: Limit = 20, state: State = None, since: Since = None, until: Until = None,
    number: Annotated[int | None, typer.Option(help="only this one, with everything about it")] = None,
    home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """A model's versions, newest first."""
    if number is None:
        _list("versions", model, limit, home, as_json, state=state, since=since, until=until)
        return
    with client_of(home) as client:
        seen = client.see_version(model, number)
    say(as_json, plain(seen.value), lambda: show_one(Console(), {**plain(seen.value), "etag": seen.tag}))


def windows(
    model: Model, limit: Limit = 20,
    monitor: Annotated[str | None, typer.Option(help="of this monitor only")] = None,
    segment: Annotated[
        str | None, typer.Option(help="of this segment only, such as carrier=AA; whole windows where it is empty")
    ] = None,
    version: Annotated[int | None, typer.Option(help="of this version only")] = None,
    since: Since = None, until: Until = None,
    window_id: Annotated[str | None, typer.Option("--id", help="only this one, with everything about it")] = None,
    report: Annotated[
        Path | None, typer.Option(help="with --id: write Evidently's report of it to this HTML file")
    ] = None,
    home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """A model's windows with what the monitor said, newest first."""
    if report is not None:
        _keep_report(model, window_id, report, home, as_json)
        return
    if window_id is None:
        wanted = {"monitor": monitor, "segment": segment, "version": version}
        _list("windows", model, limit, home, as_json, since=since, until=until, **wanted)
        return
    with client_of(home) as client:
        window = plain(client.window(model, window_id))
    say(as_json, window, lambda: show_one(Console(), window))


def _keep_report(model: str, window_id: str | None, file: Path, home: Path | None, as_json: bool) -> None:
    if window_id is None:
        raise typer.BadParameter("name the window with --id", param_hint="--report")
    with client_of(home) as client:
        written = file.write_bytes(client.report(model, window_id))
    said = {"window": window_id, "file": str(file), "bytes": written}
    say(as_json, said, f"{file.name}: Evidently's report of a window, {written:,} bytes")


def decisions(
    model: Model, limit: Limit = 20, rule: Rule = None,
    outcome: Annotated[str | None, typer.Option(help="fire or wait")] = None,
    reason: Annotated[str | None, typer.Option(help="with this reason only, such as WAIT_COOLDOWN")] = None,
    version: Annotated[int | None, typer.Option(help="about this version only")] = None,
    since: Since = None, until: Until = None, home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """What the rules decided and why, newest first."""
    asked = {"rule": rule, "outcome": outcome, "reason": reason, "version": version, "since": since, "until": until}
    _list("decisions", model, limit, home, as_json, **asked)


def firings(
    model: Model, limit: Limit = 20, rule: Rule = None,
    trigger: Annotated[str | None, typer.Option(help="data, schedule, metric, manual or webhook")] = None,
    since: Since = None, until: Until = None, home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Which rules fired, for which cause, newest first."""
    _list("firings", model, limit, home, as_json, rule=rule, trigger=trigger, since=since, until=until)


def runs(
    model: Model, limit: Limit = 20, state: State = None, since: Since = None, until: Until = None,
    key: Annotated[str | None, typer.Option(help="only this one, with everything about it")] = None,
    home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """A model's training runs, newest first."""
    if key is None:
        _list("runs", model, limit, home, as_json, state=state, since=since, until=until)
        return
    with client_of(home) as client:
        run = plain(client.run(model, key))
    say(as_json, run, lambda: show_one(Console(), run))


def rollouts(
    model: Model, limit: Limit = 20, state: State = None,
    version: Annotated[int | None, typer.Option(help="of this version only")] = None,
    since: Since = None, until: Until = None, home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """How versions came into production, or did not, newest first."""
    _list("rollouts", model, limit, home, as_json, state=state, version=version, since=since, until=until)


def holds(model: Model, home: Home = None, as_json: AsJson = False) -> None:
    """What of a model is stopped, by whom and why."""
    with client_of(home) as client:
        rows = plain(client.holds(model))
    say(as_json, rows, lambda: show_listing(Console(), "holds", rows))


def notifications(
    channel: Annotated[str | None, typer.Option(help="of this channel only")] = None,
    limit: Limit = 20, home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """What no channel has taken yet, and what was given up."""
    _list("notifications", None, limit, home, as_json, channel=channel)
