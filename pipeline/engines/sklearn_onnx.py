"""What skl2onnx gets wrong, mended.

skl2onnx 1.20 hands the booleans and unsigned integers of histogram gradient boosting to onnx as they are, and onnx
1.23 takes only plain integers as attributes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from skl2onnx.operator_converters.random_forest import convert_sklearn_random_forest_classifier
from sklearn.ensemble import HistGradientBoostingClassifier


class _PlainIntegers:
    """A container of ONNX nodes that takes booleans and numpy integers as the plain integers that they mean."""

    def __init__(self, container: Any) -> None:  # noqa: ANN401 - skl2onnx has no types
        self._container = container

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._container, name)

    def add_node(self, *nodes: Any, **attributes: Any) -> Any:  # noqa: ANN401
        return self._container.add_node(*nodes, **{name: _plain(value) for name, value in attributes.items()})


def _plain(value: Any) -> Any:  # noqa: ANN401
    if not isinstance(value, list):
        return value
    return [int(each) if isinstance(each, bool | np.bool_ | np.integer) else each for each in value]


def _convert(scope: Any, operator: Any, container: Any) -> None:  # noqa: ANN401
    convert_sklearn_random_forest_classifier(scope, operator, _PlainIntegers(container))


#: for skl2onnx.convert_sklearn(custom_conversion_functions=...)
CONVERSIONS = {HistGradientBoostingClassifier: _convert}
