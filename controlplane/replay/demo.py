"""`driftgate demo`: starts everything under one data folder, trains a first version, replays a stream."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.markup import escape

from bundle.home import Home
from controlplane.access.credentials import Credentials, ensure_credentials
from controlplane.client import ControlClient
from controlplane.replay.drive import Pace, Replay, is_busy
from controlplane.replay.logs import refuse_unusable
from controlplane.replay.narrator import Narrator
from controlplane.replay.rows import ReplayRow
from controlplane.replay.source import ReplayRefused, Source, open_source, recipe_folder, run_pipeline
from controlplane.replay.story import show, summarise
from controlplane.replay.summary import Summary
from controlplane.replay.traffic import Traffic
from controlplane.up import Supervisor, run_until_signalled, services
from pipeline.contract.spec import ModelSpec
from pipeline.contract.specfile import read_recipe

MARKER: Final = "this-folder-is-a-demo"
#: single-row requests up to this many rows; a longer stream sends several rows in one
MANY_ROWS: Final = 12_000
BATCHES: Final = 40
TRICKLE: Final = 6.0
SERVING_ATTEMPTS: Final = 300


@dataclass(frozen=True)
class Demo:
    """What a demo is asked: a recipe folder or the name of a shipped one, a file of its own, where its data goes."""

    recipe: str
    data: Path | None
    home: Path | None
    exit: bool
    #: settings of the log store, OBSERVABILITY_*; those of the environment where there are none
    logs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Stage:
    """What a demo is played on: a recipe with its rows, and a running system."""

    console: Console
    folder: Path
    spec: ModelSpec
    source: Source
    home: Home
    credentials: Credentials
    control: ControlClient
    serving_url: str

    @property
    def model(self) -> str:
        return self.spec.model

    @property
    def predict_token(self) -> str:
        return self.credentials.predict.get_secret_value()


def run(demo: Demo, console: Console) -> Summary:
    """Run the whole loop; returns when the stream has ended and, unless told to exit, the user has pressed Ctrl-C.

    Raises ReplayRefused where the recipe or the file cannot be used.
    """
    folder = recipe_folder(demo.recipe)
    spec, _ = read_recipe(folder)
    remembered = refuse_unusable(demo.logs, spec.model)
    home = Home(_fresh(demo.home or Path("driftgate-data") / f"demo-{spec.model.replace('/', '-')}"))
    credentials = ensure_credentials(home.credentials)
    source = open_source(folder, spec, demo.data, home.root)
    _announce(console, spec, source, home)
    console.print(remembered, soft_wrap=True)
    control_port, serving_port = free_port(8460), free_port(8470)
    with Supervisor(
        home.service_logs, _environment(home, control_port, serving_port) | dict(demo.logs), console.print
    ) as supervisor:
        control_url, serving_url = f"http://127.0.0.1:{control_port}", f"http://127.0.0.1:{serving_port}"
        with console.status("starting the control plane, the monitor, the shipper and serving"):
            for service in services(control_url, serving_url):
                supervisor.start(service)
        with ControlClient(control_url, credentials.admin.get_secret_value()) as control:
            stage = _Stage(console, folder, spec, source, home, credentials, control, serving_url)
            summary = _play(stage)
        show(console, summary)
        console.print(f"admin page: [bold]{control_url}/[/bold]  token: `admin` in {home.credentials}", soft_wrap=True)
        if not demo.exit:
            console.print("it stays up until Ctrl-C")
            run_until_signalled(supervisor)
        return summary


def _announce(console: Console, spec: ModelSpec, source: Source, home: Home) -> None:
    console.print(f"[bold]{spec.model}[/bold]: {escape(spec.description)}", soft_wrap=True)
    console.print(escape(source.description), soft_wrap=True)
    if source.refused:
        console.print(
            f"{source.refused} rows are refused; the reasons are kept in {home.layers(spec.model)}", soft_wrap=True
        )
    if source.unlabelled:
        console.print(f"{source.unlabelled} rows have no label and are left out", soft_wrap=True)
    if not spec.rules:
        console.print("the spec has no rules: the model is trained once and never again", soft_wrap=True)


def _play(stage: _Stage) -> Summary:
    control, source, horizon = stage.control, stage.source, stage.spec.label.horizon
    control.set_clock(source.train_until)
    control.apply(stage.folder)
    _ingest(stage)
    traffic = Traffic(stage.serving_url, stage.predict_token, stage.model, horizon)
    with Narrator(stage.console, control, stage.model) as narrator:
        control.train(stage.model, "the first version")
        before = _wait_for_first(stage, narrator, traffic)
        _wait_for_serving(stage)
        replay = Replay(stage.model, control, traffic, narrator, _pace(source.live), horizon)
        asyncio.run(_until_the_end(replay, traffic, source.live))
    first = _first_scores(stage, before["production"]["manifest"])
    return summarise(control, stage.model, traffic, first, source, before)


def _pace(rows: Sequence[ReplayRow]) -> Pace:
    return Pace(
        rows_per_request=1 + len(rows) // MANY_ROWS,
        batch=max(50, len(rows) // BATCHES),
        longest=(rows[-1].event_time - rows[0].event_time) / BATCHES,
        trickle=TRICKLE,
    )


async def _until_the_end(replay: Replay, traffic: Traffic, rows: Sequence[ReplayRow]) -> None:
    try:
        await replay.run(rows)
    finally:
        await traffic.close()


def _ingest(stage: _Stage) -> None:
    source = stage.source
    until = source.train_until
    told = run_pipeline(
        "ingest_command", stage.home.root,
        "--recipe", str(stage.folder), "--file", str(source.file), "--until", until.isoformat(),
    )  # fmt: skip
    counts = json.loads(told)
    stage.console.print(
        f"ingested {counts['rows']:,} rows before {until:%Y-%m-%d} as history (label: {counts['label_column']}); "
        f"{len(source.live):,} later rows will be sent as requests",
        soft_wrap=True,
    )


def _wait_for_first(stage: _Stage, narrator: Narrator, traffic: Traffic) -> dict[str, Any]:
    """The status with the first version in service. Raises ReplayRefused with the reason where there will be none."""
    control, model = stage.control, stage.model
    while True:
        status = control.status(model).model_dump(mode="json")
        narrator.look(status, traffic)
        if status["production"] is not None:
            return status
        if not is_busy(status):
            run, version = next(control.runs(model, 1), None), next(control.versions(model, 1), None)
            why = run.failure_message if run else None
            why = why or (version.gate.detail if version and version.gate else "no version was made")
            raise ReplayRefused(f"no first version: {why}")
        time.sleep(0.3)


def _wait_for_serving(stage: _Stage) -> None:
    """Return once serving answers for the model: it pulls the desired state a moment after it was written."""
    headers = {"Authorization": f"Bearer {stage.predict_token}"}
    for _ in range(SERVING_ATTEMPTS):
        answer = httpx.get(f"{stage.serving_url}/v1/loaded", headers=headers, timeout=5.0, trust_env=False)
        if answer.is_success and any(each["model"] == stage.model for each in answer.json()["serving"]):
            return
        time.sleep(0.1)
    raise ReplayRefused(f"serving does not answer for {stage.model}: {answer.status_code} {answer.text[:200]}")


def _first_scores(stage: _Stage, manifest: str) -> dict[str, float]:
    """What the first version says of every replayed row, by id, computed offline from its own files."""
    rows, home = stage.source.live, stage.home.root
    asked, out = home / "replayed-rows.jsonl", home / "first-version-scores.json"
    asked.write_text("\n".join(json.dumps(row.raw) for row in rows), encoding="utf-8")
    run_pipeline("score", home, "--manifest", manifest, "--rows", str(asked), "--out", str(out))
    scores = json.loads(out.read_bytes())["scores"]
    return {row.id: score for row, score in zip(rows, scores, strict=True) if score is not None}


def _fresh(folder: Path) -> Path:
    """An empty folder; an earlier demo is removed, anything else is left alone. Raises ReplayRefused."""
    folder = folder.absolute()
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise ReplayRefused(f"{folder} holds something that is no demo: name another folder with --home")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
    return folder


def _environment(home: Home, control_port: int, serving_port: int) -> dict[str, str]:
    return {
        "CONTROLPLANE_HOME": str(home.root),
        "CONTROLPLANE_PORT": str(control_port),
        "CONTROLPLANE_SERVING_PORT": str(serving_port),
        "CONTROLPLANE_CLOCK": "replay",
        "CONTROLPLANE_TICK": "1s",
        "CONTROLPLANE_MONITOR_EVERY": "1s",
    }


def free_port(wanted: int) -> int:
    """The port if nobody listens on it, else any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ReplayRefused("no free port on 127.0.0.1")
