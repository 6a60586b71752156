"""What the monitor's pass works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from bundle.blobs import BlobStore
from bundle.manifest import Manifest
from controlplane.store import Store
from observability.clock import Clock, SystemClock
from observability.monitors.case import Case
from observability.monitors.reference import Reference
from observability.monitors.verdicts import WindowVerdict
from observability.ports import LogStore


class Scorer(Protocol):
    """Judges a window; `observability.monitors.judging.judge` is one."""

    def __call__(self, case: Case) -> WindowVerdict: ...


@dataclass(frozen=True)
class Standard:
    """What a version brought with it: its manifest, and what it was trained and held out on."""

    manifest: Manifest
    reference: Reference


@dataclass(frozen=True)
class Sources:
    """Where everything that a window is judged from is read."""

    store: Store
    logs: LogStore
    blobs: BlobStore
    standards: dict[str, Standard] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True)
class Watch(Sources):
    """What a pass works with."""

    clock: Clock
    score: Scorer
    #: also in a replay that of the machine: what lies ahead of it has not happened
    machine: Clock = field(default_factory=SystemClock)
