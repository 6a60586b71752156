"""What the API's routes promise to people, programs and serving."""

from __future__ import annotations

import hashlib

import pytest
from fastapi.testclient import TestClient

from controlplane.access.auth import Authenticator, digest_of_token, new_token
from controlplane.api import Parts, create_app
from controlplane.client import ControlClient
from controlplane.errors import Unreachable
from controlplane.replayclock import ReplayClock
from observability.ids import new_id
from tests.controlplane_world import MODEL, RECIPE, World, spec


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def client(world):
    token = new_token()
    world.store.add_token("admin", digest_of_token(token), ["admin"])
    parts = Parts(world.store, world.blobs, ReplayClock(world.store), Authenticator(world.store))
    return TestClient(create_app(parts), headers={"Authorization": f"Bearer {token}"})


def declaration(declared) -> dict:
    return {"spec": declared.model_dump(mode="json", by_alias=True), "recipe": RECIPE}


def test_applying_a_spec_twice_changes_nothing(client):
    path, body = "/api/v1/models/default/other", declaration(spec(model="default/other"))
    first, second = client.put(path, json=body).json(), client.put(path, json=body).json()
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["spec_digest"] == second["spec_digest"] == spec(model="default/other").digest


def test_it_is_not_ready_with_the_reason_while_nothing_is_decided(world):
    said: list[str | None] = [None, "no tick ended well for 61 s: none has ended"]
    parts = Parts(world.store, world.blobs, world.clock, Authenticator(world.store), trouble=lambda: said.pop(0))
    client = TestClient(create_app(parts))
    assert client.get("/readyz").status_code == 200
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "no tick ended well for 61 s: none has ended"
    assert client.get("/healthz").status_code == 200


def test_a_spec_with_a_mistake_names_the_field(client):
    body = declaration(spec())
    body["spec"]["rules"][0]["drifted_share"] = 2
    error = client.put(f"/api/v1/models/{MODEL}", json=body).json()["error"]
    assert "drifted_share" in error["message"]
    body = declaration(spec([{"name": "r", "kind": "schedule", "cron": "0 0 30 2 *"}]))
    assert "rule r" in client.put(f"/api/v1/models/{MODEL}", json=body).json()["error"]["message"]


def test_the_status_tells_everything_that_is_going_on(client, world):
    empty = client.get(f"/api/v1/models/{MODEL}").json()
    assert (empty["production"], empty["active_run"], empty["rollout"]) == (None, None, None)
    first = world.to_production()
    world.store.observe(MODEL, 1, world.clock.now(), 17, world.clock.now())
    world.store.mark_monitored(MODEL, world.clock.now())
    run = world.ask()
    status = client.get(f"/api/v1/models/{MODEL}").json()

    assert status["production"]["number"] == 1 and status["production"]["gate"]["passed"]
    assert status["production"]["manifest"] == first.manifest
    assert status["active_run"] | {"recorded_at": 0} == {
        "key": run.key, "state": "asked", "phase": None, "fraction": 0.0, "message": "waiting to be started",
        "rule": "manual", "reason": "RETRAIN_ASKED", "detail": "a test", "asked_at": "2021-01-01T00:00:00Z",
        "recorded_at": 0,
    }  # fmt: skip
    assert status["watermark"] == status["decided_until"] == status["monitored_until"] == "2021-01-01T00:00:00Z"
    assert status["counts"]["firings"] == {"data": 0, "schedule": 0, "metric": 0, "manual": 2, "webhook": 0}
    assert status["counts"]["runs"] == {"asked": 1, "running": 0, "succeeded": 1, "failed": 0, "cancelled": 0}
    assert status["instances"][0]["id"] == "serving-1" and status["labelled_new"] == 17
    assert client.get("/api/v1/models").json()["models"] == [status]

    world.finish(run.key, world.made())
    world.tick()
    assert client.get(f"/api/v1/models/{MODEL}").json()["rollout"] == {"version": 2, "state": "staging"}


def test_a_version_shows_where_it_came_from_and_why_it_was_let_in(client, world):
    world.to_production()
    run = world.ask()
    world.finish(run.key, world.made(better=False))
    world.tick()
    newest, first = client.get(f"/api/v1/models/{MODEL}/versions").json()["versions"]

    assert (newest["number"], newest["parent"], newest["state"]) == (2, 1, "rejected")
    assert newest["firing_id"] == run.firing_id and newest["run_key"] == run.key
    assert newest["gate"]["reason"] == "FAIL_NOT_BETTER" and newest["gate"]["numbers"]["rows"] == 400
    assert newest["champion_metrics"] == {"roc_auc": 0.7} and newest["dataset"]["fingerprint"] == "f" * 64
    assert first["gate"]["reason"] == "PASS_FIRST" and first["mlflow_run_id"] == "m"


