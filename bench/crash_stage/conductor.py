"""Moves the clock from round to round, and speaks for the serving fleet. It is never killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import ColumnElement
from sqlmodel import Session, SQLModel, col, func, select

from bench.crash_stage.plan import EVERY, RULE, START, Plan
from bundle.blobs import BlobStore
from controlplane.lifecycle import ACTIVE, ON_ITS_WAY
from controlplane.loop.reconcile import Reconciler
from controlplane.loop.trainer import MemoryTrainer
from controlplane.loop.triggers import ask
from controlplane.replayclock import ReplayClock
from controlplane.store import Store, open_engine
from controlplane.tables import Firing, TrainingRun, Version
from observability.durations import format_duration
from pipeline.contract.training import DatasetManifest, Made, Parity, TrainingReport
from tests.controlplane_world import RECIPE, MemoryLines, gate_blob, spec

#: a round that is not over by then never will be: what is missing is counted as lost
ROUND_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 0.05


class Conductor:
    """Has a database of models in production, lets rounds of causes become due, and waits until each is dealt with."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.engine = open_engine(plan.url)
        self.store = Store(self.engine)
        self.clock = ReplayClock(self.store)
        self.blobs = BlobStore(plan.folder / "blobs")

    def prepare(self) -> None:
        """Apply the models and bring the first version of each into production."""
        self.store.move_replay_time(START)
        made = self._made()
        (self.plan.folder / "made.json").write_text(made.model_dump_json())
        trainer, rules = MemoryTrainer(), [{"name": RULE, "kind": "schedule", "every": format_duration(EVERY)}]
        control = Reconciler(
            store=self.store, trainer=trainer, blobs=self.blobs, clock=self.clock, lines=MemoryLines()
        )  # fmt: skip
        for number in range(self.plan.models):
            name = self.plan.name(number)
            self.store.apply_model(spec(rules, name), RECIPE, START)
            run = ask(self.store, name, f"first-{number}", "the first version", START)
            trainer.finish(TrainingReport(key=run.key, made=made, finished_at=START, seconds=1.0))
        give_up_at = time.monotonic() + ROUND_SECONDS
        while not self._settled():
            assert time.monotonic() < give_up_at, "the models did not come into production"
            control.tick()
            self._load()

    def rounds(self, enough: Callable[[], bool]) -> None:
        """Let so many rounds pass, and more where too few processes died meanwhile."""
        number = 0
        while number < self.plan.rounds or (number < 3 * self.plan.rounds and not enough()):
            number += 1
            self.store.move_replay_time(self.plan.due(number))
            give_up_at = time.monotonic() + ROUND_SECONDS
            while not (self._fired(number) and self._settled()):
                if time.monotonic() > give_up_at:
                    break
                self._load()
                time.sleep(LOOK_SECONDS)
        (self.plan.folder / "rounds").write_text(str(number))

    def _fired(self, number: int) -> bool:
        due = self.plan.due(number).isoformat()
        return self._count(Firing, [col(Firing.rule) == RULE, col(Firing.cause) == due]) == self.plan.models

    def _settled(self) -> bool:
        """Whether no run is active and no version on its way."""
        active, way = col(TrainingRun.state).in_(ACTIVE), col(Version.state).in_(ON_ITS_WAY)
        return not self._count(TrainingRun, [active]) and not self._count(Version, [way])

    def _count(self, table: type[SQLModel], where: Sequence[ColumnElement[bool]]) -> int:
        with Session(self.engine) as session:
            return session.exec(select(func.count()).select_from(table).where(*where)).one()

    def _load(self) -> None:
        loaded = [
            {"model": version.model, "version": version.number, "manifest": version.manifest}
            for version in self.store.deployed()
        ]
        self.store.report_instance("serving-1", loaded, [])

    def _made(self) -> Made:
        dataset = DatasetManifest(
            fingerprint="f" * 64, files={}, rows=500, train_rows=400, holdout_rows=100, period=(START, START),
            train_until=START, cutoff=START, spec_digest="s", recipe_digest="r", code_version="c",
        )  # fmt: skip
        return Made(
            manifest=self.blobs.put(b"a version"), onnx_sha256="0" * 64, dataset=dataset,
            metrics={"roc_auc": 0.8}, constant={"roc_auc": 0.5}, champion={"roc_auc": 0.7},
            parity=Parity(rows=100, label_mismatches=0, max_score_difference=0.0),
            gate_rows=self.blobs.put(gate_blob(better=True)), mlflow_run_id="m", mlflow_version="1", bento_tag="c:1",
        )  # fmt: skip
