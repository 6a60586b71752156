"""Keeps replicas alive, kills them, stops those that hold leases. It opens no database, so that it may fork at will."""

from __future__ import annotations

import gc
import mmap
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench.crash_stage.conductor import Conductor
from bench.crash_stage.ledger import Entry, Ledger, Reader
from bench.crash_stage.plan import Plan
from bench.crash_stage.replica import Fate, play

LOOK_SECONDS: Final = 0.004
#: what was continued may do harm for so long before it is killed, where there are others enough
GRACE_SECONDS: Final = 0.3
#: an outside kill lets a replica live for at least so long
YOUTH_SECONDS: Final = 0.03
STOPPED_LEASES: Final = 2.5


class Enough:
    """Says to the conductor, across processes, that as many died as were asked for."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, 1)

    def set(self) -> None:
        self._page[0] = 1

    def is_set(self) -> bool:
        return self._page[0] == 1


def fork(act: Callable[[], object]) -> int:
    """A child that does this and ends; it runs nothing of its parent's on the way out."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            act()
            status = 0
        except BaseException:  # noqa: BLE001 - whatever it is, the parent's code must not go on in the child
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
    return pid


@dataclass
class Actor:
    """A replica's process."""

    pid: int
    name: str
    born: float
    stopped_at: float | None = None
    continued_at: float | None = None
    #: what it claimed last and nobody else has claimed or finished since
    holds: set[str] = field(default_factory=set)
    touched: float = 0.0


class Stage:
    """Plays a plan to its end. `play()` returns when the conductor has."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed)
        self.actors: dict[int, Actor] = {}
        self.enough = Enough()
        self.ledger = Ledger(plan.ledger, "stage")
        self.reader = Reader(plan.ledger)
        self.born = self.ended = self.named = self.outside = self.stops = 0

    def play(self) -> None:
        """Raises RuntimeError where the conductor or a replica ended in a way that nobody asked for."""
        gc.freeze()  # what was imported is shared with all children, and stays so
        try:
            self._wait(fork(self._prepare))
            conductor = fork(self._conduct)
            while self._reap(conductor):
                self._listen()
                self._continue()
                self._stop()
                self._kill()
                self._spawn()
                time.sleep(LOOK_SECONDS)
        finally:
            for pid in self.actors:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            gc.unfreeze()

    def _prepare(self) -> None:
        Conductor(self.plan).prepare()

    def _conduct(self) -> None:
        Conductor(self.plan).rounds(self.enough.is_set)

    def _wait(self, pid: int) -> None:
        _, status = os.waitpid(pid, 0)
        if status:
            raise RuntimeError(f"a process of the bench ended with {os.waitstatus_to_exitcode(status)}, see above")

    def _reap(self, conductor: int) -> bool:
        """Whether the conductor still works."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True
            code = os.waitstatus_to_exitcode(status)
            if pid == conductor and code == 0:
                return False
            if pid == conductor or code != -signal.SIGKILL:
                raise RuntimeError(f"a process of the bench ended with {code}, see above")
            del self.actors[pid]

    def _listen(self) -> None:
        for entry in self.reader.new():
            if entry["what"] == "killed" and entry["who"] != "stage":
                self.named += 1
            self._hear(entry)
        wanted = self.plan
        if self.named >= wanted.named_kills and self.outside >= wanted.outside_kills and self.stops >= wanted.stops:
            self.enough.set()

    def _hear(self, entry: Entry) -> None:
        if entry["what"] == "claimed":
            for actor in self.actors.values():
                actor.holds.discard(entry["key"])
                if actor.name == entry["who"]:
                    actor.holds.add(entry["key"])
                    actor.touched = entry["at"]
        elif entry["what"] == "wrote":
            ended = entry["verb"] == "finish_run"
            self.ended += ended
            for actor in self.actors.values():
                if ended:
                    actor.holds.discard(entry["key"])
                elif actor.name == entry["who"]:
                    actor.touched = entry["at"]

    def _pace(self, wanted: int) -> float:
        """How many there should be by now: a little ahead of the firings."""
        return wanted * min(1.0, 1.15 * self.ended / self.plan.firings + 0.05)

    def _stop(self) -> None:
        stopped = [actor for actor in self.actors.values() if actor.stopped_at is not None]
        if self.stops >= self._pace(self.plan.stops) or len(stopped) >= self.plan.stopped_at_once:
            return
        now, lease = time.monotonic(), self.plan.lease.total_seconds()
        holders = [each for each in self._running() if each.holds and now - each.touched < lease / 2]
        if holders:
            actor = self.rng.choice(holders)
            os.kill(actor.pid, signal.SIGSTOP)
            self.ledger.note("stopped", name=actor.name)
            actor.stopped_at = now

    def _continue(self) -> None:
        """A stop counts once the process could go on after it."""
        now, length = time.monotonic(), STOPPED_LEASES * self.plan.lease.total_seconds()
        for actor in self.actors.values():
            if actor.stopped_at is not None and now - actor.stopped_at > length:
                self.ledger.note("continued", name=actor.name)
                os.kill(actor.pid, signal.SIGCONT)
                actor.stopped_at, actor.continued_at = None, now
                self.stops += 1

    def _kill(self) -> None:
        now, running = time.monotonic(), self._running()
        spare = [each for each in running if each.continued_at is not None and now - each.continued_at > GRACE_SECONDS]
        if spare and len(running) > self.plan.replicas:
            self._kill_one(spare[0])
            return
        grown = [each for each in running if each.continued_at is None and now - each.born > YOUTH_SECONDS]
        if grown and self.outside < self._pace(self.plan.outside_kills) and self.rng.random() < 0.05:
            self._kill_one(self.rng.choice(grown))

    def _kill_one(self, actor: Actor) -> None:
        os.kill(actor.pid, signal.SIGKILL)
        self.ledger.note("killed", name=actor.name)
        os.waitpid(actor.pid, 0)
        del self.actors[actor.pid]
        self.outside += 1

    def _spawn(self) -> None:
        while len(self._running()) < self.plan.replicas:
            self.born += 1
            name = f"replica-{self.born}"
            fate = Fate.drawn(self.rng, soon=self.named < self._pace(self.plan.named_kills))
            pid = fork(lambda name=name, fate=fate: play(self.plan, name, fate))
            self.actors[pid] = Actor(pid, name, time.monotonic())

    def _running(self) -> list[Actor]:
        return [actor for actor in self.actors.values() if actor.stopped_at is None]
