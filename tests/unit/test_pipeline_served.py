"""What was served comes back once, behind the filter, however often and late it is read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow.dataset as ds
import pytest

from bundle.signature import Feature, RawField
from pipeline.batches import Layers
from pipeline.contract.spec import ModelSpec
from pipeline.served import ingest_served
from pipeline.settings import PipelineSettings

START = datetime(2021, 1, 1, tzinfo=UTC)
SPEC = ModelSpec.model_validate(
    {
        "model": "default/small", "task": "binary", "team": "t", "data_owner": "o", "engine": "sklearn",
        "source": {"id": "key", "time": "at"},
        "raw": [
            RawField(name="text", type="string", privacy="mask"), RawField(name="count", type="integer"),
            RawField(name="checked", type="boolean"),
        ],
        "label": {"name": "yes", "horizon": "1d", "from": [{"column": "hits"}]},
        "features": [Feature(name="count", type="numeric")],
        "entry": {"features": "features.py:features", "pipeline": "training.py:pipeline"},
    }
)  # fmt: skip


class Served:
    """The two questions that ingest asks a log store."""

    def __init__(self):
        self.rows, self.marks = [], []

    def answer(self, identity, minute, **raw):
        moment = START + timedelta(minutes=minute)
        self.rows.append({"id": identity, "event_time": moment, "observed_time": moment, **raw})

    def label(self, identity, minute, label):
        moment = START + timedelta(minutes=minute)
        self.marks.append({"prediction_id": identity, "label": label, "label_time": moment, "observed_time": moment})

    def predictions(self, model, observed_from):
        yield from self._frames(self.rows, observed_from)

    def labels(self, model, observed_from):
        yield from self._frames(self.marks, observed_from)

    def _frames(self, rows, observed_from):
        found = [row for row in rows if row["observed_time"] >= observed_from]
        if found:
            yield pd.DataFrame(found)


@pytest.fixture
def served():
    return Served()


@pytest.fixture
def layers(tmp_path):
    return Layers(tmp_path)


def rows_of(layers, batch):
    return ds.dataset(layers.raw(batch.name), format="parquet").to_table().to_pylist()


def test_rows_come_back_typed_and_filtered(layers, served):
    served.answer("a", 1, text="hi @jane", count=3, checked=True, surplus="x")
    served.answer("b", 2, text=None, count=None, checked=None)

    batch = ingest_served(layers, SPEC, served, b"")

    first, second = sorted(rows_of(layers, batch), key=lambda row: row["id"])
    assert first == {
        "id": "a", "event_time": START + timedelta(minutes=1), "raw_text": "hi @user", "raw_count": 3,
        "raw_checked": True,
    }  # fmt: skip
    assert [second[name] for name in ("raw_text", "raw_count", "raw_checked")] == [None] * 3


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"count": 2**63}, "count: the integer is too large"),
        ({"count": "many"}, "count: expected integer"),
        ({"count": 1.5}, "count: expected integer"),
        ({"checked": "perhaps"}, "checked: expected boolean"),
        ({"event_time": datetime(1, 1, 1, tzinfo=UTC)}, "event_time: lies outside the years 1900 to 2200"),
        ({"event_time": datetime(9999, 12, 31, tzinfo=UTC)}, "event_time: lies outside the years 1900 to 2200"),
    ],
)
def test_a_served_row_that_cannot_be_used_is_kept_aside_once_and_stops_nothing(layers, served, bad, reason):
    served.answer("good", 1, text="x", count=1, checked=True)
    served.answer("bad", 2, **{"text": "y", "count": 2, "checked": False, **bad})

    batch = ingest_served(layers, SPEC, served, b"")

    assert [row["id"] for row in rows_of(layers, batch)] == ["good"]
    assert (batch.rows, batch.refused) == (1, 1)
    refused = [json.loads(line) for line in layers.refused(batch.name).read_text().splitlines()]
    assert refused == [{"kind": "row", "id": "bad", "reason": reason}]
    assert ingest_served(layers, SPEC, served, b"") is None


def test_a_label_that_is_no_answer_of_the_model_is_kept_aside(layers, served):
    served.label("a", 1, 7)
    served.label("b", 2, 1)

    batch = ingest_served(layers, SPEC, served, b"")

    assert (batch.labels, batch.refused) == (1, 1)


def test_reading_again_adds_nothing(layers, served):
    served.answer("a", 1, text="x", count=1, checked=False)
    served.label("a", 5, 1)

    assert ingest_served(layers, SPEC, served, b"") is not None
    assert ingest_served(layers, SPEC, served, b"") is None


def test_an_event_that_shows_late_is_taken_and_its_neighbours_are_not_taken_twice(layers, served):
    served.answer("a", 60, text="x", count=1, checked=False)
    ingest_served(layers, SPEC, served, b"")
    served.answer("late", 55, text="y", count=2, checked=True)
    served.answer("next", 70, text="z", count=3, checked=True)

    batch = ingest_served(layers, SPEC, served, b"")

    assert {row["id"] for row in rows_of(layers, batch)} == {"late", "next"}


def test_an_event_that_is_shipped_hours_late_is_taken_and_counted(layers, served, caplog):
    served.answer("a", 23 * 60, text="x", count=1, checked=False)
    ingest_served(layers, SPEC, served, b"")
    served.answer("late", 60, text="y", count=2, checked=True)
    served.label("a", 61, 1)

    with caplog.at_level("INFO", "pipeline.run"):
        batch = ingest_served(layers, SPEC, served, b"")

    assert (batch.rows, batch.labels) == (1, 1)
    assert "2 of them had been observed before 2021-01-01T23:00:00+00:00" in caplog.text
    served.answer("later", 2, text="y", count=2, checked=True)
    assert ingest_served(layers, SPEC, served, b"", overlap=timedelta(minutes=15)) is None


def test_how_far_back_is_read_can_be_set(monkeypatch):
    assert PipelineSettings().served_overlap == timedelta(hours=24)
    monkeypatch.setenv("PIPELINE_SERVED_OVERLAP", "3d")

    assert PipelineSettings().served_overlap == timedelta(days=3)


def test_a_label_without_new_rows_is_a_batch_and_a_second_truth_is_kept_beside_the_first(layers, served):
    served.answer("a", 1, text="x", count=1, checked=False)
    served.label("a", 5, 0)
    ingest_served(layers, SPEC, served, b"")
    served.label("a", 9, 1)

    batch = ingest_served(layers, SPEC, served, b"")

    assert (batch.rows, batch.labels) == (0, 1)
