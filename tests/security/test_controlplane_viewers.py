"""Whoever may only read cannot keep the control plane from answering others by trying rules."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, func, select

from controlplane.access.auth import Authenticator
from controlplane.access.throttle import Throttle
from controlplane.access.tokens import mint
from controlplane.api import Parts, create_app, rules, versions
from controlplane.processes import admin_pages
from controlplane.store import Store, answers
from controlplane.store.people import MOST_SESSIONS
from controlplane.tables import Answer, AuditEntry, Failure, SignIn
from controlplane.trials import SECONDS, try_rule
from tests.api_client import api_of
from tests.controlplane_world import MODEL, START, FakeClock, World, spec
from tests.watched_world import VERSIONS, Elsewhere, reference

PATH = f"/api/v1/models/{MODEL}/rules/try"
EACH_SECOND = {"name": "x", "kind": "schedule", "every": "1s"}
VOLUME = {"name": "v", "kind": "volume", "new_labelled_rows": 5}


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, spec([]))
    assert api_of(made).put("/api/v1/clock", json={"now": START.isoformat()}).status_code == 200
    return made


def count(world, table) -> int:
    with Session(world.store._engine) as session:
        return session.exec(select(func.count()).select_from(table)).one()


def test_two_at_a_time_are_tried_and_whoever_comes_meanwhile_is_told_to_come_again(world, monkeypatch, caplog):
    begun, ends, true = threading.Semaphore(0), threading.Event(), rules.try_rule

    def slow(*asked):
        begun.release()
        assert ends.wait(30)
        return true(*asked)

    monkeypatch.setattr(rules, "try_rule", slow)
    with api_of(world, "read") as client, ThreadPoolExecutor(rules.AT_ONCE) as pool:
        first = [pool.submit(client.post, PATH, json={"rule": VOLUME}) for _ in range(rules.AT_ONCE)]
        for _ in first:
            assert begun.acquire(timeout=30)
        told = [client.post(PATH, json={"rule": VOLUME}) for _ in range(60 - rules.AT_ONCE)]
        assert {(each.status_code, each.headers["Retry-After"]) for each in told} == {(503, "1")}
        assert client.get("/healthz").status_code == 200
        ends.set()
        assert {each.result().status_code for each in first} == {200}
        assert client.post(PATH, json={"rule": VOLUME}).status_code == 200, "what was refused holds nothing"
    assert not caplog.records, "nothing is wrong that an operator should read of"


def test_two_references_at_a_time_are_declared_and_whoever_comes_meanwhile_is_told_to_come_again(tmp_path, monkeypatch):
    world, begun, ends = Elsewhere(tmp_path), threading.Semaphore(0), threading.Event()
    true = versions.declare_reference

    def slow(*asked):
        begun.release()
        assert ends.wait(30)
        return true(*asked)

    monkeypatch.setattr(versions, "declare_reference", slow)
    with world.api as client, ThreadPoolExecutor(versions.AT_ONCE) as pool:
        first = [pool.submit(client.post, VERSIONS, json=reference(seed=seed)) for seed in range(versions.AT_ONCE)]
        for _ in first:
            assert begun.acquire(timeout=30)
        told = client.post(VERSIONS, json=reference())
        assert (told.status_code, told.json()["error"]["code"]) == (503, "references_busy")
        assert told.headers["Retry-After"] == "1"
        ends.set()
        assert {each.result().status_code for each in first} == {200}
        assert client.post(VERSIONS, json={**reference(), "label": [7]}).status_code == 422
        assert client.post(VERSIONS, json=reference()).status_code == 200, "what was refused holds nothing"


def test_a_trial_that_was_refused_or_failed_gives_its_place_back(world):
    client = api_of(world, "read")
    for _ in range(rules.AT_ONCE + 1):
        assert client.post(PATH, json={"rule": {"name": "x"}}).status_code == 422
    assert client.post(PATH, json={"rule": VOLUME}).status_code == 200


def test_a_trial_ends_after_a_few_seconds_whatever_it_is_of(world):
    world.to_production()
    seconds = iter(range(100))
    trial = try_rule(world.store, MODEL, EACH_SECOND, START, START + timedelta(days=1), lambda: float(next(seconds)))
    assert not trial.complete and next(seconds) <= SECONDS + 4


def test_a_trial_since_the_beginning_of_time_is_one_since_anything_is_stored(world):
    asked = {"rule": VOLUME, "since": "0001-01-01T00:00:00Z"}
    assert api_of(world, "read").post(PATH, json=asked).json()["since"].startswith("1900")


@pytest.mark.parametrize("every", ["0s", "9" * 30 + "s", "9" * 12 + "w", "1d\n", "٣d"])
def test_an_interval_that_no_calendar_knows_is_refused(world, every):
    answer = api_of(world, "read", raise_server_exceptions=False).post(
        PATH, json={"rule": EACH_SECOND | {"every": every}}
    )
    assert (answer.status_code, "every" in answer.text) == (422, True)


def test_what_only_asks_keeps_nothing_under_a_key(world):
    client = api_of(world, "read")
    for number in range(3):
        key = {"Idempotency-Key": f"key-{number:08d}"}
        assert client.post(PATH, json={"rule": VOLUME}, headers=key).status_code == 200
    assert count(world, Answer) == 0


def test_one_token_keeps_so_many_answers_and_the_oldest_end(world, monkeypatch):
    monkeypatch.setattr(answers, "MOST", 5)
    path, mine, other = f"/api/v1/models/{MODEL}/holds/rules", api_of(world, "admin"), api_of(world, "operate")

    def hold(client, number):
        said = client.put(path, json={"reason": "why"}, headers={"Idempotency-Key": f"key-{number:08d}"})
        assert said.status_code == 200
        return "Idempotency-Replayed" in said.headers

    hold(other, 0)
    assert [hold(mine, number) for number in range(12)] == [False] * 12
    assert count(world, Answer) == 6
    assert hold(other, 0) and hold(mine, 11) and not hold(mine, 1), "another token's are its own"


class Visitor:
    """Somebody with a right token who signs in again and again."""

    def __init__(self, folder) -> None:
        self.world, self.wall, self.minted = World(folder), FakeClock(START), mint()
        self.store = Store(self.world.store._engine, self.wall)
        self.store.create_token(self.minted, "eva", "viewer", "read", None)
        parts = Parts(self.store, self.world.blobs, self.world.clock, Authenticator(self.store, wall=self.wall))
        self.client = TestClient(create_app(parts, admin_pages()), follow_redirects=False)

    def sign_in(self):
        answer = self.client.post("/login", data={"token": self.minted.secret})
        self.client.cookies.clear()
        return answer


@pytest.fixture
def visitor(tmp_path):
    return Visitor(tmp_path)


def test_a_token_has_so_many_sessions_and_the_oldest_end(visitor):
    begun = []
    for _ in range(MOST_SESSIONS + 1):
        begun.append(visitor.sign_in())
        visitor.wall.advance(timedelta(seconds=5))
    first, second, *_, newest = begun
    assert count(visitor.world, SignIn) == MOST_SESSIONS
    inside = [
        visitor.client.get("/", cookies=dict(each.cookies)).status_code == 200 for each in (first, second, newest)
    ]
    assert inside == [False, True, True]


def test_sign_ins_with_a_right_token_are_slowed_down_and_the_token_itself_is_not(visitor):
    hour = Throttle.SIGN_INS[1]
    for _ in range(3 * hour.failures):
        visitor.sign_in()
        visitor.wall.advance(timedelta(seconds=1))
    assert hour.failures == count(visitor.world, AuditEntry)
    told = visitor.sign_in()
    assert told.status_code == 429 and int(told.headers["Retry-After"]) <= 3600
    bearer = {"Authorization": f"Bearer {visitor.minted.secret}"}
    assert visitor.client.get("/api/v1/models", headers=bearer).status_code == 200
    visitor.wall.advance(timedelta(hours=1))
    assert visitor.sign_in().status_code == 303
    assert count(visitor.world, Failure) <= hour.failures + 1, "what is old is forgotten"
