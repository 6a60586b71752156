"""An answer that is known is not sent again, may be waited for, and a change is made only to what was seen."""

from __future__ import annotations

import threading
from datetime import timedelta

import anyio
import pytest

from controlplane.api.waiting import Waiters
from controlplane.errors import Busy, Changed
from controlplane.store.answers import Expected, expected
from observability.ids import new_id
from pipeline.contract.training import Failure
from tests.api_client import add, api_of, decision
from tests.controlplane_world import MODEL, RECIPE, World, spec

PATH = f"/api/v1/models/{MODEL}"
HOLD, WHY, WAITING = f"{PATH}/holds/rules", {"reason": "why"}, "waiting"


@pytest.fixture
def world(tmp_path, database_url):
    return World(tmp_path, database=database_url)


@pytest.fixture
def client(world):
    return api_of(world)


@pytest.mark.parametrize("path", ["/api/v1/models", PATH, f"{PATH}/decisions", f"{PATH}/runs", "/api/v1/clock"])
def test_an_answer_that_is_known_is_not_sent_again(client, world, path):
    tag = client.get(path).headers["ETag"]
    known = client.get(path, headers={"If-None-Match": f'"other", W/{tag}'})
    assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", tag)
    client.put("/api/v1/clock", json={"now": "2021-06-01T00:00:00Z"})
    world.ask()
    add(world, decision(1))
    changed = client.get(path, headers={"If-None-Match": tag})
    assert changed.status_code == 200 and changed.headers["ETag"] != tag


def test_the_tag_of_a_status_does_not_move_with_the_clock_and_the_traffic(client, world):
    world.to_production()
    tag = client.get(PATH).headers["ETag"]
    world.clock.advance(timedelta(hours=1))
    world.store.mark_ticked(world.clock.now())
    world.store.mark_monitored(MODEL, world.clock.now())
    world.load_staged()
    client.put("/api/v1/clock", json={"now": "2021-06-01T00:00:00Z"})
    assert client.get(PATH).headers["ETag"] == tag


def waiting(client, path, tag) -> tuple[threading.Thread, list]:
    answers: list = []

    def ask() -> None:
        answers.append(client.get(path, params={"wait": 60}, headers={"If-None-Match": tag}))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, answers


@pytest.mark.parametrize("path", ["/api/v1/models", PATH, f"{PATH}/runs", f"{PATH}/decisions"])
def test_who_waits_is_answered_when_something_changed(client, world, path):
    thread, answers = waiting(client, path, client.get(path).headers["ETag"])
    thread.join(0.5)
    assert thread.is_alive()
    world.ask()
    thread.join(30)
    assert not thread.is_alive() and answers[0].status_code == 200


def test_nobody_waits_for_what_is_not_known_or_after_the_time_is_over(client):
    assert client.get(PATH, params={"wait": 60}).status_code == 200
    assert client.get(PATH, params={"wait": 60}, headers={"If-None-Match": '"old"'}).status_code == 200
    tag = client.get(PATH).headers["ETag"]
    assert client.get(PATH, params={"wait": 0.3}, headers={"If-None-Match": tag}).status_code == 304
    for wrong in ("61", "-1", "soon", "nan"):
        answer = client.get(PATH, params={"wait": wrong})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")


def test_who_waits_looks_only_where_the_pulse_moved_and_shares_it():
    pulses, looks = iter([1, 1, 2]), []
    waiters = Waiters(lambda _model: next(pulses), every=0.02, look_every=60)

    async def look() -> int:
        looks.append(1)
        return len(looks)

    assert anyio.run(lambda: waiters.wait(MODEL, 30, look, lambda answer: answer == 2)) == 2
    assert len(looks) == 2


def test_who_waits_is_answered_when_the_process_ends_and_nobody_waits_beyond_the_bound():
    waiters = Waiters(lambda _model: 1, bound=1, every=0.02)

    async def look() -> str:
        return "as it is"

    async def play() -> list[str]:
        answers: list[str] = []

        async def one() -> None:
            answers.append(await waiters.wait(MODEL, 60, look, lambda _: False))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            await anyio.sleep(0.05)
            assert waiters.full and answers == []
            waiters.close()
        return answers

    assert anyio.run(play) == ["as it is"]


def body(**changes) -> dict:
    return {"spec": spec(**changes).model_dump(mode="json", by_alias=True), "recipe": RECIPE}


