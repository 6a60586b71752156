"""Spark's tree models as one ONNX node of double thresholds, which answers exactly as Spark does.

onnxmltools writes and reads each tree of an ensemble through Spark (half a second a tree), rounds thresholds to
float32, and knows only the first category of a split.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
from onnx import TensorProto, numpy_helper

from pipeline.errors import PipelineCodeError

_MODELS: Final = (
    "DecisionTreeClassificationModel",
    "RandomForestClassificationModel",
    "GBTClassificationModel",
)
_LEAF, _BRANCH = "LEAF", "BRANCH_LEQ"


def register(work: Path) -> None:
    """Put these converters in the place of onnxmltools'; `work` is where models are written to be read."""
    import onnxmltools.convert.sparkml.operator_converters  # noqa: F401 - registers its own first
    from onnxmltools.convert.common._registration import register_converter, register_shape_calculator

    def convert(scope: Any, operator: Any, container: Any) -> None:  # noqa: ANN401 - onnxmltools'
        _convert(scope, operator, container, work)

    for name in _MODELS:
        full_name = f"pyspark.ml.classification.{name}"
        register_converter(full_name, convert, overwrite=True)
        register_shape_calculator(full_name, _shapes, overwrite=True)


def _shapes(operator: Any) -> None:  # noqa: ANN401 - onnxmltools'
    from onnxmltools.convert.common.data_types import FloatTensorType, Int64TensorType

    operator.outputs[0].type = Int64TensorType([None])
    operator.outputs[1].type = FloatTensorType([None, 2])


def _convert(scope: Any, operator: Any, container: Any, work: Path) -> None:  # noqa: ANN401 - onnxmltools'
    model = operator.raw_operator
    if model.numClasses != 2:
        raise PipelineCodeError(f"the label has {model.numClasses} classes: only 0 and 1 are served")
    boosted = type(model).__name__ == "GBTClassificationModel"
    attributes = tree_attributes(read_nodes(model, work), weights_of(model), boosted)

    def step(kind: str, inputs: list[str], **more: Any) -> str:  # noqa: ANN401 - ONNX attributes
        output: str = scope.get_unique_variable_name(f"tree_{kind.lower()}")
        name = scope.get_unique_operator_name(kind)
        container.add_node(kind, inputs, [output], name=name, **more)
        return output

    wide = step("Cast", operator.input_full_names, op_version=13, to=TensorProto.DOUBLE)
    sums = step("TreeEnsembleRegressor", [wide], op_domain="ai.onnx.ml", op_version=3, **attributes)
    if boosted:
        container.add_initializer("tree_two", TensorProto.FLOAT, [1], [2.0])
        sums = step("Sigmoid", [step("Mul", [sums, "tree_two"], op_version=14)], op_version=13)
    container.add_initializer("tree_one", TensorProto.FLOAT, [1], [1.0])
    rest = step("Sub", ["tree_one", sums], op_version=14)
    label, probabilities = (output.full_name for output in operator.outputs[:2])
    name = scope.get_unique_operator_name
    container.add_node("Concat", [rest, sums], [probabilities], name=name("Concat"), op_version=13, axis=1)
    container.add_node("ArgMax", [probabilities], [label], name=name("ArgMax"), op_version=13, axis=1, keepdims=0)


def weights_of(model: Any) -> list[float]:  # noqa: ANN401 - a Spark model
    """The weight of each tree in the sum; a forest's is a mean."""
    if type(model).__name__ == "DecisionTreeClassificationModel":
        return [1.0]
    if type(model).__name__ == "RandomForestClassificationModel":
        return [1.0 / model.getNumTrees] * int(model.getNumTrees)
    return [float(weight) for weight in model.treeWeights]


def read_nodes(model: Any, work: Path) -> list[dict[str, Any]]:  # noqa: ANN401 - a Spark model
    """The nodes of all trees, in order, as Spark writes them."""
    folder = work / "trees"
    shutil.rmtree(folder, ignore_errors=True)
    model.write().overwrite().save(str(folder))
    rows = pq.read_table(folder / "data").to_pylist()
    shutil.rmtree(folder, ignore_errors=True)
    nodes = [{"tree": row.get("treeID", 0), **row.get("nodeData", row)} for row in rows]
    return sorted(nodes, key=lambda node: (node["tree"], node["id"]))


def tree_attributes(nodes: list[dict[str, Any]], weights: list[float], boosted: bool) -> dict[str, Any]:
    """The attributes of one TreeEnsembleRegressor: the weighted sum of the leaves that a row falls into.

    Raises PipelineCodeError for a split on a set of categories, which has no equal here.
    """
    leaves = [node for node in nodes if node["leftChild"] < 0]
    for node in nodes:
        if node["leftChild"] >= 0 and node["split"]["numCategories"] >= 0:
            feature = node["split"]["featureIndex"]
            raise PipelineCodeError(
                f"the trees split feature {feature} as a set of categories, which is not exported: pass the "
                "vector through ElementwiseProduct(scalingVec=[1.0, ...]) before the trees"
            )
    branch = [node["leftChild"] >= 0 for node in nodes]
    thresholds = [n["split"]["leftCategoriesOrThreshold"][0] if b else 0.0 for n, b in zip(nodes, branch, strict=True)]
    outputs = [_leaf(leaf, boosted) * weights[leaf["tree"]] for leaf in leaves]
    return {
        "n_targets": 1,
        "nodes_treeids": [node["tree"] for node in nodes],
        "nodes_nodeids": [node["id"] for node in nodes],
        "nodes_modes": [_BRANCH if b else _LEAF for b in branch],
        "nodes_featureids": [max(node["split"]["featureIndex"], 0) for node in nodes],
        "nodes_truenodeids": [max(node["leftChild"], 0) for node in nodes],
        "nodes_falsenodeids": [max(node["rightChild"], 0) for node in nodes],
        "nodes_missing_value_tracks_true": [0] * len(nodes),
        "nodes_values_as_tensor": numpy_helper.from_array(np.array(thresholds, dtype=np.float64)),
        "target_treeids": [leaf["tree"] for leaf in leaves],
        "target_nodeids": [leaf["id"] for leaf in leaves],
        "target_ids": [0] * len(leaves),
        "target_weights_as_tensor": numpy_helper.from_array(np.array(outputs, dtype=np.float64)),
    }


def _leaf(leaf: dict[str, Any], boosted: bool) -> float:
    """What a leaf adds: the prediction of a boosted tree, the share of class 1 in another."""
    if boosted:
        return float(leaf["prediction"])
    total = sum(leaf["impurityStats"])
    return float(leaf["impurityStats"][1] / total) if total else 0.5
