"""The whole rule core against its invariants: whatever happens, in whatever order, and wherever a process dies.

Two control planes on one real database, a trainer and a serving fleet that do what the machine tells them. After each
step the invariants of docs/reliability.md are asked: I1 (a firing has one run), I2 (one active run), I3 (a version that
was loaded is in production), I5 (the digest that the run reported is the one that serving is told), I6 (a former holder
writes nothing), I7 (a window's verdict is changed by new knowledge only), and that each rule says each thing once.
I4 is about the spool, and proven by its own tests; here no event of the outbox may get lost.

`MACHINE_EXAMPLES=10000 MACHINE_STEPS=100 pytest tests/crash/test_machine.py` is the long form.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import event
from sqlmodel import Session, select, update

from controlplane.api.fleet import desired_state
from controlplane.errors import Conflict, NotFound, StaleEpoch
from controlplane.lifecycle import ACTIVE, ON_ITS_WAY, VersionState
from controlplane.store import Store, open_engine
from controlplane.tables import DecisionRecord, Firing, OutboxEntry, TrainingRun, Version
from observability.ids import new_id
from observability.windows import Cursor, Window
from pipeline.contract.training import Failure, TrainingReport
from tests.controlplane_world import DRIFT, MODEL, RECIPE, START, Crash, World, spec

EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "50"))
STEPS = int(os.environ.get("MACHINE_STEPS", "50"))
LEASE = timedelta(hours=1)
EVERY = timedelta(hours=6)
RULES = (
    DRIFT | {"cooldown": "2h", "priority": 1},
    {"name": "worse", "kind": "metric", "monitor": "weekly", "metric": "roc_auc", "below": 0.7},
    {"name": "regular", "kind": "schedule", "every": "6h"},
)
HOLDS = ("rules", "rule:drifted", "rollout")
minutes = st.integers(1, 3 * 24 * 60).map(lambda count: timedelta(minutes=count))
place = st.integers(0, 30)


@cache
def prepared() -> Path:
    """A database with the schema, to be copied."""
    folder = Path(tempfile.mkdtemp(prefix="machine-"))
    open_engine(f"sqlite:///{folder}/control.db").dispose()
    return folder / "control.db"


class ControlPlanes(RuleBasedStateMachine):
    """What can happen, as rules; what must hold, as invariants."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        shutil.copy(prepared(), self.folder)
        self.world = World(self.folder, spec(RULES, gate={"resamples": 100}))
        self.store, self.clock, self.trainer = self.world.store, self.world.clock, self.world.trainer
        self.engine = open_engine(self.world.database)
        #: of each control plane, the name under which its present process holds leases
        self.owners = [new_id(), new_id()]
        self.stores = [self.store, Store(self.engine)]
        self.commits_left = 0
        for engine in (self.store._engine, self.engine):
            event.listen(engine, "commit", self._committing)
            event.listen(engine, "connect", self._quickly)
            engine.dispose()
        self.windows: list[Window] = []
        #: by window, what it must say, and how often it was scored
        self.verdicts: dict[str, tuple[dict, int]] = {}
        self.made: dict[str, str] = {}
        self.loaded: set[int] = set()
        self.held: set[str] = set()
        self.latest = START
        #: when the model's first version went into production: nearer, once a clock that was ahead has gone back
        self.in_service: set = set()

    # What happens to the processes.

    @initialize(served=st.booleans())
    def begin(self, served):
        if served:
            run = self.world.ask()
            self._report(run.key, "better")
            for _ in range(3):
                self._tick(0)
                self.fleet_loads()

    @rule(who=st.integers(0, 1))
    def tick(self, who):
        self._tick(who)

    @rule(who=st.integers(0, 1), passes=st.integers(1, 6))
    def tick_dies_at_a_named_point(self, who, passes):
        def die(_point):
            raise Crash

        self._tick(who, self._after(passes, die))

    @rule(who=st.integers(0, 1), commits=st.integers(1, 6))
    def tick_dies_before_a_commit(self, who, commits):
        self.commits_left = commits
        self._tick(who)
        self.commits_left = 0

    @rule(who=st.integers(0, 1), passes=st.integers(1, 4), by=minutes, how=st.sampled_from(["better", "crashed"]))
    def tick_is_overtaken(self, who, passes, by, how):
        """The process stands still at a named point; another takes its leases and goes on, then it wakes."""

        def sleep(_point):
            self.leases_run_out()
            for key in self._alive():
                self._report(key, how)
            self.clock_goes_on(by)
            self._tick(1 - who)

        self._tick(who, self._after(passes, sleep))

    @rule()
    def leases_run_out(self):
        with Session(self.engine) as session:
            session.exec(update(TrainingRun).values(lease_until=START - timedelta(days=999)))
            session.commit()

    @precondition(lambda self: self.store.active_run(MODEL) is not None)
    @rule(how=st.sampled_from(["better", "crashed"]))
    def a_former_holder_writes_nothing(self, how):
        run = self.store.active_run(MODEL)
        self.leases_run_out()
        assert self.stores[1].claim_next_run(self.owners[1], LEASE).key == run.key
        before = self.store.run(run.key)
        report = self._told(run.key, how)
        writes = [
            lambda: self.store.mark_started(run.key, run.epoch, self.clock.now()),
            lambda: self.store.record_progress(run.key, run.epoch, LEASE, None),
            lambda: self.store.finish_run(run.key, run.epoch, report, self.clock.now()),
        ]
        for write in writes:
            with pytest.raises(StaleEpoch):
                write()
        assert self.store.run(run.key) == before

    # What happens in the world.

    @rule(by=minutes)
    def clock_goes_on(self, by):
        self.clock.advance(by)
        self.latest = max(self.latest, self.clock.now())

    @rule(by=minutes)
    def clock_goes_back(self, by):
        self.clock.at = max(START, self.clock.now() - by)

    @precondition(lambda self: self.store.production(MODEL) is not None)
    @rule(share=st.sampled_from([0.0, 0.6, 1.0]), rows=st.sampled_from([10, 100]))
    def window_is_cut(self, share, rows):
        start = START + len(self.windows) * timedelta(hours=1)
        window = Window(
            model=MODEL, version=self.store.production(MODEL).number, monitor="weekly", after=Cursor.before(start),
            until=Cursor.before(start + timedelta(hours=1)), spec_digest="s",
        )  # fmt: skip
        self.windows.append(window)
        assert self._record(window, share, rows)
        self.verdicts[window.id] = (self._verdict(share), 1)

    @precondition(lambda self: self.windows)
    @rule(place=place, share=st.sampled_from([0.0, 1.0]))
    def window_is_cut_again(self, place, share):
        assert not self._record(self.windows[place % len(self.windows)], share, 77)

    @precondition(lambda self: self.windows)
    @rule(place=place, auc=st.sampled_from([None, 0.6, 0.9]))
    def labels_come(self, place, auc):
        window = self.windows[place % len(self.windows)]
        before, scored = self.verdicts[window.id]
        verdict = before | {"error": None if auc is None else {"roc_auc": auc}}
        self.store.rescore_window(window.id, 50, verdict, settled=True, now=self.clock.now())
        self.verdicts[window.id] = (verdict, scored + 1)

    @precondition(lambda self: self._alive())
    @rule(how=st.sampled_from(["better", "as good", "failed", "crashed"]))
    def run_ends(self, how):
        self._report(self._alive()[0], how)

    @rule()
    def fleet_loads(self):
        self.world.load_staged()
        self.loaded |= {version.number for version in self.store.deployed()}

    @rule()
    def fleet_cannot_load(self):
        on_their_way = [version for version in self.store.deployed() if version.state is not VersionState.PRODUCTION]
        failed = [{"model": MODEL, "version": version.number, "reason": "no memory"} for version in on_their_way]
        self.store.report_instance("serving-1", [], failed)

    # What people do.

    @rule(number=st.integers(1, 4))
    def somebody_asks(self, number):
        known = self.store.run_of_cause(MODEL, "manual", f"request-{number}")
        try:
            run = self.world.ask(f"request-{number}")
        except Conflict:
            assert known is None
            assert self.store.active_run(MODEL) is not None or self.store.on_their_way(MODEL)
        else:
            assert known is None or known.key == run.key

    @precondition(lambda self: self.store.active_run(MODEL) is not None)
    @rule()
    def somebody_cancels(self):
        self.store.cancel_run(self.store.active_run(MODEL).key, "ann", "a mistake", self.clock.now())

    @rule()
    def somebody_rolls_back(self):
        before = self.store.production(MODEL)
        try:
            after = self.store.roll_back(MODEL, "it is worse", self.clock.now())
        except Conflict:
            assert self.store.production(MODEL) == before
        else:
            assert after.number != before.number

    @rule(what=st.sampled_from(HOLDS))
    def somebody_holds(self, what):
        self.store.put_hold(MODEL, what, "maintenance", None, self.clock.now(), "ann")
        self.held.add(what)

    @rule(what=st.sampled_from(HOLDS))
    def somebody_lets_go(self, what):
        try:
            self.store.end_hold(MODEL, what, self.clock.now())
        except NotFound:
            assert what not in self.held
        self.held.discard(what)

    @rule()
    def somebody_applies_the_same_again(self):
        assert not self.store.apply_model(self.world.spec, RECIPE, self.clock.now())

    # What must hold.

    @invariant()
    def each_firing_has_one_run_and_one_run_is_active(self):
        """I1, I2: and while a run is active no version is on its way, so none is made to beat one that is gone."""
        firings, runs = self._all(Firing), self._all(TrainingRun)
        assert sorted(run.firing_id for run in runs) == sorted(firing.id for firing in firings)
        assert len({(firing.rule, firing.cause) for firing in firings}) == len(firings)
        active = [run for run in runs if run.state in ACTIVE]
        on_their_way = [version for version in self._all(Version) if version.state in ON_ITS_WAY]
        assert len(active) + len(on_their_way) <= 1
        assert all(run.key in self.trainer.started or run.state in ACTIVE or run.cancel_by for run in runs)

    @invariant()
    def each_firing_has_a_cause_that_was_there(self):
        windows = {window.id for window in self.windows}
        self.in_service.add(self.store.in_service_since(MODEL))
        for firing in self._all(Firing):
            if firing.rule == "regular":
                due = type(START).fromisoformat(firing.cause)
                assert due <= self.latest
                assert any((due - since) % EVERY == timedelta(0) for since in self.in_service if since)
            elif firing.rule != "manual":
                assert firing.cause in windows

    @invariant()
    def each_rule_says_a_thing_once(self):
        """A new turn only for a new reason, and nothing more once it has fired."""
        said: dict[tuple[str, str], list[DecisionRecord]] = {}
        for record in sorted(self._all(DecisionRecord), key=lambda each: each.turn):
            said.setdefault((record.rule, record.cause), []).append(record)
        for turns in said.values():
            assert [each.turn for each in turns] == list(range(1, len(turns) + 1))
            assert all(before.reason != after.reason and before.outcome == "wait" for before, after in pairwise(turns))

    @invariant()
    def what_serving_is_told_was_made_and_what_is_in_production_was_loaded(self):
        """I3, I5."""
        versions = self._all(Version)
        promoted = {each.number for each in versions if each.first_promoted_at}
        in_production = [each.number for each in versions if each.state is VersionState.PRODUCTION]
        assert len(in_production) == bool(promoted) and set(in_production) <= promoted <= self.loaded
        made = {each.number: self.made[each.run_key] for each in versions}
        for told in desired_state(self.store)["models"]:
            named = [told[role] for role in ("production", "staging", "rival") if told.get(role)]
            assert [each["manifest"] for each in named] == [made[each["version"]] for each in named]
            assert not in_production or told["production"]["version"] in promoted

    @invariant()
    def a_window_says_what_it_was_last_given(self):
        """I7: neither cutting it again nor a process that died has changed a verdict."""
        rows = self.store.windows(MODEL, 1000)
        assert {row.id: (row.verdict, row.revision) for row in rows} == self.verdicts

    @invariant()
    def what_is_said_to_be_told_was_told(self):
        told = b"\n".join(self.world.lines.lines)
        assert all(entry.event_id.encode() in told for entry in self._all(OutboxEntry) if entry.published_at)

    def teardown(self):
        """Whatever had happened, everything comes to its end once nothing more goes wrong."""
        for what in self.held:
            self.store.end_hold(MODEL, what, self.clock.now())
        self.held.clear()
        for _ in range(40):
            for key in self._alive():
                self._report(key, "failed")
            self.leases_run_out()
            self.fleet_loads()
            decided = len(self._all(DecisionRecord))
            self._tick(0)
            if decided == len(self._all(DecisionRecord)) and not self._busy():
                break
        assert not self._busy()
        self.nothing_waits_for_a_clock_that_was_ahead()
        self.each_firing_has_one_run_and_one_run_is_active()
        self.store._engine.dispose()
        self.engine.dispose()
        shutil.rmtree(self.folder)

    def nothing_waits_for_a_clock_that_was_ahead(self):
        """A version that was promoted while the clock was ahead is looked at by the clock as it is."""
        self._tick(0)
        production, since = self.store.production(MODEL), self.store.in_service_since(MODEL)
        assert production is None or max(production.promoted_at, since) <= self.clock.now()

    def _tick(self, who, at=lambda _point: None):
        before = self._moved()
        try:
            self.world.tick(store=self.stores[who], owner=self.owners[who], at=at, lease=LEASE)
        except Crash:
            self.owners[who] = new_id()
        self.commits_left = 0
        after = self._moved()
        assert "rules" not in self.held or before[0] == after[0]
        assert "rule:drifted" not in self.held or before[1] == after[1]
        assert "rollout" not in self.held or before[2] == after[2]

    def _busy(self):
        return self.store.active_run(MODEL) is not None or bool(self.store.on_their_way(MODEL))

    def _moved(self):
        fired = [firing.rule for firing in self._all(Firing) if firing.rule != "manual"]
        production = self.store.production(MODEL)
        return len(fired), fired.count("drifted"), production and production.number

    @staticmethod
    def _quickly(connection, _record):
        """A process that dies takes no power from the disk: the machine is about processes."""
        connection.execute("PRAGMA synchronous=OFF")

    def _committing(self, _connection):
        self.commits_left -= 1
        if self.commits_left == 0:
            raise Crash

    @staticmethod
    def _after(passes, act):
        left = [passes]

        def at(point):
            left[0] -= 1
            if left[0] == 0:
                act(point)

        return at

    def _alive(self):
        return [key for key in self.trainer.started if self.trainer.alive(key)]

    def _told(self, key, how):
        champion = self.store.production(MODEL) is not None
        made = self.world.made(better=how == "better", champion=champion) if how in ("better", "as good") else None
        failure = None if made else Failure(code="crashed" if how == "crashed" else "too_few_rows", message=how)
        return TrainingReport(key=key, made=made, failure=failure, finished_at=self.clock.now(), seconds=1.0)

    def _report(self, key, how):
        report = self._told(key, how)
        if report.made:
            self.made[key] = report.made.manifest
        self.trainer.finish(report)

    def _record(self, window, share, rows):
        now = self.clock.now()
        return self.store.record_window(window, rows, 0, self._verdict(share), now + timedelta(days=1), now)

    @staticmethod
    def _verdict(share):
        return {"drifted_share": share, "features": {}, "error": None}

    def _all(self, table):
        with Session(self.engine) as session:
            return session.exec(select(table)).all()


TestControlPlanes = pytest.mark.timeout(900)(ControlPlanes.TestCase)
TestControlPlanes.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