def test_a_change_is_made_only_to_what_was_seen(client, world):
    tag = client.get(PATH).headers["ETag"]
    first = client.put(PATH, json=body(description="first"), headers={"If-Match": tag})
    assert first.json()["changed"]
    second = client.put(PATH, json=body(description="second"), headers={"If-Match": tag})
    assert (second.status_code, second.json()["error"]["code"]) == (412, "changed")
    assert client.get(PATH).json()["description"] == "first"
    assert second.json()["error"]["details"]["etag"] == client.get(PATH).headers["ETag"]
    assert client.put(PATH, json=body(description="third"), headers={"If-Match": "*"}).json()["changed"]


def test_what_is_not_there_was_seen_by_nobody(client):
    path, new = "/api/v1/models/default/new", body(model="default/new")
    assert client.put(path, json=new, headers={"If-Match": "*"}).status_code == 412
    assert client.put(path, json=new).status_code == 200


def test_what_changes_between_the_look_and_the_write_refuses_the_change(world):
    (seen, *_) = world.store.pulse(MODEL)
    token = expected.set(Expected(MODEL, seen))
    try:
        world.store.apply_model(spec(description="seen"), RECIPE, world.clock.now())
    finally:
        expected.reset(token)
    token = expected.set(Expected(MODEL, seen))
    try:
        with pytest.raises(Changed):
            world.store.apply_model(spec(description="not seen"), RECIPE, world.clock.now())
    finally:
        expected.reset(token)
    assert world.store.model(MODEL).spec["description"] == "seen"


def test_a_run_is_asked_for_only_while_the_model_is_as_seen(client, world):
    tag = client.get(PATH).headers["ETag"]
    asked = {"request_id": new_id(), "reason": "why"}
    assert client.post(f"{PATH}/runs", json=asked, headers={"If-Match": tag}).status_code == 202
    again = client.post(f"{PATH}/runs", json=asked | {"request_id": new_id()}, headers={"If-Match": tag})
    assert again.status_code == 412


def alert_of(world: World) -> str:
    world.finish(world.ask().key, failure=Failure(code="crashed", message="x"))
    world.tick()
    (alert,) = world.store.open_alerts(MODEL)
    return alert.id


def test_a_change_of_an_alert_is_made_only_to_what_was_seen_though_another_comes_in_between(client, world, monkeypatch):
    path = f"/api/v1/alerts/{alert_of(world)}"
    tag, really = client.get(path).headers["ETag"], world.store.silence

    def acknowledged_first(alert, *asked):
        token = expected.set(None)  # somebody else's request
        world.store.acknowledge(alert, "mine", world.clock.now(), "ann")
        expected.reset(token)
        return really(alert, *asked)

    monkeypatch.setattr(world.store, "silence", acknowledged_first)
    body = {"reason": "why", "until": "2999-01-01T00:00:00Z"}
    assert client.post(f"{path}/silence", json=body, headers={"If-Match": tag}).status_code == 412
    assert world.store.alert(path.rpartition("/")[2]).state == "acknowledged"


def test_who_looks_at_a_model_while_its_run_is_cancelled_or_starts_has_seen_another(world):
    run, seen = world.ask(), world.store.pulse(MODEL)[0]
    world.tick()
    started = world.store.pulse(MODEL)[0]
    world.store.cancel_run(run.key, "ann", "why", world.clock.now())
    assert seen < started < world.store.pulse(MODEL)[0]


@pytest.mark.parametrize(
    ("verb", "asked"),
    [
        ("claim_answer", lambda client, tag: client.put(HOLD, json=WHY, headers={"Idempotency-Key": "a-key-of-mine"})),
        ("pulse", lambda client, tag: client.put(HOLD, json=WHY, headers={"If-Match": tag})),
        (WAITING, lambda client, tag: client.get(PATH, params={"wait": 5}, headers={"If-None-Match": tag})),
    ],
    ids=["key", "if-match", "waiting"],
)
def test_a_database_that_is_busy_beside_the_routes_says_so_and_when_to_come_back(
    client, world, monkeypatch, verb, asked
):
    tag = client.get(PATH).headers["ETag"]

    def busy(*_: object) -> None:
        raise Busy

    if verb is WAITING:
        monkeypatch.setattr(Waiters, "_shared_pulse", busy)
    else:
        monkeypatch.setattr(world.store, verb, busy)
    answer = asked(client, tag)
    assert (answer.status_code, answer.json()["error"]["code"], answer.headers["Retry-After"]) == (503, "busy", "1")


def test_what_has_no_tag_says_so_instead_of_having_changed(client):
    made = client.post("/api/v1/tokens", json={"name": "x", "role": "viewer", "reason": "why"}).json()
    refused = client.delete(f"/api/v1/tokens/{made['id']}", params={"reason": "why"}, headers={"If-Match": "*"})
    assert refused.status_code == 422 and "if-match" in refused.json()["error"]["message"]
