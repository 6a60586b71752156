"""The admin UI as a server and a visitor of it, for the tests that look at it in a real browser."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page, sync_playwright

from bundle.blobs import BlobStore
from controlplane.access.auth import Authenticator, Throttle, digest_of_token, new_token
from controlplane.api import Parts, create_app
from controlplane.replayclock import ReplayClock
from controlplane.store import Store, open_engine
from controlplane.ui.pages import mount
from tests.admin_ui_story import SPAN, START
from tests.servers.absence import absent

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]  # fmt: skip


@dataclass
class Site:
    """A control plane's pages, a token that may read them, and those of an operator and of an admin."""

    store: Store
    app: FastAPI
    token: str
    alice: str
    root: str
    url: str = ""

    def client(self, signed_in: bool = True) -> TestClient:
        headers = {"Authorization": f"Bearer {self.token}"} if signed_in else {}
        return TestClient(self.app, headers=headers, follow_redirects=False)


def make_site(folder: Path, scope: str = "read") -> Site:
    store = Store(open_engine(f"sqlite:///{folder / 'control.db'}"))
    tokens = [new_token() for _ in range(3)]
    for name, token, may in zip(("reader", "alice", "root"), tokens, (scope, "operate", "admin"), strict=True):
        store.add_token(name, digest_of_token(token), [may])
    store.move_replay_time(START + SPAN * 58)
    parts = Parts(
        store, BlobStore(folder / "blobs"), ReplayClock(store), Authenticator(store, Throttle(store, failures=1_000)),
        instance_silence=timedelta(days=1),
    )  # fmt: skip
    return Site(store, create_app(parts, [mount]), *tokens)


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


@contextmanager
def launched() -> Iterator[Browser]:
    """A headless Chromium. Where CI is true a machine without one fails, elsewhere it skips."""
    if CHROMIUM is None:
        absent("no Chromium on this machine: `make browser` installs it")
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
def visit(
    browser: Browser,
    site: Site,
    path: str = "/",
    signed_in: bool = True,
    token: str | None = None,
    scripts: bool = True,
) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, java_script_enabled=scripts)
    page = context.new_page()
    complaints: list[str] = []
    outside = lambda url: not url.startswith((f"{site.url}/", "data:,"))  # noqa: E731
    page.on("request", lambda asked: complaints.append(f"left: {asked.url}") if outside(asked.url) else None)
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    if signed_in:
        sign_in(page, site, token)
    page.goto(site.url + path)
    yield Visit(page, complaints)
    context.close()


def sign_in(page: Page, site: Site, token: str | None = None) -> None:
    page.goto(f"{site.url}/login")
    page.fill("#token", token or site.token)
    page.click("main button")
