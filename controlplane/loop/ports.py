"""What the control plane needs of others, by role. One contract suite runs on every adapter."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from pipeline.contract.training import Failure, Progress, TrainingReport, TrainingRequest


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

    def processor_seconds(self, key: str) -> float | None:
        """Processor time that the run has taken until now, all that it started included; None where that cannot be
        seen: it has not begun, has ended, or works on another machine.
        """
        ...

    def report(self, key: str) -> TrainingReport | None:
        """How the run ended; None before. A run that died without a word ended as `crashed`."""
        ...

    def age(self, key: str) -> timedelta | None:
        """How long ago the run was started, on the machine's clock; None where it never was."""
        ...

    def stop(self, key: str, failure: Failure) -> None:
        """Have the run end like this: it is asked to and, where that takes too long, killed with all that it started.

        To be repeated, from whatever process, until the report says how it ended: a version that was made before
        stays made. A run that was not started never will be.
        """
        ...
