"""What is committed is told once, in order, and then forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from controlplane.store import Store
from controlplane.tables import OutboxEntry
from observability.events import parse
from tests.controlplane_world import Crash, FakeClock, World


@pytest.fixture
def world(tmp_path, database_url):
    return World(tmp_path, database=database_url)


def test_what_was_committed_is_told_once_and_in_order(world):
    world.to_production()
    world.tick()
    events = [parse(line) for line in world.lines.lines]

    assert len({event.id for event in events}) == len(events)
    kinds = [event.kind for event in events if event.kind not in {"decision", "rollout"}]
    assert kinds == ["firing", "run", "run", "gate", "promotion"]
    assert world.store.unpublished() == []


def test_an_event_is_told_again_under_its_id_when_the_process_ends_before_it_is_marked(world, monkeypatch):
    world.ask()
    monkeypatch.setattr(Store, "mark_published", lambda *_: (_ for _ in ()).throw(Crash()))
    with pytest.raises(Crash):
        world.tick()
    monkeypatch.undo()
    world.tick()

    ids = [parse(line).id for line in world.lines.lines]
    assert len(ids) > len(set(ids)) and world.store.unpublished() == []


def test_what_was_told_is_forgotten_after_a_day_and_nothing_else_is(world, monkeypatch):
    def kept() -> set[str]:
        with world.store._reading() as session:
            return set(session.exec(select(OutboxEntry.event_id)))

    wall = FakeClock(datetime.now(UTC))
    monkeypatch.setattr(world.store, "_wall", wall)
    world.to_production()
    old = kept()
    wall.advance(timedelta(hours=23))
    world.ask()
    world.tick()
    young = kept() - old
    assert old < kept()
    wall.advance(timedelta(hours=2))
    world.window(1, 1)
    world.tick()

    assert young < kept() and not old & kept()
    assert {parse(line).id for line in world.lines.lines} >= old | young
