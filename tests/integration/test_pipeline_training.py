"""Real runs in a process of their own, from a CSV file to a version that serving can load."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from bundle.blobs import BlobStore
from bundle.columns import raw_columns
from bundle.home import Home
from bundle.manifest import Manifest
from bundle.scorer import Scorer
from observability.monitors.reference import Reference
from pipeline.contract.specfile import read_recipe
from pipeline.contract.training import Made, TrainingReport, TrainingRequest
from recipes.tweets.generator import generate, write_csv

RECIPES = Path(__file__).parents[2] / "recipes"
START, END = datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 1, 11, tzinfo=UTC)
CUTOFF = datetime(2021, 1, 12, tzinfo=UTC)
SKLEARN_TRAINING = """
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder


def pipeline(signature):
    texts = [f.name for f in signature.features if f.type == "categorical"]
    numbers = [f.name for f in signature.features if f.type == "numeric"]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("texts", encoder, texts), ("numbers", "passthrough", numbers)])
    return Pipeline([("columns", columns), ("trees", HistGradientBoostingClassifier(max_iter=30, random_state=0))])
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A data folder with 1,500 generated tweets."""
    root = tmp_path_factory.mktemp("home")
    file = root / "tweets.csv"
    write_csv(file, generate(1500, 7, START, END))
    command = [sys.executable, "-m", "pipeline.ingest_command", "--home", str(root), "--file", str(file)]
    done = subprocess.run([*command, "--recipe", str(RECIPES / "tweets")], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["rows"] == 1500
    return Home(root)


def request_in(home, champion=None, engine="spark", entry=None, sources=None):
    """Write a request into a run's folder. Returns the folder and the command that runs it."""
    spec, recipe = read_recipe(RECIPES / "tweets")
    if entry:
        spec = spec.model_copy(update={"entry": spec.entry.model_copy(update={"pipeline": entry})})
    spec = spec.model_copy(update={"engine": engine})
    key = str(uuid.uuid4())
    request = TrainingRequest(
        key=key, spec=spec, recipe={**recipe, **(sources or {})}, cutoff=CUTOFF, champion=champion
    )
    folder = home.run(key)
    folder.mkdir(parents=True)
    (folder / "request.json").write_text(request.model_dump_json(by_alias=True))
    command = [sys.executable, "-m", "pipeline.run", str(folder), "--home", str(home.root)]
    return folder, command


def start(home, **asked):
    """Write a request and run it. Returns its report."""
    folder, command = request_in(home, **asked)
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    report = TrainingReport.model_validate_json((folder / "report.json").read_bytes())
    assert done.returncode == (0 if report.made else 1), done.stderr
    return report


def made(report: TrainingReport) -> Made:
    assert report.made is not None, report.failure
    return report.made


@pytest.fixture(scope="module")
def spark(home):
    return made(start(home))


def golden_difference(home, version):
    blobs = BlobStore(home.blobs)
    scorer = Scorer.load(blobs, version.manifest)
    golden = json.loads(blobs.get(scorer.manifest.files["golden.json"]))
    _, scores = scorer.score(raw_columns(golden["rows"], scorer.signature.raw))
    assert len(scores) >= 20
    return float(np.abs(scores - np.array(golden["scores"])).max())


def frame(home, digest):
    return pq.read_table(io.BytesIO(BlobStore(home.blobs).get(digest))).to_pandas()


def test_spark_makes_a_version_that_answers_as_spark_did(home, spark):
    assert spark.parity.label_mismatches == 0
    assert spark.parity.max_score_difference < 1e-5
    assert golden_difference(home, spark) < 1e-5
    assert spark.metrics["roc_auc"] > 0.65
    assert spark.metrics["log_loss"] < spark.constant["log_loss"]
    assert spark.dataset.train_rows + spark.dataset.holdout_rows == spark.dataset.rows == 1500


def test_its_golden_rows_hold_unseen_and_missing_values(home, spark):
    blobs = BlobStore(home.blobs)
    rows = json.loads(blobs.get(Manifest.read(blobs, spark.manifest).files["golden.json"]))["rows"]

    assert any(row["user_location"] == "never-seen-in-training" for row in rows if "user_location" in row)
    assert any("user_location" not in row and "user_followers" not in row for row in rows)


def test_its_reference_has_training_features_and_out_of_time_scores(home, spark):
    blobs = BlobStore(home.blobs)
    manifest = Manifest.read(blobs, spark.manifest)
    reference = Reference.read(blobs.get(manifest.files["reference.parquet"]))

    assert len(reference.features) == spark.dataset.train_rows
    assert set(reference.features.columns) == set(manifest.signature.feature_names)
    assert len(reference.scores) == spark.dataset.holdout_rows
    assert set(reference.labels) == {0.0, 1.0}


