"""The page of events: each field as code sees it, and where it stands in the document that is spooled and indexed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from pydantic import BaseModel

from observability.documents import document_of
from observability.events import ControlEvent, Event, LabelEvent, PredictionEvent, ServiceEvent
from observability.ids import sample_key

_AT: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
_ID: Final = "019ca6f5-5800-7000-8000-000000000001"
_TIMES: Final = {"event_time": _AT, "observed_time": _AT + timedelta(seconds=1)}
#: one of each form, with every field that may be there
EXAMPLES: Final[Mapping[type[BaseModel], Event]] = {
    PredictionEvent: PredictionEvent(
        id=_ID, model="default/tweets", version=3, **_TIMES, sample_key=sample_key(_ID), latency_ms=1.25, score=0.75,
        prediction=1, score_ms=0.25, rival_version=4, rival_score=0.5, rival_ms=0.5, raw={"text": "stay safe"},
        features={"words": 2.0, "place": None}, request_id="019ca6f5-57ff-7000-8000-000000000002",
    ),
    LabelEvent: LabelEvent(
        id="019ca6f5-5800-7000-8000-000000000003", model="default/tweets", prediction_id=_ID, label=1, label_time=_AT,
        observed_time=_TIMES["observed_time"], sample_key=sample_key(_ID),
    ),
    ControlEvent: ControlEvent(
        kind="decision", id="019ca6f5-5800-7000-8000-000000000004", model="default/tweets", **_TIMES,
        body={"rule": "drift", "reason": "WAIT_STABLE"},
    ),
    ServiceEvent: ServiceEvent(
        id="019ca6f5-5800-7000-8000-000000000005", model="default/tweets", **_TIMES, service="serving", level="error",
        logger="driftgate.serving", message="a version cannot be loaded", host="host-1", process_id=42,
        request_id="019ca6f5-57ff-7000-8000-000000000002", error_type="OSError", error_message="no such file",
        stack_trace="Traceback (most recent call last): ...",
    ),
}  # fmt: skip


def places(model: type[BaseModel], name: str) -> list[str]:
    """Where a field stands in the document: what changes there when it changes."""
    fields = EXAMPLES[model].model_dump()
    if name == "kind":
        return ["event.dataset"]
    return sorted(_changed(document_of(fields), document_of({**fields, name: _other(fields[name])})))


def example(model: type[BaseModel]) -> str:
    """The document of the example, as JSON for people."""
    document = document_of(EXAMPLES[model].model_dump())
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode()


def _other(value: Any) -> Any:  # noqa: ANN401 - a field's value
    match value:
        case datetime():
            return value + timedelta(days=1)
        case int() | float():
            return value + 1
        case str():
            return value[::-1]
        case _:
            return {"another": 1}


def _changed(one: Any, other: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401 - JSON
    if one == other:
        return
    both = isinstance(one, dict) and isinstance(other, dict)
    if not both or not one.keys() & other.keys():  # an object whose names are not the schema's is one place
        yield path
        return
    for name in one.keys() | other.keys():
        yield from _changed(one.get(name), other.get(name), f"{path}.{name}" if path else name)
