"""Batches of rows as columns: the one form in which rows reach a recipe's feature function and the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bundle.ranges import check_number
from bundle.signature import FieldType, RawField, Signature

Column: TypeAlias = npt.NDArray[Any]
Columns: TypeAlias = dict[str, Column]
"""Column name to array, all of the same length. Text is an object array of str or None; every number is float64 with
NaN for missing; a boolean is float64 0, 1 or NaN."""


class BadRow(ValueError):
    """A value does not fit its declared type, or lies where no model can follow."""

    def __init__(self, row: int, field: str, message: str) -> None:
        super().__init__(f"row {row}, field {field}: {message}")
        self.row = row
        self.field = field
        self.message = message


def raw_columns(rows: Iterable[Mapping[str, Any]], fields: Iterable[RawField]) -> Columns:
    """The declared fields of the rows as typed columns; a field that was not declared is left out.

    Raises BadRow for a missing required field, a value of another type, and a number out of range.
    """
    rows = list(rows)
    columns: Columns = {}
    for field in fields:
        values = [_value(row.get(field.name), field, number) for number, row in enumerate(rows)]
        columns[field.name] = np.array(values, dtype=object if field.type == "string" else np.float64)
    return columns


def _value(value: Any, field: RawField, row: int) -> Any:  # noqa: ANN401 - what a caller sent
    if value is None:
        if field.required:
            raise BadRow(row, field.name, "is required")
        return None if field.type == "string" else np.nan
    if not isinstance(value, _ACCEPTED[field.type]) or (isinstance(value, bool) and field.type != "boolean"):
        raise BadRow(row, field.name, f"expected {field.type}, got {type(value).__name__}")
    if isinstance(value, int | float):
        try:
            check_number(value)
        except ValueError as error:
            raise BadRow(row, field.name, str(error)) from None
    return value


_ACCEPTED: dict[FieldType, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


def model_columns(features: Mapping[str, Any], signature: Signature) -> Columns:
    """The feature columns exactly as the model sees them, in training and in serving.

    Numeric features are float32, because ONNX computes in float32 and training must see the same values; a missing
    category is the empty text, because ONNX has no missing text. Raises KeyError naming a feature that the feature
    function did not return.
    """
    columns: Columns = {}
    for feature in signature.features:
        if feature.name not in features:
            raise KeyError(f"the feature function returned no column {feature.name!r}")
        values = np.asarray(features[feature.name])
        if feature.type == "numeric":
            columns[feature.name] = values.astype(np.float32)
        else:
            columns[feature.name] = np.array(["" if _is_missing(v) else str(v) for v in values], dtype=object)
    return columns


def _is_missing(value: Any) -> bool:  # noqa: ANN401 - any scalar
    return value is None or (isinstance(value, float) and np.isnan(value))
