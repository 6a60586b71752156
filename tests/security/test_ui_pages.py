"""The pages: closed without a token, changed by nobody who may not, with the policy on every answer of HTML."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select
from starlette.routing import Route

from controlplane.access.acts import Act
from controlplane.access.auth import Authenticator, digest_of_token
from controlplane.access.sessions import COOKIE
from controlplane.access.tokens import mint
from controlplane.api import Parts, create_app
from controlplane.lifecycle import AlertState
from controlplane.store.trail import Wanted
from controlplane.tables import AuditEntry, Hold, TrainingRun
from controlplane.ui.actions import OF_ALERTS, OF_MODELS
from controlplane.ui.pages import _routes, mount
from controlplane.ui.web import SECURITY_HEADERS
from tests.admin_ui_story import Story
from tests.controlplane_world import MODEL, World

HTML = {"Accept": "text/html"}
FORMS = {"reason": "because", "span": "1h", "of": "rules"}


class Pages:
    """The pages of a world with a model and an alert, and a token of each role."""

    def __init__(self, folder) -> None:
        self.world = World(folder)
        self.store = self.world.store
        self.alert = Story(self.store).alert(MODEL, "DriftDetected", "warning", "it drifted", "nothing was done")
        self.tokens = {role: mint() for role in ("viewer", "operator", "admin", "service")}
        for role, scope in (("viewer", "read"), ("operator", "operate"), ("admin", "admin"), ("service", "service")):
            self.store.create_token(self.tokens[role], role, role, scope, None)
        self.parts = Parts(self.store, self.world.blobs, self.world.clock, Authenticator(self.store))
        self.app = create_app(self.parts, [mount])

    def client(self, role: str | None = None) -> TestClient:
        headers = HTML | ({"Authorization": f"Bearer {self.tokens[role].secret}"} if role else {})
        return TestClient(self.app, headers=headers, follow_redirects=False)

    def routes(self, method: str) -> list[str]:
        """Every address of the pages, with something in each place."""
        names = {"namespace/slug": MODEL, "alert_id": self.alert.id, "window_id": "w-1", "action": "none"}
        token = self.store.token(self.tokens["viewer"].sha256)
        found = []
        for route in _routes(self.parts):
            if isinstance(route, Route) and method in (route.methods or ()):
                path = route.path.replace("{namespace}/{slug}", MODEL).replace("{token_id}", token.id)
                acts = OF_ALERTS if "{alert_id}" in path else OF_MODELS
                filled = path.replace("{alert_id}", names["alert_id"]).replace("{window_id}", names["window_id"])
                found += [filled.replace("{action}", act) for act in acts] if "{action}" in path else [filled]
        return found

    def changes(self) -> tuple[int, int, int, str]:
        """What a change of any kind would move."""
        with self.store._reading() as session:
            entries = len(session.exec(select(AuditEntry)).all())
            rows = len(session.exec(select(Hold)).all()), len(session.exec(select(TrainingRun)).all())
        return entries, *rows, self.store.alert(self.alert.id).state.value


@pytest.fixture
def pages(tmp_path):
    return Pages(tmp_path)


def test_no_page_and_no_form_opens_without_a_token(pages):
    client = pages.client()
    looked = {path: client.get(path) for path in pages.routes("GET") if path != "/login"}
    assert len(looked) > 20
    assert {path for path, answer in looked.items() if answer.status_code != 303} == set()
    assert all(answer.headers["location"].startswith("/login") for answer in looked.values())
    sent = {path: client.post(path, data=FORMS).status_code for path in pages.routes("POST") if path != "/login"}
    assert set(sent.values()) == {401}
    assert pages.changes() == (0, 0, 0, "firing")


def test_every_answer_of_html_carries_the_policy_and_is_kept_nowhere(pages):
    client, seen = pages.client("admin"), 0
    answers = [client.get(path) for path in [*pages.routes("GET"), "/models/no/such", "/alerts/none/do/silence"]]
    answers += [client.post(path, data=data) for path in pages.routes("POST") for data in ({}, FORMS)]
    answers += [client.post("/tokens", data={"name": "x", "role": "viewer", "ends": "no end", "reason": "why"})]
    for answer in answers:
        if answer.headers.get("content-type", "").startswith("text/html"):
            seen += 1
            assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
            assert answer.headers["cache-control"] == "no-store"
    assert seen > 40


@pytest.mark.parametrize("role", ["viewer", "service"])
def test_who_may_not_operate_changes_nothing(pages, role):
    client = pages.client(role)
    before = pages.changes()
    sent = {path: client.post(path, data=FORMS).status_code for path in pages.routes("POST") if path != "/login"}
    assert set(sent.values()) == {403}
    forms = [path for path in pages.routes("GET") if "/do/" in path]
    assert {client.get(path).status_code for path in forms} == {403}
    assert pages.changes() == before


@pytest.mark.parametrize("role", ["viewer", "operator", "service"])
def test_audit_and_tokens_are_for_admins(pages, role):
    client = pages.client(role)
    assert [client.get(path).status_code for path in ("/audit", "/tokens")] == [403, 403]
    made = client.post("/tokens", data={"name": "mine", "role": "admin", "ends": "no end", "reason": "more"})
    assert made.status_code == 403
    assert len(pages.store.tokens()) == 4
    assert pages.client("admin").get("/audit").status_code == 200


def test_nothing_is_done_without_a_reason(pages):
    client = pages.client("admin")
    for reason in ("", "   ", "\x00\n", "x" * 501):
        for path in pages.routes("POST"):
            if path != "/login":
                answer = client.post(path, data=FORMS | {"reason": reason})
                assert answer.status_code == 422, path
                assert 'role="alert"' in answer.text
    assert pages.changes() == (0, 0, 0, "firing")


def test_every_change_is_kept_with_who_and_why_and_that_it_came_from_the_pages(pages):
    client = pages.client("operator")
    answer = client.post(
        "/login", data={"token": pages.tokens["operator"].secret}, headers={"Sec-Fetch-Site": "same-origin"}
    )
    browser = TestClient(pages.app, headers=HTML | {"Sec-Fetch-Site": "same-origin"}, follow_redirects=False)
    browser.cookies.set(COOKIE, answer.cookies[COOKIE])
    csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', browser.get("/").text)[1]
    form = FORMS | {"reason": "the feed\nis broken", "csrf": csrf}
    assert browser.post(f"/models/{MODEL}/do/pause", data=form).headers["location"] == f"/models/{MODEL}?done=pause"
    assert browser.post(f"/alerts/{pages.alert.id}/do/silence", data=form).status_code == 303
    entries = pages.store.audit_page(Wanted(), None, 2)
    assert [(e.action, e.actor, e.via, e.why) for e in entries] == [
        ("alert.silence", "operator", "ui", "the feed is broken"),
        ("hold.put", "operator", "ui", "the feed is broken"),
    ]
    silenced = pages.store.alert(pages.alert.id)
    assert silenced.state is AlertState.SILENCED
    assert timedelta(minutes=59) < silenced.silenced_until - entries[0].at <= timedelta(hours=1)
    refused = browser.post(f"/models/{MODEL}/do/freeze", data=form | {"csrf": "0" * 64})
    elsewhere = browser.post(f"/models/{MODEL}/do/freeze", data=form, headers={"Sec-Fetch-Site": "cross-site"})
    assert (refused.status_code, elsewhere.status_code) == (403, 403)
    assert [hold.what for hold in pages.store.holds(MODEL, pages.world.clock.now())] == ["rules"]


def test_the_same_form_sent_twice_asks_for_one_run(pages):
    client = pages.client("operator")
    page = client.get(f"/models/{MODEL}/do/train").text
    form = FORMS | {"request_id": re.search(r'name="request_id" value="([0-9a-f-]{36})"', page)[1]}
    assert [client.post(f"/models/{MODEL}/do/train", data=form).status_code for _ in range(2)] == [303, 303]
    assert pages.changes()[2] == 1
    again = client.post(f"/models/{MODEL}/do/train", data=FORMS)
    assert again.status_code == 409
    assert "is active" in again.text or "asked" in again.text


def test_a_token_is_shown_once_and_kept_nowhere(pages):
    client = pages.client("admin")
    asked = {"name": "nightly", "role": "viewer", "ends": "30 days", "reason": "the report"}
    answer = client.post("/tokens", data=asked)
    secret = re.search(r"dg_[A-Za-z0-9_-]+", answer.text)[0]
    assert answer.status_code == 201
    assert pages.store.token(digest_of_token(secret)).expires_at is not None
    for path in ("/tokens", "/audit"):
        assert secret not in client.get(path).text
    taken = client.post("/tokens", data=asked)
    assert (taken.status_code, "there is a token named nightly" in taken.text) == (409, True)
    for wrong in ({"role": "god"}, {"ends": "never"}, {"name": "<script>"}):
        assert client.post("/tokens", data=asked | {"name": "other"} | wrong).status_code == 422


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_a_form_leads_back_to_a_page_of_ours(pages, back):
    client = pages.client("operator")
    assert f'href="/models/{MODEL}"' in client.get(f"/models/{MODEL}/do/pause", params={"back": back}).text
    done = client.post(f"/models/{MODEL}/do/pause", data=FORMS | {"back": back})
    assert done.headers["location"] == f"/models/{MODEL}?done=pause"


def test_the_audit_page_names_the_first_broken_entry(pages):
    for number in range(3):
        with pages.store._writing() as session:
            pages.store._audit(session, Act("ann", None, "api", f"q{number}", "why"), "model.apply", MODEL, None, {})
    client = pages.client("admin")
    assert "The chain is whole: 3 entries" in client.get("/audit?verify=1").text
    with pages.store._writing_engine.begin() as connection:
        for (name,) in connection.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'"
        ).all():
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        connection.exec_driver_sql("UPDATE audit SET actor = 'bob' WHERE sequence = 2")
    assert "The chain is broken at entry 2" in client.get("/audit?verify=1").text
