"""Whoever may only read cannot keep the control plane from answering others by trying rules."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from controlplane.api import rules
from controlplane.trials import SECONDS, try_rule
from tests.api_client import api_of
from tests.controlplane_world import MODEL, START, World, spec

PATH = f"/api/v1/models/{MODEL}/rules/try"
EACH_SECOND = {"name": "x", "kind": "schedule", "every": "1s"}
VOLUME = {"name": "v", "kind": "volume", "new_labelled_rows": 5}


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, spec([]))
    assert api_of(made).put("/api/v1/clock", json={"now": START.isoformat()}).status_code == 200
    return made


def test_two_at_a_time_are_tried_and_whoever_comes_meanwhile_is_told_to_come_again(world, monkeypatch, caplog):
    begun, ends, true = threading.Semaphore(0), threading.Event(), rules.try_rule

    def slow(*asked):
        begun.release()
        assert ends.wait(30)
        return true(*asked)

    monkeypatch.setattr(rules, "try_rule", slow)
    with api_of(world, "read") as client, ThreadPoolExecutor(rules.AT_ONCE) as pool:
        first = [pool.submit(client.post, PATH, json={"rule": VOLUME}) for _ in range(rules.AT_ONCE)]
        for _ in first:
            assert begun.acquire(timeout=30)
        told = [client.post(PATH, json={"rule": VOLUME}) for _ in range(60 - rules.AT_ONCE)]
        assert {(each.status_code, each.headers["Retry-After"]) for each in told} == {(503, "1")}
        assert client.get("/healthz").status_code == 200
        ends.set()
        assert {each.result().status_code for each in first} == {200}
        assert client.post(PATH, json={"rule": VOLUME}).status_code == 200, "what was refused holds nothing"
    assert not caplog.records, "nothing is wrong that an operator should read of"


def test_a_trial_that_was_refused_or_failed_gives_its_place_back(world):
    client = api_of(world, "read")
    for _ in range(rules.AT_ONCE + 1):
        assert client.post(PATH, json={"rule": {"name": "x"}}).status_code == 422
    assert client.post(PATH, json={"rule": VOLUME}).status_code == 200


def test_a_trial_ends_after_a_few_seconds_whatever_it_is_of(world):
    world.to_production()
    seconds = iter(range(100))
    trial = try_rule(world.store, MODEL, EACH_SECOND, START, START + timedelta(days=1), lambda: float(next(seconds)))
    assert not trial.complete and next(seconds) <= SECONDS + 4


def test_a_trial_since_the_beginning_of_time_is_one_since_anything_is_stored(world):
    asked = {"rule": VOLUME, "since": "0001-01-01T00:00:00Z"}
    assert api_of(world, "read").post(PATH, json=asked).json()["since"].startswith("1970")


@pytest.mark.parametrize("every", ["0s", "9" * 30 + "s", "9" * 12 + "w", "1d\n", "٣d"])
def test_an_interval_that_no_calendar_knows_is_refused(world, every):
    answer = api_of(world, "read", raise_server_exceptions=False).post(
        PATH, json={"rule": EACH_SECOND | {"every": every}}
    )
    assert (answer.status_code, "every" in answer.text) == (422, True)
