"""Spark, local by default, a cluster where a master is named."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from bundle.columns import Columns
from bundle.recipe import RecipeError
from bundle.signature import Signature
from pipeline.batches import replace_tree
from pipeline.engines.base import Answers, Fitted, Labels, PipelineFunction, Scores, Step, short, training_frame
from pipeline.errors import PipelineCodeError, PipelineError

_RECIPE_ERROR: Final = "bundle.recipe.RecipeError: "
_ROW: Final = "driftgate_row"
_log = logging.getLogger("pipeline.run")


def start_spark(java: Path, work: Path, master: str, memory: str) -> Any:  # noqa: ANN401 - a SparkSession
    """A session that starts fast and writes nothing outside its work folder. Raises PipelineError."""
    work.mkdir(parents=True, exist_ok=True)
    os.environ["JAVA_HOME"] = str(java)
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ["SPARK_CONF_DIR"] = str(_configuration(work))
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(master).appName("driftgate")
    for name, value in _settings(work, memory).items():
        builder = builder.config(name, value)
    try:
        session = builder.getOrCreate()
    except Exception as error:
        raise PipelineError(f"Spark does not start with the Java at {java}: {short(error)}") from error
    session.sparkContext.setLogLevel("ERROR")
    return session


def _configuration(work: Path) -> Path:
    folder = work / "conf"
    folder.mkdir(exist_ok=True)
    lines = (
        "rootLogger.level = error", "rootLogger.appenderRef.stderr.ref = console",
        "appender.console.type = Console", "appender.console.name = console",
        "appender.console.target = SYSTEM_ERR", "appender.console.layout.type = PatternLayout",
        "appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n",
        # It asks for a native BLAS at each start; the Java one does.
        "logger.blas.name = dev.ludovic.netlib", "logger.blas.level = off",
    )  # fmt: skip
    (folder / "log4j2.properties").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _settings(work: Path, memory: str) -> dict[str, str]:
    """Few rows and short lives: no user interface, two partitions, a compiler that starts at once."""
    java = f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Duser.timezone=UTC -Djava.io.tmpdir={work}"
    return {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": memory,
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": f"{java} -Dderby.system.home={work}",
        "spark.local.dir": str(work / "local"),
        "spark.sql.warehouse.dir": str(work / "warehouse"),
        "spark.default.parallelism": "2",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.execution.arrow.pyspark.fallback.enabled": "false",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.sources.parallelPartitionDiscovery.threshold": "100000",
        "spark.sql.files.openCostInBytes": "4096",
        "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    }


class SparkEngine:
    """Layers and training in one Spark session, which is asked for when it is first needed."""

    def __init__(self, session: Callable[[], Any], work: Path) -> None:
        self._ask, self._work = session, work

    def run(self, step: Step, source: Path, target: Path) -> None:
        session, schema = self._ask(), _spark_schema(step.target)
        rows = session.read.schema(_spark_schema(step.source)).option("recursiveFileLookup", "true")
        rows = rows.parquet(str(source))
        if step.by_id:
            rows = rows.repartition("id")
        made = rows.mapInPandas(partial(_apply, step, step.by_id), schema)
        if step.by_id:
            made = made.repartition("day")
        unfinished = target.with_name(f"{target.name}.partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            made.write.partitionBy("day").mode("overwrite").parquet(str(unfinished))
        except Exception as error:
            raise _recipe_error(error) from error
        unfinished.mkdir(exist_ok=True, parents=True)
        replace_tree(unfinished, target)

    def fit(self, build: PipelineFunction, signature: Signature, features: Columns, labels: Labels) -> Fitted:
        session = self._ask()
        pipeline = build(signature)
        # One partition: sums of floats depend on the order in which partitions arrive, and a run must be repeatable.
        rows = session.createDataFrame(training_frame(signature, features, labels)).coalesce(1).cache()
        try:
            model = pipeline.fit(rows)
        except Exception as error:
            raise PipelineCodeError(f"the pipeline cannot be fitted: {short(error)}") from error
        finally:
            rows.unpersist()
        check_threshold(model)
        return SparkFitted(session, model, signature, self._work)

    def close(self) -> None:
        try:
            self._ask().stop()
        except Exception as error:  # noqa: BLE001 - it ends with this process anyway; why the run ends matters more
            _log.warning("Spark did not stop as it should: %s", short(error))


class SparkFitted:
    """A fitted Spark ML pipeline."""

    def __init__(self, session: Any, model: Any, signature: Signature, work: Path) -> None:  # noqa: ANN401
        self._session, self._model, self._signature, self._work = session, model, signature, work

    def score(self, features: Columns) -> Scores:
        return self.answer(features).scores

    def answer(self, features: Columns) -> Answers:
        from pyspark.ml.functions import vector_to_array
        from pyspark.sql import functions as f

        frame = pd.DataFrame({name: features[name] for name in self._signature.feature_names})
        frame[_ROW] = np.arange(len(frame), dtype=np.int64)
        try:
            scored = self._model.transform(self._session.createDataFrame(frame))
            score = vector_to_array(f.col(answer_column(self._model, "probabilityCol")))[1]
            prediction = f.col(answer_column(self._model, "predictionCol"))
            answers = scored.select(_ROW, score.alias("score"), prediction.alias("prediction")).toPandas()
        except Exception as error:
            raise PipelineCodeError(f"the fitted pipeline does not score: {short(error)}") from error
        if len(answers) != len(frame):
            lost = len(frame) - len(answers)
            raise PipelineCodeError(f"the pipeline answers {lost} rows not at all: use handleInvalid='keep'")
        answers = answers.sort_values(_ROW)
        return Answers(
            answers["score"].to_numpy(dtype=np.float64), answers["prediction"].fillna(-1).to_numpy(dtype=np.int64)
        )

    def export(self) -> bytes:
        from pipeline.engines.spark_onnx import export

        return export(self._session, self._model, self._signature, self._work / "export")


def answer_column(model: Any, parameter: str) -> str:  # noqa: ANN401 - a PipelineModel
    """Where the pipeline's last stage puts its probabilities or predictions."""
    last = _last_stage(model)
    if not last.hasParam(parameter):
        raise PipelineCodeError(f"the last stage, {type(last).__name__}, gives no probability: use a classifier")
    return str(last.getOrDefault(parameter))


