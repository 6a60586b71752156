"""The rows that a run learns from: REFINED with the latest label at a cut-off, split by time."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import duckdb
import numpy as np
import pandas as pd

from bundle.columns import Columns, model_columns
from bundle.signature import Signature
from pipeline.batches import Batch, Layers
from pipeline.contract.spec import ModelSpec
from pipeline.engines.base import Labels
from pipeline.errors import ConstantLabel, TooFewRows
from pipeline.layers import raw_columns_of
from pipeline.rawtables import FEATURE_PREFIX

LEAST_HELD_OUT: Final = 20
_QUERY: Final = """
WITH refined AS ({rows}), marks AS ({labels}),
known AS (
    SELECT * FROM refined WHERE event_time <= CAST(? AS TIMESTAMPTZ)
    QUALIFY row_number() OVER (PARTITION BY id ORDER BY batch DESC) = 1
),
truth AS (
    SELECT id, label, source FROM marks WHERE label_time <= CAST(? AS TIMESTAMPTZ)
    QUALIFY row_number() OVER (PARTITION BY id ORDER BY label_time DESC, observed_time DESC, batch DESC) = 1
)
SELECT known.*, truth.label, truth.source FROM known JOIN truth USING (id)
ORDER BY event_time DESC, id DESC LIMIT ?
"""


@dataclass(frozen=True)
class Rows:
    """Labelled rows in the order of their event times."""

    ids: list[str]
    event_times: pd.Series[pd.Timestamp]
    raw: Columns
    features: Columns
    labels: Labels

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Dataset:
    """What is fitted, and what is held out: every row of it later than any that was fitted."""

    train: Rows
    holdout: Rows
    fingerprint: str
    #: batch to rows taken from it
    files: dict[str, int]

    @property
    def train_until(self) -> datetime:
        return _moment(self.train.event_times.iloc[-1])

    @property
    def period(self) -> tuple[datetime, datetime]:
        return _moment(self.train.event_times.iloc[0]), _moment(self.holdout.event_times.iloc[-1])


def make_dataset(
    layers: Layers,
    batches: list[Batch],
    recipe: str,
    spec: ModelSpec,
    cutoff: datetime,
    champion_cutoff: datetime | None,
) -> Dataset:
    """The latest rows before the cut-off, split by time. Raises TooFewRows or ConstantLabel."""
    frame = latest_labelled(layers, batches, recipe, spec.train.rows, cutoff)
    check_labels(frame, spec, cutoff)
    start = split_at(frame["event_time"], spec.train.holdout, champion_cutoff)
    signature = spec.signature
    names = {batch.sequence: batch.name for batch in batches}
    taken = frame["batch"].value_counts().sort_index()
    return Dataset(
        train=_rows(frame.iloc[:start], signature),
        holdout=_rows(frame.iloc[start:], signature),
        fingerprint=fingerprint(_rows(frame, signature)),
        files={names[int(str(sequence))]: int(count) for sequence, count in taken.items()},
    )


def latest_labelled(layers: Layers, batches: list[Batch], recipe: str, limit: int, cutoff: datetime) -> pd.DataFrame:
    """The latest rows that have a label at the cut-off, oldest first; a row or label that came twice counts once."""
    rows = [_select(str(layers.refined(b.name, recipe) / "**/*.parquet"), b) for b in batches]
    labels = [_select(str(layers.labels(b.name) / "*.parquet"), b) for b in layers.batches() if b.labels]
    if not rows or not labels:
        raise TooFewRows(f"there are no labelled rows: ingest a file first ({layers.root})")
    query = _QUERY.format(rows=" UNION ALL BY NAME ".join(rows), labels=" UNION ALL BY NAME ".join(labels))
    moment = cutoff.isoformat()
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        table = connection.sql(query, params=[moment, moment, limit]).to_arrow_table()
    frame: pd.DataFrame = table.to_pandas()
    frame["event_time"] = pd.to_datetime(frame["event_time"], utc=True)
    return frame.iloc[::-1].reset_index(drop=True)


def _select(glob: str, batch: Batch) -> str:
    path = glob.replace("'", "''")
    return f"SELECT *, {batch.sequence} AS batch FROM read_parquet('{path}', hive_partitioning = false)"  # noqa: S608


def check_labels(frame: pd.DataFrame, spec: ModelSpec, cutoff: datetime) -> None:
    """Raises TooFewRows or ConstantLabel."""
    if len(frame) < spec.train.min_rows:
        raise TooFewRows(
            f"{len(frame):,} labelled rows up to {cutoff:%Y-%m-%d %H:%M} UTC, train.min_rows asks for "
            f"{spec.train.min_rows:,}: wait for labels, or ingest more"
        )
    _check_varies(frame["label"], frame["source"], "")


def _check_varies(labels: pd.Series[int], sources: pd.Series[str], which: str) -> None:
    if labels.nunique() > 1:
        return
    columns = " and ".join(f"'{name}'" for name in sorted(sources.unique()))
    raise ConstantLabel(
        f"the label is {int(labels.iloc[0])} on all {len(labels):,} {which}rows (from column {columns}): a constant "
        "cannot be learned. Name a column that varies first under label.from, or ingest rows of both kinds"
    )


def split_at(event_times: pd.Series[pd.Timestamp], share: float, champion_cutoff: datetime | None) -> int:
    """Where the held-out rows begin: later than every fitted row, and than what the champion has learned from.

    Raises TooFewRows where that leaves too few of either.
    """
    rows = len(event_times)
    boundary = event_times.iloc[rows - math.ceil(rows * share) - 1]
    last = boundary if champion_cutoff is None else max(boundary, pd.Timestamp(champion_cutoff))
    start = int(event_times.searchsorted(last, side="right"))
    if rows - start < LEAST_HELD_OUT:
        beside = f", {champion_cutoff:%Y-%m-%d %H:%M} UTC being the champion's cut-off" if champion_cutoff else ""
        raise TooFewRows(
            f"only {rows - start} of {rows:,} labelled rows are later than {last:%Y-%m-%d %H:%M} UTC{beside}: "
            f"at least {LEAST_HELD_OUT} must be held out"
        )
    return start


def fingerprint(rows: Rows) -> str:
    """SHA-256 over ids, times, features and labels, in order."""
    digest = hashlib.sha256()
    digest.update("\x1f".join(rows.ids).encode())
    digest.update(rows.event_times.astype("int64").to_numpy().tobytes())
    for name, column in rows.features.items():
        text = column.dtype == object
        digest.update(name.encode())
        digest.update("\x1f".join(column).encode("utf-8", "surrogatepass") if text else column.tobytes())
    digest.update(rows.labels.tobytes())
    return digest.hexdigest()


def _rows(frame: pd.DataFrame, signature: Signature) -> Rows:
    features = {name: frame[FEATURE_PREFIX + name].to_numpy() for name in signature.feature_names}
    return Rows(
        ids=[str(identity) for identity in frame["id"]],
        event_times=frame["event_time"].reset_index(drop=True),
        raw=raw_columns_of(frame, signature.raw),
        features=model_columns(features, signature),
        labels=frame["label"].to_numpy(dtype=np.int64),
    )


def check_train(dataset: Dataset, column: str) -> None:
    """Raises ConstantLabel where the rows to fit have one label."""
    labels = pd.Series(dataset.train.labels)
    _check_varies(labels, pd.Series([column] * len(labels)), "fitted ")


def _moment(value: pd.Timestamp) -> datetime:
    moment: datetime = value.to_pydatetime()
    return moment.astimezone(UTC)
