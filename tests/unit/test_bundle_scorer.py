"""The scorer: which graphs it runs, and that it answers fast."""

from __future__ import annotations

import time

import numpy as np
import pytest
from onnx import TensorProto, helper

from bundle.blobs import BlobStore
from bundle.columns import raw_columns
from bundle.manifest import Manifest
from bundle.scorer import Graph, ModelRefused, Scorer
from bundle.signature import Feature, RawField, Signature

SIGNATURE = Signature(
    model="default/small", task="binary", label="y",
    raw=(RawField(name="amount", type="number"), RawField(name="kind", type="string")),
    features=(Feature(name="amount", type="numeric"), Feature(name="kind", type="categorical")),
)  # fmt: skip
FEATURES = b"def features(raw):\n    return {'amount': raw['amount'], 'kind': raw['kind']}\n"


def model(*, extra=(), opsets=(), external=False, inputs=("amount", "kind"), output="probabilities"):
    """Probability of class 1: sigmoid of the amount, and a half more certain where the kind is known."""
    kinds = {"amount": TensorProto.FLOAT, "kind": TensorProto.STRING}
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    if external:
        one.data_location = TensorProto.EXTERNAL
        entry = one.external_data.add()
        entry.key, entry.value = "location", "/etc/passwd"
    nodes = [
        helper.make_node(
            "LabelEncoder", ["kind"], ["known"], domain="ai.onnx.ml",
            keys_strings=["a"], values_floats=[1.0], default_float=0.0,
        ),
        helper.make_node("Add", ["amount", "known"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], [output], axis=1),
        *extra,
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), [None, 1]) for name in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, 2])],
        [one],
    )  # fmt: skip
    imports = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 2), *opsets]
    return helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()


def scorer(data):
    manifest = Manifest(signature=SIGNATURE, features_function="features", files=dict.fromkeys("abcd", ""))
    return Scorer(manifest, {"model.onnx": data, "features.py": FEATURES})


def test_scores_are_the_probability_of_class_one():
    rows = [{"amount": 0.0, "kind": "a"}, {"amount": 0.0, "kind": "never seen"}, {"amount": 0.0}]

    features, scores = scorer(model()).score(raw_columns(rows, SIGNATURE.raw))

    assert features["kind"].tolist() == ["a", "never seen", ""]
    assert scores.dtype == np.float64
    assert scores == pytest.approx([1 / (1 + np.exp(-1)), 0.5, 0.5])


def test_the_answer_is_one_above_the_threshold_and_zero_at_it_as_in_spark():
    assert scorer(model()).answer(np.array([0.49999, 0.5, 0.50001, 0.7])).tolist() == [0, 0, 1, 1]


def test_a_version_is_loaded_from_verified_blobs(tmp_path):
    blobs = BlobStore(tmp_path)
    files = {"model.onnx": model(), "features.py": FEATURES, "golden.json": b"{}", "reference.parquet": b"x"}
    digests = {name: blobs.put(data) for name, data in files.items()}
    digest = blobs.put(Manifest(signature=SIGNATURE, features_function="features", files=digests).encode())

    _, scores = Scorer.load(blobs, digest).score(raw_columns([{"amount": 0.0}], SIGNATURE.raw))

    assert scores.tolist() == [0.5]


def custom():
    return helper.make_node("Trojan", ["amount"], ["t"], domain="com.example")


def hidden():
    """A foreign operator inside a branch of a node that is known."""
    branch = helper.make_graph([custom()], "b", [], [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)])
    return helper.make_node("If", ["amount"], ["u"], then_branch=branch, else_branch=branch)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not a model at all", "not an ONNX model|does not load|inputs"),
        (model(extra=[custom()], opsets=[helper.make_opsetid("com.example", 1)]), "com.example"),
        (model(extra=[custom()]), "com.example"),
        (model(extra=[hidden()]), "com.example"),
        (model(opsets=[helper.make_opsetid("com.microsoft", 1)]), "com.microsoft"),
        (model(external=True), "outside its bytes"),
        (model(inputs=("amount", "kind", "more")), "inputs"),
        (model(output="scores"), "no output 'probabilities'"),
    ],
)
def test_a_graph_that_is_not_accepted_is_refused(data, message):
    with pytest.raises(ModelRefused, match=message):
        Graph(data, SIGNATURE)


def test_an_oversize_model_is_refused(monkeypatch):
    monkeypatch.setattr("bundle.onnx_limits.MAX_MODEL_BYTES", 10)

    with pytest.raises(ModelRefused, match="more than 10"):
        Graph(model(), SIGNATURE)


def test_one_row_is_scored_in_far_less_than_a_millisecond():
    version, raw = scorer(model()), raw_columns([{"amount": 0.5, "kind": "a"}], SIGNATURE.raw)
    version.score(raw)
    laps = []
    for _ in range(300):
        start = time.perf_counter()
        version.score(raw)
        laps.append(time.perf_counter() - start)

    assert np.median(laps) < 0.0005
