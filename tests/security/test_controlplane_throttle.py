"""Wrong tokens: ten in a minute are answered as wrong, the next has to wait; a right one never does."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from fastapi.testclient import TestClient
from sqlmodel import func, select

from controlplane.access.auth import Authenticator
from controlplane.access.throttle import HOUR, MINUTE, Throttle, address_of
from controlplane.access.tokens import mint
from controlplane.api import Parts, create_app
from controlplane.errors import TooManyAttempts, Unauthenticated
from controlplane.store import Store, open_engine
from controlplane.tables import Failure
from tests.controlplane_world import FakeClock, World

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Gate:
    """Some replicas over one database and one clock, and one token."""

    def __init__(self, database_url: str, replicas: int = 1) -> None:
        self.wall = FakeClock(NOW)
        self.engine = open_engine(database_url)
        stores = [Store(self.engine, self.wall) for _ in range(replicas)]
        self.store = stores[0]
        self.doors = [Authenticator(store, Throttle(store), self.wall) for store in stores]
        self.minted = mint()
        self.store.create_token(self.minted, "ana", "viewer", "read", None)

    def wrong(self, account: str | None = None) -> str:
        """A wrong token, of the account that exists or of another."""
        return f"dg_{account or mint().id}_{secrets.token_urlsafe(32)}"

    def attempt(self, token: str, address: str, door: int = 0) -> str:
        try:
            return self.doors[door].authenticate(token, address).name
        except TooManyAttempts as error:
            return f"wait {error.details['retry_after']}"
        except Unauthenticated:
            return "wrong"

    def rows(self) -> int:
        with self.store._reading() as session:
            return session.exec(select(func.count()).select_from(Failure)).one()


@pytest.fixture
def gate(tmp_path):
    made = Gate(f"sqlite:///{tmp_path}/control.db")
    yield made
    made.engine.dispose()


def test_of_ten_thousand_wrong_tokens_of_one_address_ten_are_answered_and_a_right_one_is_let_in_all_the_while(gate):
    answers = []
    for number in range(10_000):
        answers.append(gate.attempt(gate.wrong(), "10.0.0.1"))
        if number % 1_000 == 0:
            assert gate.attempt(gate.minted.secret, "10.0.0.1") == "ana"
    assert answers[:10] == ["wrong"] * 10 and answers[10:] == ["wait 60"] * 9_990
    assert gate.rows() == 10
    assert gate.attempt(gate.wrong(), "10.0.0.2") == "wrong"
    assert gate.attempt("", "10.0.0.1") == "wrong"


def test_ten_thousand_wrong_secrets_of_one_account_from_as_many_addresses_are_answered_a_hundred_times_an_hour(gate):
    answered = []
    for number in range(10_000):
        gate.wall.at = NOW + number * (2 * HOUR / 10_000)
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        if gate.attempt(gate.wrong(gate.minted.id), address) == "wrong":
            answered.append(gate.wall.at)
    for at in answered:
        assert sum(at - MINUTE < other <= at for other in answered) <= 10
        assert sum(at - HOUR < other <= at for other in answered) <= 100
    assert len(answered) == 200
    assert gate.attempt(gate.minted.secret, "10.9.9.9") == "ana"


def test_an_address_may_try_again_when_it_was_told_that_it_may(gate):
    for _ in range(10):
        gate.attempt(gate.wrong(), "10.0.0.1")
        gate.wall.advance(timedelta(seconds=1))
    assert gate.attempt(gate.wrong(), "10.0.0.1") == "wait 50"
    gate.wall.advance(timedelta(seconds=50))
    assert [gate.attempt(gate.wrong(), "10.0.0.1") for _ in range(2)] == ["wrong", "wait 1"]


def test_replicas_count_together(database_url):
    gate = Gate(database_url, replicas=3)
    answers = [gate.attempt(gate.wrong(), "10.0.0.1", number % 3) for number in range(12)]
    assert answers == ["wrong"] * 10 + ["wait 60"] * 2
    gate.engine.dispose()


def test_no_more_than_ten_are_answered_when_all_come_at_once(database_url):
    gate = Gate(database_url, replicas=3)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: gate.attempt(gate.wrong(), "10.0.0.1", number % 3), range(60)))
    assert answers.count("wrong") <= 10 and {"wrong"} < set(answers)
    assert gate.attempt(gate.minted.secret, "10.0.0.1") == "ana"
    gate.engine.dispose()


def test_one_network_of_ipv6_is_one_peer_and_ipv4_in_ipv6_is_ipv4(gate):
    answers = [gate.attempt(gate.wrong(), f"2001:db8::{number:x}") for number in range(11)]
    assert answers[9:] == ["wrong", "wait 60"]
    assert gate.attempt(gate.wrong(), "2001:db8:0:1::1") == "wrong"
    for _ in range(9):
        gate.attempt(gate.wrong(), "10.0.0.7")
    assert [gate.attempt(gate.wrong(), "::ffff:10.0.0.7") for _ in range(2)] == ["wrong", "wait 60"]


def test_what_is_kept_of_a_flood_from_everywhere_is_bounded_and_goes_after_an_hour(gate, monkeypatch):
    monkeypatch.setattr(Throttle, "REMEMBERED", 50)
    gate.doors = [Authenticator(gate.store, Throttle(gate.store, writes=200), gate.wall)]
    answers = [gate.attempt(gate.wrong(), f"10.1.{number >> 8}.{number & 255}") for number in range(400)]
    assert answers == ["wrong"] * 200 + ["wait 60"] * 200 and gate.rows() == 200
    for number in range(70):
        gate.wall.advance(MINUTE)
        for _ in range(3):
            gate.attempt(gate.wrong(), f"10.2.0.{number}")
    assert gate.rows() <= 61 * 3
    for number in range(60):
        for _ in range(11):
            gate.attempt(gate.wrong(), f"10.3.0.{number}")
    assert len(gate.doors[0]._throttle._closed) <= 50


def test_a_clock_that_goes_back_locks_nobody_out_for_longer_than_the_limit(gate):
    for _ in range(11):
        gate.attempt(gate.wrong(), "10.0.0.1")
    gate.wall.advance(timedelta(days=-1))
    assert gate.attempt(gate.wrong(), "10.0.0.1") == "wrong"


def test_a_wrong_secret_is_logged_without_it_and_no_account_is_made_up(gate, caplog):
    wrong = gate.wrong(gate.minted.id)
    gate.attempt(wrong, "10.0.0.1")
    gate.attempt("dg_nobody", "10.0.0.1")
    said = [record.getMessage() for record in caplog.records]
    assert gate.minted.id in said[0] and "10.0.0.1" in said[0] and said[1].endswith("of account unknown")
    assert wrong not in caplog.text and wrong.rpartition("_")[2] not in caplog.text


PROXY = ip_network("10.0.0.0/24")


@pytest.mark.parametrize(("peer", "forwarded", "address"), [
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
    ("10.0.0.1", ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
    ("10.0.0.1", ["6.6.6.6", "203.0.113.9, 10.0.0.2"], "203.0.113.9"),
    ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ("10.0.0.1", ["203.0.113.9, nonsense"], "10.0.0.1"),
    ("10.0.0.1", ["203.0.113.9:80, 10.0.0.2"], "10.0.0.2"),
    ("198.51.100.1", ["203.0.113.9"], "198.51.100.1"),
    ("unknown", ["203.0.113.9"], "unknown"),
    ("10.0.0.1", [""], "10.0.0.1"),
    ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
    ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
    ("::ffff:198.51.100.1", ["203.0.113.9"], "::ffff:198.51.100.1"),
])  # fmt: skip
def test_who_asks_is_whom_the_last_listed_proxy_saw(peer, forwarded, address):
    assert address_of(peer, forwarded, [PROXY]) == address


def test_behind_a_listed_proxy_each_client_is_counted_apart(tmp_path):
    world = World(tmp_path)
    parts = Parts(world.store, world.blobs, world.clock, Authenticator(world.store), trusted_proxies=(PROXY,))
    client = TestClient(create_app(parts), client=("10.0.0.1", 1))
    wrong = {"Authorization": "Bearer dg_wrong"}

    def ask(address: str) -> int:
        return client.get("/api/v1/models", headers=wrong | {"X-Forwarded-For": address}).status_code

    assert [ask("203.0.113.9") for _ in range(11)] == [401] * 10 + [429]
    assert ask("203.0.113.10") == 401
