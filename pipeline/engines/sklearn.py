"""scikit-learn in this process, exported by skl2onnx."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from bundle.columns import Columns
from bundle.scorer import LABEL_OUTPUT, SCORE_OUTPUT
from bundle.signature import Signature
from pipeline.batches import replace_tree
from pipeline.engines.base import Answers, Fitted, Labels, PipelineFunction, Scores, Step, short, training_frame
from pipeline.errors import PipelineCodeError
from pipeline.export import with_ports

OPSET: Final = 17


class SklearnFitted:
    """A fitted scikit-learn pipeline."""

    def __init__(self, model: Any, signature: Signature) -> None:  # noqa: ANN401 - the user's pipeline
        self._model, self._signature = model, signature

    def score(self, features: Columns) -> Scores:
        return self.answer(features).scores

    def answer(self, features: Columns) -> Answers:
        frame = pd.DataFrame({name: features[name] for name in self._signature.feature_names})
        try:
            probabilities = np.asarray(self._model.predict_proba(frame), dtype=np.float64)
            predictions = np.asarray(self._model.predict(frame)).astype(np.int64)
        except Exception as error:
            raise PipelineCodeError(f"the fitted pipeline does not score: {short(error)}") from error
        return Answers(probabilities[:, 1], predictions)

    def export(self) -> bytes:
        from skl2onnx import convert_sklearn
        from skl2onnx.common.data_types import FloatTensorType, StringTensorType

        from pipeline.engines.sklearn_onnx import CONVERSIONS

        kinds = {"numeric": FloatTensorType, "categorical": StringTensorType}
        inputs = [(f.name, kinds[f.type]([None, 1])) for f in self._signature.features]
        options = {id(self._model): {"zipmap": False}}
        try:
            model = convert_sklearn(
                self._model,
                initial_types=inputs,
                options=options,
                target_opset=OPSET,
                custom_conversion_functions=CONVERSIONS,
            )
        except Exception as error:
            raise PipelineCodeError(f"the pipeline cannot be exported to ONNX: {short(error)}") from error
        return with_ports(model, self._signature, LABEL_OUTPUT, SCORE_OUTPUT)


class SklearnEngine:
    """Everything in memory: for models whose rows fit there."""

    def run(self, step: Step, source: Path, target: Path) -> None:
        rows = ds.dataset(source, schema=step.source, format="parquet").to_table().to_pandas()
        table = pa.Table.from_pandas(step(rows), schema=step.target, preserve_index=False)
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        by_day = ds.partitioning(pa.schema([("day", pa.string())]), flavor="hive")
        ds.write_dataset(table, partial, format="parquet", partitioning=by_day, max_partitions=100_000)
        replace_tree(partial, target)

    def fit(self, build: PipelineFunction, signature: Signature, features: Columns, labels: Labels) -> Fitted:
        frame = training_frame(signature, features, labels)
        model = build(signature)
        try:
            model.fit(frame[list(signature.feature_names)], labels)
        except Exception as error:
            raise PipelineCodeError(f"the pipeline cannot be fitted: {short(error)}") from error
        return SklearnFitted(model, signature)

    def close(self) -> None:
        """Nothing is held."""
