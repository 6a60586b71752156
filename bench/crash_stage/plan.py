"""What one run of the crash bench is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

START: Final = datetime(2021, 1, 1, tzinfo=UTC)
EVERY: Final = timedelta(hours=1)
RULE: Final = "hourly"


@dataclass(frozen=True)
class Plan:
    """One database, so many firings, and what is done to the processes meanwhile."""

    database: str
    url: str
    folder: Path
    #: each has one schedule rule, so a round of the clock is as many firings
    models: int
    rounds: int
    replicas: int
    #: at least so many processes die at a named point of the code, and from outside at any instant
    named_kills: int
    outside_kills: int
    #: at least so many holders of a lease are stopped for longer than two leases
    stops: int
    lease: timedelta
    #: so many may be stopped at once; each is replaced, as a supervisor would
    stopped_at_once: int
    seed: int = 1

    @property
    def firings(self) -> int:
        return self.models * self.rounds

    @property
    def ledger(self) -> Path:
        """Where replicas write down what they do."""
        return self.folder / "ledger.jsonl"

    @property
    def starts(self) -> Path:
        """Where every training process writes its key, first of all."""
        return self.folder / "starts"

    @property
    def told(self) -> Path:
        """Where the outbox's events go."""
        return self.folder / "told.jsonl"

    def name(self, number: int) -> str:
        """A model's id."""
        return f"crash/m{number:04d}"

    def due(self, number: int) -> datetime:
        """When the causes of a round are due, counted from 1."""
        return START + number * EVERY


def promotes(model: str) -> bool:
    """Whether the model's runs make versions that win: one model in ten; the runs of the others fail."""
    return model.endswith("0")
