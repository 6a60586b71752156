"""Nothing that was stored, asked for or sent runs on a page: payloads in every field, in a real browser.

The request listener of a visit complains about every request that leaves, and about every dialog.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page
from sqlmodel import Session, select

from controlplane.tables import Version
from tests.admin_ui_poison import PAYLOADS, poison
from tests.admin_ui_site import Site, launched, make_site, served, visit
from tests.admin_ui_story import Story


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as started:
        yield started


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = make_site(tmp_path_factory.mktemp("poisoned"), "admin")
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


def test_there_are_at_least_thirty_payloads_each_once() -> None:
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 30


def plain(text: str) -> str:
    """The text without what a database and a browser cannot keep, and without the mark that stands for it."""
    return text.replace("\x00", "").replace("\ufffd", "")


def shown(page: Page) -> str:
    """All the text of a page."""
    return plain(str(page.evaluate("document.body.textContent")))


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
                assert shown(seen.page).count(plain(payload)) > 5
        assert seen.complaints == []


#: each shows something of every poisoned model; the longer lists fill several pages
WHOLE = ("/?page=1", "/alerts?state=resolved", "/audit?action=alert.acknowledge", "/tokens")
PARTS = (*(f"/alerts?state=all&page={number}" for number in (1, 2, 3)), "/audit", "/audit?before=20")


def test_nothing_that_was_stored_runs_on_the_pages_of_all_models(browser: Browser, poisoned: Site) -> None:
    with visit(browser, poisoned) as seen:
        together = ""
        for path in (*WHOLE, *PARTS):
            seen.page.goto(poisoned.url + path)
            assert seen.page.evaluate(LOOK) == CLEAN, path
            text = shown(seen.page)
            assert path in PARTS or all(plain(payload) in text for payload in PAYLOADS), path
            together += text
        assert all(together.count(plain(payload)) > 20 for payload in PAYLOADS)
        assert seen.complaints == []


def test_nothing_that_an_address_or_a_form_says_runs(browser: Browser, poisoned: Site) -> None:
    with visit(browser, poisoned) as seen:
        page = seen.page
        for number, payload in enumerate(PAYLOADS):
            said = quote(payload)
            alert = poisoned.store.open_alerts(f"labs/x{number}")[0].id
            form = f"/models/labs/x{number}/do/cancel?of={said}&back={said}&reason={said}"
            for path in (
                f"/?q={said}&show={said}", f"/alerts?q={said}&state={said}&severity={said}", f"/audit?actor={said}",
                f"/alerts/{alert}/do/silence?back={said}&done={said}", f"/login?next={said}", form,
            ):  # fmt: skip
                page.goto(poisoned.url + path)
                assert page.evaluate(LOOK) in (CLEAN, CLEAN | {"scripts": []}), (payload, path)
            page.fill("#reason", payload)
            page.click("main button")
            assert "has no run" in page.inner_text("#refused")
            assert page.evaluate(LOOK) == CLEAN, payload
        refusals = [said for said in seen.complaints if "status of 404" in said]
        assert seen.complaints == refusals
        assert len(refusals) == len(PAYLOADS)


def test_nothing_that_was_stored_runs_when_a_page_looks_again(browser: Browser, poisoned: Site) -> None:
    with visit(browser, poisoned) as seen:
        for number in (0, 1, 2, 8):
            seen.page.goto(f"{poisoned.url}/models/labs/x{number}")
            seen.page.evaluate("document.querySelectorAll('[data-part]').forEach(part => { part.dataset.old = '1' })")
            with Session(poisoned.store._writing_engine) as session, session.begin():
                stored = select(Version).where(Version.model == f"labs/x{number}", Version.number == 1)
                version = session.exec(stored).one()
                version.note += PAYLOADS[number]
                session.add(version)
            seen.refresh()
            assert seen.page.get_attribute("#versions", "data-old") is None
            assert seen.page.evaluate(LOOK) == CLEAN
        assert seen.complaints == []
