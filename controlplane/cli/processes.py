"""Commands that start something on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from controlplane.cli.calling import AsJson, Home, say, settings_of
from observability.spool.ledger import ledger


def up(home: Home = None) -> None:
    """Start control plane, monitor, shipper and serving, and watch over them until Ctrl-C."""
    import_module("controlplane.up").main(settings_of(home))


def control(home: Home = None) -> None:
    """Run the control plane: REST API, admin page, and the tick."""
    import_module("controlplane.processes").run_control(settings_of(home))


def monitor(home: Home = None) -> None:
    """Run the monitor: cuts windows and has them scored."""
    import_module("controlplane.processes").run_monitor(settings_of(home))


def ship(home: Home = None) -> None:
    """Run the shipper: moves spooled events to the log store."""
    import_module("controlplane.processes").run_shipper(settings_of(home))


def serve(home: Home = None) -> None:
    """Run the BentoML service."""
    import_module("controlplane.processes").run_serving(settings_of(home))


def migrate(home: Home = None, as_json: AsJson = False) -> None:
    """Bring the database to this release's schema. Doing it again changes nothing."""
    moved = import_module("controlplane.store").migrate_database(settings_of(home).database)
    was = f"from revision {moved.before}" if moved.before else "from none"
    say(as_json, {"from": moved.before, "to": moved.after}, f"the schema is at revision {moved.after}, {was}")


def ingest(
    folder: Path,
    file: Path,
    until: Annotated[str | None, typer.Option(help="leave out rows at or after this instant")] = None,
    home: Home = None,
) -> None:
    """Bring a CSV file into the data layers of a recipe's model. Prints the counts as JSON."""
    command = [sys.executable, "-m", "pipeline.ingest_command", "--home", str(settings_of(home).folders.root)]
    command += ["--recipe", str(folder), "--file", str(file), *(["--until", until] if until else [])]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def log_ledger(home: Home = None, as_json: AsJson = False) -> None:
    """Count the log path: spooled = indexed + dead-lettered + waiting, since the first event.

    Exits with 1 where that does not hold.
    """
    counted = ledger(settings_of(home).folders.spool)
    told = {**counted.model_dump(), "unaccounted": counted.unaccounted}
    say(as_json, told, "\n".join(f"{name:<14} {count:>12,}" for name, count in told.items()))
    if counted.unaccounted:
        raise typer.Exit(1)


def demo(
    recipe: Annotated[str, typer.Argument(help="tweets, flights, or a recipe folder")] = "tweets",
    data: Annotated[Path | None, typer.Option(help="replay this CSV file")] = None,
    home: Home = None,
    end: Annotated[bool, typer.Option("--exit", help="end when the stream ends; JSON in the last line")] = False,
    store: Annotated[
        Literal["embedded", "elasticsearch"] | None, typer.Option(help="where events are remembered")
    ] = None,
    url: Annotated[str | None, typer.Option(help="nodes of the Elasticsearch, with commas")] = None,
) -> None:
    """Run the whole loop on one machine: train, serve, drift, retrain, promote."""
    replay, logs = import_module("controlplane.replay.demo"), import_module("controlplane.replay.logs")
    asked = replay.Demo(recipe, data, home, end, logs.log_settings(store, url, os.environ))
    summary = replay.run(asked, Console())
    if end:
        print(json.dumps(summary.as_json()), flush=True)
