"""The event schema. It grows by addition only: a reader may meet events of any age.

These are the events as code sees them; how they are written to the spool and indexed is in `documents`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

import orjson
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from bundle.ranges import check_moment, check_number
from bundle.signature import Frozen, ModelId
from observability.clock import aware
from observability.documents import NotADocument, document_of, event_fields

Instant = Annotated[datetime, AfterValidator(aware)]
Role = Literal["production", "shadow", "canary"]
ControlKind = Literal[
    "verdict", "drift", "decision", "firing", "run", "gate", "rollout", "promotion", "rollback", "hold", "alert"
]
Level = Literal["debug", "info", "warning", "error", "critical"]
Scalar: TypeAlias = float | int | bool | str | None
#: below it a float holds every whole number
_WHOLE: Final = 1 << 53


def _number(value: float) -> float:
    """A whole number is written as one, so that the label of a class is what it was before labels could be numbers."""
    check_number(value)
    return int(value) if value.is_integer() and abs(value) < _WHOLE else value


Number = Annotated[float, AfterValidator(_number)]


class EventRefused(ValueError):
    """The bytes are not an event; says which field is wrong."""


class PredictionEvent(Frozen):
    """One answered prediction."""

    kind: Literal["prediction"] = "prediction"
    schema_version: int = 1
    #: the prediction id that the caller got, UUIDv7
    id: str = Field(min_length=1, max_length=64)
    model: ModelId
    #: version number, as the answer names it
    version: int
    role: Role = "production"
    #: when what is predicted about happened; the server's time where the caller gave none
    event_time: Instant
    #: when the server answered
    observed_time: Instant
    sample_key: str = Field(pattern="^[0-9a-f]{16}$")
    latency_ms: float = Field(ge=0)
    score: float
    prediction: int
    #: milliseconds of the scoring alone, for the whole request
    score_ms: float | None = Field(default=None, ge=0)
    #: during a rollout: the other version that scored the same row, unseen by the caller; None where there was none
    rival_version: int | None = None
    #: its score; None where it could not score the row
    rival_score: float | None = None
    rival_ms: float | None = Field(default=None, ge=0)
    #: after the privacy filter
    raw: Mapping[str, Scalar]
    features: Mapping[str, Scalar]
    #: of the HTTP request that asked, as its caller or serving named it
    request_id: str | None = Field(default=None, max_length=128)


class LabelEvent(Frozen):
    """The truth about a prediction, as far as it was known at label_time. The last by label time wins."""

    kind: Literal["label"] = "label"
    schema_version: int = 1
    id: str = Field(min_length=1, max_length=64)
    model: ModelId
    prediction_id: str = Field(min_length=1, max_length=64)
    #: of a classifier 0 or 1, of a regression model the number that was true
    label: Number
    label_time: Instant
    observed_time: Instant
    sample_key: str = Field(pattern="^[0-9a-f]{16}$")


class ControlEvent(Frozen):
    """Something that the control plane said: a verdict, a decision, a firing, a run, a promotion."""

    kind: ControlKind
    schema_version: int = 1
    id: str = Field(min_length=1, max_length=64)
    model: ModelId
    event_time: Instant
    observed_time: Instant
    body: Mapping[str, Any]


class ServiceEvent(Frozen):
    """One line of a process's log."""

    kind: Literal["service"] = "service"
    schema_version: int = 1
    id: str = Field(min_length=1, max_length=64)
    #: the model that the line is about; empty where it is about none
    model: ModelId | Literal[""] = ""
    event_time: Instant
    observed_time: Instant
    #: control, monitor, shipper or serving
    service: str = Field(min_length=1, max_length=64)
    level: Level
    logger: str
    message: str
    host: str = ""
    process_id: int = 0
    request_id: str | None = Field(default=None, max_length=128)
    error_type: str | None = None
    error_message: str | None = None
    stack_trace: str | None = None


Event: TypeAlias = PredictionEvent | LabelEvent | ControlEvent | ServiceEvent
#: the form of an instant that every store reads as the same one; a number is seconds to one and milliseconds to another
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
#: how deep objects and lists of a body may lie in each other: encoders and stores follow them only so far
_DEPTH: Final = 100
_TIMES: Final = ("event_time", "label_time", "observed_time")
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def parse(line: bytes) -> Event:
    """The event in one spool line. Raises EventRefused naming the first field that is wrong."""
    return read_line(line)[0]


def read_line(line: bytes) -> tuple[Event, bytes]:
    """The event in one spool line, and the line as it is written today.

    Driftgate 0.1.0 wrote an event's fields as they are; what it left in a spool is read, too. Raises EventRefused.
    """
    try:
        document = orjson.loads(line)
        earlier = isinstance(document, dict) and "kind" in document and "event" not in document
        fields = document if earlier else event_fields(document)
        _check_form_of_times(fields)
        event = _EVENT.validate_python(fields)
        _check_moments(event)
        if isinstance(event, ControlEvent) and _is_deeper(event.body, _DEPTH):
            raise EventRefused(f"body: objects and lists lie in each other more than {_DEPTH} deep")
        return event, line_of(event) if earlier else line
    except orjson.JSONDecodeError as error:
        raise EventRefused(f"event: not JSON: {error}") from error
    except NotADocument as error:
        raise EventRefused(str(error)) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise EventRefused(f"{place or 'event'}: {first['msg']}") from error


def happened(event: Event) -> datetime:
    """When it was: of a label, when it was known."""
    return event.label_time if isinstance(event, LabelEvent) else event.event_time


def line_of(event: Event) -> bytes:
    """The event as one spool line."""
    return orjson.dumps(document_of(event.model_dump()))


def _check_form_of_times(fields: Mapping[str, Any]) -> None:
    for name in _TIMES:
        value = fields.get(name)
        if value is not None and not (isinstance(value, str) and _INSTANT.fullmatch(value)):
            raise EventRefused(f"{name}: must be text such as 2026-03-01T12:00:00.25Z, an instant with its time zone")


def _check_moments(event: Event) -> None:
    """No store and no table can hold just any year."""
    for name, moment in (("event_time", happened(event)), ("observed_time", event.observed_time)):
        try:
            check_moment(moment)
        except ValueError as error:
            raise EventRefused(f"{name}: {error}") from error


def _is_deeper(value: object, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(each, depth - 1) for each in inner)
