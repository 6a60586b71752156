"""The admin UI over HTTP and in a real browser, from a database filled through the real tables."""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page, sync_playwright
from sqlmodel import Session, select

from bundle.blobs import BlobStore
from controlplane.api import Parts, create_app
from controlplane.auth import Authenticator, Throttle, digest_of_token, new_token
from controlplane.lifecycle import RunState
from controlplane.replayclock import ReplayClock
from controlplane.store import Store, open_engine
from controlplane.tables import TrainingRun, Version
from controlplane.ui.pages import mount
from tests.admin_ui_poison import PAYLOADS, poison
from tests.admin_ui_story import SPAN, START, TWEETS, Story, fill

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]  # fmt: skip
TWEETS_PAGE = f"/models/{TWEETS}"


@dataclass
class Site:
    """A control plane's pages with a token that may read them."""

    store: Store
    app: FastAPI
    token: str
    url: str = ""

    def client(self, signed_in: bool = True) -> TestClient:
        headers = {"Authorization": f"Bearer {self.token}"} if signed_in else {}
        return TestClient(self.app, headers=headers, follow_redirects=False)


def make_site(folder: Path) -> Site:
    store = Store(open_engine(f"sqlite:///{folder / 'control.db'}"))
    token = new_token()
    store.add_token("reader", digest_of_token(token), ["read"])
    store.move_replay_time(START + SPAN * 58)
    parts = Parts(
        store, BlobStore(folder / "blobs"), ReplayClock(store), Authenticator(store, Throttle(store, failures=1_000)),
        instance_silence=timedelta(days=1),
    )  # fmt: skip
    return Site(store, create_app(parts, [mount]), token)


