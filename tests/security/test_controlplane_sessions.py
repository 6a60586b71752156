"""A browser's session: begun with a token, never equal to it, ended in every way it should, used by our pages only."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select
from starlette.requests import Request

from controlplane.access.auth import Authenticator
from controlplane.access.sessions import COOKIE, IDLE, LONGEST, Sessions, check_csrf
from controlplane.access.tokens import mint
from controlplane.api import Parts, create_app
from controlplane.errors import Forbidden, Unauthenticated
from controlplane.processes import admin_pages
from controlplane.store import Store
from controlplane.tables import AuditEntry, SignIn
from observability.ids import new_id
from tests.controlplane_world import MODEL, FakeClock, World

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OURS = {"Sec-Fetch-Site": "same-origin"}


class Browser:
    """The pages over a clock, and a token of an operator."""

    def __init__(self, folder, **parts) -> None:
        self.wall = FakeClock(NOW)
        world = World(folder)
        self.store, self.minted = Store(world.store._engine, self.wall), mint()
        self.token = self.store.create_token(self.minted, "ana", "operator", "operate", None)
        self.authenticator = Authenticator(self.store, wall=self.wall)
        self.app = create_app(Parts(self.store, world.blobs, world.clock, self.authenticator, **parts), admin_pages())
        self.client = TestClient(self.app, follow_redirects=False, headers={"Accept": "text/html"})

    def sign_in(self, token: str | None = None, **headers):
        form = {"token": token or self.minted.secret, "next": f"/models/{MODEL}"}
        return self.client.post("/login", data=form, headers=OURS | headers)

    @property
    def cookie(self) -> str:
        return self.client.cookies.get(COOKIE, "")

    def csrf(self) -> str:
        return re.search(r'name="csrf" value="([0-9a-f]{64})"', self.client.get("/").text)[1]

    def is_inside(self) -> bool:
        return self.client.get("/").status_code == 200

    def ask(self, **headers):
        body = {"request_id": new_id(), "reason": "why"}
        return self.client.post(f"/api/v1/models/{MODEL}/runs", json=body, headers=headers)

    def rows(self, table):
        with self.store._reading() as session:
            return session.exec(select(table)).all()


@pytest.fixture
def browser(tmp_path):
    return Browser(tmp_path)


def test_the_cookie_is_not_the_token_and_only_its_hash_is_kept(browser, tmp_path):
    answer = browser.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, f"/models/{MODEL}")
    morsel = SimpleCookie(answer.headers["set-cookie"])[COOKIE]
    assert (morsel["httponly"], morsel["samesite"], morsel["path"]) == (True, "strict", "/")
    assert int(morsel["max-age"]) == LONGEST.total_seconds() and len(browser.cookie) == 43
    assert browser.is_inside() and browser.cookie not in browser.minted.secret
    database = b"".join(file.read_bytes() for file in tmp_path.glob("control.db*"))
    for secret in (browser.cookie, browser.csrf(), browser.minted.secret):
        assert secret.encode() not in database


@pytest.mark.parametrize(("behind", "scheme", "secure"), [(True, "http", True), (False, "https", True),
                                                          (False, "http", False)])  # fmt: skip
def test_the_cookie_is_for_https_only_where_the_browser_came_by_https(tmp_path, behind, scheme, secure):
    browser = Browser(tmp_path, behind_tls=behind)
    browser.client.base_url = f"{scheme}://testserver"
    assert bool(SimpleCookie(browser.sign_in().headers["set-cookie"])[COOKIE]["secure"]) == secure


def test_a_session_ends_when_idle_and_at_the_latest_after_its_longest_time(browser):
    browser.sign_in()
    for _ in range(3):
        browser.wall.advance(IDLE - timedelta(seconds=1))
        assert browser.is_inside()
    browser.wall.advance(IDLE)
    assert browser.client.get("/").headers["location"] == "/login"

    browser.sign_in()
    while browser.wall.now() + IDLE / 2 < NOW + 4 * IDLE + LONGEST:
        browser.wall.advance(IDLE / 2)
        inside = browser.is_inside()
    assert not inside


def test_a_session_ends_with_its_token(browser):
    browser.sign_in()
    assert browser.is_inside()
    browser.store.revoke_token(browser.token.id)
    assert not browser.is_inside() and browser.rows(SignIn) == []

    short = mint()
    browser.store.create_token(short, "short", "viewer", "read", browser.wall.now() + IDLE / 2)
    browser.sign_in(short.secret)
    assert browser.is_inside()
    browser.wall.advance(IDLE / 2)
    assert not browser.is_inside()


def test_signing_out_ends_the_session_itself_and_not_only_the_cookie(browser):
    browser.sign_in()
    cookie, csrf = browser.cookie, browser.csrf()
    answer = browser.client.post("/login", data={"leave": "1", "csrf": csrf}, headers=OURS)
    assert (answer.headers["location"], browser.cookie) == ("/login", "")
    browser.client.cookies.set(COOKIE, cookie)
    assert not browser.is_inside()
    assert [(each.action, each.actor, each.via) for each in browser.rows(AuditEntry)] == [
        ("session.begin", "ana", "ui"), ("session.end", "ana", "ui"),
    ]  # fmt: skip
    assert browser.store.verify_chain().broken is None


def test_another_site_can_neither_sign_out_nor_in(browser):
    browser.sign_in()
    for said, headers in (({"leave": "1"}, OURS), ({"leave": "1", "csrf": "0" * 64}, OURS),
                          ({"leave": "1", "csrf": browser.csrf()}, {"Sec-Fetch-Site": "cross-site"}),
                          ({"token": browser.minted.secret}, {"Sec-Fetch-Site": "same-site"}),
                          ({"token": browser.minted.secret}, {"Origin": "http://evil.example"})):  # fmt: skip
        assert browser.client.post("/login", data=said, headers=headers).status_code == 403
    assert browser.is_inside()


def test_signing_in_again_ends_the_session_before_and_a_cookie_from_elsewhere_becomes_none(browser):
    browser.sign_in(Cookie=f"{COOKIE}=chosen-by-somebody-else")
    first = browser.cookie
    assert first != "chosen-by-somebody-else"
    browser.sign_in()
    assert browser.cookie != first and len(browser.rows(SignIn)) == 1


def test_a_session_changes_something_only_from_our_own_pages_and_with_its_own_token(browser):
    browser.sign_in()
    csrf = browser.csrf()
    for headers in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
                    {"Origin": "http://evil.example"}, {"Origin": "null"}):  # fmt: skip
        assert browser.ask(**headers, **{"X-CSRF-Token": csrf}).status_code == 403
    for said in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": csrf[:-1]}):
        assert browser.ask(**OURS, **said).status_code == 403
    other = Sessions(browser.store, browser.wall).begin(
        browser.authenticator.authenticate(browser.minted.secret, "a"), "r"
    )
    assert browser.ask(**OURS, **{"X-CSRF-Token": other.caller.csrf}).status_code == 403
    assert browser.ask(**OURS, **{"X-CSRF-Token": csrf}).status_code == 202
    assert browser.ask(Origin="http://testserver", **{"X-CSRF-Token": csrf}).status_code in (202, 409)


def test_a_form_may_carry_the_token_as_a_field_and_reaches_its_route_whole(browser):
    browser.sign_in()

    @browser.app.post("/echo")
    async def echo(request: Request) -> str:
        return (await request.body()).decode()

    for said, status in (("a=1&b=%C3%A4", 403), ("a=1&csrf=" + "0" * 64, 403), (f"a=1&csrf={browser.csrf()}", 200)):
        headers = OURS | {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        answer = browser.client.post("/echo", content=said, headers=headers)
        assert answer.status_code == status
    assert answer.json() == said
    assert browser.client.post("/echo", content=b"a=" + b"b" * 100_000, headers=headers).status_code == 413


def test_a_caller_with_a_token_needs_no_csrf_token_even_with_a_cookie(browser):
    browser.sign_in()
    assert browser.ask(Authorization=f"Bearer {browser.minted.secret}").status_code == 202


def test_the_cookie_is_no_token_and_the_token_is_no_cookie(browser):
    browser.sign_in()
    cookie = browser.cookie
    browser.client.cookies.clear()
    assert browser.client.get("/api/v1/me", headers={"Authorization": f"Bearer {cookie}"}).status_code == 401
    browser.client.cookies.set(COOKIE, browser.minted.secret)
    assert browser.client.get("/api/v1/me").status_code == 401


def test_a_token_that_may_not_read_begins_no_session(browser):
    predict = mint()
    browser.store.create_token(predict, "app", "predict", "predict", None)
    assert browser.sign_in(predict.secret).status_code == 403
    assert browser.rows(SignIn) == [] and browser.cookie == ""


def test_the_sign_in_page_tells_who_tried_too_often_to_wait_and_lets_a_right_token_in(browser):
    answers = [browser.sign_in("dg_wrong") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert answers[-1].headers["retry-after"] == "60" and "try again in 60 s" in answers[-1].text
    assert browser.rows(AuditEntry) == [] and browser.sign_in().status_code == 303


def test_ended_sessions_are_forgotten_when_somebody_signs_in(browser):
    sessions = Sessions(browser.store, browser.wall)
    caller = browser.authenticator.authenticate(browser.minted.secret, "10.0.0.1")
    for _ in range(3):
        sessions.begin(caller, "r")
        browser.wall.advance(IDLE)
    assert len(browser.rows(SignIn)) == 1


def test_a_caller_without_a_session_passes_no_csrf_check_by_saying_nothing(browser):
    caller = browser.authenticator.authenticate(browser.minted.secret, "10.0.0.1")
    with pytest.raises(Forbidden):
        check_csrf(caller, "")
    with pytest.raises(Unauthenticated):
        browser.authenticator.sessions.resume("")
