"""The event schema as it is written: nothing is lost on the way into a document and back, nothing unknown comes in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability.documents import DATASET_PREFIX, document_of, event_fields
from observability.events import (
    ControlEvent,
    ControlKind,
    Event,
    EventRefused,
    LabelEvent,
    Level,
    PredictionEvent,
    Role,
    ServiceEvent,
    line_of,
    parse,
)  # fmt: skip
from tests.event_samples import MODEL, START, at, decision, label, prediction

WORDS = st.text(max_size=20)
NAMES = st.text(min_size=1, max_size=64)
IDS = NAMES
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
TRUTHS = st.sampled_from([0, 1]) | st.floats(allow_nan=False, allow_infinity=False, width=32)
INSTANTS = st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - UTC
SCALARS = st.none() | st.booleans() | INTEGERS | NUMBERS | WORDS
ROWS = st.dictionaries(WORDS, SCALARS, max_size=5)
KEYS = st.from_regex("[0-9a-f]{16}", fullmatch=True)
#: whole nanoseconds
MILLISECONDS = st.integers(0, 10**13).map(lambda nanoseconds: nanoseconds / 1_000_000)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3))
RIVALS = st.just({}) | st.fixed_dictionaries(
    {"rival_version": INTEGERS}, optional={"rival_score": NUMBERS, "rival_ms": MILLISECONDS}
)
TIMES = {"event_time": INSTANTS, "observed_time": INSTANTS}
PREDICTIONS = st.builds(
    lambda rival, **fields: PredictionEvent(**fields, **rival),
    rival=RIVALS, id=IDS, model=st.just(MODEL), version=INTEGERS, role=st.sampled_from(get_args(Role)), **TIMES,
    sample_key=KEYS, latency_ms=MILLISECONDS, score=NUMBERS, prediction=INTEGERS, score_ms=st.none() | MILLISECONDS,
    raw=ROWS, features=ROWS, request_id=st.none() | st.text(max_size=128),
)  # fmt: skip
LABELS = st.builds(
    LabelEvent, id=IDS, model=st.just(MODEL), prediction_id=IDS, label=TRUTHS, label_time=INSTANTS,
    observed_time=INSTANTS, sample_key=KEYS,
)  # fmt: skip
CONTROLS = st.builds(
    ControlEvent, kind=st.sampled_from(get_args(ControlKind)), id=IDS, model=st.just(MODEL), **TIMES,
    body=st.dictionaries(WORDS, JSON, max_size=4),
)  # fmt: skip
SERVICES = st.builds(
    ServiceEvent, id=IDS, model=st.sampled_from([MODEL, ""]), **TIMES, service=NAMES,
    level=st.sampled_from(get_args(Level)), logger=WORDS, message=WORDS, host=WORDS, process_id=INTEGERS,
    request_id=st.none() | WORDS, error_type=st.none() | WORDS, error_message=st.none() | WORDS,
    stack_trace=st.none() | WORDS,
)  # fmt: skip
SERVICE = ServiceEvent(
    id="s1", event_time=START, observed_time=START, service="serving", level="error", logger="a", message="b", host="h",
    process_id=7, request_id="r", error_type="T", error_message="m", stack_trace="s",
)  # fmt: skip
EVERY_KIND: list[Event] = [
    prediction(0, "p1", rival_version=2, rival_score=0.5, rival_ms=1.0, score_ms=1.0, request_id="r1"),
    label("p1", 1, 2), decision(3, reason="STABLE"), SERVICE,
]  # fmt: skip
#: objects whose fields belong to users or to the parts that wrote them
FREE = {"driftgate.raw", "driftgate.features", "driftgate.decision"}


@given(PREDICTIONS | LABELS | CONTROLS | SERVICES)
def test_an_event_comes_back_from_its_line_as_it_went_in(event):
    line = line_of(event)
    assert parse(line) == event
    assert b"\n" not in line
    assert event_fields(orjson.loads(line))["kind"] == event.kind


@given(PREDICTIONS | LABELS | CONTROLS | SERVICES)
def test_a_document_bears_its_id_kind_and_times_where_ecs_has_them(event):
    document = orjson.loads(line_of(event))
    happened = event.label_time if isinstance(event, LabelEvent) else event.event_time
    assert document["event"]["id"] == event.id
    assert document["event"]["dataset"] == DATASET_PREFIX + event.kind
    assert datetime.fromisoformat(document["@timestamp"]) == happened
    assert datetime.fromisoformat(document["event"]["created"]) == event.observed_time


def test_the_label_of_a_class_is_written_as_the_whole_number_that_it_is():
    for value, written in [(0, b'"label":0,'), (1.0, b'"label":1,'), (-3.7, b'"label":-3.7,'), (2.0**60, b"e+18,")]:
        assert written in line_of(label("p1", value, 2))


@pytest.mark.parametrize("value", [None, "much", 1e39, -1e39])
def test_a_label_that_no_model_can_have_is_refused_and_named(value):
    written = json.dumps(value).encode()
    with pytest.raises(EventRefused, match=r"^label\.label: "):
        parse(line_of(label("p1", 1, 2)).replace(b'"label":1,', b'"label":' + written + b","))


def places(part: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Each object of a document whose fields are the schema's."""
    yield path
    for name, inner in part.items():
        if isinstance(inner, dict) and ".".join([*path, name]) not in FREE:
            yield from places(inner, (*path, name))


