"""What a person stopped stays stopped until it is taken away or ends by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import select

from controlplane.access.acts import Act
from controlplane.errors import NotFound, Refused
from controlplane.tables import AuditEntry
from tests.controlplane_world import MODEL, START, World

ACT = Act(actor="ann", token_id="t1", via="api", request_id="q1", why="the feed is broken")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def hold(world, what="rules", until=None, why="the feed is broken", act=None):
    return world.store.put_hold(MODEL, what, why, until, world.clock.now(), "ann", act)


def test_what_is_held_is_told_until_its_end_and_not_at_it(world):
    end = START + timedelta(hours=1)
    hold(world, until=end)
    assert world.store.holding(MODEL, "rules", end - timedelta(microseconds=1)).by == "ann"
    assert world.store.holding(MODEL, "rules", end) is None
    assert list(world.store.holds(MODEL, end)) == []
    assert world.store.holding(MODEL, "rollout", START) is None


def test_a_hold_that_ended_by_itself_is_not_there_to_be_taken_away_and_can_be_put_again(world):
    hold(world, until=START + timedelta(hours=1))
    world.clock.advance(timedelta(hours=1))
    with pytest.raises(NotFound, match="nothing holds rules"):
        world.store.end_hold(MODEL, "rules", world.clock.now())
    assert hold(world).since == START + timedelta(hours=1)


def test_a_replaced_hold_keeps_since_when_it_held_and_the_same_again_changes_nothing(world):
    hold(world, act=ACT)
    world.clock.advance(timedelta(hours=1))
    changes = world.store.model(MODEL).changes
    hold(world, act=ACT)
    assert world.store.model(MODEL).changes == changes
    assert hold(world, why="still broken").since == START
    assert world.store.model(MODEL).changes == changes + 1
    assert [each.why for each in world.store.holds(MODEL, world.clock.now())] == ["still broken"]


def test_who_held_and_who_let_go_is_audited_with_before_and_after(world):
    hold(world, "rule:drifted", act=ACT)
    world.store.end_hold(MODEL, "rule:drifted", START, ACT)
    with world.store._reading() as session:
        put, end = session.exec(select(AuditEntry).order_by(AuditEntry.sequence)).all()
    assert (put.action, put.before, put.after["what"]) == ("hold.put", None, "rule:drifted")
    assert (end.action, end.before["why"], end.after) == ("hold.end", "the feed is broken", None)
    kinds = [(entry.kind, entry.body["state"]) for entry in world.store.unpublished(10)]
    assert kinds == [("hold", "held"), ("hold", "ended")]


@pytest.mark.parametrize(
    ("what", "until", "error"),
    [
        ("rule:unknown", None, NotFound),
        ("everything", None, Refused),
        ("rule:", None, NotFound),
        ("rules", START, Refused),
    ],
)
def test_a_hold_that_would_hold_nothing_is_refused(world, what, until, error):
    with pytest.raises(error):
        hold(world, what, until)
    assert list(world.store.holds(MODEL, START)) == []


def test_nothing_of_an_unknown_model_is_held(world):
    with pytest.raises(NotFound):
        world.store.put_hold("default/other", "rules", "", None, START, "ann")
