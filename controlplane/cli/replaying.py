"""`driftgate rules replay`: all rules of a model under other settings, as a table and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Column, Table

from controlplane.cli.calling import AsJson, Home, Model, Since, Until, client_of, instant, plain, say
from controlplane.cli.showing import LOOK, cell, number, when
from controlplane.ui.replaylanes import as_file, lanes, line_of
from pipeline.contract.specfile import read_yaml

#: characters of a lane in the terminal
LANE: Final = 60
ChangesFile = Annotated[
    Path | None,
    typer.Option("--changes", help="a YAML file with a part of a spec: rules, monitors, false_alarms, budget"),
]
SvgFile = Annotated[Path | None, typer.Option("--svg", help="write the picture into this file")]


def replay(
    model: Model, changes: ChangesFile = None, since: Since = None, until: Until = None, svg: SvgFile = None,
    home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """What all rules would have decided over what is stored, under other settings. Nothing is changed."""
    asked = _changes(changes)
    with client_of(home) as client:
        told = plain(client.replay(model, asked, instant(since, "--since"), instant(until, "--until")))
    if svg is not None:
        svg.write_text(as_file(lanes(told)), encoding="utf-8")
    say(as_json, told, lambda: show(Console(), told))


def _changes(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error}", param_hint="--changes") from error
    if not isinstance(found, dict):
        raise typer.BadParameter(f"{path}: write a part of a spec, such as rules: or monitors:", param_hint="--changes")
    return found


def show(console: Console, told: dict[str, Any]) -> None:
    """The difference by rule, both lanes, and what it is of."""
    headings = ("rule", "fired", "would fire", "alike", "CPU hours more")
    table = Table(*(Column(each, no_wrap=each != "rule", overflow="fold") for each in headings), **LOOK)
    for rule in told["rules"]:
        hours = number(rule["cpu_hours_more"])
        table.add_row(*(cell(each) for each in (rule["rule"], rule["fired"], rule["would_fire"], rule["alike"], hours)))
    console.print(table)
    since, until = instant(told["since"], "since"), instant(told["until"], "until")
    if since is not None and until is not None:
        for name, firings in (("in truth", told["fired"]), ("in the replay", told["would_fire"])):
            console.print(f"{name:>13} {line_of(firings, since, until, LANE)}", highlight=False, soft_wrap=True)
    decisions, verdicts = told["decisions"], told["verdicts"]
    before = decisions["truncated_before"]
    console.print(
        f"from {when(told['since'])} to {when(told['until'])} in {told['seconds']:.2f} seconds, "
        f"{told['times_faster']:,.0f} times faster than time{'' if told['complete'] else '; the rest was too long'}\n"
        f"{decisions['alike']} of {decisions['in_truth']} decisions are the same, of {decisions['in_replay']} now"
        f"{f'; those until {when(before)} were too many and are left out' if before else ''}\n"
        f"{verdicts['windows']} windows judged again, {verdicts['changed']} of them otherwise; "
        f"{verdicts['left']} have no p-values and stay",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
