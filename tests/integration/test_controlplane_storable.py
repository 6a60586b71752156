"""Text and numbers from outside that a database cannot keep: they stop nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from controlplane.access.acts import Act
from controlplane.errors import Busy
from controlplane.lifecycle import RunState, VersionState
from controlplane.store import Store, database
from controlplane.tables import TrainingRun
from pipeline.contract.training import Failure
from tests.controlplane_world import MODEL, World, spec

ACT = Act(actor="ann", token_id="t1", via="api", request_id="r1", why="why")


@pytest.fixture
def world(tmp_path, database_url):
    return World(tmp_path, database=database_url)


def test_a_run_that_died_with_a_nul_on_its_lips_ends(world):
    run = world.ask()
    world.tick()
    world.trainer.crash(run.key, "core\x00dumped")
    world.tick()
    ended = world.store.run(run.key)
    assert ended.state is RunState.FAILED
    assert ended.failure_message.startswith("the process ended without a report\ncore")
    assert ended.report["failure"]["message"].endswith("dumped")


def test_a_reason_with_a_nul_ends_a_rollout(world):
    run = world.ask()
    world.finish(run.key, world.made(champion=False))
    world.tick()
    world.tick()
    world.store.report_instance("serving-1", [], [{"model": MODEL, "version": 1, "reason": "bad \x00 bytes"}])
    world.tick()
    assert world.store.version(MODEL, 1).state is VersionState.REJECTED


def test_what_a_channel_answered_puts_it_off_whatever_it_was(world):
    world.store.channels = ("webhook:a",)
    run = world.ask()
    world.finish(run.key, failure=Failure(code="crashed", message="x"))
    world.tick()
    claimed = world.store.claim_notifications("webhook:a", "A", timedelta(seconds=30))
    world.store.mark_failed({claimed[0].id: timedelta(minutes=1)}, "A", "answered 502: \x00")
    assert world.store.claim_notifications("webhook:a", "A", timedelta(seconds=30)) == []


def test_a_description_that_no_database_keeps_hides_no_model(world):
    world.store.apply_model(spec(description="a\x00b"), {"a.py": "1"}, world.clock.now(), ACT)
    assert [each.model["id"] for each in world.store.standings("", 10)] == [MODEL]
    assert world.store.verify_chain().broken is None


def test_a_number_that_is_none_is_not_known(world):
    version = world.to_production()
    window = world.window(version.number, 1, drifted_share=float("nan"))
    assert window.verdict["drifted_share"] is None


def test_a_process_that_stood_still_in_a_transaction_keeps_its_run_for_seconds(tmp_path, postgres, monkeypatch):
    world = World(tmp_path, database=postgres)
    run = world.ask()
    assert "idle_in_transaction_session_timeout=10s" in database.SESSION
    monkeypatch.setattr(database, "SESSION", database.SESSION.replace("session_timeout=10s", "session_timeout=200ms"))
    still = Store(database.connect(postgres))
    with pytest.raises(Busy), still._writing() as session:
        row = session.get(TrainingRun, run.key, with_for_update=True)
        while world.store.claim_next_run("control-2", timedelta(seconds=15)) is None:
            pass  # until the database has ended the transaction
        row.attempts = 99
    assert world.store.run(run.key).lease_owner == "control-2"
    assert still.run(run.key).attempts == 1
