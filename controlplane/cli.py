"""`driftgate`, the command line.

Exit codes: 0 done; 1 refused, or ended with an error; 2 wrong usage; 3 the control plane does not answer.
Commands that answer take --json. DRIFTGATE_URL and DRIFTGATE_TOKEN name another control plane than that of the data
folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from controlplane.client import ControlClient, Listing
from controlplane.credentials import read_credentials
from controlplane.errors import ControlPlaneError, Unreachable
from controlplane.settings import Settings
from controlplane.showing import show_listing, show_statuses
from observability.ledger import ledger
from pipeline.contract.specfile import SpecInvalid

DONE: Final = 0
REFUSED: Final = 1
UNREACHABLE: Final = 3

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
Home = Annotated[Path | None, typer.Option("--home", help="the data folder (CONTROLPLANE_HOME, driftgate-data)")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON value instead of a table")]
Model = Annotated[str, typer.Argument(help="namespace/slug, such as default/tweets")]
Limit = Annotated[int, typer.Option(min=1, max=1000)]


def main() -> None:
    """Run a command; errors become one line and an exit code."""
    try:
        app()
    except Unreachable as error:
        _stop(str(error), UNREACHABLE)
    except (ControlPlaneError, SpecInvalid) as error:
        _stop(str(error), REFUSED)


def _stop(message: str, code: int) -> None:
    Console(stderr=True, soft_wrap=True).print(message, markup=False, style="red")
    raise SystemExit(code)


def _settings(home: Path | None) -> Settings:
    return Settings(home=home) if home is not None else Settings()


def _client(home: Path | None) -> ControlClient:
    settings = _settings(home)
    url = os.environ.get("DRIFTGATE_URL", settings.url)
    token = os.environ.get("DRIFTGATE_TOKEN")
    if token is None:
        path = settings.folders.credentials
        try:
            token = read_credentials(path).admin.get_secret_value()
        except FileNotFoundError as error:
            raise Unreachable(
                f"there is no {path}: start Driftgate with `driftgate up`, name its data folder with --home, "
                "or set DRIFTGATE_URL and DRIFTGATE_TOKEN"
            ) from error
    return ControlClient(url, token)


def _say(as_json: bool, value: Any, show: Callable[[], None] | str) -> None:  # noqa: ANN401 - JSON
    if as_json:
        print(json.dumps(value))
    elif isinstance(show, str):
        Console(soft_wrap=True).print(show, markup=False)
    else:
        show()


@app.command()
def up(home: Home = None) -> None:
    """Start control plane, monitor, shipper and serving, and watch over them until Ctrl-C."""
    import_module("controlplane.up").main(_settings(home))


@app.command()
def control(home: Home = None) -> None:
    """Run the control plane: REST API, admin page, and the tick."""
    import_module("controlplane.processes").run_control(_settings(home))


@app.command()
def monitor(home: Home = None) -> None:
    """Run the monitor: cuts windows and has them scored."""
    import_module("controlplane.processes").run_monitor(_settings(home))


@app.command()
def ship(home: Home = None) -> None:
    """Run the shipper: moves spooled events to the log store."""
    import_module("controlplane.processes").run_shipper(_settings(home))


@app.command()
def serve(home: Home = None) -> None:
    """Run the BentoML service."""
    import_module("controlplane.processes").run_serving(_settings(home))


@app.command()
def migrate(home: Home = None, as_json: AsJson = False) -> None:
    """Bring the database to this release's schema. Doing it again changes nothing."""
    moved = import_module("controlplane.store").migrate_database(_settings(home).database)
    was = f"from revision {moved.before}" if moved.before else "from none"
    _say(as_json, {"from": moved.before, "to": moved.after}, f"the schema is at revision {moved.after}, {was}")


@app.command()
def apply(folder: Path, home: Home = None, as_json: AsJson = False) -> None:
    """Declare the model of a recipe folder. Applying the same twice changes nothing."""
    with _client(home) as client:
        applied = client.apply(folder)
    change = "applied" if applied["changed"] else "nothing changed"
    _say(as_json, applied, f"{applied['model']}: {change} (spec {applied['spec_digest'][:12]})")


