"""A change under an Idempotency-Key is made once, whatever the network and the process do."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import Session, select

from controlplane.access.acts import Act
from controlplane.errors import KeyBusy
from controlplane.store.answers import CARRIED_OUT, Claim, claimed
from controlplane.tables import Answer
from observability.ids import new_id
from tests.api_client import add, api_of
from tests.controlplane_world import MODEL, World

PATH = f"/api/v1/models/{MODEL}"
KEY = {"Idempotency-Key": "a-key-of-a-client"}


@pytest.fixture
def world(tmp_path, database_url):
    return World(tmp_path, database=database_url)


@pytest.fixture
def client(world):
    return api_of(world)


def asked(**changes) -> dict:
    return {"request_id": new_id(), "reason": "why"} | changes


def answers(world) -> list[Answer]:
    with Session(world.store._engine) as session:
        return list(session.exec(select(Answer)))


def age(world, by: timedelta, **changes) -> None:
    """Let all answers be older."""
    with Session(world.store._writing_engine) as session, session.begin():
        for answer in session.exec(select(Answer)):
            session.add(answer.sqlmodel_update({"recorded_at": answer.recorded_at - by, **changes}))


def test_the_same_request_under_the_same_key_gets_the_same_answer_and_changes_nothing(client, world):
    body = {"reason": "nonsense"}
    for _ in range(3):
        world.to_production()
    first = client.post(f"{PATH}/rollback", json=body, headers=KEY)
    again = client.post(f"{PATH}/rollback", json=body, headers=KEY)
    assert (first.status_code, first.json()["number"]) == (200, 2)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["Idempotency-Replayed"] == "true" and "Idempotency-Replayed" not in first.headers
    assert world.store.production(MODEL).number == 2


def test_an_answer_without_a_body_is_given_again_too(client, world):
    client.put(f"{PATH}/holds/rules", json={"reason": "why"})
    ended = [client.request("DELETE", f"{PATH}/holds/rules", json={"reason": "over"}, headers=KEY) for _ in range(2)]
    assert [(each.status_code, each.content) for each in ended] == [(204, b"")] * 2


def test_another_request_under_the_key_is_refused_and_changes_nothing(client, world):
    client.put(f"{PATH}/holds/rules", json={"reason": "first"}, headers=KEY)
    other = client.put(f"{PATH}/holds/rules", json={"reason": "other"}, headers=KEY)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "key_reused")
    assert client.get(f"{PATH}/holds").json()["holds"][0]["why"] == "first"


def test_a_key_belongs_to_its_token(client, world):
    assert client.put(f"{PATH}/holds/rules", json={"reason": "mine"}, headers=KEY).status_code == 200
    other = api_of(world, "operate").put(f"{PATH}/holds/rules", json={"reason": "theirs"}, headers=KEY)
    assert other.status_code == 200 and "Idempotency-Replayed" not in other.headers


def test_a_refused_request_may_come_again_under_its_key(client, world):
    run, body = world.ask(), asked()
    assert client.post(f"{PATH}/runs", json=body, headers=KEY).status_code == 409
    world.finish(run.key, world.made(champion=False))
    for _ in range(2):
        world.tick()
        world.load_staged()
    world.tick()
    again = client.post(f"{PATH}/runs", json=body, headers=KEY)
    assert again.status_code == 202 and "Idempotency-Replayed" not in again.headers


def test_while_the_first_is_worked_on_the_second_is_told_to_come_back(client, world):
    client.put(f"{PATH}/holds/rules", json={"reason": "why"}, headers=KEY)
    age(world, timedelta(0), status=None, body=None)
    busy = client.put(f"{PATH}/holds/rules", json={"reason": "why"}, headers=KEY)
    assert (busy.status_code, busy.json()["error"]["code"], busy.headers["Retry-After"]) == (409, "key_busy", "1")


def test_two_at_the_same_time_make_one_change(client, world):
    for _ in range(4):
        world.to_production()
    got = []

    def ask() -> None:
        got.append(client.post(f"{PATH}/rollback", json={"reason": "nonsense"}, headers=KEY).status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.store.production(MODEL).number == 3
    assert 200 in got and set(got) <= {200, 409}


def test_what_a_dead_process_left_is_taken_over_after_a_minute(client, world):
    client.put(f"{PATH}/holds/rules", json={"reason": "why"}, headers=KEY)
    age(world, timedelta(seconds=61), status=None, body=None)
    again = client.put(f"{PATH}/holds/rules", json={"reason": "why"}, headers=KEY)
    assert again.status_code == 200 and answers(world)[0].status == 200


def test_a_key_is_used_in_the_transaction_of_the_change(client, world):
    """Whatever happens to the process after the commit, the key tells that the change was made."""
    now = datetime.now(UTC)
    add(world, Answer(key="k" * 64, request="r", recorded_at=now))
    token = claimed.set(Claim("k" * 64, now))
    try:
        act = Act("ana", None, "api", "request", "why")
        world.store.put_hold(MODEL, "rules", "why", None, world.clock.now(), "ana", act)
    finally:
        claimed.reset(token)
    assert answers(world)[0].status == CARRIED_OUT


def test_of_two_that_hold_one_request_one_changes_something(world):
    """The first stood still for longer than a minute and goes on behind the second."""
    for _ in range(3):
        world.to_production()
    act = Act("ana", None, "api", "request", "why")

    def roll_back(claim: Claim) -> None:
        token = claimed.set(claim)
        try:
            world.store.roll_back(MODEL, "nonsense", world.clock.now(), act)
        finally:
            claimed.reset(token)

    first = world.store.claim_answer("k" * 64, "r")
    age(world, timedelta(seconds=61))
    first = Claim(first.key, first.since - timedelta(seconds=61))
    second = world.store.claim_answer("k" * 64, "r")
    roll_back(second)
    with pytest.raises(KeyBusy):
        roll_back(first)
    world.store.keep_answer(first, 200, {"number": 1})
    world.store.release_answer(first)
    world.store.keep_answer(second, 200, {"number": 2})
    assert world.store.production(MODEL).number == 2
    assert world.store.claim_answer("k" * 64, "r").body == {"number": 2}


def test_a_change_whose_answer_was_lost_is_not_made_again(client, world):
    for _ in range(3):
        world.to_production()
    client.post(f"{PATH}/rollback", json={"reason": "nonsense"}, headers=KEY)
    age(world, timedelta(seconds=61), status=CARRIED_OUT, body=None)
    again = client.post(f"{PATH}/rollback", json={"reason": "nonsense"}, headers=KEY)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "answer_lost")
    assert world.store.production(MODEL).number == 2


def test_a_repeated_delete_whose_answer_was_lost_does_not_undo_what_others_did_since(client, world):
    client.put(f"{PATH}/holds/rollout", json={"reason": "why"})
    client.request("DELETE", f"{PATH}/holds/rollout", json={"reason": "done"}, headers=KEY)
    age(world, timedelta(seconds=61), status=CARRIED_OUT, body=None)
    client.put(f"{PATH}/holds/rollout", json={"reason": "an incident"})
    again = client.request("DELETE", f"{PATH}/holds/rollout", json={"reason": "done"}, headers=KEY)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "answer_lost")
    assert [hold["why"] for hold in client.get(f"{PATH}/holds").json()["holds"]] == ["an incident"]


def test_answers_are_forgotten_after_a_day(client, world):
    client.put(f"{PATH}/holds/rules", json={"reason": "why"}, headers=KEY)
    age(world, timedelta(hours=25))
    client.put(f"{PATH}/holds/rollout", json={"reason": "why"}, headers={"Idempotency-Key": "another-key"})
    assert len(answers(world)) == 1


@pytest.mark.parametrize("key", ["short", "x" * 129, "with a space"])
def test_a_key_that_others_may_use_by_chance_is_refused(client, key):
    answer = client.put(f"{PATH}/holds/rules", json={"reason": "why"}, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")


def test_a_body_that_is_too_long_is_refused_in_the_one_shape(client):
    answer = client.post(f"{PATH}/runs", content=iter([b" " * 700_000] * 2), headers=KEY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
