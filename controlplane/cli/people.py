"""Commands about who may call, and what was done: `driftgate tokens ...`, `driftgate audit ...`, `driftgate me`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from controlplane.cli.calling import AsJson, Home, Limit, Why, client_of, instant, plain, say
from controlplane.cli.showing import show_listing, show_one
from controlplane.errors import Refused

tokens = typer.Typer(no_args_is_help=True, help="Tokens: who may call.")
audit = typer.Typer(no_args_is_help=True, help="The audit log: who did what, and why.")
Actor = Annotated[str | None, typer.Option(help="by this token only")]
Subject = Annotated[str | None, typer.Option(help="to this only, such as default/tweets")]
Action = Annotated[str | None, typer.Option(help="of this kind only, such as model.apply")]


class ChainBroken(Refused):
    """The audit chain is not as it was written."""

    code = "chain_broken"


def me(home: Home = None, as_json: AsJson = False) -> None:
    """Who the token is, and what it may do."""
    with client_of(home) as client:
        said = plain(client.me())
    say(as_json, said, lambda: show_one(Console(), said))


@tokens.command()
def create(
    name: Annotated[str, typer.Argument(help="of the person or the program")],
    role: Annotated[str, typer.Option(help="viewer, operator, engineer, admin, service or predict")], reason: Why,
    expires: Annotated[str | None, typer.Option(help="it lets nobody in from then on")] = None,
    home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Make a token and show it, this once."""
    ends = instant(expires, "--expires")
    with client_of(home) as client:
        made = client.create_token(name, role, reason, ends)
    say(as_json, made, f"{made.token}\nthe token of {made.name} is not shown again")


@tokens.command(name="list")
def list_tokens(limit: Limit = 50, home: Home = None, as_json: AsJson = False) -> None:
    """Tokens, without their secrets."""
    with client_of(home) as client:
        rows = plain(client.tokens(limit))
    say(as_json, rows, lambda: show_listing(Console(), "tokens", rows))


@tokens.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="as `driftgate tokens list` shows it")], reason: Why,
    home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Let a token in no more."""
    with client_of(home) as client:
        token = client.revoke_token(token_id, reason)
    say(as_json, token, f"the token of {token.name} lets nobody in any more")


@audit.command(name="list")
def list_audit(
    actor: Actor = None, subject: Subject = None, action: Action = None, limit: Limit = 20, home: Home = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """What people and programs did, newest first."""
    with client_of(home) as client:
        rows = plain(client.audit(limit, actor, subject, action))
    say(as_json, rows, lambda: show_listing(Console(), "audit", rows))


@audit.command()
def export(
    file: Annotated[Path | None, typer.Argument(help="the standard output where none is named")] = None,
    actor: Actor = None, subject: Subject = None, action: Action = None, home: Home = None,
) -> None:  # fmt: skip
    """All of it as lines of JSON, oldest first."""
    with client_of(home) as client:
        lines = client.export_audit(actor, subject, action)
        if file is None:
            for line in lines:
                print(line)
            return
        with file.open("w", encoding="utf-8") as out:
            count = sum(out.write(f"{line}\n") > 0 for line in lines)
    Console(stderr=True, soft_wrap=True).print(f"{count} entries in {file}", markup=False)


@audit.command()
def verify(home: Home = None, as_json: AsJson = False) -> None:
    """Walk the whole chain: exit code 1 where it is not as it was written."""
    with client_of(home) as client:
        found = client.verify_audit()
    if not found.whole:
        raise ChainBroken(f"the audit chain is broken at entry {found.broken_at}: {found.why}")
    say(as_json, found, f"{found.entries} entries, as they were written; the last one is {found.head}")
