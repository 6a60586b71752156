"""What a window is judged from: everything that a monitor's parts are told, and nothing that they have to fetch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from bundle.signature import Signature
from observability.monitors.settings import MonitorSettings
from observability.ports import Sample

if TYPE_CHECKING:
    from observability.monitors.reference import Reference


@dataclass(frozen=True)
class PastVerdict:
    """What was said of a window before, of the same version, monitor and segment, as it is kept."""

    until: datetime
    rows: int
    labelled: int
    #: whether its labels were due and its errors are in it
    settled: bool
    #: as `controlplane.loop.scoring.stored` writes it
    verdict: Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A window with what it is compared with. The same case is judged the same, in every replica and replay."""

    #: the window's id: what is drawn at random is drawn from it
    window: str
    sample: Sample
    reference: Reference
    signature: Signature
    settings: MonitorSettings = field(default_factory=MonitorSettings)
    #: family-wise level of the window's drift verdict: what the false-alarm budget leaves for it
    level: float = 0.05
    #: the version's own, above which a score answers 1
    threshold: float = 0.5
    #: whether labels are due
    settled: bool = False
    #: the instant of the look, in event time: no label from after it is in the sample; None where it is not known
    as_of: datetime | None = None
    #: how long after the event its truth is known; None where nothing is said of it
    horizon: timedelta | None = None
    #: exact facts of the whole window: rows, missing_share, latency_ms, predictions_per_minute
    volume: Mapping[str, Any] = field(default_factory=dict)
    #: newest first: the newest PAST, and the newest PAST that are settled
    past: tuple[PastVerdict, ...] = ()

    def random(self, part: str) -> np.random.Generator:
        """Randomness of a part's own, so that no part's draws change another's."""
        seed = hashlib.sha256(f"{self.window}\x1f{part}".encode()).digest()[:8]
        return np.random.default_rng(int.from_bytes(seed, "big"))


#: so many windows before are looked at, and so many of those whose errors are settled
PAST = 30
