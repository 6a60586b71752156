"""A version's way from its gate to production: what brings it on, what stops it, and what people may do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from threading import Barrier

import numpy as np
import pandas as pd
import pytest
from sqlmodel import select

from controlplane.access.acts import Act
from controlplane.errors import Conflict, Frozen
from controlplane.lifecycle import ROLLOUT_TRANSITIONS, IllegalTransition, RolloutState, VersionState
from controlplane.loop.boundary import apart
from controlplane.loop.comparing import compare_rollouts
from controlplane.store import Store, open_engine
from controlplane.tables import AuditEntry, Model, Rollout, Version
from observability.events import ControlEvent, parse
from observability.ports import LogStoreUnavailable, Paired
from tests.controlplane_world import MODEL, RECIPE, START, World, spec

SHADOW = {"rows": 50}
CANARY = [{"share": 0.05, "rows": 50}, {"share": 0.5, "rows": 50}]
GUARDS = {"error_share": 0.1, "latency_ratio": 2.0, "metric": "roc_auc", "min_labels": 50}
FULL = {"shadow": SHADOW, "canary": CANARY, "guards": GUARDS, "watch": "1d"}
ACT = Act(actor="ann", token_id="t1", via="api", request_id="q1", why="it is needed")


def paired(rows: int = 100, failed: int = 0, labelled: int = 0, gain: float = 0.0, slower: float = 1.0) -> Paired:
    rng = np.random.default_rng(3)
    labels = (rng.random(labelled) < 0.5).astype(float)
    scores = {
        name: np.clip((0.2 + more) * labels + 0.5 * rng.random(labelled), 0, 1)
        for name, more in {"champion": 0.0, "challenger": gain}.items()
    }
    frame = pd.DataFrame({"label": labels, **scores})
    return Paired(rows, failed, labelled, frame, champion_ms_p99=1.0, challenger_ms_p99=slower)


class Logs:
    """A log store in which two versions were asked what a test says."""

    def __init__(self) -> None:
        self.found: Paired | None = paired()
        self.asked: list[tuple] = []

    def compare(self, model, champion, challenger, since, k):
        self.asked.append((model, champion, challenger, since))
        if self.found is None:
            raise LogStoreUnavailable("not now")
        return self.found


class Rolling(World):
    """A world with a version in production and another that has passed its gate."""

    def __init__(self, folder, plan, database=None, **changes) -> None:
        super().__init__(folder, spec([], rollout=plan, **changes), database)
        self.logs = Logs()
        self.to_production()
        self.judged()

    def judged(self) -> None:
        run = self.ask()
        self.finish(run.key, self.made())
        self.tick()

    def measure(self, **found) -> None:
        self.logs.found = paired(**found)
        compare_rollouts(self.store, self.logs, self.clock.now())

    def go(self, **found) -> RolloutState:
        """Everybody loads what they should, the monitor looks, time passes, and the control plane ticks."""
        self.load_staged()
        self.measure(**found)
        self.clock.advance(timedelta(hours=1))
        self.tick()
        return self.rollout().state

    def go_until(self, state: RolloutState, step: int = 0) -> None:
        for _ in range(10):
            if (self.rollout().state, self.rollout().step) == (state, step):
                return
            self.go()
        raise AssertionError(f"it never came to {state} {step}")

    def rollout(self) -> Rollout:
        return self.store.rollouts(MODEL, 1)[0]

    def states(self) -> dict[int, str]:
        return {version.number: str(version.state) for version in self.store.versions(MODEL)}

    def told(self, kind: str) -> list[dict]:
        self.tick()
        events = {event.id: event for event in map(parse, self.lines.lines)}
        return [event.body for event in events.values() if isinstance(event, ControlEvent) and event.kind == kind]

    def way(self, number: int = 2) -> list[str]:
        return [body["state"] for body in self.told("rollout") if body["version"] == number]

    def changes(self) -> int:
        with self.store._reading() as session:
            return session.exec(select(Model.changes).where(Model.id == MODEL)).one()


WAYS = [
    ({}, None, ["loading", "done"]),
    ({"watch": "1h"}, None, ["loading", "watching", "done"]),
    ({"shadow": SHADOW}, None, ["loading", "shadow", "done"]),
    ({"shadow": SHADOW, "watch": "1h"}, None, ["loading", "shadow", "watching", "done"]),
    ({"canary": CANARY[:1]}, None, ["loading", "canary", "done"]),
    (FULL, None, ["loading", "shadow", "canary", "canary", "watching", "done"]),
    (FULL, "loading", ["loading", "aborted"]),
    (FULL, "shadow", ["loading", "shadow", "aborted"]),
    (FULL, "canary", ["loading", "shadow", "canary", "aborted"]),
    (FULL, "watching", ["loading", "shadow", "canary", "canary", "watching", "rolled_back"]),
]


@pytest.mark.parametrize(("plan", "bad_in", "way"), WAYS)
def test_a_version_goes_the_way_of_its_plan_until_something_is_wrong(tmp_path, plan, bad_in, way):
    world = Rolling(tmp_path, plan)
    for _ in range(40):
        state = world.rollout().state
        if world.rollout().ended_at is not None:
            break
        if state == bad_in == "loading":
            world.store.report_instance("serving-1", [], [{"model": MODEL, "version": 2, "reason": "golden rows"}])
            world.tick()
        else:
            world.go(failed=50 if state == bad_in else 0)

    assert world.way() == way
    ends = {"done": ("retired", "production"), "aborted": ("production", "rejected")}
    first, second = ends.get(way[-1], ("production", "rolled_back"))
    assert world.states() == {1: first, 2: second}
    assert len(world.told("promotion")) == 2 - (way[-1] == "aborted")
    assert len(world.told("rollback")) == (way[-1] == "rolled_back")


def test_the_ways_above_take_every_edge_of_the_lifecycle():
    taken = {edge for _, _, way in WAYS for edge in pairwise(way)}
    assert taken == {(state, to) for state, nexts in ROLLOUT_TRANSITIONS.items() for to in nexts}


def test_what_serving_should_have_loaded_holds_the_rival_in_every_step(tmp_path):
    world = Rolling(tmp_path, FULL)
    for state, rival in (("shadow", "shadow"), ("canary", "canary"), ("watching", "retired")):
        world.go_until(RolloutState(state))
        assert {str(version.state) for version in world.store.deployed()} == {rival, "production"}
    world.clock.advance(timedelta(days=1))
    world.tick()

    assert [version.number for version in world.store.deployed()] == [2]


def test_the_first_version_has_nothing_to_be_compared_with_and_goes_at_once(tmp_path):
    world = Rolling(tmp_path, FULL)
    assert world.way(1) == ["loading", "done"]


def test_the_share_is_that_of_the_step(tmp_path):
    world = Rolling(tmp_path, FULL)
    for _ in range(5):
        world.go()
    shares = [(body["state"], body["share"]) for body in world.told("rollout") if body["version"] == 2]
    assert shares == [("loading", 0.0), ("shadow", 0.0), ("canary", 0.05), ("canary", 0.5), ("watching", 0.0)]


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({"rows": 20, "failed": 3}, "could not score 3 of 20 rows"),
        ({"slower": 2.5}, "2.5 times, allowed 2"),
        ({"labelled": 200, "gain": -0.2}, "roc_auc"),
    ],
    ids=["errors", "latency", "metric"],
)
@pytest.mark.parametrize("state", [RolloutState.CANARY, RolloutState.WATCHING])
def test_a_guard_ends_it_and_says_from_what(tmp_path, state, found, why):
    world = Rolling(tmp_path, FULL)
    world.go_until(state)
    world.go(**found)

    assert world.rollout().state in (RolloutState.ABORTED, RolloutState.ROLLED_BACK)
    assert why in world.rollout().note and why in world.store.version(MODEL, 2).note
    assert world.store.production(MODEL).number == 1


@pytest.mark.parametrize(
    "found",
    [
        {"rows": 19, "failed": 19},
        {"rows": 20, "failed": 2},
        {"rows": 19, "slower": 9.0},
        {"rows": 49, "labelled": 49, "gain": -0.2},
        {"rows": 49, "labelled": 200, "gain": 0.0},
    ],
    ids=["few-rows", "as-many-errors-as-allowed", "few-timed", "few-labels", "as-good"],
)
def test_what_shows_nothing_stops_nothing(tmp_path, found):
    world = Rolling(tmp_path, FULL)
    world.go_until(RolloutState.CANARY)
    assert world.go(**found) is RolloutState.CANARY
    assert world.rollout().note == "waits for 50 rows that both have scored"


def test_evidence_of_an_earlier_step_neither_moves_it_nor_stops_it(tmp_path):
    world = Rolling(tmp_path, FULL)
    world.go_until(RolloutState.SHADOW)
    stale = world.rollout()
    world.go()
    assert not world.store.record_comparison(stale, {"rows": 99, "failed": 99, "labelled": 0}, world.clock.now())
    for _ in range(3):
        world.tick()

    assert (world.rollout().state, world.rollout().step) == (RolloutState.CANARY, 0)
    compare_rollouts(world.store, world.logs, world.clock.now())
    assert world.logs.asked[-1] == (MODEL, 1, 2, world.rollout().recorded_at)


def test_a_watched_version_is_compared_with_the_one_that_it_replaced(tmp_path):
    world = Rolling(tmp_path, FULL)
    world.go_until(RolloutState.WATCHING)
    world.measure(labelled=200, gain=0.2)

    assert world.logs.asked[-1][1:3] == (1, 2)
    numbers = world.store.comparison(world.rollout().id).numbers
    assert numbers["improvement"]["challenger"] > numbers["improvement"]["champion"]
    assert numbers["improvement"]["lower"] <= numbers["improvement"]["difference"] <= numbers["improvement"]["upper"]


def test_while_the_log_store_does_not_answer_nothing_is_known_and_nothing_moves(tmp_path, caplog):
    world = Rolling(tmp_path, FULL)
    world.go_until(RolloutState.SHADOW)
    world.logs.found = None
    compare_rollouts(world.store, world.logs, world.clock.now())
    world.tick()

    assert world.rollout().state is RolloutState.SHADOW and "not measured for the moment" in caplog.text
    assert "Traceback" not in caplog.text


def test_measuring_the_same_again_changes_nothing(tmp_path):
    world = Rolling(tmp_path, FULL)
    world.go_until(RolloutState.SHADOW)
    world.measure(rows=10)
    before = world.changes()
    world.measure(rows=10)
    assert world.changes() == before
    world.measure(rows=11)
    assert world.changes() > before


def test_a_shadow_that_is_undecided_goes_on_with_the_same_version_until_its_labels_decide(tmp_path):
    better = {"metric": "brier", "confidence": 0.8, "min_labels": 100, "max_labels": 3_000}
    world = Rolling(tmp_path, {"shadow": SHADOW | {"better": better}})
    world.go_until(RolloutState.SHADOW)
    for _ in range(3):
        assert world.go(labelled=300, gain=0.0) is RolloutState.SHADOW
    assert world.rollout().reason == "STAY_UNDECIDED" and "until 3000 rows" in world.rollout().note
    assert world.go(labelled=600, gain=0.1) is RolloutState.DONE
    assert world.states() == {1: "retired", 2: "production"}


def test_a_shadow_that_never_shows_its_version_to_be_better_rejects_it_with_the_numbers(tmp_path):
    better = {"metric": "brier", "min_labels": 100, "max_labels": 1_000}
    world = Rolling(tmp_path, {"shadow": SHADOW | {"better": better}})
    world.go_until(RolloutState.SHADOW)
    assert world.go(labelled=1_000, gain=0.0) is RolloutState.ABORTED
    assert world.rollout().reason == "STOP_NOT_BETTER" and "on 1000 labelled rows" in world.rollout().note
    assert world.states() == {1: "production", 2: "rejected"}
    assert world.store.comparison(world.rollout().id).numbers["error_gain_se"] > 0


def test_a_shadow_is_not_given_up_on_labels_that_nobody_looked_at(tmp_path):
    """Of very many pairs a log store reads some, and estimates from those how many are labelled."""
    world = Rolling(tmp_path, {"shadow": SHADOW | {"better": {"min_labels": 100, "max_labels": 1_000}}})
    world.go_until(RolloutState.SHADOW)
    for read in (80, 150):
        world.logs.found = replace(paired(labelled=read), rows=90_000, labelled=9_000)
        compare_rollouts(world.store, world.logs, world.clock.now())
        world.tick()
        assert (world.rollout().state, world.rollout().reason) == (RolloutState.SHADOW, "STAY_UNDECIDED")
    world.logs.found = replace(paired(labelled=1_000), rows=90_000, labelled=9_000)
    compare_rollouts(world.store, world.logs, world.clock.now())
    world.tick()
    assert world.rollout().reason == "STOP_NOT_BETTER" and "on 1000 labelled rows" in world.rollout().note


def test_a_step_waits_for_its_time(tmp_path):
    world = Rolling(tmp_path, {"shadow": {"rows": 10, "at_least": "3h"}})
    world.go_until(RolloutState.SHADOW)
    assert [world.go() for _ in range(3)] == ["shadow", "shadow", "done"]


def test_it_says_which_instance_it_waits_for_and_says_so_once(tmp_path):
    world = Rolling(tmp_path, FULL)
    world.store.report_instance("serving-2", [], [])
    world.load_staged()
    world.tick()
    assert world.rollout().note == "waits until serving-2 has loaded it"
    before = world.changes()
    world.tick()
    world.tick()
    assert world.changes() == before


def test_a_version_that_is_not_in_production_in_time_is_rejected(tmp_path):
    world = Rolling(tmp_path, {"deadline": "2d"})
    world.clock.advance(timedelta(days=2))
    world.tick()
    assert world.states() == {1: "production", 2: "rejected"}
    assert world.rollout().note == "not in production within 2d"


def test_a_frozen_rollout_stays_where_it_is_and_goes_on_afterwards(tmp_path):
    world = Rolling(tmp_path, FULL)
    world.go_until(RolloutState.CANARY)
    world.store.put_hold(MODEL, "rollout", "the fair", None, world.clock.now(), "ann")
    assert world.go() is RolloutState.CANARY
    assert (world.rollout().step, world.rollout().note) == (0, "frozen by ann: the fair")
    world.clock.advance(timedelta(days=3))
    world.tick()
    assert world.rollout().state is RolloutState.CANARY
    world.store.end_hold(MODEL, "rollout", world.clock.now())
    world.tick()
    assert (world.rollout().state, world.rollout().step) == (RolloutState.CANARY, 1)


@pytest.mark.parametrize(("state", "end"), [("canary", "aborted"), ("watching", "rolled_back")])
def test_a_guard_ends_a_frozen_rollout_all_the_same(tmp_path, state, end):
    world = Rolling(tmp_path, FULL)
    world.go_until(RolloutState(state))
    world.store.put_hold(MODEL, "rollout", "the fair", None, world.clock.now(), "ann")
    assert world.go(failed=50) == end


@pytest.mark.parametrize("approval", [False, True])
def test_a_version_that_passes_its_gate_in_a_freeze_leaves_the_watched_one_its_guards(tmp_path, approval):
    world = Rolling(tmp_path, FULL, gate={"resamples": 200})
    world.go_until(RolloutState.WATCHING)
    world.store.apply_model(spec([], rollout=FULL, gate={"resamples": 200, "approval": approval}), RECIPE, START)
    world.store.put_hold(MODEL, "rollout", "the fair", None, world.clock.now(), "ann")
    world.judged()
    if approval:
        world.store.approve(MODEL, 3, "seen it", world.clock.now(), ACT)
    before = world.changes()
    world.tick()
    assert world.states()[3] == "staging" and world.changes() == before
    with pytest.raises(Frozen):
        world.store.promote(MODEL, 3, "now", world.clock.now(), ACT)

    assert world.go(failed=50) is RolloutState.ROLLED_BACK
    world.tick()
    assert world.states() == {1: "production", 2: "rolled_back", 3: "rejected"}


def test_a_version_that_was_staged_in_a_freeze_begins_after_the_thaw(tmp_path):
    world = Rolling(tmp_path, FULL)
    world.go_until(RolloutState.WATCHING)
    world.store.put_hold(MODEL, "rollout", "the fair", world.clock.now() + timedelta(hours=2), world.clock.now(), "ann")
    world.judged()
    assert world.go() is RolloutState.WATCHING and world.way(3) == []
    world.clock.advance(timedelta(hours=1))
    world.tick()

    assert world.way(3)[0] == "loading" and world.store.rollouts(MODEL)[1].reason == "DONE_NEXT"


def test_a_step_that_was_decided_before_a_freeze_is_not_taken_after_it(tmp_path, monkeypatch):
    world = Rolling(tmp_path, FULL)
    take = Store.take_step

    def frozen_meanwhile(store, rollout, step, now):
        if step.to is not None:
            store.put_hold(MODEL, "rollout", "the fair", None, now, "ann")
        return take(store, rollout, step, now)

    monkeypatch.setattr(Store, "take_step", frozen_meanwhile)
    assert world.go() is RolloutState.LOADING


def test_a_version_waits_for_a_person_where_its_gate_asks_for_one(tmp_path):
    world = World(tmp_path, spec([], gate={"resamples": 200, "approval": True}))
    run = world.ask()
    world.finish(run.key, world.made(champion=False))
    for _ in range(3):
        world.tick()
        world.load_staged()
    version = world.store.version(MODEL, 1)
    assert (version.state, world.store.rollout_of(MODEL)) == (VersionState.AWAITING_APPROVAL, None)

    world.store.approve(MODEL, 1, "seen it", world.clock.now(), ACT)
    with pytest.raises(IllegalTransition):
        world.store.approve(MODEL, 1, "again", world.clock.now(), ACT)
    world.load_staged()
    world.tick()
    version = world.store.production(MODEL)
    assert (version.number, version.approved_by, version.approved_why) == (1, "ann", "seen it")
    with world.store._reading() as session:
        entry = session.exec(select(AuditEntry)).one()
    assert (entry.action, entry.before["state"], entry.after["state"]) == (
        "version.approve", "awaiting_approval", "staging",
    )  # fmt: skip


def test_a_version_that_nobody_approves_in_time_is_rejected_and_so_is_one_that_a_person_rejects(tmp_path):
    world = World(tmp_path, spec([], gate={"resamples": 200, "approval": True}, rollout={"deadline": "1d"}))
    for number in (1, 2):
        run = world.ask()
        world.finish(run.key, world.made(champion=False))
        world.tick()
        if number == 1:
            world.clock.advance(timedelta(days=1))
        else:
            world.store.reject(MODEL, 2, "not like this", world.clock.now(), ACT)
        world.tick()
    notes = [version.note for version in world.store.versions(MODEL)]
    assert notes == ["not like this", "nobody approved it within 1d"]


def test_a_person_promotes_past_the_remaining_steps_once_it_is_loaded_everywhere(tmp_path):
    world = Rolling(tmp_path, FULL)
    world.store.report_instance("serving-1", [], [])
    with pytest.raises(Conflict, match="waits until serving-1 has loaded it"):
        world.store.promote(MODEL, 2, "now", world.clock.now(), ACT)
    world.load_staged()
    world.store.put_hold(MODEL, "rollout", "the fair", None, world.clock.now(), "ann")
    with pytest.raises(Frozen, match="the fair"):
        world.store.promote(MODEL, 2, "now", world.clock.now(), ACT)
    world.store.end_hold(MODEL, "rollout", world.clock.now())
    world.store.promote(MODEL, 2, "now", world.clock.now(), ACT)

    assert world.way() == ["loading", "watching"] and world.states() == {1: "retired", 2: "production"}
    with pytest.raises(IllegalTransition):
        world.store.promote(MODEL, 2, "again", world.clock.now(), ACT)
    with pytest.raises(IllegalTransition):
        world.store.promote(MODEL, 1, "back", world.clock.now(), ACT)


def test_a_person_rejects_a_version_in_the_middle_of_its_rollout(tmp_path):
    world = Rolling(tmp_path, FULL)
    world.go_until(RolloutState.CANARY)
    world.store.reject(MODEL, 2, "callers complain", world.clock.now(), ACT)

    assert world.states() == {1: "production", 2: "rejected"} and world.way()[-1] == "aborted"
    with pytest.raises(IllegalTransition):
        world.store.reject(MODEL, 1, "this one too", world.clock.now(), ACT)


def test_a_person_rolls_a_watched_version_back_also_while_rollouts_are_frozen(tmp_path):
    world = Rolling(tmp_path, FULL)
    world.go_until(RolloutState.WATCHING)
    world.store.put_hold(MODEL, "rollout", "the fair", None, world.clock.now(), "ann")
    world.store.roll_back(MODEL, "callers complain", world.clock.now(), ACT)

    assert world.states() == {1: "production", 2: "rolled_back"}
    assert world.way()[-1] == "rolled_back" and world.store.rollout_of(MODEL) is None


def test_a_rollback_that_is_asked_for_twice_goes_back_by_one_version(tmp_path):
    world = Rolling(tmp_path, {})
    for _ in range(2):
        world.go_until(RolloutState.DONE)
        world.judged()
    world.go_until(RolloutState.DONE)
    bad = world.store.production(MODEL).number
    back = world.store.roll_back(MODEL, "callers complain", world.clock.now(), ACT, bad)
    with pytest.raises(Conflict):
        world.store.roll_back(MODEL, "callers complain", world.clock.now(), ACT, bad)
    assert world.store.production(MODEL).number == back.number == bad - 1


def test_rolling_back_ends_the_way_of_a_version_that_was_made_to_replace_what_goes(tmp_path):
    world = Rolling(tmp_path, {"shadow": SHADOW})
    world.go_until(RolloutState.DONE)
    world.judged()
    world.go_until(RolloutState.SHADOW)
    world.store.roll_back(MODEL, "callers complain", world.clock.now())

    assert world.states() == {1: "production", 2: "rolled_back", 3: "rejected"}
    assert world.way(3) == ["loading", "shadow", "aborted"]


def test_the_next_version_ends_the_watch_of_the_one_before(tmp_path):
    world = Rolling(tmp_path, FULL)
    world.go_until(RolloutState.WATCHING)
    world.judged()

    assert world.way(2)[-2:] == ["watching", "done"] and world.way(3) == ["loading"]
    assert world.store.rollout_of(MODEL).champion == 2


def test_a_second_version_waits_until_the_one_before_it_has_ended(tmp_path):
    world = Rolling(tmp_path, {"shadow": SHADOW})
    with world.store._writing() as session:
        row = session.exec(select(Version).where(Version.number == 2)).one()
        twin = Version(**row.model_dump() | {"id": None, "number": 3, "state": "awaiting_approval"})
        twin.run_key = world.store.version(MODEL, 1).run_key
        session.delete(session.exec(select(Version).where(Version.number == 1)).one())
        session.flush()
        twin.parent = row.parent = None
        session.add_all([twin, row])
    with pytest.raises(Conflict, match="version 2 of default/tweets is on its way"):
        world.store.approve(MODEL, 3, "now", world.clock.now())
    assert world.states() == {2: "staging", 3: "awaiting_approval"}


def test_a_version_that_an_older_release_staged_goes_on(tmp_path):
    world = Rolling(tmp_path, {})
    with world.store._writing() as session:
        session.delete(session.get_one(Rollout, world.rollout().id))
    world.load_staged()
    world.tick()
    world.tick()
    assert world.states() == {1: "retired", 2: "production"}


@pytest.mark.parametrize("plan", [{}, FULL], ids=["at-once", "by-steps"])
def test_any_number_of_control_planes_promote_once(tmp_path, postgres, plan):
    world = Rolling(tmp_path, plan, postgres)
    stores, barrier = [Store(open_engine(postgres)) for _ in range(4)], Barrier(4)

    def tick(store: Store) -> None:
        barrier.wait()
        world.tick(store=store, owner=f"control-{id(store)}")

    with ThreadPoolExecutor(4) as pool:
        for _ in range(6):
            world.load_staged()
            world.measure()
            world.clock.advance(timedelta(days=1))
            list(pool.map(tick, stores))

    way = ["loading", "shadow", "canary", "canary", "watching", "done"] if plan else ["loading", "done"]
    assert world.states() == {1: "retired", 2: "production"}
    assert sorted(world.way()) == sorted(way) and len(world.told("promotion")) == 2


def test_people_and_the_tick_at_once_leave_one_version_in_production_and_one_end(tmp_path, postgres):
    world = Rolling(tmp_path, {"watch": "1d"}, postgres)
    world.load_staged()
    now, barrier = world.clock.now(), Barrier(3)
    acts = (
        lambda: Store(open_engine(postgres)).promote(MODEL, 2, "now", now, ACT),
        lambda: Store(open_engine(postgres)).reject(MODEL, 2, "no", now, ACT),
        world.tick,
    )

    def at_once(act) -> bool:
        barrier.wait()
        return apart("an act", act)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(at_once, acts))
    with world.store._reading() as session:
        states = session.exec(select(Version.number, Version.state).order_by(Version.number)).all()
    assert [(number, str(state)) for number, state in states] in (
        [(1, "retired"), (2, "production")], [(1, "production"), (2, "rejected")],
    )  # fmt: skip
    assert world.rollout().state in (RolloutState.WATCHING, RolloutState.ABORTED)
