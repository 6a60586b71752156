"""A signed webhook is one run for one id: sent a hundred times, twenty at once, to a busy model, with a new secret."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlmodel import select

from controlplane.access.acts import Act
from controlplane.access.hooks import ID, SIGNATURE, TIMESTAMP, secret_of, sign
from controlplane.errors import BadSignature, NotFound, Refused, RunActive, TooLong
from controlplane.receiving import BODY_LIMIT, receive_hook, renew_hook_secret
from controlplane.store import Store, open_engine
from controlplane.tables import AuditEntry
from pipeline.contract.training import Failure
from tests.controlplane_world import MODEL, World

KEY = b"k" * 32
WALL = datetime(2026, 1, 1, 12, tzinfo=UTC)
BODY = b'{"reason": "the catalogue\\nchanged", "catalogue": 7}'
ADMIN = Act("ann", "t1", "api", "q1")


@pytest.fixture
def world(tmp_path, database_url):
    return World(tmp_path, database=database_url)


def send(world, secret, message_id="msg_1", body=BODY, store=None, model=MODEL):
    timestamp = str(int(WALL.timestamp()))
    headers = {ID: message_id, TIMESTAMP: timestamp, SIGNATURE: sign(secret, message_id, timestamp, body)}
    return receive_hook(store or world.store, model, headers, body, KEY, WALL, world.clock.now())


def end(world, run):
    world.tick()
    world.finish(run.key, failure=Failure(code="crashed", message="x"))
    world.tick()


def test_a_call_sent_a_hundred_times_twenty_at_once_is_one_run(world):
    secret = renew_hook_secret(world.store, MODEL, KEY, ADMIN)
    stores = [Store(open_engine(world.database)) for _ in range(4)]
    with ThreadPoolExecutor(20) as pool:
        runs = list(pool.map(lambda number: send(world, secret, store=stores[number % 4]), range(100)))

    assert len({run.key for run in runs}) == 1
    (firing,) = world.store.firings(MODEL)
    assert (firing.rule, firing.trigger, firing.cause) == ("webhook", "webhook", "msg_1")
    assert firing.detail == "the catalogue changed"
    end(world, runs[0])
    assert send(world, secret).key == runs[0].key, "also when its run has ended"
    assert len(world.store.runs(MODEL)) == 1


def test_a_call_that_meets_a_run_may_be_sent_again_under_its_id(world):
    secret = renew_hook_secret(world.store, MODEL, KEY, ADMIN)
    first = send(world, secret)
    with pytest.raises(RunActive):
        send(world, secret, "msg_2")
    end(world, first)
    assert send(world, secret, "msg_2").key != first.key


def test_nothing_is_signed_before_a_secret_was_given_out_and_a_new_one_ends_the_one_before(world):
    with pytest.raises(BadSignature):
        send(world, secret_of(KEY, MODEL, 0))
    old = renew_hook_secret(world.store, MODEL, KEY, ADMIN)
    new = renew_hook_secret(world.store, MODEL, KEY, ADMIN)
    with pytest.raises(BadSignature):
        send(world, old)
    assert send(world, new).key == world.store.active_run(MODEL).key


def test_neither_the_secret_nor_its_key_is_in_the_database_and_who_made_it_is(world):
    secret = renew_hook_secret(world.store, MODEL, KEY, ADMIN)
    send(world, secret)
    with world.store._reading() as session:
        entries = session.exec(select(AuditEntry).order_by(AuditEntry.sequence)).all()
    assert [(each.action, each.actor) for each in entries] == [("hook.renew", "ann"), ("run.ask", f"hook:{MODEL}")]
    assert secret.removeprefix("whsec_") not in json.dumps([each.model_dump(mode="json") for each in entries])


def test_a_model_that_is_not_there_is_answered_like_a_wrong_signature(world):
    with pytest.raises(BadSignature):
        send(world, secret_of(KEY, "default/none", 1), model="default/none")
    with pytest.raises(NotFound):
        renew_hook_secret(world.store, "default/none", KEY, ADMIN)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b" " * BODY_LIMIT, None),
        (b"", None),
        (b"{}", None),
        (b" " * (BODY_LIMIT + 1), TooLong),
        (b"[1]", Refused),
        (b"{", Refused),
        (b"\xff", Refused),
        (b"[" * 60_000, Refused),
        (b'{"reason": 1}', Refused),
    ],
    ids=["longest", "empty", "no-reason", "too-long", "list", "torn", "no-text", "deep", "number"],
)
def test_a_signed_body_is_an_object_of_bounded_length_or_nothing(world, body, error):
    secret = renew_hook_secret(world.store, MODEL, KEY, ADMIN)
    if error is None:
        assert send(world, secret, body=body).state == "asked"
        return
    with pytest.raises(error):
        send(world, secret, body=body)
    assert Counter(each.rule for each in world.store.firings(MODEL)) == Counter()
