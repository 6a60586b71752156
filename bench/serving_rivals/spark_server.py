"""Trains the model that all three serve, writes it for the other two, and serves it with Spark in every request.

That is the way of the original article: one long-lived session; a request makes a DataFrame of one row, transforms it
with the fitted pipeline and collects the answer. The session is a plain local one, so Spark is as fast as it is by
default, not tuned for short training runs as ours is.

`python -m bench.serving_rivals.spark_server FOLDER PORT`
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import numpy as np

from bundle.blobs import BlobStore, digest_of
from bundle.columns import Columns, raw_columns
from bundle.manifest import FEATURES, GOLDEN, MODEL, REFERENCE, Manifest
from bundle.recipe import Recipe
from pipeline.contract.specfile import read_recipe
from pipeline.engines.spark import SparkEngine, SparkFitted
from pipeline.java import java_home

ROWS: Final = 3_000
RECIPE: Final = Path(__file__).parents[2] / "recipes" / "tweets"
MODEL_ID: Final = "default/tweets"
WORDS: Final = (
    "vaccine", "covid", "great", "terrible", "news", "hope", "hospital", "lockdown", "thanks", "sad", "happy", "people",
    "today", "dose", "risk", "https://t.co/abc", "@someone", "science", "trial", "fear", "good", "bad", "free", "data",
)  # fmt: skip


def tweet(chance: random.Random) -> dict[str, Any]:
    """A row as a caller sends it."""
    return {
        "text": " ".join(chance.choices(WORDS, k=chance.randint(5, 25))),
        "user_location": f"City {chance.randint(1, 300)}",
        "hashtags": str([chance.choice(("covid19", "vaccine", "pfizer", "health")) for _ in range(2)]),
        "user_followers": float(int(chance.lognormvariate(6, 2))),
        "user_friends": float(int(chance.lognormvariate(5, 1))),
        "user_favourites": float(int(chance.lognormvariate(7, 2))),
        "user_verified": chance.random() < 0.1,
        "source": "web",
        "date": f"2021-01-{chance.randint(1, 28):02d} {chance.randint(0, 23):02d}:00:00",
    }


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    spec, sources = read_recipe(RECIPE)
    chance = random.Random(7)
    rows = [tweet(chance) for _ in range(ROWS)]
    recipe = Recipe(sources["features.py"], "features", spec.signature)
    features = recipe.features(raw_columns(rows, spec.raw))
    session = _session(folder)
    fitted = _fit(session, spec, features, chance, folder)
    onnx_bytes = fitted.export()
    manifest = _write_version(folder, spec.signature, onnx_bytes, sources["features.py"], rows, fitted, features)
    _save_for_mlflow(folder / "mlflow-model", onnx_bytes)
    one = {name: features[name][:1] for name in features}
    (folder / "asked.json").write_text(json.dumps(_requests(rows[0], one)), encoding="utf-8")
    _serve(port, _answering(session, fitted, recipe, spec), folder, manifest)


def _session(folder: Path) -> Any:
    os.environ["JAVA_HOME"] = str(java_home(folder))
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[*]").appName("rival")
    builder = builder.config("spark.ui.enabled", "false").config("spark.local.dir", str(folder / "spark"))
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def _fit(session: Any, spec: Any, features: Columns, chance: random.Random, folder: Path) -> SparkFitted:
    from recipes.tweets.training import pipeline

    followers = np.nan_to_num(features["followers"])
    labels = np.array([int(np.log1p(f) + chance.gauss(0, 2) > 6) for f in followers], dtype=np.int64)
    fitted = SparkEngine(lambda: session, folder).fit(pipeline, spec.signature, features, labels)
    assert isinstance(fitted, SparkFitted)
    return fitted


def _write_version(
    folder: Path,
    signature: Any,
    onnx_bytes: bytes,
    source: str,
    rows: list[Any],
    fitted: SparkFitted,
    features: Columns,
) -> str:
    scores = fitted.score({name: column[:20] for name, column in features.items()})
    golden = {"rows": rows[:20], "scores": [float(score) for score in scores]}
    blobs = BlobStore(folder / "blobs")
    files = {MODEL: onnx_bytes, FEATURES: source.encode(), GOLDEN: json.dumps(golden).encode(), REFERENCE: b"none"}
    manifest = Manifest(
        signature=signature, features_function="features", files={name: digest_of(data) for name, data in files.items()}
    )
    for data in files.values():
        blobs.put(data)
    return blobs.put(manifest.encode())


def _save_for_mlflow(target: Path, onnx_bytes: bytes) -> None:
    import mlflow.onnx
    import onnx

    mlflow.onnx.save_model(onnx.load_model_from_string(onnx_bytes), str(target), pip_requirements=[])


def _requests(row: dict[str, Any], features: Columns) -> dict[str, Any]:
    """The same row for each: raw for Spark and for us, ready features for MLflow, which knows no feature function."""
    tensors = {name: [[_plain(column[0])]] for name, column in features.items()}
    return {"raw": {"rows": [row]}, "mlflow": {"inputs": tensors}}


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else float(value)


def _answering(session: Any, fitted: SparkFitted, recipe: Recipe, spec: Any) -> Callable[[bytes], bytes]:
    model = fitted._model
    names = spec.signature.feature_names

    def answer(body: bytes) -> bytes:
        columns = recipe.features(raw_columns(json.loads(body)["rows"], spec.raw))
        row = tuple(_plain(columns[name][0]) for name in names)
        frame = session.createDataFrame([row], list(names))
        (scored,) = model.transform(frame).select("prediction", "probability").collect()
        return json.dumps({"prediction": scored[0], "score": float(scored[1][1])}).encode()

    return answer


def _serve(port: int, answer: Callable[[bytes], bytes], folder: Path, manifest: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    (folder / "ready").write_text(manifest, encoding="utf-8")
    server.serve_forever()


if __name__ == "__main__":
    main()
