"""A window's verdict depends on which events are in it: not on their order, on duplicates, or on when they arrived."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from bundle.blobs import BlobStore
from controlplane.loop.monitoring import reconcile_windows
from controlplane.loop.watch import Watch
from controlplane.store import Store, open_engine
from observability.embedded.store import ParquetLogStore
from tests.controlplane_world import MODEL, FakeClock, Monitored, Scores, spec
from tests.served import label, prediction

#: more by hand: DRIFTGATE_EXAMPLES=1000
EXAMPLES = int(os.environ.get("DRIFTGATE_EXAMPLES", "4"))
LATENESS, DAY = 15, 24 * 60
#: no event of a stream is later than this minute
LAST = 120
MONITORS = [
    {"name": "count", "window": {"kind": "count", "size": 20}},
    {"name": "time", "window": {"kind": "time", "every": "1h"}, "segments": [{"feature": "place", "values": ["y"]}]},
    {
        "name": "sliding", "window": {"kind": "sliding", "length": "1h", "step": "30m"},
        "reference": {"kind": "trailing", "length": "1h"},
    },
]  # fmt: skip
DECLARED = spec((), monitors=[each | {"lateness": f"{LATENESS}m", "min_labels": 10} for each in MONITORS])


class Digests(Scores):
    """A scorer whose score is a digest of all that it was shown: it differs wherever anything differs."""

    def __call__(self, case):
        verdict, sample, reference = super().__call__(case), case.sample, case.reference
        shown = (sample.frame.to_json(), sample.rows, sample.labelled, reference.features.to_json())
        digest = hashlib.sha256(repr((*shown, list(reference.usual_scores), reference.reason)).encode()).digest()
        drift = verdict.drift.features[0].model_copy(update={"score": int.from_bytes(digest[:6]) / 2**48})
        return verdict.model_copy(update={"drift": verdict.drift.model_copy(update={"features": (drift,)})})


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of a model whose first version is in production, to be copied."""
    folder = tmp_path_factory.mktemp("installed")
    world = Monitored(folder, DECLARED)
    world.to_production()
    world.logs.close()
    world.store._engine.dispose()
    return folder


@dataclass
class Monitor:
    """A monitor of its own over a log store of its own."""

    watch: Watch

    def put(self, events) -> None:
        assert self.watch.logs.append(events) == []

    def look(self) -> None:
        """Passes until there is nothing left to do."""
        for _ in range(40):
            reconcile_windows(self.watch)
            if self.watch.store.model(MODEL).monitored_until == self.watch.logs.watermark(MODEL):
                return
        raise AssertionError("the monitor did not come to an end")

    def found(self):
        """Everything that was said of every window."""
        every = [row for segment in ("", "place=y") for row in self.watch.store.windows(MODEL, 10_000, segment=segment)]
        names = ("id", "rows", "labelled", "late_rows", "late_labels", "settled_labels", "revision", "verdict")
        return sorted(({name: getattr(row, name) for name in names} for row in every), key=lambda row: row["id"])

    def settled(self):
        """Those whose errors are settled: before that, what is known of labels may differ."""
        return [row for row in self.found() if row["settled_labels"] is not None]

    def windows(self, monitor: str):
        return self.watch.store.windows(MODEL, 10_000, monitor)


@contextmanager
def monitor_of(installed: Path):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(installed, folder, dirs_exist_ok=True)
        engine = open_engine(f"sqlite:///{folder}/control.db")
        logs = ParquetLogStore(folder / "logs")
        try:
            yield Monitor(Watch(Store(engine), logs, BlobStore(folder / "blobs"), FakeClock(), Digests()))
        finally:
            logs.close()
            engine.dispose()


def event(name: int, minute: int):
    return prediction(minute, f"p{name:04d}", features={"followers": float(name), "place": "xy"[name % 3 == 0]})


@dataclass(frozen=True)
class Stream:
    """What is served, and how it arrives."""

    made: list
    labels: list
    #: with duplicates; no prediction is later than LATENESS
    arriving: list
    #: places at which the monitor comes by
    cuts: list[int]
    #: predictions that arrive when their windows are cut
    late: list


