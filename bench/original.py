"""The article's pipeline scored as the article did it, on its own training rows, and honestly, on later rows.

`python -m bench.original [--full]`. On generated tweets, and with DATA_DIR=folder also on its `vaccine_tweets.csv`.
Rows before the cut are fitted, later ones are scored; beside it the default pipeline and the constant answer.
"""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bench.form import Claim, show
from bundle.columns import Columns, model_columns, raw_columns
from pipeline.contract.specfile import read_recipe
from pipeline.csvsource import CsvSource, SourceRow
from pipeline.engines.base import Labels, PipelineFunction
from pipeline.engines.spark import SparkEngine, start_spark
from pipeline.evaluate import constant_metrics, metrics_of
from pipeline.java import java_home
from recipes.tweets.features import features
from recipes.tweets.generator import generate, write_csv
from recipes.tweets.training import original, pipeline

RECIPE = Path(__file__).parents[1] / "recipes" / "tweets"
SPEC, _ = read_recipe(RECIPE)
GENERATED = (datetime(2020, 12, 12, tzinfo=UTC), datetime(2021, 2, 12, tzinfo=UTC))
CUT = datetime(2021, 1, 16, tzinfo=UTC)
Split = tuple[Columns, Labels, Columns, Labels]


def main(full: bool) -> int:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_csv(work / "tweets.csv", generate(16_000 if full else 6_000, 1, *GENERATED))
        sets = {"generated": work / "tweets.csv"}
        if "DATA_DIR" in os.environ:
            sets["real"] = Path(os.environ["DATA_DIR"]) / "vaccine_tweets.csv"
        engine = SparkEngine(lambda: session, work)
        session = start_spark(java_home(work), work / "spark", "local[2]", "1g")
        try:
            figures = {
                f"{name}_{figure}": value
                for name, file in sets.items()
                for figure, value in _figures(engine, _split(file)).items()
            }
        finally:
            engine.close()
    name = "real" if "real" in sets else "generated"
    gain = figures[f"{name}_default_later_auc"] - figures[f"{name}_original_later_auc"]
    claim = Claim.of(f"the default pipeline's AUC on later rows above the original's ({name})", gain, ">", 0.0)
    return show("original", figures, [claim])


def _figures(engine: SparkEngine, split: Split) -> dict[str, float]:
    train, train_labels, later, later_labels = split
    figures = {
        "constant_later_error": constant_metrics(train_labels, later_labels)["error"],
        "constant_later_log_loss": constant_metrics(train_labels, later_labels)["log_loss"],
    }
    builds: dict[str, PipelineFunction] = {"original": original, "default": pipeline}
    for name, build in builds.items():
        fitted = engine.fit(build, SPEC.signature, train, train_labels)
        for part, columns, labels in (("training", train, train_labels), ("later", later, later_labels)):
            metrics = metrics_of(labels, fitted.score(columns))
            figures |= {f"{name}_{part}_{short}": metrics[key] for key, short in SHOWN.items()}
    return figures


SHOWN = {"roc_auc": "auc", "error": "error", "log_loss": "log_loss"}


def _split(file: Path) -> Split:
    rows = [row for row in CsvSource(file, SPEC, b"").rows() if isinstance(row, SourceRow) and row.label is not None]
    parts = ([row for row in rows if row.event_time < CUT], [row for row in rows if row.event_time >= CUT])
    train, later = (
        (model_columns(features(raw_columns([row.raw for row in part], SPEC.raw)), SPEC.signature),
         np.array([row.label for row in part], dtype=np.int64))
        for part in parts
    )  # fmt: skip
    return (*train, *later)


if __name__ == "__main__":
    raise SystemExit(main("--full" in sys.argv[1:]))
