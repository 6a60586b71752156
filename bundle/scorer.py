"""Scores rows with a version: its feature function, then its ONNX graph. Everything that scores uses it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import: it reports home by default
import onnxruntime as ort

from bundle.blobs import BlobStore
from bundle.columns import Columns
from bundle.manifest import FEATURES, MODEL, Manifest
from bundle.onnx_limits import ModelRefused as ModelRefused
from bundle.onnx_limits import check_graph
from bundle.recipe import Recipe
from bundle.signature import Signature

#: the graph's outputs: the answer of the graph itself, and the probabilities of class 0 and 1
LABEL_OUTPUT: Final = "label"
SCORE_OUTPUT: Final = "probabilities"
_FLOAT, _STRING = "tensor(float)", "tensor(string)"


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


def _check_ports(session: ort.InferenceSession, signature: Signature) -> None:
    expected = {f.name: _FLOAT if f.type == "numeric" else _STRING for f in signature.features}
    actual = {port.name: port.type for port in session.get_inputs()}
    if actual != expected:
        raise ModelRefused(f"the model's inputs are {actual}, the signature's features are {expected}")
    if SCORE_OUTPUT not in {port.name for port in session.get_outputs()}:
        raise ModelRefused(f"the model has no output {SCORE_OUTPUT!r}")
