"""Versions for tests, made in milliseconds: a logistic function of two features, with golden rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from bundle.blobs import BlobStore
from bundle.columns import raw_columns
from bundle.manifest import FEATURES, GOLDEN, MODEL, REFERENCE, Manifest
from bundle.scorer import Scorer
from bundle.signature import Feature, RawField, Signature

MODEL_ID = "default/tiny"
SIGNATURE = Signature(
    model=MODEL_ID,
    task="binary",
    raw=(
        RawField(name="text", type="string", privacy="mask"),
        RawField(name="author", type="string", privacy="hash"),
        RawField(name="followers", type="integer", required=True),
        RawField(name="place", type="string"),
    ),
    features=(Feature(name="log_followers", type="numeric"), Feature(name="place", type="categorical")),
    label="retweeted",
)
FEATURES_SOURCE = '''"""Features of the tiny model."""

import numpy as np


def features(raw):
    return {"log_followers": np.log1p(raw["followers"]), "place": raw["place"]}
'''
ROWS: list[dict[str, Any]] = [
    {"text": "hello @jane", "author": "jane", "followers": 10, "place": "London"},
    {"text": None, "author": None, "followers": 100_000, "place": "Paris"},
    {"followers": 0, "place": "a place never seen"},
    {"followers": 7},
]


def graph(bias: float = 0.0) -> bytes:
    """An ONNX graph with the signature's inputs; the bias tells versions apart."""
    nodes = [
        helper.make_node(
            "LabelEncoder", ["place"], ["code"], domain="ai.onnx.ml",
            keys_strings=["London", "Paris", ""], values_floats=[0.5, -0.5, 0.1], default_float=0.25,
        ),
        helper.make_node("Concat", ["log_followers", "code"], ["x"], axis=1),
        helper.make_node("MatMul", ["x", "weights"], ["z"]),
        helper.make_node("Add", ["z", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["positive"]),
        helper.make_node("Sub", ["one", "positive"], ["negative"]),
        helper.make_node("Concat", ["negative", "positive"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]  # fmt: skip
    constants = [
        helper.make_tensor("weights", TensorProto.FLOAT, [2, 1], [0.3, 1.0]),
        helper.make_tensor("bias", TensorProto.FLOAT, [1, 1], [bias]),
        helper.make_tensor("one", TensorProto.FLOAT, [1, 1], [1.0]),
    ]
    inputs = [
        helper.make_tensor_value_info("log_followers", TensorProto.FLOAT, [None, 1]),
        helper.make_tensor_value_info("place", TensorProto.STRING, [None, 1]),
    ]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=9,
    )
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def make_version(
    blobs: BlobStore,
    bias: float = 0.0,
    *,
    model: bytes | None = None,
    features: str = FEATURES_SOURCE,
    golden_scores: list[float] | None = None,
    signature: Signature = SIGNATURE,
) -> str:
    """Store a version and return its manifest's digest; golden scores are its own unless others are given."""
    files = {
        MODEL: model or graph(bias),
        FEATURES: features.encode(),
        GOLDEN: b"{}",
        REFERENCE: b"not read by serving",
    }
    scores = golden_scores if golden_scores is not None else _scores(files, signature)
    files[GOLDEN] = json.dumps({"rows": ROWS, "scores": scores}).encode()
    return blobs.put(_manifest({name: blobs.put(data) for name, data in files.items()}, signature).encode())


def _scores(files: dict[str, bytes], signature: Signature) -> list[float]:
    scorer = Scorer(_manifest(dict.fromkeys(files, "0" * 64), signature), files)
    _, scores = scorer.score(raw_columns(ROWS, signature.raw))
    return [float(score) for score in np.asarray(scores)]


def _manifest(files: dict[str, str], signature: Signature) -> Manifest:
    return Manifest(signature=signature, features_function="features", files=files)
