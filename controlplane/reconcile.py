"""One tick: read where things stand, decide, act once. Nothing is remembered between two ticks but in the
store.

Whatever was missed, by a crash at any of the named points or by a control plane that was away for a day, the
next tick finds in the state and takes up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Literal

from bundle.blobs import BlobStore
from controlplane.boundary import apart
from controlplane.errors import BrokenEvidence
from controlplane.gate import judge
from controlplane.gaterows import read_gate_rows
from controlplane.lifecycle import RunState, VersionState
from controlplane.outbox import DurableLines, publish
from controlplane.ports import Trainer
from controlplane.rollout import FailedLoad, Loaded, Waiting, observe_fleet
from controlplane.store import Store
from controlplane.tables import Model, TrainingRun, Version
from controlplane.triggers import apply_rules
from observability.clock import Clock
from observability.ids import new_id
from observability.spool import SpoolError
from pipeline.contract.training import TrainingRequest

LOG: Final = logging.getLogger(__name__)
#: where tests and benches kill the process
CrashPoint = Literal["claimed", "started", "reported", "finished", "judged", "loaded", "promoted", "fired"]


def _pass_by(_point: CrashPoint) -> None:
    """In production nothing happens at a crash point."""


@dataclass(frozen=True)
class Reconciler:
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

    def tick(self) -> None:
        """Bring everything one step closer to where it should be. Doing it again, or twice at once, does no
        harm.
        """
        now = self.clock.now()
        self._runs(now)
        self._versions(now)
        decided = [
            model.id
            for model in self.store.models()
            if apart(f"the rules of {model.id}", partial(self._rules, model, now))
        ]
        self.store.mark_decided(decided, now)
        self._outbox()

    def _runs(self, now: datetime) -> None:
        key = ""
        while (run := self.store.claim_next_run(self.owner, self.lease, key)) is not None:
            key = run.key
            self.at("claimed")
        for run in self.store.held_runs(self.owner):
            apart(f"run {run.key}", partial(self._step, run, now))

    def _step(self, run: TrainingRun, now: datetime) -> None:
        """Only a run that was started renews its lease: one that cannot be started here goes to another holder."""
        if run.state is RunState.ASKED:
            self._start(run, now)
        self._poll(run, now)

    def _start(self, run: TrainingRun, now: datetime) -> None:
        self.trainer.start(TrainingRequest.model_validate(run.request))
        self.at("started")
        self.store.mark_started(run.key, run.epoch, now)

    def _poll(self, run: TrainingRun, now: datetime) -> None:
        report = self.trainer.report(run.key)
        if report is None:
            self.store.record_progress(run.key, run.epoch, self.lease, self.trainer.progress(run.key))
            return
        self.at("reported")
        self.store.finish_run(run.key, run.epoch, report, now)
        self.at("finished")

    def _versions(self, now: datetime) -> None:
        for version in self.store.on_their_way():
            apart(f"{version.model} version {version.number}", partial(self._advance, version, now))

    def _advance(self, version: Version, now: datetime) -> None:
        if (why := self._overtaken(version)) is not None:
            self.store.reject(version.model, version.number, why, now)
        elif version.state is VersionState.CANDIDATE:
            self._judge(version, now)
        else:
            self._roll_out(version, now)

    def _overtaken(self, version: Version) -> str | None:
        """Why a version may not go on though it is good: it was made to beat one that is no longer there."""
        production = self.store.production(version.model)
        champion = production.number if production else None
        if champion == version.parent:
            return None
        return f"made to replace version {version.parent}, but version {champion} is in production now"

    def _judge(self, version: Version, now: datetime) -> None:
        request = TrainingRequest.model_validate(self.store.run(version.run_key).request)
        try:
            rows = read_gate_rows(self.blobs, version.gate_rows, request)
        except BrokenEvidence as error:
            self.store.reject(version.model, version.number, str(error), now)
            return
        parity = version.parity
        mismatches, difference = parity["label_mismatches"], parity["max_score_difference"]
        verdict = judge(request.spec.gate, rows, version.run_key, mismatches, difference)
        self.at("judged")
        self.store.record_gate(version, verdict, now)

    def _roll_out(self, version: Version, now: datetime) -> None:
        match observe_fleet(version, self.store.live_instances(self.instance_silence)):
            case Loaded():
                self.at("loaded")
                self.store.promote(version.model, version.number, now)
                self.at("promoted")
            case FailedLoad(reason):
                self.store.reject(version.model, version.number, reason, now)
            case Waiting():
                pass

    def _rules(self, model: Model, now: datetime) -> None:
        if apply_rules(self.store, model, now) is not None:
            self.at("fired")

    def _outbox(self) -> None:
        try:
            publish(self.store, self.lines)
        except (SpoolError, OSError) as error:
            LOG.warning("the outbox waits: %s", error)
