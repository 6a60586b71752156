"""`driftgate`, the command line.

Exit codes: 0 done; 1 refused, or ended with an error; 2 wrong usage; 3 the control plane or log store does not answer.
Commands that answer take --json. DRIFTGATE_URL and DRIFTGATE_TOKEN name another control plane than that of the data
folder, and DRIFTGATE_CA_CERT the certificate of an authority to trust beside the public ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import typer
from rich.console import Console

from controlplane.cli import alerting, changing, kibana, logs, looking, people, processes, trying, watching
from controlplane.errors import ControlPlaneError, Unreachable
from pipeline.contract.specfile import SpecInvalid

DONE: Final = 0
REFUSED: Final = 1
UNREACHABLE: Final = 3

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
COMMANDS: Final[tuple[Callable[..., None], ...]] = (
    processes.up, processes.control, processes.monitor, processes.ship, processes.serve, processes.migrate,
    changing.apply, processes.ingest, changing.train, looking.status, looking.versions, looking.windows,
    looking.decisions, looking.firings, looking.runs, looking.rollouts, looking.holds, changing.cancel,
    changing.approve, changing.reject, changing.promote, changing.rollback, changing.pause, changing.resume,
    changing.freeze, changing.unfreeze, changing.hook_secret, looking.notifications, people.me, processes.demo,
    watching.watch, watching.watch_events,
)  # fmt: skip
for command in COMMANDS:
    app.command(name=command.__name__.replace("_", "-"))(command)
app.command(name="ledger")(processes.log_ledger)
app.add_typer(logs.logs, name="logs")
app.add_typer(kibana.kibana, name="kibana")
app.add_typer(alerting.alerts, name="alerts")
app.add_typer(trying.rules, name="rules")
app.add_typer(people.tokens, name="tokens")
app.add_typer(people.audit, name="audit")


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
