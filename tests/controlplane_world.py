"""A control plane on a real database, with a clock, a trainer and a fleet that do what a test tells them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from bundle.blobs import BlobStore
from bundle.manifest import Manifest
from controlplane.loop.monitoring import reconcile_windows
from controlplane.loop.reconcile import Reconciler
from controlplane.loop.trainer import MemoryTrainer
from controlplane.loop.triggers import ask
from controlplane.loop.watch import Watch
from controlplane.loop.work import CrashPoint
from controlplane.store import Store, open_engine
from controlplane.tables import ScoredWindow, TrainingRun, Version
from observability.embedded.store import ParquetLogStore
from observability.events import LabelEvent, PredictionEvent
from observability.ids import new_id, sample_key
from observability.monitors.case import Case
from observability.monitors.verdicts import (
    DriftVerdict,
    ErrorMetrics,
    ErrorVerdict,
    FeatureDrift,
    QualityVerdict,
    WindowVerdict,
)
from observability.windows import Cursor, Window
from pipeline.contract.spec import ModelSpec
from pipeline.contract.training import DatasetManifest, Failure, Made, Parity, TrainingReport

SQLITE = "sqlite:///"
MODEL = "default/tweets"
START = datetime(2021, 1, 1, tzinfo=UTC)
RECIPE = {"features.py": "def features(raw): return raw\n", "training.py": "def pipeline(s): ...\n"}
WEEKLY = {"name": "weekly", "window": {"kind": "count", "size": 100}, "min_labels": 10}
DRIFT = {"name": "drifted", "kind": "drift", "monitor": "weekly", "drifted_share": 0.5, "min_rows": 50}


def spec(rules: Sequence[dict[str, Any]] = (DRIFT,), model: str = MODEL, **changes: Any) -> ModelSpec:
    declared: dict[str, Any] = {
        "model": model, "task": "binary", "team": "t", "data_owner": "o",
        "source": {"format": "csv", "id": "id", "time": "at"},
        "raw": [{"name": "followers", "type": "number"}],
        "label": {"name": "retweeted", "horizon": "1d", "from": [{"column": "retweets", "above": 0}]},
        "features": [{"name": "followers", "type": "numeric"}, {"name": "place", "type": "categorical"}],
        "entry": {"features": "features.py:features", "pipeline": "training.py:pipeline"},
        "monitors": [WEEKLY], "rules": list(rules), "gate": {"resamples": 200},
    }  # fmt: skip
    return ModelSpec.model_validate(declared | changes)


@dataclass
class FakeClock:
    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def advance(self, by: timedelta) -> None:
        self.at += by


@dataclass
class MemoryLines:
    lines: list[bytes] = field(default_factory=list)

    def put(self, lines: list[bytes]) -> None:
        self.lines += lines


class Crash(BaseException):
    """A process that ends at a crash point; nothing in the code may catch it."""


def crash_at(point: CrashPoint) -> Callable[[CrashPoint], None]:
    def reached(here: CrashPoint) -> None:
        if here == point:
            raise Crash(point)

    return reached


def gate_blob(better: bool, champion: bool = True, rows: int = 400) -> bytes:
    """Gate rows in which the challenger is clearly better, or exactly as good as the champion."""
    rng = np.random.default_rng(7)
    labels = (rng.random(rows) < 0.5).astype(float)
    weak = np.clip(0.2 * labels + 0.8 * rng.random(rows), 0, 1)
    strong = np.clip(0.6 * labels + 0.4 * rng.random(rows), 0, 1)
    frame = pd.DataFrame(
        {
            "id": [f"r{number}" for number in range(rows)],
            "event_time": pd.date_range("2022-01-01", periods=rows, freq="h", tz="UTC"),
            "label": labels,
            "challenger": strong if better else weak,
            "champion": weak if champion else np.nan,
        }
    )
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


@cache
def _empty_database() -> bytes:
    """A SQLite database with the present schema and no rows: revisions are run once for all worlds."""
    with TemporaryDirectory() as folder:
        open_engine(f"sqlite:///{folder}/empty.db").dispose()
        return (Path(folder) / "empty.db").read_bytes()


def _with_schema(database: str) -> str:
    if database.startswith(SQLITE) and not (file := Path(database.removeprefix(SQLITE))).exists():
        file.write_bytes(_empty_database())
    return database


class World:
    def __init__(self, folder: Path, declared: ModelSpec | None = None, database: str | None = None) -> None:
        self.folder = folder
        self.database = _with_schema(database or f"sqlite:///{folder}/control.db")
        self.store = Store(open_engine(self.database))
        self.blobs = BlobStore(folder / "blobs")
        self.clock = FakeClock()
        self.trainer = MemoryTrainer()
        self.lines = MemoryLines()
        self.spec = declared or spec()
        self.store.apply_model(self.spec, RECIPE, self.clock.now())

    def reconciler(self, **changes: Any) -> Reconciler:
        parts: dict[str, Any] = {
            "store": self.store, "trainer": self.trainer, "blobs": self.blobs, "clock": self.clock,
            "lines": self.lines, "owner": "control-1",
        }  # fmt: skip
        return Reconciler(**(parts | changes))

    def tick(self, **changes: Any) -> None:
        self.reconciler(**changes).tick()

    def ask(self, request_id: str | None = None) -> TrainingRun:
        return ask(self.store, MODEL, request_id or new_id(), "a test", self.clock.now())

    def made(self, better: bool = True, champion: bool = True) -> Made:
        now = self.clock.now()
        dataset = DatasetManifest(
            fingerprint="f" * 64, files={}, rows=500, train_rows=400, holdout_rows=100, period=(START, now),
            train_until=now, cutoff=now, spec_digest=self.spec.digest, recipe_digest="r", code_version="c",
        )  # fmt: skip
        return Made(
            manifest=self.blobs.put(new_id().encode()), onnx_sha256="0" * 64, dataset=dataset,
            metrics={"roc_auc": 0.8}, constant={"roc_auc": 0.5}, champion={"roc_auc": 0.7} if champion else {},
            parity=Parity(rows=100, label_mismatches=0, max_score_difference=0.0),
            gate_rows=self.blobs.put(gate_blob(better, champion)), mlflow_run_id="m", mlflow_version="1",
            bento_tag="tweets:1",
        )  # fmt: skip

    def finish(self, key: str, made: Made | None = None, failure: Failure | None = None) -> None:
        now = self.clock.now()
        self.trainer.finish(TrainingReport(key=key, made=made, failure=failure, finished_at=now, seconds=1.0))

    def load_staged(self) -> None:
        """Let one serving instance report everything that it should have loaded."""
        loaded = [
            {"model": version.model, "version": version.number, "manifest": version.manifest}
            for version in self.store.deployed()
        ]
        self.store.report_instance("serving-1", loaded, [])

    def to_production(self) -> Version:
        """Train, judge, load and promote one version."""
        run = self.ask()
        self.finish(run.key, self.made(champion=self.store.production(MODEL) is not None))
        self.tick()
        self.tick()
        self.load_staged()
        self.tick()
        version = self.store.production(MODEL)
        assert version is not None and version.run_key == run.key
        return version

    def window(
        self, version: int, number: int, monitor: str = "weekly", segment: str = "", **verdict: Any
    ) -> ScoredWindow:
        """A window that the monitor has cut and scored."""
        start = self.clock.now() + timedelta(hours=number)
        window = Window(
            model=MODEL, version=version, monitor=monitor, after=Cursor.before(start),
            until=Cursor.before(start + timedelta(hours=1)), spec_digest="s", segment=segment,
        )  # fmt: skip
        told = {"drifted_share": 0.0, "features": {}, "error": None} | verdict
        self.store.record_window(window, 100, 0, told, start + timedelta(days=1), self.clock.now())
        return next(row for row in self.store.windows(MODEL, 1000, segment=segment) if row.id == window.id)

    def reasons(self, rule: str) -> list[str]:
        """What the rule decided, oldest first."""
        return [each.reason for each in reversed(self.store.decisions(MODEL, 1000)) if each.rule == rule]


class Scores:
    """A scorer that says what it was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def __call__(self, case: Case) -> WindowVerdict:
        sample, check, min_labels = case.sample, case.settings.drift, case.settings.min_labels
        assert list(case.reference.features) == ["followers", "place"] and case.threshold == 0.4
        self.seen.append((sample.rows, sample.labelled))
        drift = FeatureDrift(
            feature="followers", method=check.numeric_method, score=0.0, threshold=0.001, drifted=True,
            missing_share=0.0, reference_missing_share=0.0,
        )  # fmt: skip
        enough = sample.labelled >= min_labels
        metrics = ErrorMetrics(roc_auc=0.6) if enough else ErrorMetrics()
        return WindowVerdict(
            rows=sample.rows, sampled=len(sample.frame), labelled=sample.labelled,
            drift=DriftVerdict(features=(drift,), drifted_share=0.5, prediction=drift),
            quality=QualityVerdict(missing_share={}, unseen_share={}, out_of_range_share={}),
            errors=ErrorVerdict(labelled=sample.labelled, metrics=metrics, reference=ErrorMetrics()),
        )  # fmt: skip