@app.command()
def ingest(
    folder: Path,
    file: Path,
    until: Annotated[str | None, typer.Option(help="leave out rows at or after this instant")] = None,
    home: Home = None,
) -> None:
    """Bring a CSV file into the data layers of a recipe's model. Prints the counts as JSON."""
    command = [sys.executable, "-m", "pipeline.ingest_command", "--home", str(_settings(home).folders.root)]
    command += ["--recipe", str(folder), "--file", str(file), *(["--until", until] if until else [])]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command()
def train(
    model: Model,
    reason: Annotated[str, typer.Option(help="why, for the ledger")],
    request_id: Annotated[str | None, typer.Option(help="a UUID; the same again asks for the same run")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a training run."""
    with _client(home) as client:
        run = client.train(model, reason, request_id)
    _say(as_json, run, f"run {run['key']} is {run['state']}")


@app.command()
def status(model: Annotated[str | None, typer.Argument()] = None, home: Home = None, as_json: AsJson = False) -> None:
    """Where a model stands, or every model."""
    with _client(home) as client:
        found = [client.status(model)] if model else client.models()
    _say(as_json, found[0] if model else found, lambda: show_statuses(Console(), found))


def _list(kind: Listing, model: str, limit: int, home: Path | None, as_json: bool) -> None:
    with _client(home) as client:
        rows = client.listing(model, kind, limit)
    _say(as_json, rows, lambda: show_listing(Console(), kind, rows))


@app.command()
def versions(model: Model, limit: Limit = 20, home: Home = None, as_json: AsJson = False) -> None:
    """A model's versions, newest first."""
    _list("versions", model, limit, home, as_json)


@app.command()
def windows(model: Model, limit: Limit = 20, home: Home = None, as_json: AsJson = False) -> None:
    """A model's windows with what the monitor said, newest first."""
    _list("windows", model, limit, home, as_json)


@app.command()
def decisions(model: Model, limit: Limit = 20, home: Home = None, as_json: AsJson = False) -> None:
    """What the rules decided and why, newest first."""
    _list("decisions", model, limit, home, as_json)


@app.command()
def firings(model: Model, limit: Limit = 20, home: Home = None, as_json: AsJson = False) -> None:
    """Which rules fired, for which cause, newest first."""
    _list("firings", model, limit, home, as_json)


@app.command()
def runs(model: Model, limit: Limit = 20, home: Home = None, as_json: AsJson = False) -> None:
    """A model's training runs, newest first."""
    _list("runs", model, limit, home, as_json)


@app.command()
def rollback(
    model: Model,
    reason: Annotated[str, typer.Option(help="why, for the ledger")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Put the version that was retired last back into production."""
    with _client(home) as client:
        version = client.roll_back(model, reason)
    _say(as_json, version, f"{model}: version {version['number']} is in production again")


@app.command(name="ledger")
def log_ledger(home: Home = None, as_json: AsJson = False) -> None:
    """Count the log path: spooled = indexed + dead-lettered + waiting, since the first event."""
    counted = ledger(_settings(home).folders.spool)
    told = {**counted.model_dump(), "unaccounted": counted.unaccounted}
    _say(as_json, told, "\n".join(f"{name:<14} {count:>12,}" for name, count in told.items()))


@app.command()
def demo(
    recipe: Annotated[str, typer.Argument(help="tweets, flights, or a recipe folder")] = "tweets",
    data: Annotated[Path | None, typer.Option(help="replay this CSV file")] = None,
    home: Home = None,
    end: Annotated[bool, typer.Option("--exit", help="end when the stream ends; JSON in the last line")] = False,
) -> None:
    """Run the whole loop on one machine: train, serve, drift, retrain, promote."""
    replay = import_module("controlplane.replay.demo")
    summary = replay.run(replay.Demo(recipe=recipe, data=data, home=home, exit=end), Console())
    if end:
        print(json.dumps(summary.as_json()), flush=True)
