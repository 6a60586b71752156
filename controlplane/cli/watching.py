"""Commands about models that are served elsewhere: what is usual, and what was answered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

import pyarrow.parquet as pq
import typer
from rich.console import Console

from controlplane.cli.calling import AsJson, Home, Model, Why, client_of, say
from controlplane.client import ControlClient

#: rows of a post
BATCH: Final = 1_000
#: columns of a table of predictions that are no features
OWN: Final = frozenset({"id", "event_time", "score", "prediction", "version", "latency_ms"})


def watch(
    model: Model, reason: Why,
    reference: Annotated[Path, typer.Option(help="Parquet: the features; event_time, score, label if known")],
    threshold: Annotated[float, typer.Option(help="scores above it answer 1")] = 0.5,
    home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say with which rows a model that is served elsewhere is compared."""
    columns = {name: [_plain(each) for each in values] for name, values in pq.read_table(reference).to_pydict().items()}
    beside = {name: columns.pop(name) for name in ("event_time", "score", "label") if name in columns}
    with client_of(home) as client:
        version = client.declare_reference(model, {"features": columns, "threshold": threshold, **beside}, reason)
    say(as_json, version, f"{model}: version {version.number} is watched")


def watch_events(
    model: Model,
    table: Annotated[Path, typer.Argument(help="Parquet: id, event_time, score, the features; prediction, version")],
    labels: Annotated[Path | None, typer.Option(help="Parquet: prediction_id, label; label_time")] = None,
    home: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Post what was answered elsewhere. Run it again after an interruption: ids are taken once."""
    with client_of(home) as client:
        told = {"predictions": _post(client, model, table, "predictions")}
        told["labels"] = _post(client, model, labels, "labels") if labels is not None else 0
    say(as_json, told, f"{model}: {told['predictions']:,} predictions and {told['labels']:,} labels are on the disk")


def _post(client: ControlClient, model: str, table: Path, what: str) -> int:
    taken, console = 0, Console(stderr=True)
    with pq.ParquetFile(table) as file, console.status(what) as shown:
        for rows in _batches(file, what == "predictions"):
            client.post_events(model, **{what: rows})
            taken += len(rows)
            shown.update(f"{taken:,} of {file.metadata.num_rows:,} {what}")
    return taken


def _batches(file: pq.ParquetFile, predictions: bool) -> Iterator[list[dict[str, Any]]]:
    for batch in file.iter_batches(BATCH):
        rows = [{name: _plain(value) for name, value in row.items()} for row in batch.to_pylist()]
        yield [_prediction(row) if predictions else _said(row) for row in rows]


def _prediction(row: dict[str, Any]) -> dict[str, Any]:
    features = {name: value for name, value in row.items() if name not in OWN}
    return _said({name: value for name, value in row.items() if name in OWN}) | {"features": features}


def _said(row: dict[str, Any]) -> dict[str, Any]:
    """What is not known is left out."""
    return {name: value for name, value in row.items() if value is not None}


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a table holds
    """As JSON says it; a number that is none is missing."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return None if isinstance(value, float) and value != value else value
