"""RAW to PROCESSED to REFINED: pure functions over rows, run once for each batch by the model's engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from bundle.blobs import digest_of
from bundle.columns import Column, Columns
from bundle.recipe import Recipe
from bundle.signature import RawField, Signature
from pipeline.batches import Batch, Layers
from pipeline.engines.base import Engine
from pipeline.rawtables import FEATURE_PREFIX, RAW_PREFIX, processed_schema, raw_schema, refined_schema


@dataclass(frozen=True)
class Process:
    """RAW to PROCESSED: one row for each id, the latest, its fields typed as a feature function gets them.

    No value is mended here: serving would not mend it, and the model must learn from what it will be asked.
    """

    fields: tuple[RawField, ...]
    by_id: bool = True

    @property
    def source(self) -> pa.Schema:
        return raw_schema(self.fields)

    @property
    def target(self) -> pa.Schema:
        return processed_schema(self.fields)

    @property
    def digest(self) -> str:
        return digest_of("\n".join(field.model_dump_json() for field in self.fields).encode())

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        frame = with_day(frame).sort_values(["id", "event_time"], kind="stable")
        latest = frame.drop_duplicates("id", keep="last").reset_index(drop=True)
        for field in self.fields:
            if field.type != "string":
                name = RAW_PREFIX + field.name
                latest[name] = pd.to_numeric(latest[name]).astype(np.float64)
        return _named(latest, self.target)


@dataclass(frozen=True)
class Refine:
    """PROCESSED to REFINED: the recipe's feature columns beside the raw ones."""

    signature: Signature
    features: str
    function: str
    by_id: bool = False

    @property
    def source(self) -> pa.Schema:
        schema = processed_schema(self.signature.raw)
        return schema.remove(schema.get_field_index("day"))

    @property
    def target(self) -> pa.Schema:
        return refined_schema(self.signature)

    @property
    def digest(self) -> str:
        return digest_of("\n".join((self.features, self.function, self.signature.model_dump_json())).encode())

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        frame = with_day(frame)
        if len(frame):
            columns = Recipe(self.features, self.function, self.signature).features(
                raw_columns_of(frame, self.signature.raw)
            )
        else:
            columns = {name: np.array([]) for name in self.signature.feature_names}
        features = pd.DataFrame({FEATURE_PREFIX + n: c for n, c in columns.items()}, index=frame.index)
        return _named(pd.concat([frame, features], axis=1), self.target)


def _named(frame: pd.DataFrame, schema: pa.Schema) -> pd.DataFrame:
    return frame.loc[:, list(schema.names)]


def with_day(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with an aware event time and the day that it lies in, in UTC."""
    event_time = pd.to_datetime(frame["event_time"], utc=True)
    return frame.assign(event_time=event_time, day=event_time.dt.strftime("%Y-%m-%d"))


def raw_columns_of(frame: pd.DataFrame, fields: Iterable[RawField]) -> Columns:
    """The raw columns of PROCESSED or REFINED rows, in the form that `bundle.columns.raw_columns` gives."""
    return {field.name: _column(frame, RAW_PREFIX + field.name, field) for field in fields}


def _column(frame: pd.DataFrame, name: str, field: RawField) -> Column:
    if name not in frame:
        return _missing(field, len(frame))
    if field.type == "string":
        return np.array([None if pd.isna(value) else value for value in frame[name]], dtype=object)
    return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)


def raw_columns_for(raw: Columns, fields: Iterable[RawField], rows: int) -> Columns:
    """The columns of other fields, such as an earlier version's; those that are not there are missing."""
    return {field.name: raw.get(field.name, _missing(field, rows)) for field in fields}


def _missing(field: RawField, rows: int) -> Column:
    if field.type == "string":
        return np.full(rows, None, dtype=object)
    return np.full(rows, np.nan)


def refine(layers: Layers, engine: Engine, step: Refine, batches: Iterable[Batch]) -> list[Batch]:
    """Bring REFINED up to date: what is there already is left as it is. Returns the batches with rows."""
    process = Process(step.signature.raw)
    with_rows = [batch for batch in batches if batch.rows]
    for batch in with_rows:
        processed = layers.processed(batch.name, process.digest)
        if not processed.exists():
            engine.run(process, layers.raw(batch.name), processed)
        refined = layers.refined(batch.name, step.digest)
        if not refined.exists():
            engine.run(step, processed, refined)
    return with_rows
