"""A fitted Spark ML pipeline as ONNX: onnxmltools, with its faults mended."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from bundle.scorer import LABEL_OUTPUT, SCORE_OUTPUT
from bundle.signature import Signature
from pipeline.engines import spark_trees
from pipeline.engines.base import short
from pipeline.errors import PipelineCodeError
from pipeline.export import with_ports

OPSET: Final = 15


def export(session: Any, model: Any, signature: Signature, work: Path) -> bytes:  # noqa: ANN401 - Spark's
    """The pipeline as ONNX bytes. Raises PipelineCodeError where a stage has no equal in ONNX."""
    from onnxmltools.convert import convert_sparkml
    from onnxmltools.convert.common.data_types import FloatTensorType, StringTensorType

    _check_indexers(model)
    register_indexer()
    spark_trees.register(work)
    kinds = {"numeric": FloatTensorType, "categorical": StringTensorType}
    read = columns_read(model)
    inputs = [(f.name, kinds[f.type]([None, 1])) for f in signature.features if f.name in read]
    try:
        converted = convert_sparkml(model, "driftgate", inputs, target_opset=OPSET, spark_session=session)
    except PipelineCodeError:
        raise
    except Exception as error:
        raise PipelineCodeError(f"the pipeline cannot be exported to ONNX: {short(error)}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    mend_normalizers(converted.graph)
    del converted.graph.value_info[:]
    _keep_only_answer(converted.graph, model)
    return with_ports(converted, signature, LABEL_OUTPUT, SCORE_OUTPUT)


def _check_indexers(model: Any) -> None:  # noqa: ANN401 - a PipelineModel
    for stage in model.stages:
        if type(stage).__name__ == "StringIndexerModel" and stage.getOrDefault("handleInvalid") != "keep":
            column = stage.getOrDefault("inputCols" if stage.isSet("inputCols") else "inputCol")
            raise PipelineCodeError(
                f"StringIndexer of {column}: set handleInvalid='keep': unseen categories must be answered"
            )


def columns_read(model: Any) -> set[str]:  # noqa: ANN401 - a PipelineModel
    """The columns that any stage takes in: the converter refuses inputs that none does."""
    names: set[str] = set()
    for stage in model.stages:
        for parameter in ("inputCol", "inputCols", "featuresCol"):
            if stage.hasParam(parameter) and stage.isDefined(parameter):
                value = stage.getOrDefault(parameter)
                names.update([value] if isinstance(value, str) else value)
    return names


def register_indexer() -> None:
    """Put this converter in the place of onnxmltools'.

    Theirs gives int64, which cannot be concatenated with float, and forgets handleInvalid=keep: here an unseen category
    gets the index that Spark gives it, the number of known ones.
    """
    import onnxmltools.convert.sparkml.operator_converters  # noqa: F401 - registers its own first
    from onnxmltools.convert.common._registration import register_converter, register_shape_calculator
    from onnxmltools.convert.common.data_types import FloatTensorType

    def shapes(operator: Any) -> None:  # noqa: ANN401 - onnxmltools'
        for output in operator.outputs:
            output.type = FloatTensorType([None, 1])

    name = "pyspark.ml.feature.StringIndexerModel"
    register_converter(name, _convert_indexer, overwrite=True)
    register_shape_calculator(name, shapes, overwrite=True)


def _convert_indexer(scope: Any, operator: Any, container: Any) -> None:  # noqa: ANN401 - onnxmltools'
    known = operator.raw_operator.labelsArray
    for source, target, labels in zip(operator.inputs, operator.outputs, known, strict=True):
        container.add_node(
            "LabelEncoder", [source.full_name], [target.full_name],
            name=scope.get_unique_operator_name("StringIndexer"), op_domain="ai.onnx.ml", op_version=2,
            keys_strings=list(labels), values_floats=[float(i) for i in range(len(labels))],
            default_float=float(len(labels)),
        )  # fmt: skip


def mend_normalizers(graph: Any) -> None:  # noqa: ANN401 - protobuf
    """A normalised vector that goes into trees stays double, as in Spark.

    Values crowd just below 1 there, closer than float32 can tell apart, and would cross a threshold.
    """
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    nodes: list[Any] = []
    for node in graph.node:
        casts = readers.get(node.output[0], [])
        if _is_l2(node) and casts and all(_to_double(cast) for cast in casts):
            wide = f"{node.output[0]}_double"
            nodes.extend(_l2_double(node.input[0], wide))
            for cast in casts:
                cast.input[0] = wide
        else:
            nodes.append(node)
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


def _is_l2(node: Any) -> bool:  # noqa: ANN401 - protobuf
    return node.op_type == "Normalizer" and any(a.name == "norm" and a.s == b"L2" for a in node.attribute)


def _to_double(node: Any) -> bool:  # noqa: ANN401 - protobuf
    return node.op_type == "Cast" and any(a.name == "to" and a.i == TensorProto.DOUBLE for a in node.attribute)


def _l2_double(source: str, target: str) -> list[Any]:
    """The vector over its length, in double. A vector of zeros stays what it is, as in Spark.

    Where a number is missing the length is, too. Then Spark's answer hangs on how it keeps the vector: as a sparse one,
    where 1.5 (nonzeros + 1) <= size - 1, whose zeros stay zeros, or as a dense one, all of which goes missing.
    """
    name = f"{target}_{{}}".format
    numbers = {"zero": 0.0, "one": 1.0, "half": 0.5, "sparse_from": 2.5}
    constants = [
        helper.make_node("Constant", [], [name(key)], value=numpy_helper.from_array(np.full((1, 1), number)))
        for key, number in numbers.items()
    ]
    wide = helper.make_node("Cast", [source], [name("wide")], to=TensorProto.DOUBLE)
    steps = [
        ("Equal", ["wide", "zero"], "is_zero"), ("Not", ["is_zero"], "is_set"),
        ("Where", ["is_zero", "one", "zero"], "zeros"), ("Where", ["is_set", "one", "zero"], "sets"),
        ("Mul", ["set_count", "half"], "half_sets"), ("Add", ["half_sets", "sparse_from"], "needed"),
        ("LessOrEqual", ["needed", "zero_count"], "is_sparse"), ("And", ["is_zero", "is_sparse"], "stays_zero"),
        ("Sqrt", ["square"], "length"), ("Equal", ["length", "zero"], "is_empty"),
        ("Where", ["is_empty", "one", "length"], "divisor"), ("Div", ["wide", "divisor"], "quotient"),
    ]  # fmt: skip
    made = [helper.make_node(kind, [name(i) for i in inputs], [name(output)]) for kind, inputs, output in steps]
    sums = [
        helper.make_node("ReduceSumSquare", [name(values)], [name(total)], axes=[1], keepdims=1)
        for values, total in (("zeros", "zero_count"), ("sets", "set_count"), ("wide", "square"))
    ]
    answer = helper.make_node("Where", [name("stays_zero"), name("zero"), name("quotient")], [target])
    return [*constants, wide, *made[:4], *sums, *made[4:], answer]


def _keep_only_answer(graph: Any, model: Any) -> None:  # noqa: ANN401 - protobuf, Spark
    """The last stage's prediction and probability; columns of earlier stages are no answer."""
    last = model.stages[-1]
    wanted = [str(last.getOrDefault("predictionCol")), str(last.getOrDefault("probabilityCol"))]
    outputs = {output.name: output for output in graph.output}
    missing = [name for name in wanted if name not in outputs]
    if missing:
        raise PipelineCodeError(f"{type(last).__name__} has no output {', '.join(missing)} in ONNX")
    kept = [ValueInfoProto.FromString(outputs[name].SerializeToString()) for name in wanted]
    del graph.output[:]
    graph.output.extend(kept)
