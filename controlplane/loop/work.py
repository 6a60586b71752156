"""What a tick works with: the state of record, and the edges through which it acts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from bundle.blobs import BlobStore
from controlplane.alertfacts import Patience, Watched
from controlplane.loop.outbox import DurableLines
from controlplane.loop.ports import Trainer
from controlplane.store import Store
from observability.clock import Clock, SystemClock
from observability.ids import new_id

#: where tests and benches kill the process
CrashPoint = Literal[
    "claimed", "started", "reported", "finished", "judged", "loaded", "promoted", "fired", "told", "delivered"
]


def _pass_by(_point: CrashPoint) -> None:
    """In production nothing happens at a crash point."""


@dataclass(frozen=True)
class Work:
    """What a tick works with."""

    store: Store
    trainer: Trainer
    blobs: BlobStore
    clock: Clock
    lines: DurableLines
    lease: timedelta = timedelta(seconds=15)
    instance_silence: timedelta = timedelta(seconds=15)
    #: the name under which this process holds leases
    owner: str = field(default_factory=new_id)
    at: Callable[[CrashPoint], None] = _pass_by
    #: how long something may take before a person is told, and what this process saw of the fleet
    patience: Patience = field(default_factory=Patience)
    watched: Watched = field(default_factory=Watched)
    wall: Clock = field(default_factory=SystemClock)
