"""Training runs as the pages show them: reason, phase, progress, time taken, failure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args

from controlplane.lifecycle import ACTIVE, RunState
from controlplane.tables import Firing, TrainingRun, Version
from pipeline.contract.training import Phase

PHASES: Final = tuple(phase for phase in get_args(Phase) if phase != "done")


@dataclass(frozen=True)
class Step:
    """One phase of a run, and whether it is behind, under way or ahead."""

    phase: str
    state: Literal["behind", "at", "ahead"]


@dataclass(frozen=True)
class RunView:
    """A run with what it came from and what it made."""

    run: TrainingRun
    firing: Firing | None
    version: Version | None
    phase: str
    fraction: float
    message: str
    seconds: float | None

    @property
    def active(self) -> bool:
        return self.run.state in ACTIVE

    @property
    def steps(self) -> tuple[Step, ...]:
        return steps_of(self.phase)


def steps_of(phase: str) -> tuple[Step, ...]:
    """The phases in order, seen from one of them.

    >>> [step.state for step in steps_of("refine")][:3]
    ['behind', 'at', 'ahead']
    """
    at = PHASES.index(phase) if phase in PHASES else (len(PHASES) if phase == "done" else -1)
    return tuple(Step(name, "behind" if n < at else "at" if n == at else "ahead") for n, name in enumerate(PHASES))


def views_of(
    runs: Iterable[TrainingRun], firings: Mapping[str, Firing], versions: Sequence[Version], wall: datetime
) -> tuple[RunView, ...]:
    """The runs, each with its firing and the version that it made."""
    made = {version.run_key: version for version in versions}
    return tuple(_view(run, firings.get(run.firing_id), made.get(run.key), wall) for run in runs)


def _view(run: TrainingRun, firing: Firing | None, version: Version | None, wall: datetime) -> RunView:
    progress = run.progress or {}
    fraction = progress.get("fraction")
    ended = run.state not in ACTIVE
    return RunView(
        run=run,
        firing=firing,
        version=version,
        phase=_phase(run, str(progress.get("phase") or "")),
        fraction=1.0 if run.state is RunState.SUCCEEDED else _share(fraction),
        message=str(progress.get("message") or ("" if ended else "waiting for a trainer to claim it")),
        seconds=_seconds(run, wall),
    )


def _phase(run: TrainingRun, phase: str) -> str:
    return "done" if run.state is RunState.SUCCEEDED else phase or run.state.value


def _share(value: object) -> float:
    return min(1.0, max(0.0, float(value))) if isinstance(value, int | float) else 0.0


def _seconds(run: TrainingRun, wall: datetime) -> float | None:
    """What the run itself reports, else how long it has been since it was asked for, on the machine's clock."""
    reported = (run.report or {}).get("seconds")
    if isinstance(reported, int | float):
        return float(reported)
    until = run.ended_recorded_at or (wall if run.state in ACTIVE else None)
    return max(0.0, (until - run.recorded_at).total_seconds()) if until else None
