"""The dataset: the latest label at the cut-off, split by time, refused where nothing can be learned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from bundle.signature import Feature, RawField
from pipeline.batches import Batch, Layers
from pipeline.contract.spec import ModelSpec
from pipeline.dataset import check_train, make_dataset, split_at
from pipeline.engines.sklearn import SklearnEngine
from pipeline.errors import ConstantLabel, TooFewRows
from pipeline.layers import Refine, refine
from pipeline.rawtables import LABELS, DayWriter, raw_schema, write_rows

START = datetime(2021, 1, 1, tzinfo=UTC)
SPEC = ModelSpec.model_validate(
    {
        "model": "default/small", "task": "binary", "team": "t", "data_owner": "o", "engine": "sklearn",
        "source": {"id": "key", "time": "at"},
        "raw": [RawField(name="count", type="number"), RawField(name="place", type="string")],
        "label": {"name": "yes", "horizon": "1d", "from": [{"column": "hits"}]},
        "features": [Feature(name="count", type="numeric"), Feature(name="place", type="categorical")],
        "entry": {"features": "features.py:features", "pipeline": "training.py:pipeline"},
        "train": {"rows": 1000, "holdout": 0.2, "min_rows": 50},
    }
)  # fmt: skip
STEP = Refine(
    SPEC.signature, "def features(raw):\n    return {'count': raw['count'] * 2, 'place': raw['place']}\n", "features"
)


class Store:
    """Layers with batches made by hand."""

    def __init__(self, root):
        self.layers = Layers(root)

    def add(self, rows=(), labels=()):
        """Rows are (id, hour, count); labels are (id, label, hour at which it is known)."""
        sequence = len(self.layers.batches())
        name = f"batch-{sequence}"
        with self.layers.lock(), self.layers.staging() as staging:
            writer = DayWriter(staging / "raw", raw_schema(SPEC.raw))
            for identity, hour, count in rows:
                moment = START + timedelta(hours=hour)
                writer.add({"id": identity, "event_time": moment, "raw_count": count, "raw_place": None})
            writer.flush()
            (staging / "raw").mkdir(exist_ok=True)
            times = [START + timedelta(hours=hour) for _, _, hour in labels]
            table = [
                {"id": i, "label": y, "label_time": t, "observed_time": t, "source": "hits"}
                for (i, y, _), t in zip(labels, times, strict=True)
            ]
            write_rows(staging / "labels" / "labels.parquet", LABELS, table)
            batch = Batch(
                name=name, sequence=sequence, source="csv", origin="x", rows=len(rows), labels=len(labels),
                label_column="hits",
            )  # fmt: skip
            self.layers.commit(batch, staging)

    def dataset(self, cutoff_hour=10_000, champion_hour=None, spec=SPEC):
        batches = refine(self.layers, SklearnEngine(), STEP, self.layers.usable(spec))
        champion = None if champion_hour is None else START + timedelta(hours=champion_hour)
        cutoff = START + timedelta(hours=cutoff_hour)
        return make_dataset(self.layers, batches, STEP.digest, spec, cutoff, champion)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def many(count, start=0):
    rows = [(f"r{i:04d}", i, float(i)) for i in range(start, start + count)]
    return rows, [(identity, hour % 2, hour + 24) for identity, hour, _ in rows]


def test_held_out_rows_are_later_than_every_fitted_one(store):
    store.add(*many(200))

    dataset = store.dataset()

    assert (len(dataset.train), len(dataset.holdout)) == (160, 40)
    assert dataset.train.event_times.max() < dataset.holdout.event_times.min()
    assert dataset.train_until == START + timedelta(hours=159)
    assert dataset.train.features["count"].tolist() == [2.0 * i for i in range(160)]
    assert dataset.train.features["count"].dtype == np.float32
    assert dataset.files == {"batch-0": 200}


def test_rows_of_one_instant_are_never_split():
    times = pd.Series(
        pd.to_datetime([START] * 50 + [START + timedelta(hours=1)] * 60 + [START + timedelta(hours=2)] * 30)
    )

    assert split_at(times, 0.5, None) == 110


def test_held_out_rows_are_later_than_what_the_champion_learned_from(store):
    store.add(*many(200))

    dataset = store.dataset(champion_hour=170)

    assert dataset.holdout.event_times.min() == pd.Timestamp(START + timedelta(hours=171))
    assert len(dataset.train) == 171


def test_too_few_rows_behind_the_champion_are_refused_with_the_number(store):
    store.add(*many(200))

    with pytest.raises(TooFewRows, match="only 9 of 200 labelled rows"):
        store.dataset(champion_hour=190)


def test_what_is_later_than_the_cut_off_is_not_known(store):
    store.add(*many(200))

    dataset = store.dataset(cutoff_hour=123)

    assert dataset.holdout.ids[-1] == "r0099"


def test_only_the_latest_rows_are_taken(store):
    store.add(*many(400))
    spec = SPEC.model_copy(update={"train": SPEC.train.model_copy(update={"rows": 100})})

    dataset = store.dataset(spec=spec)

    assert dataset.train.ids[0] == "r0300"


def test_the_last_label_by_label_time_wins_and_earlier_ones_stay_for_earlier_cut_offs(store):
    rows, labels = many(100)
    store.add(rows, labels)
    store.add(labels=[("r0000", 1, 500)])

    assert store.dataset(cutoff_hour=499).train.labels[0] == 0
    assert store.dataset(cutoff_hour=500).train.labels[0] == 1


def test_a_row_that_came_twice_counts_once_as_it_came_last(store):
    rows, labels = many(100)
    store.add(rows, labels)
    store.add([("r0000", 0, 77.0)], [labels[0]])

    dataset = store.dataset()

    assert len(dataset.train) + len(dataset.holdout) == 100
    assert dataset.train.features["count"][0] == 154.0
    assert dataset.files == {"batch-0": 99, "batch-1": 1}


def test_duplicates_within_a_batch_are_one_row_the_latest(store):
    rows, labels = many(100)
    store.add([("r0000", -5, 9.0), *rows], labels)

    assert store.dataset().train.features["count"][0] == 0.0


def test_the_same_layers_give_the_same_fingerprint_and_another_label_another(store):
    rows, labels = many(100)
    store.add(rows, labels)

    first = store.dataset(cutoff_hour=400).fingerprint

    assert store.dataset(cutoff_hour=400).fingerprint == first
    store.add(labels=[("r0000", 1, 401)])
    assert store.dataset(cutoff_hour=400).fingerprint == first
    assert store.dataset(cutoff_hour=401).fingerprint != first


def test_new_batches_are_refined_and_old_ones_left_alone(store):
    store.add(*many(100))
    store.dataset()
    refined = store.layers.refined("batch-0", STEP.digest)
    before = refined.stat().st_mtime_ns
    store.add(*many(50, start=100))

    assert len(store.dataset().holdout) == 30
    assert refined.stat().st_mtime_ns == before


def test_too_few_labelled_rows_are_refused_with_the_numbers(store):
    rows, labels = many(100)
    store.add(rows, labels[:10])

    with pytest.raises(TooFewRows, match=r"10 labelled rows .* asks for 50"):
        store.dataset()


def test_no_rows_at_all_are_refused(store):
    with pytest.raises(TooFewRows, match="ingest a file first"):
        store.dataset()


def test_a_constant_label_is_refused_with_column_and_rows(store):
    rows, labels = many(100)
    store.add(rows, [(identity, 0, hour) for identity, _, hour in labels])

    with pytest.raises(ConstantLabel, match=r"the label is 0 on all 100 rows \(from column 'hits'\).*label\.from"):
        store.dataset()


def test_a_label_that_is_constant_on_the_fitted_rows_is_refused(store):
    rows, labels = many(100)
    store.add(rows, [(identity, int(hour > 24 + 85), hour) for identity, _, hour in labels])

    with pytest.raises(ConstantLabel, match="the label is 0 on all 80 fitted rows"):
        check_train(store.dataset(), "hits")
