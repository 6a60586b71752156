"""Tokens are shown once, end when they should, and open what their role says."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from controlplane.access.acts import Act
from controlplane.access.auth import Authenticator, digest_of_token, new_token
from controlplane.access.callers import ROLES
from controlplane.access.tokens import account_of, mint
from controlplane.api import Parts, create_app
from controlplane.api.fleet import desired_state
from controlplane.errors import NameTaken, Unauthenticated
from controlplane.store import Store, open_engine
from serving.access import Access
from serving.desired import DesiredState
from serving.errors import Refused
from tests.controlplane_world import FakeClock, World

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ACT = Act("ana", None, "api", "r-1", "why")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def client(world):
    token = new_token()
    world.store.add_token("root", digest_of_token(token), ["admin"])
    parts = Parts(world.store, world.blobs, world.clock, Authenticator(world.store))
    return TestClient(create_app(parts), headers={"Authorization": f"Bearer {token}"})


def make(client, name="report", role="viewer", **more):
    answer = client.post("/api/v1/tokens", json={"name": name, "role": role, "reason": "a test", **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_token_is_shown_once_and_kept_as_its_hash_only(client, world, caplog):
    caplog.set_level(logging.DEBUG)
    made = make(client)
    assert account_of(made["token"]) == made["id"] and len(made["token"].rpartition(made["id"])[2]) == 44
    assert client.get("/api/v1/me", headers=bearer(made["token"])).json() == {
        "name": "report", "role": "viewer", "scopes": ["read"], "token_id": made["id"], "via": "api",
    }  # fmt: skip
    secret = made["token"].rpartition("_")[2]
    listed = client.get("/api/v1/tokens").text + client.get("/api/v1/audit").text
    database = b"".join(file.read_bytes() for file in world.folder.glob("control.db*"))
    assert made["id"] in listed and made["id"].encode() in database
    assert secret not in listed + caplog.text and secret.encode() not in database
    assert secret not in repr(mint()) and "secret" not in repr(mint())


@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_what_it_says_and_nothing_else(client, role):
    token = make(client, role=role)["token"]
    opened = {
        "read": client.get("/api/v1/models", headers=bearer(token)).status_code != 403,
        "operate": client.put("/api/v1/clock", json={}, headers=bearer(token)).status_code != 403,
        "apply": client.put("/api/v1/models/a/b", json={}, headers=bearer(token)).status_code != 403,
        "service": client.get("/api/v1/serving/desired", headers=bearer(token)).status_code != 403,
        "admin": client.get("/api/v1/tokens", headers=bearer(token)).status_code != 403,
    }
    assert {scope for scope, is_open in opened.items() if is_open} == {
        "viewer": {"read"}, "operator": {"read", "operate"}, "engineer": {"read", "operate", "apply"},
        "admin": {"read", "operate", "apply", "service", "admin"},
        "service": {"service"}, "predict": set(),
    }[role]  # fmt: skip


def test_a_revoked_token_opens_nothing_any_more_and_revoking_it_again_is_no_change(client):
    made = make(client)
    assert client.get("/api/v1/models", headers=bearer(made["token"])).status_code == 200
    first = client.delete(f"/api/v1/tokens/{made['id']}?reason=left").json()
    again = client.delete(f"/api/v1/tokens/{made['id']}").json()
    assert first["revoked_at"] is not None and again == first and "token" not in first
    assert first["expires_at"] == first["revoked_at"], "a replica of release 0.1.0 would let it in"
    assert client.get("/api/v1/models", headers=bearer(made["token"])).status_code == 401
    assert client.delete("/api/v1/tokens/0190b4f0-0000-7000-8000-000000000000").status_code == 404
    actions = [(each["action"], each["why"], each["actor"]) for each in client.get("/api/v1/audit").json()["audit"]]
    assert actions == [("token.revoke", "left", "root"), ("token.create", "a test", "root")]


def test_a_token_ends_at_its_instant_and_not_before(world):
    wall = FakeClock(NOW)
    store, minted = Store(world.store._engine, wall), mint()
    store.create_token(minted, "short", "viewer", "read", NOW + HOUR)
    door = Authenticator(store, wall=wall)
    wall.advance(HOUR - timedelta(microseconds=1))
    assert door.authenticate(minted.secret, "10.0.0.1").name == "short"
    wall.advance(timedelta(microseconds=1))
    with pytest.raises(Unauthenticated, match="expired"):
        door.authenticate(minted.secret, "10.0.0.1")
    assert "short" not in [token.name for token in store.tokens()]


@pytest.mark.parametrize(
    "asked",
    [
        {"role": "root"}, {"role": ""}, {"name": ""}, {"name": "a\nb"}, {"name": "x" * 64}, {"name": "<b>"},
        {"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at": "2999-01-01T00:00:00"}, {"scopes": ["admin"]},
    ],
)  # fmt: skip
def test_a_token_that_makes_no_sense_is_refused(client, asked):
    body = {"name": "report", "role": "viewer"} | asked
    assert client.post("/api/v1/tokens", json=body).status_code in (400, 422)
    assert len(client.get("/api/v1/tokens").json()["tokens"]) == 1


def test_a_name_is_free_again_when_its_token_was_revoked_or_has_ended(client, world):
    first = make(client)
    assert (
        client.post("/api/v1/tokens", json={"name": "report", "role": "admin"}).json()["error"]["code"] == "name_taken"
    )
    client.delete(f"/api/v1/tokens/{first['id']}")
    make(client)
    world.store.create_token(mint(), "ended", "viewer", "read", datetime.now(UTC) - HOUR)
    make(client, "ended")


def test_tokens_are_paged_newest_first(client):
    made = [make(client, f"t{number}")["id"] for number in range(5)]
    seen, cursor = [], None
    while True:
        page = client.get("/api/v1/tokens", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [each["id"] for each in page["tokens"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen[:5] == made[::-1] and len(seen) == 6


def test_of_many_that_make_a_token_of_one_name_at_once_one_succeeds(database_url):
    engine = open_engine(database_url)

    def create(_: int) -> bool:
        try:
            Store(engine).create_token(mint(), "same", "viewer", "read", None, ACT)
        except NameTaken:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(create, range(8))) == [False] * 7 + [True]
    assert Store(engine).verify_chain().broken is None
    engine.dispose()


def test_tokens_of_release_0_1_0_open_what_their_scopes_say(world):
    old = "dg_ab_cd-" + "x" * 37
    assert account_of(old) is None
    world.store.add_token("old", digest_of_token(old), ["operate"])
    caller = Authenticator(world.store).authenticate(old, "10.0.0.1")
    assert (caller.name, caller.role, caller.scopes) == ("old", "", {"read", "operate"})


def test_serving_learns_of_an_end_and_a_revocation_and_judges_by_them_alone(client, world):
    ends = datetime.now(UTC) + HOUR
    kept, short, gone = (make(client, name, "predict") for name in ("kept", "short", "gone"))
    client.delete(f"/api/v1/tokens/{short['id']}")
    short = make(client, "short", "predict", expires_at=ends.isoformat())

    def lets_in(token: str, now: datetime) -> bool:
        access = Access(DesiredState.model_validate(desired_state(world.store)).tokens)
        try:
            access.check(f"Bearer {token}".encode(), now)
        except Refused:
            return False
        return True

    asked = {
        "kept": kept["token"],
        "short": short["token"],
        "gone": gone["token"],
        "admin": make(client, "a", "admin")["token"],
    }
    before = {name: lets_in(token, ends - HOUR) for name, token in asked.items()}
    client.delete(f"/api/v1/tokens/{gone['id']}")
    after = {name: lets_in(token, ends) for name, token in asked.items()}
    assert before == {"kept": True, "short": True, "gone": True, "admin": False}
    assert after == {"kept": True, "short": False, "gone": False, "admin": False}
