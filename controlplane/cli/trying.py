"""Commands about rules: `driftgate rules ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from controlplane.cli.calling import AsJson, Home, Since, client_of, instant, plain, say
from controlplane.cli.replaying import replay
from controlplane.cli.showing import cell, number, show_listing, when
from pipeline.contract.specfile import read_recipe

rules = typer.Typer(no_args_is_help=True, help="Rules, before they are applied.")


@rules.callback()
def _rules() -> None:
    """Rules, before they are applied."""


rules.command(name="replay")(replay)


@rules.command(name="try")
def try_rule(
    folder: Annotated[Path, typer.Argument(help="the recipe folder whose model.yaml declares the rule")],
    rule: Annotated[str, typer.Argument(help="the rule's name")],
    since: Since = None, home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """When a rule would have fired over what is stored of its model, and the cost. Nothing is changed."""
    spec, _ = read_recipe(folder)
    declared = {each.name: each for each in spec.rules}
    if rule not in declared:
        known = ", ".join(declared) or "none"
        raise typer.BadParameter(f"{folder} declares no rule {rule}: it has {known}", param_hint="RULE")
    with client_of(home) as client:
        said = declared[rule].model_dump(mode="json")
        trial = plain(client.try_rule(spec.model, said, instant(since, "--since")))
    say(as_json, trial, lambda: _show(Console(), trial))


def _show(console: Console, trial: dict[str, Any]) -> None:
    show_listing(console, "trial", trial["would_fire"])
    cost = trial["cost"]
    hours = number(cost["cpu_hours"]) or "unknown"
    console.print(
        f"{cell(trial['rule'])} over {trial['windows']} windows from {when(trial['since'])} to {when(trial['until'])}: "
        f"{cost['runs']} runs, {hours} CPU hours; {len(trial['fired'])} rules fired in truth",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
    for wait in trial["waited"]:
        console.print(f"waited {wait['times']} times: {cell(wait['reason'])}: {cell(wait['detail'])}", soft_wrap=True)
