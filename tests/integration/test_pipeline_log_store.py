"""What the real log store has of the served rows comes back into RAW."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.dataset as ds

from observability.embedded.store import ParquetLogStore
from observability.events import LabelEvent, PredictionEvent
from observability.ids import new_id, sample_key
from pipeline.batches import Layers
from pipeline.contract.specfile import read_recipe
from pipeline.served import ingest_served

SPEC, _ = read_recipe(Path(__file__).parents[2] / "recipes" / "tweets")
START = datetime(2021, 1, 1, tzinfo=UTC)
RAW = {"text": "hi @user", "user_followers": 12, "user_verified": True, "user_location": None}


def prediction(minute):
    identity, moment = new_id(), START + timedelta(minutes=minute)
    return PredictionEvent(
        id=identity, model=SPEC.model, version=1, event_time=moment, observed_time=moment + timedelta(seconds=1),
        sample_key=sample_key(identity), latency_ms=1.0, score=0.5, prediction=1, raw=RAW, features={"link": 0.0},
    )  # fmt: skip


def label(of, value, minute):
    moment = START + timedelta(minutes=minute)
    return LabelEvent(
        id=new_id(), model=SPEC.model, prediction_id=of.id, label=value, label_time=moment, observed_time=moment,
        sample_key=sample_key(of.id),
    )  # fmt: skip


def test_served_rows_and_labels_come_back_once(tmp_path):
    store, layers = ParquetLogStore(tmp_path / "logs"), Layers(tmp_path / "layers")
    served = [prediction(minute) for minute in range(5)]
    store.append([*served, label(served[0], 1, 60)])

    first = ingest_served(layers, SPEC, store, b"")
    again = ingest_served(layers, SPEC, store, b"")
    store.append([prediction(61), label(served[1], 0, 62)])
    later = ingest_served(layers, SPEC, store, b"")

    assert (first.rows, first.labels, again, later.rows, later.labels) == (5, 1, None, 1, 1)
    rows = ds.dataset(layers.raw(first.name), format="parquet").to_table().to_pylist()
    assert {row["id"] for row in rows} == {event.id for event in served}
    assert rows[0]["raw_text"] == "hi @user"
    assert (rows[0]["raw_user_followers"], rows[0]["raw_user_verified"]) == (12.0, True)
    assert rows[0]["raw_user_location"] is None
