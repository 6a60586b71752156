"""Every route of the API can be called by the client and by the command line, and what they print can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from controlplane import cli
from controlplane.api.document import operations
from controlplane.cli import alerting, changing, looking, people, replaying, trying, watching
from controlplane.client import ControlClient
from controlplane.errors import Changed, ControlPlaneError, NothingToRollBackTo
from observability.events import parse
from observability.ids import new_id
from pipeline.contract.training import Failure, Progress
from tests.api_client import Wire, add, api_of
from tests.controlplane_world import MODEL, RECIPE, START, World, spec
from tests.integration.test_controlplane_api_changes import alert

#: for serving, for signed calls, for whoever watches the process
INSIDE = {
    ("get", "/healthz"), ("get", "/readyz"), ("get", "/api/v1/serving/desired"), ("get", "/api/v1/blobs/{sha256}"),
    ("put", "/api/v1/serving/instances/{instance_id}"), ("post", "/hooks/{ns}/{slug}"),
}  # fmt: skip
#: for replays: no command moves a clock
ONLY_BY_CLIENT = {("get", "/api/v1/clock"), ("put", "/api/v1/clock")}
SOON = (datetime.now(UTC) + timedelta(hours=1)).isoformat()


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def wire(world, monkeypatch):
    wire = Wire(api_of(world, hook_key=b"k" * 32))
    for module in (alerting, changing, looking, people, replaying, trying, watching):
        monkeypatch.setattr(module, "client_of", wire.client)
    return wire


def routes(wire) -> set[tuple[str, str]]:
    document = wire.application.get("/api/v1/openapi.json").json()
    return {(method, path) for path, method, _ in operations(document)} - INSIDE


def missing(wire) -> set[tuple[str, str]]:
    """The routes that nothing called."""

    def was_called(method: str, path: str) -> bool:
        pattern = re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path))
        return any(method == called and pattern.fullmatch(at) for called, at in wire.called)

    return {(method, path) for method, path in routes(wire) if not was_called(method, path)}


def lines_of_elsewhere(world, folder) -> Iterator[str]:
    """What is said of a model that is served elsewhere, each table twice as after an interruption."""
    model = "default/elsewhere"
    world.store.apply_model(spec([], model=model, entry=None), {}, world.clock.now())
    rows = pd.DataFrame(
        {"id": [f"p{row}" for row in range(1500)], "event_time": pd.date_range(START, periods=1500, freq="min"),
         "followers": np.arange(1500.0), "place": ["x", None, "y"] * 500, "score": np.linspace(0, 1, 1500)}
    )  # fmt: skip
    rows.loc[3, "followers"] = np.nan
    labels = pd.DataFrame({"prediction_id": rows["id"], "label": [Decimal(0), Decimal(1)] * 750})
    for name, table in (("usual", rows.drop(columns="id")), ("rows", rows), ("labels", labels)):
        table.to_parquet(folder / f"{name}.parquet")
    yield f"watch {model} --reference {folder}/usual.parquet --reason why"
    yield from [f"watch-events {model} {folder}/rows.parquet --labels {folder}/labels.parquet"] * 2
    events = [parse(line) for line in world.lines.lines]
    posted = [each.id for each in events if each.kind in ("prediction", "label")]
    assert len(set(posted)) == 3000 == len(posted) / 2


def recipe_folder(folder):
    """A recipe as a user has it."""
    folder.mkdir()
    declared = spec(description="new").model_dump(mode="json", by_alias=True, exclude_defaults=True)
    (folder / "model.yaml").write_text(yaml.safe_dump(declared), encoding="utf-8")
    for name, source in RECIPE.items():
        (folder / name).write_text(source, encoding="utf-8")
    return folder


def lines(world, folder) -> Iterator[str]:
    """Every command, in an order in which most of them can be granted."""
    version = world.to_production()
    firing = alert()
    add(world, firing)
    world.window(version.number, 1, features={"followers": {"score": 0.5, "drifted": False}})
    window = world.store.windows(MODEL)[0].id
    yield from ("status", f"status {MODEL}", f"versions {MODEL}", f"windows {MODEL}", f"decisions {MODEL}")
    yield from (f"versions {MODEL} --number 1", f"windows {MODEL} --id {window}", f"firings {MODEL} --rule manual")
    yield f"windows {MODEL} --id {window} --report {folder.parent / 'report.html'}"
    yield from (f"runs {MODEL} --state succeeded", f"runs {MODEL} --key {version.run_key}", f"rollouts {MODEL}")
    yield f"apply {recipe_folder(folder)} --reason why"
    yield f"rules try {folder} drifted --since 1969-12-01T00:00:00Z"
    (folder / "changes.yaml").write_text("false_alarms: {per_month: 0.1}", encoding="utf-8")
    yield f"rules replay {MODEL} --changes {folder / 'changes.yaml'} --since 1969-12-01T00:00:00Z"
    yield from lines_of_elsewhere(world, folder.parent)
    yield from (f"train {MODEL} --reason why", f"holds {MODEL}")
    yield f"cancel {MODEL} {world.store.active_run(MODEL).key} --reason why"
    yield from (f"{verb} {MODEL} 1 --reason why" for verb in ("approve", "reject", "promote"))
    yield f"rollback {MODEL} --reason why"
    yield from (f"{verb} {MODEL} --reason why" for verb in ("pause", "resume", "freeze", "unfreeze", "hook-secret"))
    yield from ("alerts list", f"alerts list {MODEL}", f"alerts show {firing.id}")
    yield from (f"alerts ack {firing.id} --reason why", f"alerts silence {firing.id} --reason why --until {SOON}")
    yield from (f"alerts unsilence {firing.id} --reason why", "notifications", "me")
    yield from ("tokens create ci --role viewer --reason why", "tokens list")
    token = next(each.id for each in world.store.tokens() if each.name == "ci")
    yield from (f"tokens revoke {token} --reason why", "audit list", "audit verify", "audit export")


#: what the state of the test's world does not allow
REFUSED = ("approve", "reject", "promote", "rollback")


def test_every_route_has_a_command_that_answers_in_json(world, wire, tmp_path):
    runner = CliRunner()
    for line in lines(world, tmp_path / "recipe"):
        asked = line.split() + ([] if line == "audit export" else ["--json"])
        result = runner.invoke(cli.app, asked)
        if line.startswith(REFUSED):
            assert isinstance(result.exception, ControlPlaneError | RuntimeError), line
            continue
        assert result.exit_code == 0, (line, result.output, result.exception)
        for each in result.stdout.splitlines():
            json.loads(each)
    assert missing(wire) == ONLY_BY_CLIENT


def test_every_table_fits_a_terminal_of_80_columns(world, wire, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    runner = CliRunner()
    for line in lines(world, tmp_path / "recipe"):
        result = runner.invoke(cli.app, line.split())
        if line.startswith(
            (*REFUSED, "audit export", "audit verify", "tokens create", "hook-secret", "apply", "rules")
        ):
            continue
        assert result.exit_code == 0 and result.stdout, line
        assert max(map(len, result.stdout.splitlines())) <= 80, result.stdout
        assert "…" not in result.stdout, (line, result.stdout)


def test_every_route_has_a_method_of_the_client(world, wire, tmp_path):
    client, runner = wire.client(), CliRunner()
    client.set_clock(client.clock().now)
    for line in lines(world, tmp_path / "recipe"):
        runner.invoke(cli.app, line.split())
    assert missing(wire) == set()


def test_training_is_waited_for_and_its_end_decides_over_the_exit_code(world, wire, monkeypatch):
    done = []

    def watched(self, model, key):
        yield client.run(model, key)
        world.tick()
        now = world.clock.now()
        run = world.store.run(key)
        progress = Progress(phase="fit", fraction=0.5, message="half way", at=now)
        world.store.record_progress(key, run.epoch, timedelta(seconds=15), progress)
        yield client.run(model, key)
        world.finish(key, **done.pop(0))
        world.tick()
        yield client.run(model, key)

    client = wire.client()
    monkeypatch.setattr(ControlClient, "watch_run", watched)

    done += [{"failure": Failure(code="parity", message="differs")}, {"made": world.made(champion=False)}]
    failed = CliRunner().invoke(cli.app, ["train", MODEL, "--reason", "why", "--wait"])
    assert isinstance(failed.exception, changing.RunFailed) and "differs" in str(failed.exception)
    assert "50%  fit: half way" in failed.stderr
    ended = CliRunner().invoke(cli.app, ["train", MODEL, "--reason", "why", "--wait", "--json"])
    assert (ended.exit_code, json.loads(ended.stdout)["state"]) == (0, "succeeded")


def test_a_change_without_a_reason_is_wrong_usage(wire):
    for line in ("pause", "freeze", "rollback", "hook-secret", "train"):
        assert CliRunner().invoke(cli.app, [line, MODEL]).exit_code == 2
    wrong = CliRunner().invoke(cli.app, ["pause", MODEL, "--reason", "why", "--until", "tomorrow"])
    assert wrong.exit_code == 2 and "2026-03-01T12:00:00Z" in wrong.stderr


def test_the_client_raises_what_the_api_answers_and_changes_only_what_it_saw(world, wire):
    client = wire.client()
    with pytest.raises(NothingToRollBackTo) as caught:
        client.roll_back(MODEL, "why")
    assert caught.value.details == {"model": MODEL}
    seen = client.see_status(MODEL)
    assert client.wait_for_change(MODEL, seen, 0.1) is seen
    run = client.train(MODEL, "why", new_id(), if_match=seen.tag)
    with pytest.raises(Changed):
        client.train(MODEL, "why", new_id(), if_match=seen.tag)
    assert client.wait_for_change(MODEL, seen).value.active_run.key == run.key
    assert [each.key for each in client.runs(MODEL)] == [run.key]