def check_threshold(model: Any) -> None:  # noqa: ANN401 - a PipelineModel
    """Raises PipelineCodeError where the last stage does not answer 1 above one half, as every version does."""
    last = _last_stage(model)
    for parameter, plain in (("threshold", 0.5), ("thresholds", None)):
        if last.hasParam(parameter) and last.isDefined(parameter):
            value = last.getOrDefault(parameter)
            if value != plain:
                raise PipelineCodeError(
                    f"{type(last).__name__} has {parameter} set to {value}, and a version answers 1 where its score is "
                    f"above 0.5: leave {parameter} out, and cut the score where you use it"
                )


def _last_stage(model: Any) -> Any:  # noqa: ANN401 - a PipelineModel
    return model.stages[-1] if getattr(model, "stages", None) else model


def _apply(step: Step, whole: bool, frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Runs in Spark's Python workers: the step on each batch of a partition, or on all of it at once."""
    if whole:
        parts = list(frames)
        frames = iter([pd.concat(parts, ignore_index=True)] if parts else [])
    for frame in frames:
        if len(frame):
            yield step(frame)


def _spark_schema(schema: Any) -> Any:  # noqa: ANN401 - Arrow in, Spark out
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)


def _recipe_error(error: Exception) -> Exception:
    """The user's error as it was in the worker, where there is one in the text of Spark's error."""
    for line in str(error).splitlines():
        _, found, text = line.partition(_RECIPE_ERROR)
        if found:
            file, _, rest = text.partition(":")
            number, _, message = rest.partition(": ")
            return RecipeError(file, int(number) if number.isdigit() else None, message if number.isdigit() else rest)
    return PipelineError(f"a layer cannot be built: {_last_of_worker(str(error)) or short(error)}")


def _last_of_worker(text: str) -> str | None:
    """The line that names the exception of a Python worker: the first behind its frames, which are indented."""
    _, found, trace = text.rpartition("Traceback (most recent call last):\n")
    lines = (line.strip() for line in trace.splitlines() if line.strip() and not line[0].isspace())
    return next(lines, "")[:500] if found else None
