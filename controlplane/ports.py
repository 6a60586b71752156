"""What the control plane needs of others, by role. One contract suite runs on every adapter."""

from __future__ import annotations

from typing import Protocol

from pipeline.contract.training import Progress, TrainingReport, TrainingRequest


class Trainer(Protocol):
    """Makes versions, in processes of its own that outlive the control plane."""

    def start(self, request: TrainingRequest) -> None:
        """Start the run. Calling again with the same request key starts nothing new, from whatever process."""
        ...

    def alive(self, key: str) -> bool:
        """Whether the run is being worked on now."""
        ...

    def progress(self, key: str) -> Progress | None:
        """How far the run is; None before it said so."""
        ...

    def report(self, key: str) -> TrainingReport | None:
        """How the run ended; None before. A run that died without a word ended as `crashed`."""
        ...
