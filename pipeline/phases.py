"""The phases of a run, from sources to a version. What can start early does so beside them, in threads."""

from __future__ import annotations

import hashlib
import importlib
import logging
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeAlias

from bundle.blobs import BlobStore, digest_of
from bundle.home import Home
from bundle.manifest import FEATURES, MODEL, Manifest
from bundle.recipe import Recipe, load_function
from bundle.scorer import Scorer
from observability.logstores import open_log_store
from observability.settings import Settings as LogSettings
from pipeline.batches import Batch, Layers
from pipeline.contract.training import DatasetManifest, Made, Parity, Phase, TrainingRequest
from pipeline.dataset import Dataset, check_train, make_dataset
from pipeline.engines.base import Answers, Engine, Fitted, PipelineFunction, Scores
from pipeline.engines.sklearn import SklearnEngine
from pipeline.engines.spark import SparkEngine, start_spark
from pipeline.evaluate import constant_metrics, metrics_of
from pipeline.java import java_home
from pipeline.layers import Refine, raw_columns_for, refine
from pipeline.package import (
    build_bento,
    cost_of,
    gate_rows,
    golden_rows,
    prepare_bento,
    reference_table,
    version_files,
    write_version,
)
from pipeline.prove import Probes, check_scores, make_probes, prove
from pipeline.served import ingest_served
from pipeline.settings import PipelineSettings, privacy_key
from pipeline.tracking import Tracking

Report: TypeAlias = Callable[[Phase, str], None]
#: slow to import, needed late
_LATE: Final = ("sklearn.metrics", "duckdb", "bentoml", "serving.service")
_log = logging.getLogger("pipeline.run")


def train(request: TrainingRequest, folder: Path, home: Home, settings: PipelineSettings, progress: Report) -> Made:
    """Carry a request out. Raises PipelineError or RecipeError where no version can be made."""
    prepare_bento(home.bento)
    with ThreadPoolExecutor(max_workers=3, thread_name_prefix="early") as early:
        engine = _engine(request, folder, home, settings, early)
        try:
            return _Run(request, folder, home, settings, progress, early).carry_out(engine)
        finally:
            engine.close()
            shutil.rmtree(folder / "work", ignore_errors=True)


def _engine(
    request: TrainingRequest, folder: Path, home: Home, settings: PipelineSettings, early: ThreadPoolExecutor
) -> Engine:
    if request.spec.engine == "sklearn":
        return SklearnEngine()
    work = folder / "work"
    java = java_home(home.root)
    importlib.import_module("pyspark.sql")  # whole, before a thread starts it: the recipe imports it meanwhile
    session: Future[Any] = early.submit(start_spark, java, work, settings.spark_master, settings.spark_driver_memory)
    return SparkEngine(session.result, work)


def _start_late(mlflow: Path) -> Tracking:
    """What is slow to import, one after the other: BentoML looks into modules that another thread has half imported."""
    for name in _LATE:
        importlib.import_module(name)
    return Tracking(mlflow)


@dataclass(frozen=True)
class _Learned:
    """A fitted pipeline and what it says of the probes; its first answers are those of the held-out rows."""

    fitted: Fitted
    dataset: Dataset
    probes: Probes
    answers: Answers

    @property
    def scores(self) -> Scores:
        return self.answers.scores

    @property
    def held_out(self) -> Scores:
        return self.scores[: len(self.dataset.holdout)]


@dataclass(frozen=True)
class _Packaged:
    """A version as it is stored."""

    manifest: Manifest
    files: dict[str, bytes]
    parity: Parity
    digest: str
    gate_rows: str
    bento_tag: str
    cost: dict[str, float]


