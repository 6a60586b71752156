"""Every line that serving spools is an event of the schema, although it is built without it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability.events import LabelEvent, PredictionEvent, parse
from observability.ids import new_id, sample_key
from observability.spool import SpoolWriter
from serving.reporting import Answered, Truth, label_lines, prediction_lines, spool_predictions

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
TEXT = st.one_of(st.none(), st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
NUMBER = st.floats(width=32)
INSTANT = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-11)), timezone(timedelta(hours=14))]))


@given(st.lists(st.tuples(TEXT, NUMBER, st.floats(0, 1), INSTANT), min_size=1, max_size=5))
def test_every_prediction_line_parses_to_what_was_answered(
    rows: list[tuple[str | None, float, float, datetime]],
) -> None:
    texts, numbers, scores, times = (list(column) for column in zip(*rows, strict=True))
    batch = Answered(
        model="default/tiny",
        version=3,
        raw=[{"text": text, "n": number if np.isfinite(number) else None} for text, number, _, _ in rows],
        features={
            "n": np.array(numbers, dtype=np.float32),
            "text": np.array([text or "" for text in texts], dtype=object),
        },
        scores=scores,
        predictions=[int(score >= 0.5) for score in scores],
        event_times=times,
        observed=NOW,
        latency_ms=1.23456,
    )
    ids = [new_id() for _ in rows]

    events = [parse(line) for line in prediction_lines(batch, ids)]

    for row, event in enumerate(events):
        assert isinstance(event, PredictionEvent)
        assert (event.id, event.score, event.event_time) == (ids[row], scores[row], times[row])
        assert event.sample_key == sample_key(ids[row])
        assert event.raw["text"] == texts[row]
        assert event.observed_time == NOW


def test_a_missing_event_time_is_the_time_of_the_answer() -> None:
    (event,) = (parse(line) for line in prediction_lines(_batch(1), ["an-id"]))
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


def test_a_full_spool_says_how_many_it_refused(tmp_path: Path) -> None:
    with SpoolWriter(tmp_path / "spool", quota_bytes=1_500) as spool:
        lines = prediction_lines(_batch(3), ["a", "b", "c"])
        assert spool_predictions(spool, lines) == 0
        assert spool_predictions(spool, lines) == 3


@pytest.mark.parametrize("rows", [1, 1000])
def test_ids_of_a_batch_are_unique(rows: int) -> None:
    assert len({new_id() for _ in range(rows)}) == rows


def _batch(rows: int) -> Answered:
    return Answered(
        model="default/tiny",
        version=1,
        raw=[{"text": "x"}] * rows,
        features={"n": np.ones(rows, dtype=np.float32)},
        scores=[0.25] * rows,
        predictions=[0] * rows,
        event_times=None,
        observed=NOW,
        latency_ms=0.5,
    )
