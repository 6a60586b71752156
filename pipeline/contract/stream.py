"""A recipe's own past and future, for demos and replays: `stream.py` beside the spec may offer `prepare`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Stream:
    """One source file, cut in two: rows before `train_until` are history, later ones are replayed as requests."""

    file: Path
    #: None leaves the cut to the replay: five weeks, or two fifths of a shorter period
    train_until: datetime | None
    #: when a drift was planted; None where the data drifts by itself
    onset: datetime | None
    #: one sentence for people: what these rows are
    description: str