def test_its_gate_rows_are_later_than_what_was_fitted(home, spark):
    rows = frame(home, spark.gate_rows)

    assert list(rows.columns) == ["id", "event_time", "label", "challenger", "champion"]
    assert len(rows) == spark.dataset.holdout_rows
    assert rows["event_time"].min() > pd.Timestamp(spark.dataset.train_until)
    assert rows["champion"].isna().all()


def test_it_is_kept_in_mlflow_and_as_a_bento(home, spark):
    name, _, version = spark.bento_tag.partition(":")
    folder = home.bento / "bentos" / name / version

    assert (folder / "bento.yaml").exists()
    assert Manifest.model_validate_json((folder / "src" / "version" / "manifest.json").read_bytes())
    assert (home.mlflow / "mlflow.db").exists()
    assert list(home.mlflow.rglob("model.onnx"))
    assert spark.mlflow_version == "1"


def test_it_scores_raw_rows_offline(home, spark, tmp_path):
    (tmp_path / "rows.jsonl").write_text(
        '{"text": "x", "user_followers": 1}\n{"text": "x", "user_followers": 100000}\n'
    )
    command = [sys.executable, "-m", "pipeline.score", "--home", str(home.root), "--manifest", spark.manifest]

    subprocess.run(
        [*command, "--rows", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "scores.json")], check=True
    )

    answer = json.loads((tmp_path / "scores.json").read_text())
    assert len(answer["scores"]) == len(answer["predictions"]) == 2
    assert answer["scores"][1] > answer["scores"][0]


@pytest.fixture(scope="module")
def again(home, spark):
    """The same request once more, now beside a champion."""
    return made(start(home, champion=spark.manifest))


def test_the_same_request_makes_the_same_version(spark, again):
    assert again.dataset.fingerprint == spark.dataset.fingerprint
    assert again.onnx_sha256 == spark.onnx_sha256
    assert again.manifest == spark.manifest
    assert again.mlflow_run_id != spark.mlflow_run_id


def test_a_champion_is_scored_on_the_same_rows(home, spark, again):
    rows = frame(home, again.gate_rows)

    assert rows["champion"].to_numpy() == pytest.approx(rows["challenger"].to_numpy(), abs=1e-7)
    assert again.champion["roc_auc"] == pytest.approx(spark.metrics["roc_auc"], abs=1e-6)


def test_the_articles_pipeline_is_exported_equal_also_for_what_training_never_saw(home):
    version = made(start(home, entry="training.py:original"))

    assert version.parity.rows > version.dataset.holdout_rows
    assert version.parity.label_mismatches == 0
    assert version.parity.max_score_difference < 1e-5
    assert golden_difference(home, version) < 1e-5


def test_scikit_learn_makes_a_version_too(home):
    version = made(start(home, engine="sklearn", sources={"training.py": SKLEARN_TRAINING}))

    assert version.parity.label_mismatches == 0
    assert golden_difference(home, version) < 1e-5
    assert version.metrics["roc_auc"] > 0.65


def test_an_error_in_the_feature_function_inside_spark_names_the_users_line(home):
    source = "def features(raw):\n    return {'location': raw['locations']}\n"

    report = start(home, sources={"features.py": source})

    assert report.made is None
    assert report.failure.code == "recipe_error"
    assert report.failure.message == "features.py:2: KeyError: 'locations'"


def test_an_error_in_the_pipeline_function_names_the_users_line(home):
    report = start(home, engine="sklearn", sources={"training.py": "def pipeline(signature):\n    return 1 / 0\n"})

    assert report.failure.code == "recipe_error"
    assert report.failure.message == "training.py:2: ZeroDivisionError: division by zero"


def test_a_run_that_is_told_to_end_says_so_in_its_report(home):
    sleeps = "import time\n\n\ndef pipeline(signature):\n    time.sleep(100)\n"
    folder, command = request_in(home, engine="sklearn", sources={"training.py": sleeps})
    progress = folder / "progress.json"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not (progress.exists() and json.loads(progress.read_text())["phase"] == "fit"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        assert process.wait(timeout=30) == 1

    report = TrainingReport.model_validate_json((folder / "report.json").read_bytes())
    assert report.failure.code == "crashed"
    assert "stopped by a signal" in report.failure.message


def test_a_spark_classifier_with_thresholds_of_its_own_makes_no_version(home):
    source = (
        "from pyspark.ml import Pipeline\n"
        "from pyspark.ml.classification import RandomForestClassifier\n"
        "from pyspark.ml.feature import VectorAssembler\n\n\n"
        "def pipeline(signature):\n"
        "    columns = VectorAssembler(inputCols=['followers', 'hour'], outputCol='v', handleInvalid='keep')\n"
        "    trees = RandomForestClassifier(labelCol=signature.label, featuresCol='v', numTrees=2, maxDepth=2)\n"
        "    return Pipeline(stages=[columns, trees.setThresholds([0.3, 0.7])])\n"
    )

    report = start(home, sources={"training.py": source})

    assert report.failure.code == "recipe_error"
    assert report.failure.message.startswith("RandomForestClassificationModel has thresholds set to [0.3, 0.7]")
