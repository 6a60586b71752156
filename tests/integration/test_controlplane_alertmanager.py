"""A real Alertmanager hears levels: repeated, silenced without an end, and over when it is over."""

from __future__ import annotations

import shutil
import threading
import time
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from sqlmodel import select

from controlplane.errors import NotDelivered
from controlplane.notifying.alertmanager import Alertmanager
from controlplane.notifying.channels import Links
from controlplane.notifying.deliverer import Deliverer
from controlplane.tables import Notification
from observability.clock import SystemClock, aware
from tests.controlplane_world import DRIFT, MODEL, RECIPE, World, spec
from tests.servers.alertmanager import eventually

WALL = SystemClock()


@pytest.fixture
def world(tmp_path, alertmanager):
    made = World(tmp_path, spec([DRIFT | {"dry_run": True}]))
    made.store.channels = ("alertmanager",)
    made.channel = Alertmanager(alertmanager.url, made.store, Links("http://dg", "http://dg/runbook"), WALL)
    made.deliver = Deliverer(made.store, made.channel, "d", keep_up_seconds=0).deliver
    made.to_production()
    made.store.report_instance("serving-1", [{"model": MODEL, "version": 1, "manifest": ""}], [])
    drift(made, 0.9, 0)
    return made


def drift(world: World, share: float, number: int) -> None:
    world.window(1, number, drifted_share=share)
    world.tick()


def alert_of(world: World):
    return next(alert for alert in world.store.open_alerts(MODEL) if alert.name == "DriftDetected")


def test_an_alert_names_its_model_its_runbook_and_where_to_look(world, alertmanager):
    world.deliver()

    (message,) = eventually(alertmanager.receiver.messages)
    (alert,) = message["alerts"]
    assert alert["labels"]["alertname"] == "DriftDetected" and alert["labels"]["model"] == MODEL
    assert alert["annotations"]["runbook_url"] == "http://dg/runbook#driftdetected"
    assert alert["generatorURL"] == "http://dg/models/default/tweets"


def test_what_is_acknowledged_pages_nobody_and_is_still_told_when_it_is_over(world, alertmanager):
    alert = alert_of(world)
    world.deliver()
    eventually(alertmanager.told)

    world.store.acknowledge(alert.id, "on it", world.clock.now(), "ann")
    world.deliver()
    world.deliver()

    (silence,) = alertmanager.silences()
    assert silence["comment"] == "acknowledged by ann: on it"
    assert [each["status"]["state"] for each in alertmanager.alerts()] == ["suppressed"]

    drift(world, 0.0, 2)
    world.deliver()

    told = eventually(alertmanager.told, lambda told: len(told) == 2)
    assert told == [(alert.id, "firing"), (alert.id, "resolved")]
    assert alertmanager.silences() == []


@pytest.mark.parametrize("goes_on", [True, False])
def test_two_silences_of_replicas_that_posted_at_once_end_as_one(world, alertmanager, goes_on):
    alert = alert_of(world)
    world.store.acknowledge(alert.id, "on it", world.clock.now(), "ann")
    world.deliver()
    (first,) = alertmanager.silences()
    copied = {name: first[name] for name in ("matchers", "startsAt", "endsAt", "createdBy", "comment")}
    httpx.post(f"{alertmanager.url}/api/v2/silences", json=copied).raise_for_status()
    assert len(alertmanager.silences()) == 2

    if goes_on:
        world.deliver()
        assert len(alertmanager.silences()) == 1
    else:
        world.store.unsilence(alert.id, "not mine", world.clock.now(), "ann")
        world.deliver()
        assert alertmanager.silences() == []


def test_a_silence_does_not_end_while_a_retraining_is_in_progress(world, alertmanager):
    alert, now = alert_of(world), WALL.now()
    world.deliver()
    eventually(alertmanager.told)
    world.store.silence(alert.id, now + timedelta(minutes=1), "tonight", world.clock.now(), "ann")
    world.store.apply_model(spec([DRIFT]), RECIPE, world.clock.now())
    world.clock.advance(timedelta(days=2))
    world.tick()
    assert alert_of(world).inhibited_by is not None
    world.deliver()

    (silence,) = alertmanager.silences()
    assert aware(datetime.fromisoformat(silence["endsAt"])) > now + timedelta(minutes=4)


def test_an_alertmanager_that_lost_everything_hears_of_what_goes_on_again_and_of_its_silence(world, alertmanager):
    alert = alert_of(world)
    world.deliver()
    eventually(alertmanager.told)
    world.store.acknowledge(alert.id, "on it", world.clock.now(), "ann")
    world.deliver()

    alertmanager.stop()
    with pytest.raises(NotDelivered):
        world.channel.keep_up()
    shutil.rmtree(alertmanager.folder / "data")
    alertmanager.start()
    world.deliver()
    time.sleep(1)

    assert [each["status"]["state"] for each in alertmanager.alerts()] == ["suppressed"]
    assert alertmanager.told() == [(alert.id, "firing")], "nobody was paged again"


def test_an_alert_that_comes_back_is_not_ended_by_the_late_end_of_the_one_before(world, alertmanager):
    first = alert_of(world)
    world.deliver()
    drift(world, 0.0, 2)
    drift(world, 0.9, 4)
    second = alert_of(world)
    assert first.id != second.id and first.fingerprint == second.fingerprint

    world.deliver()
    world.channel.keep_up()

    assert [each["annotations"]["alert_id"] for each in alertmanager.alerts()] == [second.id]


@pytest.mark.parametrize("said", [b"<html>a login page</html>", b'[{"id": "of another kind"}]', b"{}"])
def test_something_else_behind_the_address_is_told_as_not_delivered_and_tried_again(world, said):
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def do_POST(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        channel = Alertmanager(url, world.store, Links("http://dg", "http://dg/runbook"), WALL)
        Deliverer(world.store, channel, "d", keep_up_seconds=0).once()
        server.shutdown()
    with world.store._reading() as session:
        waiting = session.exec(select(Notification)).one()
    assert waiting.attempts == 1 and "Alertmanager" in waiting.last_error
