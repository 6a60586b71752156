"""Gives an exported graph the ports that the scorer asks for: an input a feature, two named outputs."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import onnx
from onnx import TensorProto, helper

from bundle.signature import Signature


def with_ports(model: Any, signature: Signature, label: str, probabilities: str) -> bytes:  # noqa: ANN401 - protobuf
    """The graph's bytes, with every feature among its inputs, in order, and its two outputs named as asked.

    The first output is the label, the second the probabilities: so both converters order them. What stands in no order
    of its own is sorted, so that the same model is the same bytes.
    """
    graph = model.graph
    kinds = {"numeric": TensorProto.FLOAT, "categorical": TensorProto.STRING}
    inputs = [helper.make_tensor_value_info(f.name, kinds[f.type], [None, 1]) for f in signature.features]
    del graph.input[:]
    graph.input.extend(inputs)
    names = [graph.output[0].name, graph.output[1].name]
    for old, new in zip(names, (label, probabilities), strict=True):
        rename(graph, old, new)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(label, TensorProto.INT64, [None]))
    graph.output.append(helper.make_tensor_value_info(probabilities, TensorProto.FLOAT, [None, 2]))
    for unordered, name in ((graph.initializer, "name"), (model.opset_import, "domain"), (model.metadata_props, "key")):
        unordered.sort(key=attrgetter(name))
    graph.name = "driftgate"
    model.producer_version = ""
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def rename(graph: Any, old: str, new: str) -> None:  # noqa: ANN401 - protobuf
    """Give a tensor another name wherever it is written or read."""
    if old == new:
        return
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
