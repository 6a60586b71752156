"""A replay asked for over HTTP and at the command line: whoever may read may ask, and nothing is changed."""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from controlplane.cli import replaying
from controlplane.cli.trying import rules
from controlplane.replays import Replayed
from tests.api_client import api_of
from tests.controlplane_world import DRIFT, MODEL, START, World, spec

PATH = f"/api/v1/models/{MODEL}/replay"
CHANGES = {"rules": [{"name": "drifted", "drifted_share": 0.9}]}


@pytest.fixture
def world(tmp_path) -> World:
    made = World(tmp_path, spec([DRIFT]))
    version = made.to_production()
    made.clock.advance(timedelta(hours=1))
    made.window(version.number, 0, drifted_share=0.7)
    made.tick()
    made.clock.advance(timedelta(days=1))
    return made


def client_at_its_time(world: World, scope: str = "read"):
    now = {"now": world.clock.now().isoformat()}
    assert api_of(world).put("/api/v1/clock", json=now).status_code == 200
    return api_of(world, scope)


def test_whoever_may_read_may_replay_and_what_is_stored_stays(world):
    client = client_at_its_time(world)
    before = len(world.store.decisions(MODEL)), len(world.store.firings(MODEL))
    same = client.post(PATH, json={"since": START.isoformat()}).json()
    other = client.post(PATH, json={"changes": CHANGES, "since": START.isoformat()}).json()

    assert [each["cause"] for each in same["would_fire"]] == [each["cause"] for each in same["fired"]][1:]
    assert same["decisions"]["differing"] == [] and other["would_fire"] == []
    assert other["rules"] == [{"rule": "drifted", "fired": 1, "would_fire": 0, "alike": 0, "cpu_hours_more": None}]
    assert {each["where"] for each in other["decisions"]["differing"]} == {"truth", "replay"}
    assert before == (len(world.store.decisions(MODEL)), len(world.store.firings(MODEL)))


def test_what_could_not_be_declared_is_told_by_its_field(world):
    answer = client_at_its_time(world).post(PATH, json={"changes": {"rules": [{"name": "drifted", "min_rows": 0}]}})
    assert answer.status_code == 422 and "min_rows" in answer.json()["error"]["message"]


class Client:
    """A client that asks the application without a server."""

    def __init__(self, http) -> None:
        self._http = http

    def replay(self, model, changes, since, until):
        asked = {"changes": changes, "since": since.isoformat() if since else None}
        return Replayed.model_validate(self._http.post(f"/api/v1/models/{model}/replay", json=asked).json())


def test_the_command_shows_the_difference_by_rule_both_lanes_and_writes_the_picture(world, tmp_path, monkeypatch):
    http = client_at_its_time(world)
    monkeypatch.setattr(replaying, "client_of", lambda _home: nullcontext(Client(http)))
    changes, picture = tmp_path / "changes.yaml", tmp_path / "replay.svg"
    changes.write_text("rules:\n  - {name: drifted, drifted_share: 0.9}\n")
    asked = ["replay", MODEL, "--changes", str(changes), "--since", START.isoformat()]

    shown = CliRunner().invoke(rules, [*asked, "--svg", str(picture)])
    assert shown.exit_code == 0, shown.output
    row = next(line.split() for line in shown.output.splitlines() if line.startswith("drifted"))
    assert row[:4] == ["drifted", "1", "0", "0"]
    lanes = [line.split() for line in shown.output.splitlines() if line.lstrip().startswith("in t")]
    truth, replayed = (lane[-1] for lane in lanes)
    assert set(truth) != {"."} and set(replayed) == {"."}
    assert "times faster than time" in shown.output
    assert picture.read_text().startswith("<svg xmlns")

    told = json.loads(CliRunner().invoke(rules, [*asked, "--json"]).output)
    assert told["times_faster"] > 0 and told["model"] == MODEL
    wrong = CliRunner().invoke(rules, ["replay", MODEL, "--changes", str(tmp_path / "none.yaml")])
    assert wrong.exit_code == 2