@dataclass(frozen=True)
class _Run:
    request: TrainingRequest
    folder: Path
    home: Home
    settings: PipelineSettings
    progress: Report
    early: ThreadPoolExecutor

    @cached_property
    def _layers(self) -> Layers:
        return Layers(self.home.layers(self.request.spec.model))

    @cached_property
    def _blobs(self) -> BlobStore:
        return BlobStore(self.home.blobs)

    def carry_out(self, engine: Engine) -> Made:
        build = self._load_pipeline()
        self._ingest()
        refined = self._refine(engine)
        # While Spark fits, this process has nothing to do.
        late = self.early.submit(_start_late, self.home.mlflow)
        learned = self._learn(engine, build, refined)
        champion = self._champion_scores(learned.dataset)
        self.progress("export", "exporting to ONNX")
        manifest, files = self._files(learned, learned.fitted.export())
        self.progress("prove", f"comparing both on {len(learned.scores):,} rows")
        scorer = Scorer(manifest, files)
        parity = prove(scorer, learned.probes, learned.answers)
        tracking = late.result()
        self.progress("package", "writing the version")
        packaged = self._package(learned, champion, scorer, files, parity)
        self.progress("register", "recording the run in MLflow")
        return self._register(tracking, learned, champion, packaged)

    def _package(
        self, learned: _Learned, champion: Scores | None, scorer: Scorer, files: dict[str, bytes], parity: Parity
    ) -> _Packaged:
        digest = write_version(self._blobs, scorer.manifest, files)
        holdout = learned.dataset.holdout
        parts = (each.feature for each in self.request.spec.gate.slices)
        rows = self._blobs.put(gate_rows(holdout, scorer.score_features(holdout.features), champion, parts))
        cost = cost_of(scorer, files, holdout.raw)
        context = self.folder / "work" / "bento"
        tag = build_bento(context, self.request.spec.model, digest, scorer.manifest, files)
        return _Packaged(scorer.manifest, files, parity, digest, rows, tag, cost)

    def _load_pipeline(self) -> PipelineFunction:
        """The user's code is run before anything is started for it."""
        self.progress("ingest", "loading the recipe")
        spec, recipe = self.request.spec, self.request.recipe
        self._recipe()
        file, _, function = spec.recipe_entry().pipeline.partition(":")
        return load_function(recipe[file], file, function, recipe.keys())

    def _recipe(self) -> Recipe:
        spec = self.request.spec
        file, _, function = spec.recipe_entry().features.partition(":")
        return Recipe(self.request.recipe[file], function, spec.signature, file, self.request.recipe.keys())

    def _ingest(self) -> None:
        self.progress("ingest", "reading what was served")
        spec, key = self.request.spec, privacy_key(self.home, self.request.spec)
        store = open_log_store(self.home.log_store, LogSettings())
        ingest_served(self._layers, spec, store, key, self.settings.served_overlap)

    @cached_property
    def _step(self) -> Refine:
        file, _, function = self.request.spec.recipe_entry().features.partition(":")
        return Refine(self.request.spec.signature, self.request.recipe[file], function)

    def _refine(self, engine: Engine) -> list[Batch]:
        self.progress("refine", "building PROCESSED and REFINED")
        return refine(self._layers, engine, self._step, self._layers.usable(self.request.spec))

    def _learn(self, engine: Engine, build: PipelineFunction, refined: list[Batch]) -> _Learned:
        request, spec = self.request, self.request.spec
        self.progress("split", "joining rows with labels")
        dataset = make_dataset(self._layers, refined, self._step.digest, spec, request.cutoff, request.champion_cutoff)
        check_train(dataset, spec.label.name)
        train, holdout = dataset.train, dataset.holdout
        self.progress("fit", f"fitting {len(train):,} rows with {spec.engine}")
        fitted = engine.fit(build, spec.signature, train.features, train.labels)
        self.progress("evaluate", f"scoring {len(holdout):,} held-out rows")
        probes = make_probes(self._recipe(), spec.signature, holdout.ids, holdout.raw, holdout.features)
        answers = fitted.answer(probes.all_features)
        check_scores(probes, answers.scores)
        return _Learned(fitted, dataset, probes, answers)

    def _champion_scores(self, dataset: Dataset) -> Scores | None:
        if self.request.champion is None:
            return None
        champion = Scorer.load(self._blobs, self.request.champion)
        _, scores = champion.score(raw_columns_for(dataset.holdout.raw, champion.signature.raw, len(dataset.holdout)))
        return scores

    def _files(self, learned: _Learned, onnx: bytes) -> tuple[Manifest, dict[str, bytes]]:
        spec, dataset = self.request.spec, learned.dataset
        file, _, function = spec.recipe_entry().features.partition(":")
        raw_rows = len(next(iter(learned.probes.raw.values())))
        files = version_files(
            onnx,
            self.request.recipe[file],
            golden_rows(spec.signature, learned.probes.raw, learned.scores[:raw_rows], len(dataset.holdout)),
            reference_table(spec.signature, dataset.train, dataset.holdout, learned.held_out, spec.texts),
        )
        digests = {name: digest_of(data) for name, data in files.items()}
        return Manifest(signature=spec.signature, features_function=function, files=digests), files

    def _register(self, tracking: Tracking, learned: _Learned, champion: Scores | None, packaged: _Packaged) -> Made:
        holdout = learned.dataset.holdout
        metrics = metrics_of(holdout.labels, learned.held_out)
        described = self._describe(learned.dataset)
        spec, request = self.request.spec, self.request
        parameters = {
            "model": spec.model, "engine": spec.engine, "manifest": packaged.digest, "bento": packaged.bento_tag,
            "why": request.why[:250],
            "cutoff": request.cutoff.isoformat(), "fingerprint": described.fingerprint,
            "train_rows": described.train_rows, "holdout_rows": described.holdout_rows,
        }  # fmt: skip
        kept = {
            **{name: packaged.files[name] for name in (MODEL, FEATURES)},
            "manifest.json": packaged.manifest.encode(),
            "dataset.json": described.model_dump_json(indent=1).encode(),
        }
        run_id, number = tracking.record(spec.model, request.key, parameters, metrics, kept)
        return Made(
            manifest=packaged.digest, onnx_sha256=packaged.manifest.files[MODEL], dataset=described, metrics=metrics,
            constant=constant_metrics(learned.dataset.train.labels, holdout.labels),
            champion={} if champion is None else metrics_of(holdout.labels, champion),
            parity=packaged.parity, gate_rows=packaged.gate_rows, mlflow_run_id=run_id, mlflow_version=number,
            bento_tag=packaged.bento_tag, cost=packaged.cost,
        )  # fmt: skip

    def _describe(self, dataset: Dataset) -> DatasetManifest:
        recipe = "\n".join(f"{name}\n{text}" for name, text in sorted(self.request.recipe.items()))
        return DatasetManifest(
            fingerprint=dataset.fingerprint, files=dataset.files, rows=len(dataset.train) + len(dataset.holdout),
            train_rows=len(dataset.train), holdout_rows=len(dataset.holdout), period=dataset.period,
            train_until=dataset.train_until, cutoff=self.request.cutoff, spec_digest=self.request.spec.digest,
            recipe_digest=digest_of(recipe.encode()), code_version=code_version(),
        )  # fmt: skip


def code_version() -> str:
    """The package's version and a digest of the code that made a version."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *(root.parent / "bundle").rglob("*.py")]):
        digest.update(path.read_bytes())
    return f"{version('driftgate')}+{digest.hexdigest()[:12]}"
