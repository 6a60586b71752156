"""Says what happens in a replay, as it happens: one line for each fact, and one line of current figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from controlplane.client import ControlClient
from controlplane.promotion.gate import GateReason
from controlplane.replay.traffic import Traffic
from controlplane.rules.decide import Reason

#: facts that are looked at, newest first, whenever something may have happened
RECENT = 20
RATE_SECONDS = 5.0
Facts = list[dict[str, Any]]


class Narrator:
    """Prints each window, decision, run, verdict and promotion once, with the time of the data."""

    def __init__(self, console: Console, control: ControlClient, model: str) -> None:
        self._console = console
        self._control = control
        self._model = model
        self._said: set[str] = set()
        self._rate = _Rate()
        self._live: Live | None = None

    def __enter__(self) -> Narrator:
        if self._console.is_terminal:
            self._live = Live(Text(""), console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def look(self, status: dict[str, Any], traffic: Traffic) -> None:
        """Say what is new since the last look."""
        for kind, tell in _TELLERS.items():
            newest = list(getattr(self._control, kind)(self._model, limit=RECENT))
            self._say_new(kind, (each.model_dump(mode="json") for each in reversed(newest)), tell)
        if status["active_run"] is not None:
            self._say_run(status["active_run"])
        if self._live is not None:
            self._live.update(Text(_figures(status, traffic, self._rate.of(traffic)), style="bold"))

    def _say_new(
        self, kind: str, facts: Iterable[dict[str, Any]], tell: Callable[[dict[str, Any]], list[_Line]]
    ) -> None:
        for fact in facts:
            for line in tell(fact):
                key = f"{kind} {line.key}"
                if key not in self._said:
                    self._said.add(key)
                    self._say(line)

    def _say_run(self, run: dict[str, Any]) -> None:
        key = f"run {run['key']} {run['phase']}"
        if key not in self._said:
            self._said.add(key)
            self._say(_Line(key, None, "training", _progress(run), "cyan"))

    def _say(self, line: _Line) -> None:
        at = f"{line.at:%Y-%m-%d %H:%M}" if line.at else " " * 16
        text = f"[dim]{at}[/dim]  [{line.style}]{line.what:<9}[/]  {escape(line.text)}"
        self._console.print(text, highlight=False, soft_wrap=True)


class _Line:
    """One fact in words; `key` says when it is the same fact again."""

    def __init__(self, key: str, at: str | None, what: str, text: str, style: str) -> None:
        self.key = key
        self.at = datetime.fromisoformat(at) if at else None
        self.what = what
        self.text = text
        self.style = style


class _Rate:
    """Answered rows a second over the last few seconds."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def of(self, traffic: Traffic) -> float:
        now = time.monotonic()
        self._seen = [(at, n) for at, n in self._seen if now - at <= RATE_SECONDS] + [(now, len(traffic.answers))]
        (first_at, first), (last_at, last) = self._seen[0], self._seen[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else 0.0


def _progress(run: dict[str, Any]) -> str:
    filled = round(20 * run["fraction"])
    return f"{'█' * filled}{'░' * (20 - filled)} {run['fraction']:>4.0%}  {run['phase'] or 'asked'}: {run['message']}"


def _figures(status: dict[str, Any], traffic: Traffic, rate: float) -> str:
    version = status["production"]["number"] if status["production"] else "-"
    text = (
        f"{(status['monitored_until'] or '')[:16].replace('T', ' ')}  v{version} in service  "
        f"{len(traffic.answers):,} answered, {rate:,.0f}/s, {traffic.requests_failed} failed"
    )
    run = status["active_run"]
    return f"{text}  {_progress(run)}" if run else text


def _window(window: dict[str, Any]) -> list[_Line]:
    whose = f"v{window['version']}" + (f", {window['segment']}" if window["segment"] else "")
    verdict, which = window["verdict"], f"{whose}, {window['rows']} rows"
    drifted = [name for name, feature in verdict["features"].items() if feature["drifted"]]
    text = f"{which}: {len(drifted)} of {len(verdict['features'])} features drifted"
    text += f" ({', '.join(drifted)})" if drifted else ""
    lines = [_Line(window["id"], window["until_time"], "window", text, "yellow" if drifted else "green")]
    if verdict["error"]:
        figures = ", ".join(f"{name} {value:.3f}" for name, value in verdict["error"].items())
        text = f"{which}, {window['labelled']} labels are in: {figures}"
        lines.append(_Line(f"{window['id']} errors", window["labels_due_at"], "labels", text, "blue"))
    return lines


#: waiting for these reasons is the normal course of things
_QUIET = {"WAIT_STABLE", "WAIT_NOT_DUE", "WAIT_NO_DATA", "WAIT_FEW_LABELS", "WAIT_NO_VERSION"}


def _decision(decision: dict[str, Any]) -> list[_Line]:
    fires = decision["outcome"] == "fire"
    if not fires and decision["reason"] in _QUIET:
        return []
    text = f"{decision['rule']}: {Reason[decision['reason']]}: {decision['detail']}"
    what, style = ("FIRES", "bold red") if fires else ("waits", "magenta")
    return [_Line(decision["id"], decision["decided_at"], what, text, style)]


def _version(version: dict[str, Any]) -> list[_Line]:
    number, gate = f"v{version['number']}", version["gate"]
    lines = []
    if gate is not None:
        verdict = "passes" if gate["passed"] else "is rejected"
        text = f"{number} {verdict}: {GateReason[gate['reason']]}: {gate['detail']}"
        lines.append(_Line(f"{number} gate", version["made_at"], "gate", text, "green" if gate["passed"] else "red"))
    if version["promoted_at"] is not None:
        text = f"{number} is in service"
        lines.append(
            _Line(f"{number} {version['promoted_at']}", version["promoted_at"], "promoted", text, "bold green")
        )
    return lines


def _run(run: dict[str, Any]) -> list[_Line]:
    if run["failure_code"] is None:
        return []
    text = f"failed: {run['failure_code']}: {run['failure_message']}"
    return [_Line(run["key"], run["ended_at"], "run", text, "bold red")]


#: list of the client to the lines of each of its rows
_TELLERS: dict[str, Callable[[dict[str, Any]], list[_Line]]] = {
    "windows": _window,
    "decisions": _decision,
    "runs": _run,
    "versions": _version,
}
