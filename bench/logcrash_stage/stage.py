"""Plays a plan: starts processes, kills them, starts them again, takes the store away, and waits until all moved."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any, Final

import httpx

from bench.logcrash_stage import processes
from bench.logcrash_stage.plan import FAULTS, Plan
from observability.spool.ledger import ledger
from tests.servers.faulty_proxy import FaultyProxy

LOOK_SECONDS: Final = 0.02
#: a spool that is not drained by then never will be
DRAIN_SECONDS: Final = 600.0
STREAMS: Final = ("prediction", "label")


class Stage:
    """The cast of one run. Each process is a real one; a fork server starts it in milliseconds."""

    def __init__(self, plan: Plan, proxy: FaultyProxy) -> None:
        self.plan, self.proxy = plan, proxy
        self.rng = random.Random(plan.seed)
        #: who died how
        self.kills: Counter[str] = Counter()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["bench.logcrash_stage.processes", "observability.elastic.store"])
        self._rate = self._context.Value("d", 1.0)
        self._target = self._context.Value("q", 0)
        self._writers: dict[int, BaseProcess] = {}
        self._shipper: BaseProcess | None = None
        self._doomed = False
        self._next_kill = 0.0

    def play(self) -> dict[str, Any]:
        """Kill all along while events are written, take the store away, and give it back. Returns what was measured."""
        plan = self.plan
        plan.folder.mkdir(parents=True, exist_ok=True)
        for number in range(plan.writers):
            plan.acknowledged(number).touch()
        self.proxy.at_random(FAULTS)
        try:
            self._write(plan.events, plan.seconds, plan.kills)
            self.proxy.down()
            self._write(plan.events + plan.outage_events, plan.outage_seconds, 0)
            self.proxy.up()
            begun = time.monotonic()
            self._keep_up(lambda: self._waiting() == 0, DRAIN_SECONDS, pause=None)
            return {"drained_s": round(time.monotonic() - begun, 1), "waiting": self._waiting()}
        finally:
            self._end()

    def _write(self, until: int, seconds: float, kills: int) -> None:
        """Let writers come to so many lines in about so many seconds, while so many processes die."""
        plan, wanted = self.plan, self.kills.total() + kills
        written = sum(self._written(number) for number in range(plan.writers))
        self._rate.value = max(1.0, (until - written) / plan.writers / seconds)
        self._target.value = until // plan.writers
        rollover = time.monotonic() + seconds / 4

        def over() -> bool:
            nonlocal rollover
            if time.monotonic() > rollover and not self.proxy.is_down:
                self._roll_over()
                rollover = time.monotonic() + seconds / 4
            shippers = self.kills["shipper"] + self.kills["shipper at a point"]
            return self._all_written() and self.kills.total() >= wanted and shippers >= wanted // 3

        self._keep_up(over, 20 * seconds + 60, pause=seconds / max(kills, 1))

    def _keep_up(self, over: Callable[[], bool], seconds: float, pause: float | None) -> None:
        """Start again what died, and kill something about each pause, until it is over."""
        give_up_at, self._next_kill = time.monotonic() + seconds, 0.0
        looked = 0.0
        while time.monotonic() < give_up_at:
            if time.monotonic() - looked > 10 * LOOK_SECONDS:
                looked = time.monotonic()
                if over():
                    return
            self._start_again(pause is not None)
            if pause is not None:
                self._maybe_kill(pause)
            time.sleep(LOOK_SECONDS)

    def _maybe_kill(self, pause: float) -> None:
        now = time.monotonic()
        if now < self._next_kill:
            return
        if self._next_kill and self._shipper is not None:
            # one that will die by itself, at a named point, is mostly left to it
            of_shipper = 0.2 if self._doomed else 0.7
            victim = self._shipper if self.rng.random() < of_shipper else self._any_writer()
            name = "shipper" if victim is self._shipper else "writer"
            victim.kill()
            victim.join(10)
            self.kills[name] += 1
        self._next_kill = now + self.rng.uniform(0.5, 1.5) * pause * 1.5

    def _any_writer(self) -> BaseProcess:
        return self._writers[self.rng.randrange(self.plan.writers)]

    def _start_again(self, deadly: bool) -> None:
        for number in range(self.plan.writers):
            writer = self._writers.get(number)
            if writer is None or not writer.is_alive():
                arguments = (self.plan, number, self.rng.randrange(1 << 30), self._rate, self._target)
                self._writers[number] = self._started(processes.write, arguments)
        if self._shipper is None or not self._shipper.is_alive():
            if self._shipper is not None and self._shipper.exitcode != -signal.SIGKILL:
                raise RuntimeError(f"the shipper ended by itself: see {self.plan.folder}/shipper.log")
            self.kills["shipper at a point"] += self._doomed and self._shipper is not None
            self._doomed = deadly and self.rng.random() < 0.6
            fate = processes.Fate.drawn(self.rng) if self._doomed else processes.Fate(None, 0)
            self._shipper = self._started(processes.ship, (self.plan, fate))

    def _started(self, what: Callable[..., None], arguments: tuple[Any, ...]) -> BaseProcess:
        process = self._context.Process(target=what, args=arguments, daemon=True)
        process.start()
        return process

    def _roll_over(self) -> None:
        """A new backing index: an id that is in the old one is refused there no more."""
        for kind in STREAMS:
            stream = f"logs-driftgate.{kind}-{self.plan.namespace}"
            answer = httpx.post(f"{self.plan.elasticsearch}/{stream}/_rollover", timeout=60, trust_env=False)
            if answer.status_code not in {200, 404}:
                raise RuntimeError(f"no rollover of {stream}: {answer.text[:500]}")

    def _written(self, number: int) -> int:
        return self.plan.acknowledged(number).read_bytes().count(b"\n")

    def _all_written(self) -> bool:
        return all(self._written(number) >= self._target.value for number in range(self.plan.writers))

    def _waiting(self) -> int:
        return ledger(self.plan.spool).waiting

    def _end(self) -> None:
        """Writers end as they are; the shipper finishes its batch."""
        for process in self._writers.values():
            process.kill()
            process.join(10)
        if self._shipper is not None and self._shipper.is_alive():
            self._shipper.terminate()
            self._shipper.join(30)
            if self._shipper.is_alive():
                self._shipper.kill()
                self._shipper.join(10)