@contextmanager
def served(site: Site) -> Iterator[Site]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(site.app, port=port, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    site.url = f"http://127.0.0.1:{port}"
    yield site
    server.should_exit = True
    thread.join(5)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = make_site(tmp_path_factory.mktemp("told"))
    fill(site.store)
    return site


@pytest.fixture(scope="module")
def live(told: Site) -> Iterator[Site]:
    with served(told) as site:
        yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        message = "no Chromium on this machine: `make browser` installs it"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@dataclass
class Visit:
    """A page, and everything that a policy or a script complained about on it."""

    page: Page
    complaints: list[str]

    def refresh(self) -> None:
        """Have the page look again now, as it does when its tab is shown."""
        with self.page.expect_response(lambda response: response.request.resource_type == "fetch"):
            self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        self.page.wait_for_function("document.getElementById('live').dataset.state === 'on'")


@contextmanager
def visit(browser: Browser, site: Site, path: str = "/", signed_in: bool = True) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    if signed_in:
        sign_in(page, site)
    page.goto(site.url + path)
    yield Visit(page, complaints)
    context.close()


def sign_in(page: Page, site: Site, token: str | None = None) -> None:
    page.goto(f"{site.url}/login")
    page.fill("#token", token or site.token)
    page.click("main button")


# Over HTTP


def test_the_fleet_says_how_each_model_is(told: Site) -> None:
    text = told.client().get("/").text
    for words in ("default/tweets", "default/flights", "labs/nowcast", "steady", "no version", "training", "46%"):
        assert words in text
    assert "enough-new-rows fired: enough new labelled rows" in text


def test_the_page_of_a_model_tells_its_story(told: Site) -> None:
    text = told.client().get(TWEETS_PAGE).text
    for words in (
        "Spark fits 5,280 rows", "loaded by 1 of 1 serving instance", "drift above threshold", "bad_source",
        "a quote is never closed", "not shown to be better than the champion", "cooling down",
        "+0.138 [+0.116, +0.160]", "ONNX SHA-256", "fires at 35%", "fires above 0.6", "waits for labels",
    ):  # fmt: skip
        assert words in text, words
    assert text.count('class="chart timeline"') == text.count('class="chart heat"') == 1
    assert text.count('<g class="mark">') == 4


def test_each_decision_can_be_seen_alone(told: Site) -> None:
    grouped, every = told.client().get(TWEETS_PAGE).text, told.client().get(f"{TWEETS_PAGE}?every=1").text
    assert "20 times" in grouped
    assert every.count("features-drifted") > grouped.count("features-drifted") + 30


def test_the_page_of_a_window_has_every_feature_with_its_numbers(told: Site) -> None:
    client = told.client()
    links = re.findall(rf"{TWEETS_PAGE}/windows/w-[0-9a-f]+", client.get(TWEETS_PAGE).text)
    spec = told.store.model(TWEETS).spec
    for link in (links[0], links[30], links[-1]):
        text = client.get(link).text
        assert all(f'<th scope="row">{feature["name"]}</th>' in text for feature in spec["features"])
        assert "jensenshannon" in text


def test_a_database_without_models_says_what_to_do(tmp_path: Path) -> None:
    text = make_site(tmp_path).client().get("/").text
    assert "driftgate apply recipes/tweets" in text
    assert "make demo" in text


def test_a_model_without_a_version_says_what_to_do(told: Site) -> None:
    text = told.client().get("/models/labs/nowcast").text
    assert "driftgate train labs/nowcast" in text
    assert 'class="chart timeline"' not in text


def test_a_model_without_monitors_and_rules_has_a_page(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    Story(site.store).apply("flights", START, monitors=[], rules=[])
    assert site.client().get("/").status_code == 200
    assert site.client().get("/models/default/flights?monitor=none").status_code == 200


@pytest.mark.parametrize("path", ["/models/no/such", f"{TWEETS_PAGE}/windows/w-none"])
def test_what_does_not_exist_is_said_on_a_page(told: Site, path: str) -> None:
    answer = told.client().get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/", TWEETS_PAGE, "/login", "/models/no/such", "/models/labs/nowcast"])
def test_every_page_leaves_with_the_policy(told: Site, path: str) -> None:
    headers = told.client().get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'; script-src 'self'")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/", TWEETS_PAGE, f"{TWEETS_PAGE}/windows/w-1"])
def test_no_page_opens_without_a_token(told: Site, path: str) -> None:
    assert told.client(signed_in=False).get(path).status_code == 401
    browser = told.client(signed_in=False).get(path, headers={"accept": "text/html"})
    assert (browser.status_code, browser.headers["location"].partition("?")[0]) == (303, "/login")


@pytest.mark.parametrize("asset", ["style.css", "live.js", "favicon.svg"])
def test_static_files_are_open(told: Site, asset: str) -> None:
    assert told.client(signed_in=False).get(f"/static/{asset}").status_code == 200
    assert told.client(signed_in=False).get(f"/static/../{asset}").status_code in (401, 404)


def test_the_sign_in_form_takes_no_more_than_a_token(told: Site) -> None:
    client = told.client(signed_in=False)
    assert client.post("/login", content=b"token=" + b"a" * 10_000).status_code == 413
    assert client.post("/login", content=b"\xff\xfe&&==").status_code == 401
    cross = client.post("/login", content=b"token=" + told.token.encode(), headers={"sec-fetch-site": "cross-site"})
    assert (cross.status_code, "set-cookie" in cross.headers) == (403, False)


def test_signing_in_leads_back_but_nowhere_else(told: Site) -> None:
    client = told.client(signed_in=False)
    inside = client.post("/login", data={"token": told.token, "next": TWEETS_PAGE})
    outside = client.post("/login", data={"token": told.token, "next": "//evil.example/"})
    assert (inside.headers["location"], outside.headers["location"]) == (TWEETS_PAGE, "/")


# In a browser


def test_signing_in_and_out(browser: Browser, live: Site) -> None:
    with visit(browser, live, TWEETS_PAGE, signed_in=False) as seen:
        assert seen.page.url.startswith(f"{live.url}/login")
        sign_in(seen.page, live, "dg_wrong")
        assert seen.page.inner_text("#refused") == "That token is not known here."
        sign_in(seen.page, live)
        assert seen.page.inner_text("h1") == "Fleet"
        cookie = seen.page.context.cookies()[0]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert seen.page.evaluate("document.cookie") == ""
        seen.page.click("text=Sign out")
        seen.page.goto(live.url)
        assert seen.page.url.startswith(f"{live.url}/login")


def test_pages_are_well_formed_for_everyone(browser: Browser, live: Site) -> None:
    with visit(browser, live) as seen:
        window = live.store.windows(TWEETS, 1)[0].id
        for path in ("/", TWEETS_PAGE, f"{TWEETS_PAGE}/windows/{window}", "/models/labs/nowcast"):
            seen.page.goto(live.url + path)
            found = seen.page.evaluate(
                """() => ({
                  heads: document.querySelectorAll("h1").length,
                  scopes: document.querySelectorAll("th:not([scope])").length,
                  charts: document.querySelectorAll("svg:not([aria-label]):not([aria-hidden])").length,
                  twice: [...document.querySelectorAll("[id]")].map(e => e.id)
                    .filter((id, n, all) => all.indexOf(id) !== n),
                  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
                })"""
            )
            assert found == {"heads": 1, "scopes": 0, "charts": 0, "twice": [], "wide": 0}, path
        assert seen.complaints == []


def test_a_page_follows_what_happens_and_leaves_the_reader_in_peace(browser: Browser, live: Site) -> None:
    with visit(browser, live, TWEETS_PAGE) as seen:
        page = seen.page
        page.click("#lineage-3 summary")
        page.evaluate("window.scrollTo(0, 700); window.untouched = document.getElementById('heat')")
        move(live.store, "evaluate", 0.81, "scores 1,200 held-out rows")
        seen.refresh()
        assert page.inner_text("#run h2").endswith("scores 1,200 held-out rows")
        assert page.inner_text(".steps .at") == "evaluate"
        assert page.evaluate("document.getElementById('lineage-3').open")
        assert page.evaluate("window.scrollY") == 700
        assert page.evaluate("window.untouched.isConnected"), "a part that did not change was replaced"
        page.focus("#lineage-3 summary")
        rename(live.store, "a note that changed")
        seen.refresh()
        assert "a note that changed" in page.inner_text("#versions")
        assert page.evaluate("document.activeElement.closest('details').id") == "lineage-3"
        assert seen.complaints == []


def test_a_page_looks_every_two_seconds_while_something_is_active(browser: Browser, live: Site) -> None:
    with visit(browser, live, TWEETS_PAGE) as seen:
        assert seen.page.get_attribute("main", "data-every") == "2000"
        with seen.page.expect_response(lambda r: r.request.resource_type == "fetch", timeout=4_000) as answer:
            pass
        assert answer.value.ok
        seen.page.goto(f"{live.url}/models/default/flights")
        assert seen.page.get_attribute("main", "data-every") == "5000"


def test_a_page_says_when_it_is_old(browser: Browser, live: Site) -> None:
    with visit(browser, live, TWEETS_PAGE) as seen:
        seen.page.route("**/models/**", lambda route: route.abort())
        seen.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        seen.page.wait_for_selector("#live[data-state=off]")
        assert "not reachable" in seen.page.inner_text("#live")


def test_a_hidden_page_asks_for_nothing(browser: Browser, live: Site) -> None:
    with visit(browser, live, TWEETS_PAGE) as seen:
        asked: list[str] = []
        seen.page.evaluate(
            "Object.defineProperty(document, 'hidden', {value: true});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )
        seen.page.on("request", lambda request: asked.append(request.url))
        assert seen.page.inner_text("#live") == "paused"
        seen.page.wait_for_timeout(2_300)
        assert asked == []


def move(store: Store, phase: str, fraction: float, message: str) -> None:
    with Session(store._writing_engine) as session, session.begin():
        run = session.exec(select(TrainingRun).where(TrainingRun.state == RunState.RUNNING)).one()
        run.progress = {"phase": phase, "fraction": fraction, "message": message, "at": "2021-03-11T19:00:00Z"}
        session.add(run)


def rename(store: Store, note: str) -> None:
    with Session(store._writing_engine) as session, session.begin():
        version = session.exec(select(Version).where(Version.model == TWEETS, Version.number == 3)).one()
        version.note = note
        session.add(version)


# Injection


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = make_site(tmp_path_factory.mktemp("poisoned"))
    story = Story(site.store)
    for number, payload in enumerate(PAYLOADS):
        poison(story, number, payload)
    with served(site) as up:
        yield up


LOOK = """() => ({
  pwned: window.PWNED ?? null,
  scripts: [...document.scripts].map(script => script.getAttribute("src")),
  frames: document.querySelectorAll("iframe, object, embed, base, math, template, video, [http-equiv]").length,
  styles: document.querySelectorAll("style, [style]").length,
  handlers: [...document.querySelectorAll("*")].flatMap(e => e.getAttributeNames())
    .filter(name => name.startsWith("on")),
  links: [...document.querySelectorAll("[href], [action]")].map(e => e.getAttribute("href") ?? e.getAttribute("action"))
    .filter(link => !/^([/?#][^/\\\\]|\\/$)/.test(link)),
})"""
CLEAN = {"pwned": None, "scripts": ["/static/live.js"], "frames": 0, "styles": 0, "handlers": [], "links": []}


def test_the_browser_would_notice_an_injection(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content("<p></p>" + PAYLOADS[1])
    page.wait_for_function("window.PWNED === 1")
    assert page.evaluate(LOOK)["handlers"] == ["onerror"]
    page.close()


def test_nothing_that_was_stored_runs_on_a_page(browser: Browser, poisoned: Site) -> None:
    with visit(browser, poisoned) as seen:
        assert seen.page.evaluate(LOOK) == CLEAN
        for number, payload in enumerate(PAYLOADS):
            window = poisoned.store.windows(f"labs/x{number}", 1)[0].id
            for path in (f"/models/labs/x{number}?every=1", f"/models/labs/x{number}/windows/{window}"):
                seen.page.goto(poisoned.url + path)
                assert seen.page.evaluate(LOOK) == CLEAN, (payload, path)
                assert seen.page.evaluate("document.body.textContent").count(payload.replace("\x00", "")) > 5
        assert seen.complaints == []


def test_nothing_that_was_stored_runs_when_a_page_looks_again(browser: Browser, poisoned: Site) -> None:
    with visit(browser, poisoned) as seen:
        for number in (0, 1, 2, 8):
            seen.page.goto(f"{poisoned.url}/models/labs/x{number}")
            seen.page.evaluate("document.querySelectorAll('[data-part]').forEach(part => { part.dataset.old = '1' })")
            with Session(poisoned.store._writing_engine) as session, session.begin():
                version = session.exec(select(Version).where(Version.model == f"labs/x{number}")).one()
                version.note += PAYLOADS[number]
                session.add(version)
            seen.refresh()
            assert seen.page.get_attribute("#versions", "data-old") is None
            assert seen.page.evaluate(LOOK) == CLEAN
        assert seen.complaints == []
