"""What a rule of the triage answers: a supposed fault, with what speaks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from observability.monitors.verdicts import Bug


@dataclass(frozen=True)
class Hypothesis:
    """One pipeline bug that would explain what is seen."""

    bug: Bug
    #: empty where it is the source as a whole
    columns: tuple[str, ...]
    #: of the columns' distance from the reference, the share that is gone once it is undone; 1 where it was seen itself
    explained: float
    #: how much distance is gone, over all columns: of two bugs that are both possible the one that explains more wins
    gain: float
    #: one sentence with the numbers
    said: str
    numbers: Mapping[str, float] = field(default_factory=dict)
