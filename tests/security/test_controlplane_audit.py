"""The audit chain: one, without a gap, whoever appends at the same time; what is changed in it is found."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from controlplane.access.acts import GENESIS, Act
from controlplane.access.audit import first_broken
from controlplane.access.auth import Authenticator
from controlplane.access.tokens import mint
from controlplane.api import Parts, create_app
from controlplane.api.audit import NDJSON, EntryView
from controlplane.store import Store, open_engine
from controlplane.store.trail import Wanted
from tests.controlplane_world import World


def act(number: int) -> Act:
    return Act(f"ana-{number % 2}", None, "api", f"r-{number}", "a test äß\u2028")


def make(store: Store, number: int) -> None:
    store.create_token(mint(), f"t{number}", "viewer", "read", None, act(number))


@pytest.fixture
def engine(database_url):
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine):
    store = Store(engine)
    for number in range(6):
        make(store, number)
    return store


def test_those_who_append_at_the_same_time_make_one_chain_without_a_gap(engine):
    replicas = [Store(engine) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: make(replicas[number % 4], number), range(80)))
    entries = list(replicas[0].audit_entries(batch=7))
    assert [entry.sequence for entry in entries] == list(range(1, 81))
    assert len({entry.previous for entry in entries}) == 80 and entries[0].previous == GENESIS
    verdict = replicas[0].verify_chain()
    assert (verdict.entries, verdict.head, verdict.broken) == (80, entries[-1].hash, None)


def test_what_is_written_while_the_chain_is_walked_does_not_break_it(store, monkeypatch):
    true, heads = store._head_and_last, []

    def overtaken():
        heads.append(true())
        make(store, 10 + len(heads))
        return heads[-1]

    monkeypatch.setattr(store, "_head_and_last", overtaken)
    assert store.verify_chain().broken is None and heads


def test_the_entry_and_its_change_are_there_together_or_not_at_all(store, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(store, "_audit", broken)
        with pytest.raises(RuntimeError):
            make(store, 100)
    assert "t100" not in [token.name for token in store.tokens()]
    assert store.verify_chain().entries == 6


@pytest.mark.parametrize("change", ["UPDATE audit SET why = 'nothing' WHERE sequence = 3",
                                    "DELETE FROM audit WHERE sequence = 6", "DELETE FROM audit"])  # fmt: skip
def test_the_database_refuses_to_change_the_chain(store, engine, change):
    with pytest.raises(DBAPIError, match="only grows"), engine.begin() as connection:
        connection.execute(text(change))
    assert store.verify_chain().broken is None


def test_the_database_refuses_to_write_an_entry_over_another(store, engine):
    copy = "INTO audit SELECT * FROM audit WHERE sequence = 3"
    ways = {"sqlite": f"REPLACE {copy}", "postgresql": f"INSERT {copy} ON CONFLICT (sequence) DO UPDATE SET why = 'x'"}
    with pytest.raises(DBAPIError, match="only grows"), engine.begin() as connection:
        connection.execute(text(ways[engine.dialect.name]))
    make(store, 6)
    assert (store.verify_chain().broken, store.verify_chain().entries) == (None, 7)


def tampered(engine, *statements: str) -> None:
    """Somebody who may do everything with the database changes the chain."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE audit DISABLE TRIGGER ALL"))
        else:
            for name in ("audit_refuses_update", "audit_refuses_delete"):
                connection.execute(text(f"DROP TRIGGER {name}"))
        for statement in statements:
            connection.execute(text(statement))


MOVE = "UPDATE audit SET sequence = sequence + {} WHERE sequence = {}"
SWAP = [MOVE.format(97, 2), MOVE.format(-1, 3), MOVE.format(-96, 99)]