def stream_of(seed: int) -> Stream:
    """A stream for each seed: whole events are too large for Hypothesis to print or to shrink."""
    dice = random.Random(seed)
    minutes = [dice.randint(0, LAST) for _ in range(dice.randint(45, 70))]
    made = [event(name, minute) for name, minute in enumerate(minutes)]
    labels = [label(each.id, dice.randint(0, 1)) for each in made if dice.random() < 0.7]
    delayed = {each.id: minute + dice.random() * LATENESS for each, minute in zip(made, minutes, strict=True)}
    arriving: list = sorted(made, key=lambda each: delayed[each.id])
    for again in dice.choices(made, k=dice.randint(0, 8)):
        arriving.insert(dice.randint(arriving.index(again) + 1, len(arriving)), again)
    for each in (*labels, *dice.choices(labels, k=5)):
        arriving.insert(dice.randint(0, len(arriving)), each)
    cuts = sorted(dice.randint(1, len(arriving)) for _ in range(dice.randint(0, 4)))
    late = [event(1000 + number, dice.randint(0, LAST // 2)) for number in range(dice.randint(0, 6))]
    return Stream(made, labels, arriving, cuts, late)


@settings(max_examples=EXAMPLES, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
@example(524289)  # a window that still waits for labels
@given(st.integers(0, 2**32))
def test_the_same_events_get_the_same_verdict_however_they_arrive_and_what_is_late_is_counted(installed, seed):
    stream = stream_of(seed)
    made, labels, arriving, cuts, late = stream.made, stream.labels, stream.arriving, stream.cuts, stream.late
    beyond = event(5000, LAST + 3 * 60)
    due, later, last = (event(5001 + days, LAST + 4 * 60 + days * DAY) for days in (1, 2, 4))
    with monitor_of(installed) as in_order, monitor_of(installed) as as_it_came:
        in_order.put([*sorted(made, key=lambda each: (each.event_time, each.id)), *labels])
        for start, end in zip([0, *cuts], [*cuts, len(arriving)], strict=True):
            as_it_came.put(arriving[start:end])
            as_it_came.look()
        for each in (in_order, as_it_came):
            each.put([beyond])
            each.look()
            cut = {row.id: (row.rows, row.revision) for row in each.windows("count")}
            each.put(late)
            each.put([due])
            each.look()
            assert {row.id: row.rows for row in each.windows("count")}.items() >= {
                (id, rows) for id, (rows, _) in cut.items()
            }, "a window is cut once"
        assert as_it_came.settled() == in_order.settled() != []
        waits = [row for row in as_it_came.windows("count") if row.error_at is None]  # for labels: it counts with them
        assert all(row.late_rows == 0 for row in waits)
        until = max((row.until_time for row in as_it_came.windows("count")), default=None)
        early = [
            each for each in late
            if until is not None and each.event_time < until
            and not any(
                (row.after_time, row.after_id) < (each.event_time, each.id) <= (row.until_time, row.until_id)
                for row in waits
            )
        ]  # fmt: skip
        assert sum(row.late_rows for row in as_it_came.windows("count")) == len(early)

        came_late(in_order, as_it_came, [*made, *late], labels, later, last)


def is_in(event, span) -> bool:
    return span[:2] < (event.event_time, event.id) <= span[2:]


def came_late(in_order, as_it_came, made, labels, later, last) -> None:
    """Labels that come when errors are settled are counted, each once, however often it is told and corrected."""
    known = {each.prediction_id for each in labels}
    settled = [row for row in as_it_came.windows("count") if row.error_at is not None]
    spans = [(row.after_time, row.after_id, row.until_time, row.until_id) for row in settled]
    unknown = [each.id for each in made if each.id not in known and any(is_in(each, span) for span in spans)]
    injected = [label(of) for of in unknown]
    in_order.put([*injected, later])
    as_it_came.put([*reversed(injected)])
    as_it_came.put([*injected, *(label(of, 1, f"again-{of}") for of in unknown), later])
    for each in (in_order, as_it_came):
        each.look()
        each.put([last])
        each.look()
    assert as_it_came.found() == in_order.found()
    late = {each.monitor: each.labels for each in as_it_came.watch.store.late_events()}
    assert late.get("count", 0) == len(unknown)