def cases() -> Iterator[Any]:
    for event in EVERY_KIND:
        for path in places(orjson.loads(line_of(event))):
            yield pytest.param(event, path, id=f"{event.kind} {'.'.join(path) or 'root'}")


@pytest.mark.parametrize(("event", "path"), cases())
def test_an_unknown_field_is_refused_with_its_place_wherever_it_stands(event, path):
    document = orjson.loads(line_of(event))
    inner = document
    for name in path:
        inner = inner[name]
    inner["surprise"] = 1
    with pytest.raises(EventRefused, match=rf"^{'[.]'.join([*path, 'surprise'])}: "):
        parse(orjson.dumps(document))


@pytest.mark.parametrize(("event", "path"), [case for case in cases() if case.values[1] not in {(), ("event",)}])
def test_what_should_be_an_object_and_is_none_is_refused_with_its_place(event, path):
    document = orjson.loads(line_of(event))
    inner = document
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = "text"
    with pytest.raises(EventRefused, match="must be an object"):
        parse(orjson.dumps(document))


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b'"x"', b"{}", b'{"event":[]}', b'{"event":{"dataset":"other"}}']
)
def test_what_is_no_document_is_refused_and_never_an_error_of_another_kind(data):
    with pytest.raises(EventRefused):
        parse(data)


@given(JSON)
def test_any_json_is_an_event_or_refused(value):
    document = document_of(prediction(0).model_dump())
    for broken in (value, {**document, "event": value}, {**document, "driftgate": value}, {**document, "http": value}):
        try:
            parse(orjson.dumps(broken))
        except EventRefused:
            continue


def test_a_number_that_json_has_no_word_for_is_refused():
    line = line_of(prediction(0)).replace(b'"score":0.25', b'"score":1e999')
    with pytest.raises(EventRefused):
        parse(line)


@pytest.mark.parametrize("place", ["@timestamp", "created"])
@pytest.mark.parametrize(
    "instant",
    [1795514400, 1795514400000, 1795514400.5, "1795514400", "2026-11-24 10:00:00Z", "2026-11-24T10:00Z",
     "2026-11-24t10:00:00Z", "2026-11-24T10:00:00z", "20261124T100000Z", "2026-11-24T10:00:00,5Z",
     "2026-11-24T10:00:00", "1600-01-01T00:00:00Z", "2200-01-01T00:00:00Z"],
)  # fmt: skip
def test_an_instant_that_two_stores_would_read_differently_or_not_at_all_is_refused(place, instant):
    document = document_of(prediction(0).model_dump())
    part = document if place == "@timestamp" else document["event"]
    part[place] = instant
    with pytest.raises(EventRefused, match=r"event_time:|observed_time:"):
        parse(orjson.dumps(document))


@pytest.mark.parametrize(
    "text", ["2026-11-24T10:00:00Z", "2026-11-24T15:30:00.000+05:30", "2026-11-24T10:00:00.000000000Z"]
)
def test_an_instant_is_taken_in_any_zone_and_as_fine_as_other_shippers_write_it(text):
    document = document_of(prediction(0).model_dump()) | {"@timestamp": text}
    assert parse(orjson.dumps(document)).event_time == datetime(2026, 11, 24, 10, tzinfo=UTC)


@pytest.mark.parametrize(("depth", "taken"), [(99, True), (100, False), (300, False)])
def test_a_body_that_is_nested_too_deep_to_be_told_again_is_refused(depth, taken):
    line = line_of(decision(0, deep="here")).replace(b'"here"', b"[" * depth + b"]" * depth)
    if taken:
        assert line_of(parse(line)) == line
    else:
        with pytest.raises(EventRefused, match="deep"):
            parse(line)


def test_a_document_that_a_store_has_stamped_is_still_an_event():
    document = json.loads(line_of(prediction(0, "p1")))
    document["event"]["ingested"] = (at(0) + timedelta(seconds=3)).isoformat()
    assert parse(json.dumps(document).encode()).id == "p1"