@pytest.mark.parametrize(("statements", "sequence", "why"), [
    (["UPDATE audit SET why = 'nothing' WHERE sequence = 3"], 3, "something else"),
    (["UPDATE audit SET actor = 'bob' WHERE sequence = 1"], 1, "something else"),
    (["UPDATE audit SET after = '{}' WHERE sequence = 6"], 6, "something else"),
    (["UPDATE audit SET hash = previous WHERE sequence = 4"], 4, "something else"),
    (["DELETE FROM audit WHERE sequence = 3"], 3, "missing"),
    (["DELETE FROM audit WHERE sequence = 6"], 6, "missing"),
    (["DELETE FROM audit WHERE sequence > 1"], 2, "missing"),
    (["DELETE FROM audit WHERE sequence = 1"], 1, "missing"),
    (["DELETE FROM audit WHERE sequence = 3", MOVE.format(-1, 4)], 3, "does not follow"),
    (SWAP, 2, "does not follow"),
    (["UPDATE audit_head SET hash = 'x' WHERE id = 1"], 6, "ended with"),
    (["UPDATE audit SET sequence = 9 WHERE sequence = 6", "UPDATE audit_head SET sequence = 5, hash = (SELECT hash FROM"
      " audit WHERE sequence = 5)"], 6, "behind the end"),
])  # fmt: skip
def test_a_changed_removed_or_reordered_entry_is_named(store, engine, statements, sequence, why):
    tampered(engine, *statements)
    broken = store.verify_chain().broken
    assert broken is not None and broken.sequence == sequence and why in broken.why


def test_pages_and_filters_show_what_was_asked_for_newest_first(store):
    everything = store.audit_page(Wanted(), None, 100)
    assert [entry.sequence for entry in everything] == [6, 5, 4, 3, 2, 1]
    assert [entry.sequence for entry in store.audit_page(Wanted(actor="ana-1"), 6, 2)] == [4, 2]
    assert [entry.sequence for entry in store.audit_page(Wanted(subject=everything[2].subject), None, 9)] == [4]
    assert store.audit_page(Wanted(action="token.revoke"), None, 9) == []
    assert [entry.sequence for entry in store.audit_entries(Wanted(actor="ana-0"), 2)] == [1, 3, 5]


@pytest.fixture
def client(tmp_path):
    world, minted = World(tmp_path), mint()
    for number in range(3):
        make(world.store, number)
    world.store.create_token(minted, "root", "admin", "admin", None)
    parts = Parts(world.store, world.blobs, world.clock, Authenticator(world.store))
    return TestClient(create_app(parts), headers={"Authorization": f"Bearer {minted.secret}"})


def test_the_export_is_all_of_it_in_order_and_proves_itself_elsewhere(client):
    head = client.get("/api/v1/audit/verification").json()
    assert head == {"whole": True, "entries": 3, "head": head["head"], "broken_at": None, "why": ""}
    with client.stream("GET", "/api/v1/audit", headers={"Accept": NDJSON}) as answer:
        lines = list(answer.iter_lines())
    assert answer.headers["content-type"].startswith(NDJSON) and "audit.ndjson" in answer.headers["content-disposition"]
    entries = [EntryView.model_validate_json(line) for line in lines]
    assert first_broken(entries, 3, head["head"]) is None
    changed = json.loads(lines[1]) | {"actor": "bob"}
    entries[1] = EntryView.model_validate(changed)
    assert first_broken(entries, 3, head["head"]).sequence == 2


def test_what_the_api_shows_is_paged_and_names_the_request(client):
    made = client.post("/api/v1/tokens", json={"name": "x", "role": "viewer"}, headers={"X-Request-Id": "trace-1"})
    page = client.get("/api/v1/audit", params={"limit": 2}).json()
    first = page["audit"][0]
    assert (first["request_id"], first["actor"], first["subject"]) == ("trace-1", "root", made.json()["id"])
    assert first["before"] is None and first["after"]["role"] == "viewer" and "token" not in first["after"]
    rest = client.get("/api/v1/audit", params={"cursor": page["next"]}).json()
    assert [each["sequence"] for each in page["audit"] + rest["audit"]] == [4, 3, 2, 1] and rest["next"] is None
    assert client.get("/api/v1/audit", params={"cursor": "nonsense"}).status_code == 422


def test_a_refused_sign_in_is_in_the_log_and_not_in_the_chain(client, caplog):
    assert client.get("/api/v1/me", headers={"Authorization": "Bearer dg_wrong"}).status_code == 401
    assert "refused a wrong" in caplog.text
    assert client.get("/api/v1/audit").json()["audit"][0]["sequence"] == 3


def test_the_chain_only_grows_for_a_client_of_the_database_itself(postgres):
    engine = open_engine(postgres)
    make(Store(engine), 1)
    engine.dispose()
    url = postgres.replace("postgresql+psycopg://", "postgresql://")
    with closing(psycopg.connect(url)) as connection, pytest.raises(psycopg.Error, match="only grows"):
        connection.execute("TRUNCATE audit")
