"""A changed spec never meets rows that were taken in under another one unnoticed; what is added survives a crash."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow.dataset as ds
import pytest

from bundle.signature import Feature, RawField
from pipeline.batches import Layers
from pipeline.contract.spec import ModelSpec
from pipeline.dataset import latest_labelled
from pipeline.engines.sklearn import SklearnEngine
from pipeline.errors import BadSource
from pipeline.ingest import ingest_csv
from pipeline.layers import Refine, refine
from pipeline.served import ingest_served

START = datetime(2021, 1, 1, tzinfo=UTC)
SOURCE = "def features(raw):\n    return {'count': raw['count']}\n"
TEXT = RawField(name="text", type="string")
COUNT = RawField(name="count", type="number")


def spec_of(*raw, above=0, identity="key"):
    return ModelSpec.model_validate(
        {
            "model": "default/small", "task": "binary", "team": "t", "data_owner": "o", "engine": "sklearn",
            "source": {"id": identity, "time": "at"}, "raw": raw or (TEXT, COUNT),
            "label": {"name": "yes", "horizon": "1d", "from": [{"column": "hits", "above": above}]},
            "features": [Feature(name="count", type="numeric")],
            "entry": {"features": "features.py:features", "pipeline": "training.py:pipeline"},
        }
    )  # fmt: skip


@pytest.fixture
def layers(tmp_path):
    return Layers(tmp_path / "layers")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.csv"
    lines = [f"{i},x{i},2021-01-0{i % 5 + 1},call @jane,{i},{i}" for i in range(10)]
    path.write_text("key,other,at,text,count,hits\n" + "\n".join(lines) + "\n")
    return path


def dataset_of(layers, spec):
    step = Refine(spec.signature, SOURCE, "features")
    batches = refine(layers, SklearnEngine(), step, layers.usable(spec))
    return latest_labelled(layers, batches, step.digest, 1000, START + timedelta(days=90))


def raw_of(layers, batch):
    return ds.dataset(layers.raw(batch.name), format="parquet").to_table().to_pylist()


@pytest.mark.parametrize(
    "changed",
    [
        spec_of(TEXT.model_copy(update={"privacy": "mask"}), COUNT), spec_of(above=4), spec_of(identity="other"),
        spec_of(TEXT, COUNT, RawField(name="other", type="string", required=True)),
        spec_of(TEXT, COUNT.model_copy(update={"type": "integer"})),
    ],
)  # fmt: skip
def test_the_same_file_under_another_declaration_takes_the_place_of_what_it_was(layers, file, changed):
    first, _ = ingest_csv(layers, spec_of(), file, b"")

    with pytest.raises(BadSource, match=r"rows\.csv was ingested under another spec: .*: ingest it again"):
        dataset_of(layers, changed)
    second, new = ingest_csv(layers, changed, file, b"")

    assert new
    assert second.name != first.name
    assert layers.batches() == [second]
    frame = dataset_of(layers, changed)
    assert len(frame) == 10
    assert frame["label"].sum() == (5 if changed.label.sources[0].above else 9)


def test_a_mask_that_is_declared_later_reaches_the_rows(layers, file):
    ingest_csv(layers, spec_of(), file, b"")

    batch, _ = ingest_csv(layers, spec_of(TEXT.model_copy(update={"privacy": "mask"}), COUNT), file, b"")

    assert {row["raw_text"] for row in raw_of(layers, batch)} == {"call @user"}


def test_a_spec_that_comes_back_brings_its_batch_back(layers, file):
    first, _ = ingest_csv(layers, spec_of(), file, b"")
    ingest_csv(layers, spec_of(above=4), file, b"")

    again, new = ingest_csv(layers, spec_of(), file, b"")

    assert (again.name, new, again.sequence) == (first.name, True, 2)
    assert layers.batches() == [again]
    assert ingest_csv(layers, spec_of(), file, b"") == (again, False)


def test_an_optional_field_may_be_added_and_a_required_one_loosened(layers, file):
    ingest_csv(layers, spec_of(TEXT.model_copy(update={"required": True}), COUNT), file, b"")

    assert len(dataset_of(layers, spec_of(TEXT, COUNT, RawField(name="other", type="string")))) == 10


class Served:
    """A log store with two answers to each of which a field was sent."""

    def predictions(self, model, observed_from):
        rows = [(START + timedelta(minutes=i), f"p{i}", "hi @jane", i, None if i else "x") for i in range(2)]
        columns = ["observed_time", "id", "text", "count", "other"]
        frame = pd.DataFrame([row for row in rows if row[0] >= observed_from], columns=columns)
        yield frame.assign(event_time=frame["observed_time"])

    def labels(self, model, observed_from):
        return iter(())


def test_served_rows_are_read_again_where_the_spec_contradicts_the_one_they_were_taken_under(layers):
    before = ingest_served(layers, spec_of(), Served(), b"")
    changed = spec_of(TEXT, COUNT, RawField(name="other", type="string", required=True))

    after = ingest_served(layers, changed, Served(), b"")

    assert (before.rows, after.rows, after.refused) == (2, 1, 1)
    assert layers.usable(changed) == [after]
    assert ingest_served(layers, changed, Served(), b"") is None


def test_what_a_killed_ingest_staged_is_gone_after_the_next(layers, file, tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from pipeline.batches import Layers\n"
        "layers = Layers(Path(sys.argv[1]))\n"
        "with layers.lock(), layers.staging() as staging:\n"
        "    (staging / 'half').write_text('x'); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(layers.root)], cwd=Path(__file__).parents[2]) as process:
        deadline = time.monotonic() + 30
        while not list(layers.root.glob("staging/*/half")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()

    ingest_csv(layers, spec_of(), file, b"")

    assert list((layers.root / "staging").iterdir()) == []


def test_a_batch_counts_only_when_its_files_are_on_the_disk(layers, file, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(Path(f"/proc/self/fd/{fd}").readlink().name), fsync(fd)))

    batch, _ = ingest_csv(layers, spec_of(), file, b"")

    record = synced.index(f"{batch.name}.json.partial")
    assert {"part-00000.parquet", "labels.parquet", "refused.jsonl", "day=2021-01-01"} <= set(synced[:record])
