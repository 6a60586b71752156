"""Answers of the API as tables for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

Json = Mapping[str, Any]
#: kind of listing to its columns: heading and what stands there
COLUMNS: Final[dict[str, list[tuple[str, Callable[[Json], object]]]]] = {
    "versions": [
        ("version", lambda row: row["number"]),
        ("state", lambda row: row["state"]),
        ("parent", lambda row: row["parent"]),
        ("made", lambda row: when(row["made_at"])),
        ("metric", lambda row: headline(row["metrics"])),
        ("note", lambda row: row["note"]),
    ],
    "windows": [
        ("monitor", lambda row: row["monitor"]),
        ("segment", lambda row: row["segment"]),
        ("version", lambda row: row["version"]),
        ("until", lambda row: when(row["until_time"])),
        ("rows", lambda row: row["rows"]),
        ("labelled", lambda row: row["labelled"]),
        ("drifted", lambda row: percent(row["verdict"].get("drifted_share"))),
        ("reference", lambda row: (row["verdict"].get("reference") or {}).get("kind")),
        ("metric", lambda row: headline(row["verdict"].get("error") or {})),
    ],
    "decisions": [
        ("decided", lambda row: when(row["decided_at"])),
        ("rule", lambda row: row["rule"]),
        ("reason", lambda row: row["reason"]),
        ("detail", lambda row: row["detail"]),
    ],
    "firings": [
        ("fired", lambda row: when(row["fired_at"])),
        ("rule", lambda row: row["rule"]),
        ("trigger", lambda row: row["trigger"]),
        ("cause", lambda row: row["cause"]),
        ("detail", lambda row: row["detail"]),
    ],
    "runs": [
        ("run", lambda row: row["key"]),
        ("state", lambda row: row["state"]),
        ("asked", lambda row: when(row["asked_at"])),
        ("how far", lambda row: row["failure_code"] or (row["progress"] or {}).get("phase")),
    ],
    "rollouts": [
        ("version", lambda row: row["version"]),
        ("state", lambda row: row["state"]),
        ("share", lambda row: percent(row["share"])),
        ("replaces", lambda row: row["champion"]),
        ("began", lambda row: when(row["began_at"])),
        ("note", lambda row: row["note"]),
    ],
    "holds": [
        ("what", lambda row: row["what"]),
        ("since", lambda row: when(row["since"])),
        ("until", lambda row: when(row["until"])),
        ("by", lambda row: row["by"]),
        ("why", lambda row: row["why"]),
    ],
    "alerts": [
        ("alert", lambda row: row["id"]),
        ("name", lambda row: row["name"]),
        ("state", lambda row: row["state"]),
        ("summary", lambda row: row["summary"]),
    ],
    "notifications": [
        ("channel", lambda row: row["channel"]),
        ("due", lambda row: "given up" if row["given_up_at"] else when(row["due_at"])),
        ("tried", lambda row: row["attempts"]),
        ("error", lambda row: row["last_error"]),
    ],
    "tokens": [
        ("token", lambda row: row["id"]),
        ("name", lambda row: row["name"]),
        ("role", lambda row: row["role"]),
        ("ends", lambda row: "revoked" if row["revoked_at"] else when(row["expires_at"])),
    ],
    "trial": [
        ("would fire", lambda row: when(row["at"])),
        ("reason", lambda row: row["reason"]),
        ("detail", lambda row: row["detail"]),
    ],
    "audit": [
        ("entry", lambda row: row["sequence"]),
        ("at", lambda row: when(row["at"])),
        ("by", lambda row: row["actor"]),
        ("action", lambda row: row["action"]),
        ("why", lambda row: row["why"]),
    ],
}


#: columns that hold sentences, or names that people chose: they give way where the terminal is narrow
LONG: Final = frozenset(
    {"note", "detail", "failure", "why", "summary", "error", "rule", "cause", "reason", "monitor", "name", "by"}
)


#: without lines between the columns, so that a table fits 80 of them
LOOK: Final[dict[str, Any]] = {"box": None, "padding": (0, 2, 0, 0), "header_style": "bold"}


def show_listing(console: Console, kind: str, rows: Sequence[Json]) -> None:
    """A table, newest first."""
    columns = COLUMNS[kind]
    table = Table(*(Column(heading, no_wrap=heading not in LONG, overflow="fold") for heading, _ in columns), **LOOK)
    for row in rows:
        table.add_row(*(cell(value(row)) for _, value in columns))
    console.print(table)


def show_one(console: Console, thing: Json) -> None:
    """Everything about one thing, a line for each field; what is nested as JSON."""
    table = Table(Column(no_wrap=True), Column(overflow="fold"), show_header=False, box=None)
    for name, value in thing.items():
        said = json.dumps(value) if isinstance(value, dict | list) else value
        table.add_row(cell(name), cell(said))
    console.print(table)


def told_change(status: Json) -> str:
    """Where a model stands, in one line."""
    production = f"v{status['production']['number']} in production" if status["production"] else "nothing in production"
    said = [production, under_way(status) or "nothing under way", *(f"{each['what']} held" for each in status["holds"])]
    if status["open_alerts"]:
        said.append(f"{status['open_alerts']} alerts")
    return f"{when(status['now'])}  {status['model']}: {', '.join(said)}"


def show_statuses(console: Console, statuses: Sequence[Json]) -> None:
    """One row for each model."""
    headings = ("model", "in service", "under way", "watermark", "fired", "runs", "held", "alerts")
    table = Table(*(Column(heading, overflow="fold") for heading in headings), **LOOK)
    for status in statuses:
        counts = status["counts"]
        table.add_row(
            cell(status["model"]),
            cell(f"v{status['production']['number']}" if status["production"] else None),
            cell(under_way(status)),
            cell(when(status["watermark"])),
            cell(", ".join(f"{count} {kind}" for kind, count in counts["firings"].items() if count)),
            cell(sum(counts["runs"].values())),
            cell(", ".join(each["what"] for each in status["holds"])),
            cell(status["open_alerts"] or None),
        )
    console.print(table)


def under_way(status: Json) -> str | None:
    """What is being trained or rolled out, in words."""
    if run := status["active_run"]:
        return f"{run['rule']}: {run['phase'] or run['state']} {run['fraction']:.0%}"
    if rollout := status["rollout"]:
        return f"v{rollout['version']} {rollout['state']}"
    return None


def cell(value: object) -> str:
    """A value as text that the terminal does not read as markup."""
    return "-" if value is None or value == "" else escape(str(value))


def when(instant: str | None) -> str | None:
    return instant[:16].replace("T", " ") if instant else None


def headline(metrics: Json) -> str | None:
    """The metric that says most in one number: how well a classifier ranks, how far off a regression is."""
    for name in ("roc_auc", "mae", "error"):
        if metrics.get(name) is not None:
            return f"{name} {number(metrics[name])}"
    return None


def number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def percent(value: float | None) -> str | None:
    return None if value is None else f"{value:.0%}"
