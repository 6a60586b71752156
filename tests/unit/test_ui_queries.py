"""What the pages read: as many queries for many models as for few, the right rows on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from bundle.blobs import BlobStore
from controlplane.access.auth import Authenticator, digest_of_token, new_token
from controlplane.api import Parts, create_app
from controlplane.lifecycle import AlertState
from controlplane.replayclock import ReplayClock
from controlplane.store import Store, open_engine
from controlplane.ui.alert_queries import WantedAlerts
from controlplane.ui.alerts_page import alerts_page, is_late, wanted_of
from controlplane.ui.fleet_page import PAGE, fleet
from controlplane.ui.fleet_queries import Wanted
from controlplane.ui.pages import mount
from controlplane.ui.paging import Pages
from controlplane.ui.queries import Reader
from observability.clock import SystemClock
from tests.admin_ui_story import FRAUD, RETURNS, SPAN, START, TWEETS, Story, fill

NOW = START + SPAN * 58


@pytest.fixture
def reader(database_url):
    store = Store(open_engine(database_url))
    fill(store)
    return Reader.of(store)


def names(found) -> list[str]:
    return [row.id for row in found["rows"]]


def test_the_fleet_shows_the_worst_first_and_says_what_each_is_at(reader):
    found = fleet(reader, Wanted(), NOW, 1)
    assert names(found) == [FRAUD, RETURNS, "default/flights", TWEETS, "labs/nowcast"]
    by_name = {row.id: row for row in found["rows"]}
    fraud, returns, tweets = by_name[FRAUD], by_name[RETURNS], by_name[TWEETS]
    assert (fraud.status.word, fraud.found.on_its_way["number"]) == ("critical", 3)
    assert [alert["severity"] for alert in fraud.found.alerts] == ["critical", "info"]
    assert (returns.track.now, returns.found.rollout["share"]) == ("canary 25%", 0.25)
    assert [hold["what"] for hold in returns.found.holds] == ["rule:features-drifted"]
    assert returns.found.decision.reason == "WAIT_PAUSED"
    assert tweets.run["fraction"] == 0.46
    newest = reader.windows(TWEETS, 1)[0].verdict
    assert tweets.drift.value == pytest.approx(newest["drifted_share"])
    assert 0.3 < tweets.quality.value < 0.7
    assert found["active"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(show="alerts"), [FRAUD, RETURNS]), (Wanted(show="held"), [RETURNS]),
        (Wanted(show="training"), [TWEETS]), (Wanted(show="rollout"), [FRAUD, RETURNS]),
        (Wanted(show="new"), ["labs/nowcast"]), (Wanted("SHOP"), [FRAUD, RETURNS]),
        (Wanted("illness"), ["labs/nowcast"]), (Wanted("100%"), []), (Wanted("_"), []),
    ],
    ids=str,
)  # fmt: skip
def test_models_are_found_by_state_and_text(reader, wanted, expected):
    found = fleet(reader, wanted, NOW, 1)
    assert names(found) == expected
    assert found["counts"][wanted.show or "all"] == len(expected)


def test_a_hold_that_has_ended_is_not_shown(reader):
    reader.put_hold(TWEETS, "rollout", "for a while", NOW + timedelta(hours=1), NOW, "ann")
    assert TWEETS in names(fleet(reader, Wanted(show="held"), NOW, 1))
    later = fleet(reader, Wanted(), NOW + timedelta(hours=1), 1)
    assert [row.found.holds for row in later["rows"] if row.id == TWEETS] == [[]]


def test_a_page_of_many_models_costs_as_many_queries_as_one_of_few(reader):
    few = queries_of(reader, lambda: fleet(reader, Wanted(), NOW, 1))
    story = Story(reader, number=50_000)
    for number in range(PAGE):
        story.apply("flights", START, model=f"many/m{number:03d}")
        story.alert(f"many/m{number:03d}", "DriftDetected", "warning", "it drifted", "nothing was done")
    many = queries_of(reader, lambda: fleet(reader, Wanted(), NOW, 1))
    assert many == few < 20
    last = fleet(reader, Wanted(), NOW, 2)
    assert (last["pages"].number, len(last["rows"])) == (2, 5)
    assert names(last)[-1] == "labs/nowcast"


def queries_of(reader: Reader, act) -> int:
    counted: list[str] = []

    def count(connection, cursor, statement, parameters, context, many):
        counted.append(statement)

    event.listen(reader._engine, "before_cursor_execute", count)
    act()
    event.remove(reader._engine, "before_cursor_execute", count)
    return len([each for each in counted if each.lstrip().upper().startswith(("SELECT", "WITH"))])


def test_alerts_that_nobody_takes_care_of_stand_first_the_most_severe_before_others(reader):
    rows = reader.alert_page(WantedAlerts(), 0, 50)
    assert [(row["severity"], row["state"].value) for row in rows] == [
        ("critical", "firing"), ("info", "firing"), ("warning", "acknowledged"),
    ]  # fmt: skip
    assert [row["model"] for row in reader.alert_page(WantedAlerts(text="RETURNS"), 0, 50)] == [RETURNS]
    assert len(reader.alert_page(WantedAlerts(severity="critical"), 0, 50)) == 1
    assert list(reader.alert_page(WantedAlerts(state="resolved"), 0, 50)) == []
    Story(reader, number=60_000).alert(None, "OutboxStuck", "warning", "stuck", "kept", state=AlertState.RESOLVED)
    assert [row["name"] for row in reader.alert_page(WantedAlerts(state="resolved"), 0, 50)] == ["OutboxStuck"]
    assert wanted_of({"state": "<script>", "severity": "x"}) == WantedAlerts()
    assert reader.open_counts() == {"critical": 1, "info": 1, "warning": 1}


def test_a_channel_that_takes_nothing_is_warned_of_with_its_last_error(reader):
    (channel,) = reader.undelivered()
    assert (channel.channel, channel.waiting, channel.given_up, channel.attempts) == ("oncall-webhook", 1, 0, 4)
    assert channel.last_error == "it answered 503: upstream connect error"
    story, alert = Story(reader, number=60_000), reader.open_alerts(FRAUD)[0]
    story.unheard(alert, "chat", None, attempts=0)
    chat = next(each for each in reader.undelivered() if each.channel == "chat")
    assert is_late(chat, SystemClock().now())
    assert not is_late(chat, chat.oldest + timedelta(seconds=30)), "what has just been written is no trouble"
    page = alerts_page(reader, {}, SystemClock().now(), 1)
    assert {each.channel for each in page["undelivered"]} == {"chat", "oncall-webhook"}


def test_every_page_is_told_by_both_databases(reader, tmp_path):
    token = new_token()
    reader.add_token("root", digest_of_token(token), ["admin"])
    reader.move_replay_time(NOW)
    parts = Parts(reader, BlobStore(tmp_path), ReplayClock(reader), Authenticator(reader))
    client = TestClient(create_app(parts, [mount]), headers={"Authorization": f"Bearer {token}"})
    window, alert = reader.windows(TWEETS, 1)[0].id, reader.open_alerts(FRAUD)[0].id
    for path, said in (
        ("/?q=shop", FRAUD), (f"/models/{RETURNS}", "1\u202f340 of 2\u202f000 rows"),
        (f"/models/{FRAUD}", "Approve v3"),
        (f"/models/{TWEETS}/windows/{window}", "threshold"), ("/alerts?state=all", "oncall-webhook"),
        ("/audit?verify=1", "The chain is whole"), ("/tokens", "root"), (f"/alerts/{alert}/do/silence", "one hour"),
    ):  # fmt: skip
        answer = client.get(path)
        assert (answer.status_code, said in answer.text) == (200, True), path


def test_a_page_that_is_not_there_is_the_last_one():
    assert (Pages.of(99, 50, 120).number, Pages.of(99, 50, 0).number, Pages.of(0, 50, 120).number) == (3, 1, 1)
    assert (Pages.of(3, 50, 120).first_row, Pages.of(3, 50, 120).last_row) == (101, 120)
