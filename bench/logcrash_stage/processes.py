"""The processes that die: a writer of events, and the shipper as it is, which may die at a named point of its code."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Final, get_args

from bench.logcrash_stage.plan import POISON, Plan
from observability.events import line_of
from observability.ids import new_id
from observability.logstores import open_log_store
from observability.spool.dead_letters import DeadLetters
from observability.spool.reader import CrashPoint, SpoolReader
from observability.spool.shipper import Shipper
from observability.spool.writer import SpoolWriter
from tests.event_samples import decision, label, prediction

_POINTS: Final[tuple[CrashPoint, ...]] = get_args(CrashPoint)
_GROUP: Final = 20


def write(plan: Plan, number: int, seed: int, rate: Synchronized[float], target: Synchronized[int]) -> None:
    """Spool so many lines a second until the target is reached, wherever the writer before it died."""
    rng = random.Random(seed)
    intended, acknowledged = (_growing(path) for path in (plan.intended(number), plan.acknowledged(number)))
    written = plan.acknowledged(number).read_bytes().count(b"\n")
    with SpoolWriter(plan.spool / f"serving-{number}", segment_bytes=plan.segment_bytes) as writer:
        while True:
            count = min(rng.randint(1, _GROUP), target.value - written)
            if count <= 0:
                time.sleep(0.05)
                continue
            began = time.monotonic()
            lines = dict(_line(rng) for _ in range(count))
            names = "".join(f"{name}\n" for name in lines).encode()
            os.write(intended, names)
            writer.write(list(lines.values()))
            os.write(acknowledged, names)
            written += count
            time.sleep(max(0.0, count / rate.value - (time.monotonic() - began)))


def _growing(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _line(rng: random.Random) -> tuple[str, bytes]:
    """An id, and a line that bears it: mostly a prediction, sometimes poison of one of three kinds."""
    name, drawn = new_id(), rng.random()
    if drawn < POISON:
        whole = line_of(prediction(0, name))
        poison = (b"poison " + name.encode(), whole[:-10], whole.replace(b'"score":0.25', b'"score":"high"'))
        return name, rng.choice(poison)
    if drawn < 0.2:
        return name, line_of(label(new_id(), 1, rng.randint(0, 86_400), name))
    if drawn < 0.22:
        return name, line_of(decision(rng.randint(0, 86_400), reason="WAIT_STABLE").model_copy(update={"id": name}))
    return name, line_of(prediction(rng.randint(0, 86_400), name))


@dataclass
class Fate:
    """When a shipper will die by itself: when it comes to one point for the nth time; where there is none, never."""

    point: CrashPoint | None
    visits: int

    @classmethod
    def drawn(cls, rng: random.Random) -> Fate:
        return cls(rng.choice(_POINTS), rng.randint(1, 2))

    def meet(self, here: CrashPoint) -> None:
        self.visits -= here == self.point
        if self.point is not None and self.visits <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def ship(plan: Plan, fate: Fate) -> None:
    """The shipper of the plan, until it is killed or told to stop."""
    logging.basicConfig(filename=plan.folder / "shipper.log", level=logging.WARNING, format="%(asctime)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    shipper = Shipper(
        SpoolReader(plan.spool, patience_seconds=10, at=fate.meet),
        open_log_store(plan.folder / "logs", plan.settings()),
        DeadLetters(plan.dead_letters),
        batch_lines=plan.batch_lines,
        at=fate.meet,
    )
    shipper.run(stop, linger_seconds=0.05)
    sys.exit(0)
