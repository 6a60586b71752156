"""Commands about the log store: `driftgate logs ...`."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from controlplane.cli import deadletters
from controlplane.cli.calling import AsJson, say
from controlplane.errors import Unreachable
from observability.ports import LogStoreUnavailable
from observability.settings import Settings

logs = typer.Typer(no_args_is_help=True, help="Logs: the store that events go to, and what it refused.")
logs.command(name="dead-letters")(deadletters.dead_letters)
logs.command()(deadletters.retry)


@logs.command()
def setup(
    check: Annotated[bool, typer.Option("--check", help="only say what is missing; exit 1 where something is")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring Elasticsearch's templates to this release and these settings. Doing it again changes nothing.

    Takes the OBSERVABILITY_ELASTICSEARCH settings; the embedded log store needs no setup.
    """
    settings = Settings()
    if settings.store == "embedded":
        say(as_json, {"missing" if check else "done": []}, "the embedded log store needs no setup")
        return
    client, streams = import_module("observability.elastic.client"), import_module("observability.elastic.streams")
    try:
        with client.connect(settings) as connected:
            found = (streams.pending if check else streams.setup)(connected, settings)
    except LogStoreUnavailable as error:
        raise Unreachable(str(error)) from error
    if check:
        say(as_json, {"missing": found}, "\n".join(found) or "nothing is missing")
    else:
        say(as_json, {"done": found}, "\n".join(found) or "nothing had to be done")
    if check and found:
        raise typer.Exit(1)
