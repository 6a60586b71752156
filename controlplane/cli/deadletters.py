"""Commands for what the log store refused: to see it, and to send it again once the cause is mended."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from controlplane.cli.calling import AsJson, Home, Limit, say, settings_of
from observability.settings import Settings
from observability.spool.dead_letters import DeadLetter, DeadLetters
from observability.spool.retrying import SentAgain, send_again

_LONGEST_SHOWN = 200


def dead_letters(
    letter: Annotated[str | None, typer.Argument(help="show this one, whole: WRITER/SEGMENT:OFFSET")] = None,
    every: Annotated[bool, typer.Option("--all", help="those that were sent again, too")] = False,
    limit: Limit = 100,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List the lines that the log store refused, with the reason; or show one of them."""
    kept = DeadLetters(settings_of(home).folders.dead_letters)
    if letter is not None:
        _show(kept, letter, as_json)
        return
    found = list(islice(iter(kept) if every else kept.waiting(), limit))
    say(as_json, [_told(each) for each in found], lambda: _list(found))


def retry(home: Home = None, as_json: AsJson = False) -> None:
    """Send the dead letters again: each must pass the door; what passes goes to the log store by the shipper.

    Exits with 1 where some are refused still.
    """
    folders = settings_of(home).folders
    quota = Settings().spool_quota_bytes
    outcome = send_again(folders.spool, DeadLetters(folders.dead_letters), quota_bytes=quota)
    told = {**outcome.model_dump(exclude={"refused"}), "refused": [_told(each) for each in outcome.refused]}
    say(as_json, told, lambda: _tell(outcome))
    if outcome.refused or outcome.stopped:
        raise typer.Exit(1)


def _show(kept: DeadLetters, wanted: str, as_json: bool) -> None:
    found = next((each for each in kept if each.id == wanted), None)
    if found is None:
        Console(stderr=True).print(f"there is no dead letter {wanted}: `driftgate logs dead-letters` lists them")
        raise typer.Exit(1)
    say(as_json, _told(found), f"{found.reason}\n{found.data.decode(errors='backslashreplace')}")


def _told(letter: DeadLetter) -> dict[str, Any]:
    return {"id": letter.id, **letter.model_dump(exclude_none=True)}


def _list(letters: Sequence[DeadLetter]) -> None:
    table = Table("id", "reason", "line", box=None, pad_edge=False)
    for letter in letters:
        line = letter.data[:_LONGEST_SHOWN].decode(errors="backslashreplace")
        table.add_row(escape(letter.id), escape(letter.reason), escape(line))
    Console(soft_wrap=True).print(table)


def _tell(outcome: SentAgain) -> None:
    lines = [f"{outcome.sent} sent again, {len(outcome.refused)} refused still"]
    lines += [f"  {letter.id}: {letter.reason}" for letter in outcome.refused[:10]]
    lines += [outcome.stopped] if outcome.stopped else []
    Console(soft_wrap=True).print("\n".join(lines), markup=False, highlight=False)
