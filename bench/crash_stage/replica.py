"""One control plane of the crash bench: the real reconciler, store and trainer, which write down what they do."""

from __future__ import annotations

import inspect
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args

from sqlalchemy import event

from bench.crash_stage.ledger import Ledger
from bench.crash_stage.plan import Plan
from bundle.blobs import BlobStore
from bundle.home import Home
from controlplane.errors import StaleEpoch
from controlplane.loop.reconcile import Reconciler
from controlplane.loop.trainer import STARTED_FILE, SubprocessTrainer
from controlplane.loop.work import CrashPoint
from controlplane.replayclock import ReplayClock
from controlplane.store import Store, open_engine
from controlplane.tables import TrainingRun
from pipeline.contract.training import TrainingRequest

STAND_IN: Final = (sys.executable, "-S", "-E", str(Path(__file__).with_name("standin.py")))
PAUSE_SECONDS: Final = 0.02
_POINTS: Final[tuple[CrashPoint, ...]] = get_args(CrashPoint)


@dataclass
class Fate:
    """When a process will die by itself: where it comes to one point again, or has passed so many of any."""

    point: CrashPoint
    visits: int
    passes: int

    @classmethod
    def drawn(cls, rng: random.Random, soon: bool) -> Fate:
        """Of one that should die soon, or of one that may live for a while."""
        if soon:
            return cls(rng.choice(_POINTS), rng.randint(1, 6), rng.randint(10, 60))
        return cls("promoted", 5, rng.randint(60, 200))

    def met(self, here: CrashPoint) -> bool:
        self.passes -= 1
        self.visits -= here == self.point
        return self.visits <= 0 or self.passes <= 0


class RecordedStore(Store):
    """A store that writes down each claim, and what became of each write that is fenced by an epoch."""

    def __init__(self, url: str, ledger: Ledger) -> None:
        engine = open_engine(url, migrating=False)
        super().__init__(engine)
        self._ledger = ledger
        #: of each thread: one looks after runs, the other decides
        self._written = threading.local()
        event.listen(engine, "before_cursor_execute", self._executed)
        for name, verb in inspect.getmembers(Store, inspect.isfunction):
            if {"key", "epoch"} <= set(inspect.signature(verb).parameters):
                setattr(self, name, partial(self._fenced, name, getattr(self, name)))

    def claim_next_run(self, *given: Any, **named: Any) -> TrainingRun | None:
        run = super().claim_next_run(*given, **named)
        if run is not None:
            self._ledger.note("claimed", key=run.key, epoch=run.epoch)
        return run

    def _fenced(self, verb: str, write: Callable[..., Any], *given: Any, **named: Any) -> Any:
        asked = inspect.signature(write).bind(*given, **named).arguments
        about = {"verb": verb, "key": asked["key"], "epoch": asked["epoch"]}
        self._written.at = None
        try:
            answer = write(*given, **named)
        except StaleEpoch:
            self._ledger.note("refused", **about)
            raise
        if self._written.at is not None:
            self._ledger.note("wrote", **about, updated_at=self._written.at)
        return answer

    def _executed(self, _connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("UPDATE training_runs"):
            self._written.at = time.monotonic()


class RecordedTrainer(SubprocessTrainer):
    """A trainer that writes down when it was asked to start what had been started before."""

    def __init__(self, home: Home, ledger: Ledger) -> None:
        super().__init__(home, STAND_IN)
        self._folders, self._ledger = home, ledger

    def start(self, request: TrainingRequest) -> None:
        folder = self._folders.run(request.key)
        known = (folder / STARTED_FILE).exists() or self.alive(request.key)
        super().start(request)
        self._ledger.note("absorbed" if known else "started", key=request.key)


class Told:
    """Puts the outbox's lines on the disk; a batch that a SIGKILL tore is none of the next one's."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def put(self, lines: list[bytes]) -> None:
        os.write(self._descriptor, b"\n" + b"\n".join(lines) + b"\n")
        os.fsync(self._descriptor)


def play(plan: Plan, name: str, fate: Fate) -> None:
    """Tick until killed."""
    logging.basicConfig(filename=plan.folder / "replicas.log", level=logging.WARNING, force=True)
    ledger = Ledger(plan.ledger, name)

    def at(here: CrashPoint) -> None:
        if fate.met(here):
            ledger.note("killed", point=here)
            os.kill(os.getpid(), signal.SIGKILL)

    store = RecordedStore(plan.url, ledger)
    control = Reconciler(
        store=store, trainer=RecordedTrainer(Home(plan.folder), ledger), blobs=BlobStore(plan.folder / "blobs"),
        clock=ReplayClock(store), lines=Told(plan.told), lease=plan.lease, owner=name, at=at,
    )  # fmt: skip
    apart = threading.Thread(target=_again_and_again, args=(control.look_after_runs, ledger), daemon=True)
    apart.start()
    _again_and_again(control.decide, ledger)


def _again_and_again(tick: Callable[[], None], ledger: Ledger) -> None:
    while True:
        try:
            tick()
        except Exception as error:  # noqa: BLE001 - the next tick goes on, as in `driftgate control`; all are counted
            ledger.note("failed", error=f"{type(error).__name__}: {str(error)[:400]}")
        time.sleep(PAUSE_SECONDS)
