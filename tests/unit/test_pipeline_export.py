"""The same model is the same bytes, in whichever order a converter wrote what has no order."""

from __future__ import annotations

from onnx import TensorProto, helper

from bundle.signature import Feature, RawField, Signature
from pipeline.export import with_ports

SIGNATURE = Signature(
    model="default/small", task="binary", label="y",
    raw=(RawField(name="amount", type="number"),), features=(Feature(name="amount", type="numeric"),),
)  # fmt: skip


def converted(turned):
    constants = [helper.make_tensor(name, TensorProto.FLOAT, [1], [1.0]) for name in ("one", "two")]
    nodes = [
        helper.make_node("Sub", ["one", "amount"], ["q"]), helper.make_node("Sub", ["two", "q"], ["r"]),
        helper.make_node("Concat", ["q", "r"], ["p"], axis=1),
        helper.make_node("ArgMax", ["p"], ["l"], axis=1, keepdims=0),
    ]  # fmt: skip
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("l", "p")]
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 2)]
    order = -1 if turned else 1
    graph = helper.make_graph(nodes, "g", [], outputs, constants[::order])
    return helper.make_model(graph, opset_imports=imports[::order], ir_version=8)


def test_a_model_is_the_same_bytes_whatever_the_order_of_its_constants_and_operator_sets():
    one, other = (with_ports(converted(turned), SIGNATURE, "label", "probabilities") for turned in (False, True))

    assert one == other
