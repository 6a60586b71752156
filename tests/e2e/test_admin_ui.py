"""The admin UI over HTTP and in a real browser, from a database filled through the real tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from sqlmodel import Session, select

from controlplane.access.auth import digest_of_token
from controlplane.lifecycle import RunState, VersionState
from controlplane.store import Store
from controlplane.tables import TrainingRun, Version
from tests.admin_ui_site import Site, launched, make_site, served, sign_in, visit
from tests.admin_ui_story import FRAUD, RETURNS, START, TWEETS, Story, awaiting, fill, trained

TWEETS_PAGE = f"/models/{TWEETS}"


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
    with launched() as started:
        yield started


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
    assert client.post("/login", content=b"\xff\xfe&&==").status_code == 422
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
        assert [url for url in asked if "/static/" not in url] == [], "but the browser's own look for an icon"


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


# On call


def say(page: Page, why: str) -> None:
    """Give the reason that the form asks for, and send it."""
    page.fill("#reason", why)
    page.click("main button[type=submit]")


def test_whoever_is_on_call_sees_acknowledges_rolls_back_and_finds_it_in_the_audit(
    browser: Browser, live: Site
) -> None:
    with visit(browser, live, token=live.alice) as seen:
        page = seen.page
        assert page.inner_text(".card:first-child h2") == FRAUD, "the model with the critical alert is not the first"
        page.click("text=ErrorMetricBeyondBound")
        assert page.url.startswith(f"{live.url}/models/{FRAUD}#alert-")
        assert "Nothing was retrained" in page.inner_text(".alert.bad")
        page.click(".alert.bad >> text=Acknowledge")
        say(page, "the new version, looking at it")
        assert page.inner_text(".notice") == "Acknowledged: nobody is paged any more."
        assert "by alice: the new version, looking at it" in page.inner_text("#open-alerts")
        page.click("text=Roll back to v1")
        say(page, "version 2 is worse since its promotion")
        assert page.inner_text("#tiles .big >> nth=0") == "v1"
        page.go_back()
        say(page, "pressed twice")
        assert "version 2 of shop/fraud is not in production" in page.inner_text("#refused")
        page.goto(f"{live.url}/models/{FRAUD}")
        page.click("text=Approve v3")
        say(page, "it is better")
        assert "was made to replace 2, which is not in production" in page.inner_text("#refused")
        assert page.input_value("#reason") == "it is better"
        page.goto(f"{live.url}/audit")
        assert "403" in seen.complaints[-1], "an operator reads the audit"
    with visit(browser, live, "/audit?verify=1", token=live.root) as seen:
        entries = seen.page.inner_text("table.audit")
        for words in (
            "ErrorMetricBeyondBound of shop/fraud",
            "alert.acknowledge",
            "version.roll_back",
            "version 2 is worse since its promotion",
            "alice",
        ):
            assert words in entries
        assert "it is better" not in entries, "what was refused stands in the audit"
        assert seen.page.inner_text("#chain").startswith("The chain is whole")


def test_a_version_is_approved_and_its_checks_are_seen(browser: Browser, live: Site) -> None:
    story = Story(live.store, number=50_000)
    spec = story.apply("flights", START, model="shop/prices", gate={"approval": True})
    trained(story, spec, VersionState.PRODUCTION)
    awaiting(story, spec)
    with visit(browser, live, "/models/shop/prices", token=live.alice) as seen:
        assert "roc_auc by carrier: worse on none of 2 values" in seen.page.inner_text("#rollout .checks")
        seen.page.click("text=Approve v3")
        say(seen.page, "read the numbers")
        assert "loading" in seen.page.inner_text("#rollout .track [aria-current]")
        assert seen.complaints == []
    assert live.store.version("shop/prices", 3).approved_why == "read the numbers"


def test_without_a_script_one_freezes_sees_why_a_promotion_is_refused_and_unfreezes(
    browser: Browser, live: Site
) -> None:
    with visit(browser, live, f"/models/{RETURNS}", token=live.alice, scripts=False) as seen:
        page = seen.page
        page.click("text=Freeze rollouts")
        page.select_option("#span", "4h")
        say(page, "an incident elsewhere")
        assert "an incident elsewhere" in page.inner_text("#hand")
        page.click("text=Promote v2 now")
        say(page, "hurry")
        assert "alice froze the rollouts of shop/returns: an incident elsewhere" in page.inner_text("#refused")
        page.click("text=Leave it as it is")
        page.click("text=Unfreeze rollouts")
        say(page, "it is over")
        assert "an incident elsewhere" not in page.inner_text("#hand")


def test_an_admin_makes_a_token_that_is_shown_once_and_revokes_it(browser: Browser, live: Site) -> None:
    with visit(browser, live, "/tokens", token=live.root) as seen:
        page = seen.page
        page.fill("#name", "nightly-report")
        page.select_option("#ends", "30 days")
        say(page, "the report of the night")
        made = page.inner_text("#made")
        assert live.store.token(digest_of_token(made)).role == "viewer"
        page.goto(f"{live.url}/tokens")
        assert made not in page.content()
        page.click("tr:has-text('nightly-report') >> text=Revoke")
        say(page, "not needed")
        assert "revoked" in page.inner_text("tr:has-text('nightly-report')")
        assert live.store.token(digest_of_token(made)).revoked_at is not None
        assert seen.complaints == []


def test_a_viewer_sees_no_button_and_is_refused_at_each_form(browser: Browser, live: Site) -> None:
    with visit(browser, live) as seen:
        for path in ("/", f"/models/{FRAUD}", f"/models/{RETURNS}", "/alerts"):
            seen.page.goto(live.url + path)
            assert seen.page.locator("a[href*='/do/'], main button:not(.filter button)").count() == 0, path
        for path in (f"/models/{FRAUD}/do/freeze", "/tokens", "/audit"):
            assert seen.page.goto(live.url + path).status == 403


FORGED = """<form method="post" action="{target}"><input name="reason" value="pwned"></form>"""


def test_a_form_of_another_site_changes_nothing(browser: Browser, live: Site) -> None:
    target = f"{live.url}/models/{RETURNS}/do/train"
    with visit(browser, live, token=live.alice) as seen:
        page = seen.page
        page.route("http://evil.example/**", lambda route: route.fulfill(content_type="text/html", body=forged(target)))
        page.goto("http://evil.example/")
        with page.expect_response(target) as answer:
            page.evaluate("document.forms[0].submit()")
        page.wait_for_url(target)
        assert answer.value.status in (401, 403)
        page.goto(f"{live.url}/models/{RETURNS}")
        status = page.evaluate(
            """target => fetch(target, {method: "POST", body: new URLSearchParams({reason: "pwned"})})
               .then(answer => answer.status)""", target,
        )  # fmt: skip
        assert status == 403, "a form without the session's own token was taken"
    assert live.store.active_run(RETURNS) is None


def forged(target: str) -> str:
    return FORGED.format(target=target)
