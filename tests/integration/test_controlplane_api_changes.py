"""What people and programs change through the API is done by the store, kept with who did it, and answered."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import Session, select

from controlplane.access.hooks import ID, SIGNATURE, TIMESTAMP, sign
from controlplane.lifecycle import AlertState
from controlplane.promotion.rejection import Rejection
from controlplane.tables import Alert, AuditEntry
from controlplane.ui.pages import mount
from observability.ids import new_id
from tests.api_client import add, api_of
from tests.controlplane_world import MODEL, RECIPE, START, World, spec

PATH = f"/api/v1/models/{MODEL}"


@pytest.fixture
def world(tmp_path, database_url):
    return World(tmp_path, database=database_url)


@pytest.fixture
def client(world):
    return api_of(world)


def audited(world) -> list[tuple[str, str, str, str]]:
    with Session(world.store._engine) as session:
        rows = session.exec(select(AuditEntry).order_by(AuditEntry.sequence)).all()
        return [(each.actor, each.action, each.subject, each.why) for each in rows]


def test_applying_is_kept_with_who_did_it_and_why(client, world):
    said = {"spec": spec(description="new").model_dump(mode="json", by_alias=True), "recipe": RECIPE}
    client.put(PATH, json=said | {"reason": "a better name"})
    assert audited(world) == [("admin", "model.apply", MODEL, "a better name")]


def test_a_hold_stops_and_goes_on_again(client, world):
    until = (world.clock.now() + timedelta(days=1)).isoformat()
    client.put("/api/v1/clock", json={"now": world.clock.now().isoformat()})
    put = client.put(f"{PATH}/holds/rule:drifted", json={"reason": "bad\nlabels", "until": until})
    assert put.status_code == 200, put.text
    assert (put.json()["what"], put.json()["why"], put.json()["by"]) == ("rule:drifted", "bad labels", "admin")
    assert client.get(f"{PATH}/holds").json()["holds"] == client.get(PATH).json()["holds"] == [put.json()]
    gone = client.request("DELETE", f"{PATH}/holds/rule:drifted", json={"reason": "mended"})
    assert (gone.status_code, client.get(f"{PATH}/holds").json()["holds"]) == (204, [])
    assert [each[1::2] for each in audited(world)] == [("hold.put", "bad labels"), ("hold.end", "mended")]


@pytest.mark.parametrize("what", ["rule:nobody", "everything", "rules"])
def test_a_hold_of_nothing_or_for_no_reason_is_refused(client, what):
    reason = "" if what == "rules" else "why"
    answer = client.put(f"{PATH}/holds/{what}", json={"reason": reason})
    assert answer.status_code in (404, 422) and set(answer.json()) == {"error"}


def test_a_run_is_cancelled_by_somebody_for_a_reason(client, world):
    run = world.ask()
    answer = client.post(f"{PATH}/runs/{run.key}/cancel", json={"reason": "wrong data"})
    assert (answer.status_code, answer.json()["cancel_by"], answer.json()["cancel_why"]) == (202, "admin", "wrong data")
    world.tick()
    assert client.get(f"{PATH}/runs/{run.key}").json()["state"] == "cancelled"
    over = client.post(f"{PATH}/runs/{run.key}/cancel", json={"reason": "wrong data"})
    assert over.status_code == 409
    world.store.apply_model(spec(model="default/other"), RECIPE, START)
    elsewhere = client.post(f"/api/v1/models/default/other/runs/{run.key}/cancel", json={"reason": "x"})
    assert elsewhere.status_code == 404


def test_a_person_rejects_or_promotes_a_version_on_its_way(client, world):
    world.to_production()
    for verb, state in (("reject", "rejected"), ("promote", "production")):
        run = world.ask()
        world.finish(run.key, world.made())
        world.tick()
        number = client.get(f"{PATH}/versions").json()["versions"][0]["number"]
        world.load_staged()
        answer = client.post(f"{PATH}/versions/{number}/{verb}", json={"reason": "I say so"})
        assert (answer.status_code, answer.json()["state"]) == (200, state), answer.text
        again = client.post(f"{PATH}/versions/{number}/{verb}", json={"reason": "I say so"})
        assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert client.post(f"{PATH}/versions/99/{verb}", json={"reason": "why"}).status_code == 404
    gone = client.post(f"{PATH}/rollback", json={"reason": "nonsense", "version": 1})
    assert (gone.status_code, gone.json()["error"]["code"]) == (409, "conflict")
    bad = client.get(PATH).json()["production"]["number"]
    assert client.post(f"{PATH}/rollback", json={"reason": "nonsense", "version": bad}).json()["number"] == 1
    actions = [each[1] for each in audited(world) if each[0] == "admin"]
    assert actions == ["version.reject", "version.promote", "version.roll_back"]


def test_a_person_approves_a_version_that_waits_for_that(tmp_path):
    world = World(tmp_path, spec(gate={"resamples": 200, "approval": True}))
    client, run = api_of(world), world.ask()
    world.finish(run.key, world.made(champion=False))
    world.tick()
    assert client.get(f"{PATH}/versions").json()["versions"][0]["state"] == "awaiting_approval"
    said = client.post(f"{PATH}/versions/1/approve", json={"reason": "looks right"}).json()
    assert (said["state"], said["approved_by"], said["approved_why"]) == ("staging", "admin", "looks right")


def test_a_version_that_nobody_approved_says_so_and_its_page_does(tmp_path):
    world = World(tmp_path, spec(gate={"resamples": 200, "approval": True}))
    client, run = api_of(world, mounts=[mount]), world.ask()
    world.finish(run.key, world.made(champion=False))
    world.tick()
    assert client.get(f"{PATH}/versions/1").json()["rejected_for"] == ""
    world.clock.advance(timedelta(days=60))
    world.tick()
    said = client.get(f"{PATH}/versions/1").json()
    assert (said["state"], said["rejected_for"]) == ("rejected", "REJECT_UNAPPROVED")
    versions = client.get(f"/models/{MODEL}", headers={"Accept": "text/html"}).text.partition('id="versions"')[2]
    assert Rejection.REJECT_UNAPPROVED.value in versions


def alert(**changes) -> Alert:
    said = {
        "id": new_id(), "fingerprint": new_id(), "model": MODEL, "name": "RunFailed", "severity": "critical",
        "labels": {"model": MODEL}, "summary": "s", "description": "d", "state": AlertState.FIRING,
        "began_at": START, "state_at": START, "recorded_at": START,
    }  # fmt: skip
    return Alert(**said | changes)


def test_alerts_are_listed_by_state_and_model(client, world):
    over = alert(state=AlertState.RESOLVED, resolved_at=START)
    firing, everywhere = alert(), alert(model=None)
    add(world, over, firing, everywhere)

    def listed(path: str) -> list[str]:
        return [each["id"] for each in client.get(path).json()["alerts"]]

    assert listed("/api/v1/alerts") == [everywhere.id, firing.id, over.id]
    assert listed("/api/v1/alerts?state=firing") == [everywhere.id, firing.id]
    assert listed(f"/api/v1/alerts?model={MODEL}&state=firing") == listed(f"{PATH}/alerts?state=firing") == [firing.id]
    assert client.get(f"/api/v1/alerts/{firing.id}").json()["name"] == "RunFailed"
    assert client.get(PATH).json()["open_alerts"] == 1


def test_an_alert_is_acknowledged_silenced_and_taken_back(client, world):
    firing = alert()
    add(world, firing)
    until = datetime.now(UTC) + timedelta(hours=1)
    for verb, said, state in (
        ("acknowledge", {"reason": "on it"}, "acknowledged"),
        ("silence", {"reason": "known", "until": until.isoformat()}, "silenced"),
        ("unsilence", {"reason": "again"}, "firing"),
    ):
        answer = client.post(f"/api/v1/alerts/{firing.id}/{verb}", json=said)
        assert (answer.status_code, answer.json()["state"], answer.json()["by"]) == (200, state, "admin")
    assert [each[1] for each in audited(world)] == ["alert.acknowledge", "alert.silence", "alert.unsilence"]


def test_an_alert_is_changed_only_as_it_was_seen(client, world):
    firing = alert()
    add(world, firing)
    path = f"/api/v1/alerts/{firing.id}"
    tag = client.get(path).headers["ETag"]
    first = client.post(f"{path}/acknowledge", json={"reason": "mine"}, headers={"If-Match": tag})
    second = client.post(f"{path}/acknowledge", json={"reason": "mine too"}, headers={"If-Match": tag})
    assert (first.status_code, second.status_code) == (200, 412)


def test_a_signed_call_asks_for_one_run_and_a_forged_one_for_none(world):
    client = api_of(world, hook_key=b"k" * 32)
    given = client.post(f"{PATH}/hook-secret", json={"reason": "for the catalogue"}).json()
    body, at = json.dumps({"reason": "the catalogue changed"}).encode(), str(int(datetime.now(UTC).timestamp()))
    headers = {ID: "call-1", TIMESTAMP: at, SIGNATURE: sign(given["secret"], "call-1", at, body)}
    nobody = {"Authorization": ""}
    calls = [client.post(given["path"], content=body, headers=headers | nobody) for _ in range(2)]
    assert [each.status_code for each in calls] == [202, 202], calls[0].text
    assert calls[0].json() == calls[1].json() and len(world.store.runs(MODEL)) == 1
    forged = client.post(given["path"], content=body + b" ", headers=headers | nobody)
    assert (forged.status_code, forged.json()["error"]["code"]) == (401, "bad_signature")


def test_the_secret_of_a_webhook_is_kept_nowhere_not_even_for_a_repetition(tmp_path):
    world = World(tmp_path)
    client = api_of(world, hook_key=b"k" * 32)
    key = {"Idempotency-Key": "a-key-of-a-client"}
    first = client.post(f"{PATH}/hook-secret", json={"reason": "why"}, headers=key)
    again = client.post(f"{PATH}/hook-secret", json={"reason": "why"}, headers=key)
    assert (first.status_code, again.status_code, again.json()["error"]["code"]) == (200, 409, "answer_lost")
    assert first.json()["secret"].encode() not in (world.folder / "control.db").read_bytes()


def test_without_a_key_there_are_no_webhooks(client):
    assert client.post(f"{PATH}/hook-secret", json={"reason": "why"}).status_code == 409
    assert client.post(f"/hooks/{MODEL}", content=b"{}").status_code == 401
