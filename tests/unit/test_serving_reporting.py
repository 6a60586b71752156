"""Every line that serving spools is an event of the schema, although it is built without it."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.blobs import BlobStore
from bundle.columns import Columns
from bundle.scorer import Scorer
from observability.events import LabelEvent, PredictionEvent, line_of, parse
from observability.ids import new_id, sample_key
from observability.spool.writer import SpoolWriter
from serving.desired import Wanted
from serving.reporting import Answered, label_lines, prediction_lines, spool_predictions
from serving.requests import Truth
from serving.scoring import Scored, Verdict
from serving.slots import Loaded
from tests.versions import make_version

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
TEXT = st.one_of(st.none(), st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
NUMBER = st.floats(width=32)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=-11)), timezone(timedelta(hours=14))])
#: serving takes no others
INSTANT = st.datetimes(datetime(1900, 1, 2), datetime(2199, 12, 30), timezones=ZONES)  # noqa: DTZ001 - the zones


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    blobs = BlobStore(tmp_path_factory.mktemp("blobs"))
    digest = make_version(blobs)
    return Loaded(Wanted("default/tiny", 3, digest), Scorer.load(blobs, digest))


def document(line: bytes) -> dict[str, Any]:
    """What the line holds; instants as such, for one has many spellings."""
    found: dict[str, Any] = orjson.loads(line)
    return {**found, "@timestamp": datetime.fromisoformat(found["@timestamp"])}


def scored(loaded: Loaded, raw: Sequence[Mapping[str, Any]], features: Columns, scores: list[float]) -> Scored:
    return Scored(loaded, raw, features, scores, [int(score >= 0.5) for score in scores], 0.25)


@given(rows=st.lists(st.tuples(TEXT, NUMBER, st.floats(0, 1), INSTANT), min_size=1, max_size=5))
def test_every_prediction_line_parses_to_what_was_answered(
    loaded: Loaded, rows: list[tuple[str | None, float, float, datetime]]
) -> None:
    texts, numbers, scores, times = (list(column) for column in zip(*rows, strict=True))
    raw = [{"text": text, "n": number if np.isfinite(number) else None} for text, number, _, _ in rows]
    features = {
        "n": np.array(numbers, dtype=np.float32),
        "text": np.array([text or "" for text in texts], dtype=object),
    }
    verdict = Verdict(scored(loaded, raw, features, scores))
    batch = Answered("default/tiny", verdict, times, observed=NOW, latency_ms=1.23456)
    ids = [new_id() for _ in rows]

    lines = prediction_lines(batch, ids)
    events = [parse(line) for line in lines]

    assert [document(line) for line in lines] == [document(line_of(event)) for event in events]
    for row, event in enumerate(events):
        assert isinstance(event, PredictionEvent)
        assert (event.id, event.score, event.event_time) == (ids[row], scores[row], times[row])
        assert event.sample_key == sample_key(ids[row])
        assert event.raw["text"] == texts[row]
        assert event.observed_time == NOW
        assert (event.version, event.role, event.score_ms) == (3, "production", 0.25)
        assert (event.rival_version, event.rival_score, event.rival_ms) == (None, None, None)


def test_a_line_says_what_the_rival_said_or_that_it_could_not(loaded: Loaded) -> None:
    given, other = (scored(loaded, [{}, {}], {"n": np.ones(2, np.float32)}, s) for s in ([0.1, 0.2], [0.3, 0.4]))
    answered = Verdict(given, "canary", 2, other)
    lines = prediction_lines(_said(answered)._replace(request_id="a-request"), ["a", "b"])
    events = [parse(line) for line in lines]
    assert [document(line) for line in lines] == [document(line_of(event)) for event in events]
    assert {event.request_id for event in events} == {"a-request"}
    assert [(e.role, e.score, e.rival_version, e.rival_score, e.rival_ms) for e in events] == [
        ("canary", 0.1, 2, 0.3, 0.25),
        ("canary", 0.2, 2, 0.4, 0.25),
    ]
    (failed, _) = (parse(line) for line in prediction_lines(_said(Verdict(given, "production", 2, None)), ["a", "b"]))
    assert (failed.rival_version, failed.rival_score, failed.rival_ms) == (2, None, None)


def test_a_missing_event_time_is_the_time_of_the_answer(loaded: Loaded) -> None:
    (event,) = (parse(line) for line in prediction_lines(_batch(loaded, 1), ["an-id"]))
    assert isinstance(event, PredictionEvent)
    assert event.event_time == event.observed_time == NOW


def test_label_lines_parse_and_carry_the_sample_key_of_their_prediction() -> None:
    truths = [Truth("prediction", 1, NOW - timedelta(days=1)), Truth("other", 0, NOW)]
    events = [parse(line) for line in label_lines("default/tiny", truths, NOW)]
    for truth, event in zip(truths, events, strict=True):
        assert isinstance(event, LabelEvent)
        assert (event.prediction_id, event.label, event.label_time) == (
            truth.prediction_id,
            truth.label,
            truth.label_time,
        )
        assert event.sample_key == sample_key(truth.prediction_id)
        assert event.id != truth.prediction_id


def test_a_full_spool_says_how_many_it_refused(loaded: Loaded, tmp_path: Path) -> None:
    with SpoolWriter(tmp_path / "spool", quota_bytes=1_500) as spool:
        lines = prediction_lines(_batch(loaded, 3), ["a", "b", "c"])
        assert spool_predictions(spool, lines) == 0
        assert spool_predictions(spool, lines) == 3


def test_a_disk_that_fails_costs_the_line_and_not_the_answer(loaded: Loaded, tmp_path: Path, monkeypatch) -> None:
    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "broken")

    with SpoolWriter(tmp_path / "spool") as spool:
        lines = prediction_lines(_batch(loaded, 2), ["a", "b"])
        with monkeypatch.context() as patch:
            patch.setattr("observability.spool.writer.os.write", broken)
            assert spool_predictions(spool, lines) == 2
        assert spool_predictions(spool, lines) == 0
        assert (spool.written, spool.refused) == (2, 2)


@pytest.mark.parametrize("rows", [1, 1000])
def test_ids_of_a_batch_are_unique(rows: int) -> None:
    assert len({new_id() for _ in range(rows)}) == rows


def _batch(loaded: Loaded, rows: int) -> Answered:
    features = {"n": np.ones(rows, dtype=np.float32)}
    return _said(Verdict(scored(loaded, [{"text": "x"}] * rows, features, [0.25] * rows)))


def _said(verdict: Verdict) -> Answered:
    return Answered("default/tiny", verdict, None, observed=NOW, latency_ms=0.5)