class CountingLogs:
    """A log store that counts how often it is asked for a sample."""

    def __init__(self, logs: ParquetLogStore) -> None:
        self.samples = 0
        self._logs = logs

    def sample(self, span, k, texts=()):
        self.samples += 1
        return self._logs.sample(span, k, texts)

    def __getattr__(self, name):
        return getattr(self._logs, name)


class Monitored(World):
    """A world with a log store and a version whose files can be read."""

    def __init__(self, folder, declared) -> None:
        super().__init__(folder, declared)
        self.logs = ParquetLogStore(folder / "logs")
        self.scores = Scores()
        self.sent = 0

    def made(self, better: bool = True, champion: bool = True) -> Made:
        return super().made(better, champion).model_copy(update={"manifest": self._bundle(self.blobs)})

    def _bundle(self, blobs: BlobStore) -> str:
        frame = pd.DataFrame(
            {"part": ["features", "scores"], "score": [np.nan, 0.5], "label": [np.nan, 1.0],
             "followers": [1.0, np.nan], "place": ["x", None]}
        )  # fmt: skip
        buffer = io.BytesIO()
        frame.to_parquet(buffer)
        files = {name: "0" * 64 for name in ("model.onnx", "features.py", "golden.json")}
        manifest = Manifest(
            signature=self.spec.signature, features_function="features", threshold=0.4,
            files=files | {"reference.parquet": blobs.put(buffer.getvalue())},
        )  # fmt: skip
        return blobs.put(manifest.encode())

    def predict(self, count: int, version: int = 1, every: timedelta = timedelta(minutes=1), prefix: str = "p") -> None:
        events = []
        for number in range(self.sent, self.sent + count):
            at = START + number * every
            events.append(
                PredictionEvent(
                    id=f"{prefix}{number:06d}",
                    model=MODEL,
                    version=version,
                    event_time=at,
                    observed_time=at,
                    sample_key=sample_key(f"{prefix}{number:06d}"),
                    latency_ms=1.0,
                    score=0.5,
                    prediction=1,
                    raw={"followers": 1.0},
                    features={"followers": 1.0, "place": "x"},
                )
            )
        self.sent += count
        assert self.logs.append(events) == []

    def label(self, start: int, stop: int) -> None:
        events = []
        for number in range(start, stop):
            prediction = f"p{number:06d}"
            events.append(
                LabelEvent(
                    id=f"l{number}",
                    model=MODEL,
                    prediction_id=prediction,
                    label=number % 2,
                    label_time=START,
                    observed_time=START,
                    sample_key=sample_key(prediction),
                )
            )
        assert self.logs.append(events) == []

    def watch(self, **changes: object) -> None:
        parts = {"store": self.store, "logs": self.logs, "blobs": self.blobs, "clock": self.clock}
        reconcile_windows(Watch(**(parts | {"score": self.scores} | changes)))

    def bounds(self) -> list[tuple[int, int]]:
        """Minutes after START at which windows begin and end, in order."""

        def minutes(instant):
            return round((instant - START).total_seconds() / 60)

        rows = reversed(self.store.windows(MODEL))
        return [(minutes(row.after_time), minutes(row.until_time)) for row in rows]