@pytest.mark.parametrize("what", ["versions", "windows", "decisions", "firings", "runs"])
def test_histories_are_newest_first_and_limited(client, world, what):
    first = world.to_production()
    world.window(first.number, 1)
    world.window(first.number, 2)
    world.tick()
    run = world.ask()
    world.finish(run.key, world.made())
    world.tick()
    everything = client.get(f"/api/v1/models/{MODEL}/{what}").json()[what]
    assert len(everything) >= 2
    assert client.get(f"/api/v1/models/{MODEL}/{what}?limit=1").json()[what] == everything[:1]


def test_a_manual_run_is_asked_for_once_for_each_request_id(client, world):
    body = {"request_id": new_id().upper(), "reason": "new\nlabels"}
    path = f"/api/v1/models/{MODEL}/runs"
    first = client.post(path, json=body)
    again = client.post(path, json=body | {"request_id": body["request_id"].lower()})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert world.store.firings(MODEL)[0].detail == "new labels"
    other = client.post(path, json={"request_id": new_id()})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "run_active")


def test_rolling_back_answers_with_the_version_that_is_in_production_again(client, world):
    world.to_production()
    world.to_production()
    answer = client.post(f"/api/v1/models/{MODEL}/rollback", json={"reason": "nonsense"}).json()
    assert (answer["number"], answer["state"]) == (1, "production")


def test_the_desired_state_names_both_slots_and_only_tokens_that_may_predict(client, world):
    first = world.to_production()
    world.store.add_token("app", "a" * 64, ["predict"])
    run = world.ask()
    world.finish(run.key, world.made())
    world.tick()
    state = client.get("/api/v1/serving/desired").json()
    second = world.store.version(MODEL, 2)

    assert state == {
        "models": [
            {
                "model": MODEL,
                "production": {"version": 1, "manifest": first.manifest},
                "staging": {"version": 2, "manifest": second.manifest},
                "rival": None,
            }
        ],
        "tokens": [{"sha256": "a" * 64, "scopes": ["predict"], "expires_at": None}],
    }


def test_a_desired_state_that_did_not_change_is_not_sent_again(client, world):
    etag = client.get("/api/v1/serving/desired").headers["ETag"]
    unchanged = client.get("/api/v1/serving/desired", headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", etag)
    world.to_production()
    changed = client.get("/api/v1/serving/desired", headers={"If-None-Match": etag})
    assert changed.status_code == 200 and changed.headers["ETag"] != etag


def test_blobs_come_by_their_digest(client, world):
    data = bytes(range(256)) * 1000
    digest = world.blobs.put(data)
    answer = client.get(f"/api/v1/blobs/{digest}")
    assert hashlib.sha256(answer.content).hexdigest() == digest
    assert answer.headers["content-type"] == "application/octet-stream"


def test_what_an_instance_reports_decides_over_the_rollout(client, world):
    run = world.ask()
    world.finish(run.key, world.made(champion=False))
    world.tick()
    wanted = client.get("/api/v1/serving/desired").json()["models"][0]["staging"]
    report = {"loaded": [{"model": MODEL, **wanted}], "failed": []}
    assert client.put("/api/v1/serving/instances/serving-1", json=report).status_code == 204
    world.tick()
    assert client.get("/api/v1/serving/desired").json()["models"][0]["production"] == wanted


@pytest.mark.parametrize("name", ["loaded", "failed"])
def test_a_report_in_which_all_is_wrong_is_refused_for_its_first_entry(client, name):
    answer = client.put("/api/v1/serving/instances/serving-1", json={"loaded": [], name: [{"x": 1}] * 1_000})
    told = answer.json()["error"]["details"]
    assert answer.status_code == 422 and {each["field"].split(".")[2] for each in told["problems"]} == {"0"}
    assert "more" not in told


def test_the_replay_clock_moves_forward_and_never_back(client):
    assert client.get("/api/v1/clock").json() == {"clock": "replay", "now": "1970-01-01T00:00:00Z"}
    for sent, stands in (("2021-02-01T01:00:00+01:00", "2021-02-01T00:00:00Z"),
                         ("2021-01-01T00:00:00Z", "2021-02-01T00:00:00Z")):  # fmt: skip
        assert client.put("/api/v1/clock", json={"now": sent}).json()["now"] == stands


def test_a_client_says_how_to_start_what_does_not_answer():
    with pytest.raises(Unreachable, match="driftgate up"), ControlClient("http://127.0.0.1:9", "t") as control:
        list(control.models())
