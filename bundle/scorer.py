"""Scores rows with a version: its feature function, then its ONNX graph. Everything that scores uses it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from bundle.blobs import BlobStore
from bundle.columns import Columns
from bundle.manifest import FEATURES, MODEL, Manifest
from bundle.recipe import Recipe
from bundle.signature import Signature

MAX_MODEL_BYTES: Final = 256 * 1024 * 1024
#: the graph's outputs: the answer of the graph itself, and the probabilities of class 0 and 1
LABEL_OUTPUT: Final = "label"
SCORE_OUTPUT: Final = "probabilities"
_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_FLOAT, _STRING = "tensor(float)", "tensor(string)"


class ModelRefused(ValueError):
    """The ONNX bytes are not a graph that this service runs; the message says why."""


class Scorer:
    """A version that answers. Made once; `score` may be called from several threads."""

    def __init__(self, manifest: Manifest, files: Mapping[str, bytes]) -> None:
        """Raises ModelRefused for a graph that is not accepted, RecipeError where the recipe does not run."""
        self.manifest = manifest
        self.signature = manifest.signature
        self.threshold = manifest.threshold
        self._recipe = Recipe(files[FEATURES].decode(), manifest.features_function, self.signature)
        self._graph = Graph(files[MODEL], self.signature)

    @classmethod
    def load(cls, blobs: BlobStore, digest: str) -> Scorer:
        """The version under a manifest digest; every file is verified against its own."""
        manifest = Manifest.read(blobs, digest)
        return cls(manifest, {name: blobs.get(manifest.files[name]) for name in (MODEL, FEATURES)})

    def score(self, raw: Columns) -> tuple[Columns, npt.NDArray[np.float64]]:
        """The features of the rows and the probability of class 1. Raises RecipeError."""
        features = self.features(raw)
        return features, self._graph.score(features)

    def features(self, raw: Columns) -> Columns:
        """The features alone. Raises RecipeError."""
        return self._recipe.features(raw)

    def score_features(self, features: Columns) -> npt.NDArray[np.float64]:
        """The probability of class 1 of rows whose features are known."""
        return self._graph.score(features)

    def answer(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """The prediction that belongs to each score: 1 above the threshold, as the training engines have it."""
        return (scores > self.threshold).astype(np.int64)


class Graph:
    """An ONNX graph with one input a feature, named as it is, of shape [rows, 1]."""

    def __init__(self, data: bytes, signature: Signature) -> None:
        """Raises ModelRefused."""
        check_graph(data)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelRefused(f"onnxruntime does not load the model: {error}") from error
        _check_ports(self._session, signature)
        self._names = signature.feature_names
        self._outputs = [SCORE_OUTPUT]

    def score(self, features: Columns) -> npt.NDArray[np.float64]:
        """The probability of class 1 for each row of model columns."""
        feed = {name: features[name].reshape(-1, 1) for name in self._names}
        (probabilities,) = self._session.run(self._outputs, feed)
        scores: npt.NDArray[np.float64] = probabilities[:, 1].astype(np.float64)
        return scores


def check_graph(data: bytes) -> None:
    """Refuse what could reach outside the bytes or run foreign code. Raises ModelRefused."""
    if len(data) > MAX_MODEL_BYTES:
        raise ModelRefused(f"the model has {len(data)} bytes, more than {MAX_MODEL_BYTES}")
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:
        raise ModelRefused(f"not an ONNX model: {error}") from error
    nodes = [*_nodes(model.graph.node), *(n for f in model.functions for n in _nodes(f.node))]
    domains = {i.domain for i in model.opset_import} | {n.domain for n in nodes} | {f.domain for f in model.functions}
    if foreign := sorted(domains - _DOMAINS):
        raise ModelRefused(f"the model uses operators of {', '.join(foreign)}: only ai.onnx and ai.onnx.ml are run")
    if any(_is_external(tensor) for tensor in _tensors(model.graph, nodes)):
        raise ModelRefused("the model keeps data outside its bytes")


def _nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    """The nodes with those of their inner graphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes(graph.node)


def _tensors(graph: Any, nodes: Iterable[Any]) -> Iterator[Any]:  # noqa: ANN401 - protobuf
    yield from _initializers(graph)
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            yield from attribute.tensors
            for sparse in attribute.sparse_tensors:
                yield from (sparse.values, sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                yield from _initializers(inner)


def _initializers(graph: Any) -> Iterator[Any]:  # noqa: ANN401 - protobuf
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)


def _is_external(tensor: Any) -> bool:  # noqa: ANN401 - protobuf
    return tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data) > 0


def _check_ports(session: ort.InferenceSession, signature: Signature) -> None:
    expected = {f.name: _FLOAT if f.type == "numeric" else _STRING for f in signature.features}
    actual = {port.name: port.type for port in session.get_inputs()}
    if actual != expected:
        raise ModelRefused(f"the model's inputs are {actual}, the signature's features are {expected}")
    if SCORE_OUTPUT not in {port.name for port in session.get_outputs()}:
        raise ModelRefused(f"the model has no output {SCORE_OUTPUT!r}")
