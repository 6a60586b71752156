"""The tables of the embedded log store: how an event becomes a row, and which events can never become one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import orjson
import pyarrow as pa

from observability.events import ControlEvent, Event, LabelEvent, PredictionEvent, ServiceEvent
from observability.ports import TEXT_PREFIX, text_of
from observability.windows import EPOCH

TableName: TypeAlias = Literal["predictions", "labels", "control", "service"]
_COMMON: Final = {
    "id": pa.string(), "event_time": pa.int64(), "observed_time": pa.int64(), "schema_version": pa.int64(),
}  # fmt: skip
#: times are microseconds since 1970 in UTC (a label's event_time is its label time); free-form parts are JSON
#: text: a field that nobody knew of survives
SCHEMAS: Final[Mapping[TableName, pa.Schema]] = {
    "predictions": pa.schema(
        {
            **_COMMON,
            "version": pa.int64(), "role": pa.string(), "sample_key": pa.string(), "latency_ms": pa.float64(),
            "score": pa.float64(), "prediction": pa.int64(), "raw": pa.string(), "features": pa.string(),
            # later additions: a segment written before them lacks the columns and is read as if they were null
            "score_ms": pa.float64(),
            "rival_version": pa.int64(), "rival_score": pa.float64(), "rival_ms": pa.float64(),
            "request_id": pa.string(),
        }
    ),
    "labels": pa.schema(
        {
            **_COMMON,
            # a segment of before labels could be decimals holds int64, and is read as if it held these
            "prediction_id": pa.string(), "label": pa.float64(), "sample_key": pa.string(),
        }
    ),
    "control": pa.schema(
        {
            **_COMMON,
            "kind": pa.string(), "body": pa.string(),
        }
    ),
    "service": pa.schema(
        {
            **_COMMON,
            "service": pa.string(), "level": pa.string(), "logger": pa.string(), "message": pa.string(),
            "host": pa.string(), "process_id": pa.int64(), "request_id": pa.string(),
            "error_type": pa.string(), "error_message": pa.string(), "stack_trace": pa.string(),
        }
    ),
}  # fmt: skip
_TABLES: Final[Mapping[str, TableName]] = {"prediction": "predictions", "label": "labels", "service": "service"}
_INT64: Final = 1 << 63


def microseconds(instant: datetime) -> int:
    """Whole microseconds since 1970 in UTC."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def instant_of(value: int) -> datetime:
    """The instant, aware and in UTC."""
    return EPOCH.astimezone(UTC) + timedelta(microseconds=value)


def table_of(kind: str) -> TableName:
    """Which table holds events of this kind."""
    return _TABLES.get(kind, "control")


def refusal_reason(event: Event) -> str | None:
    """Why the store can never hold this event; None where it can."""
    for name, value in event:
        if isinstance(value, int) and not -_INT64 <= value < _INT64:
            return f"{name}: the number does not fit into 64 bits"
        if isinstance(value, float) and not math.isfinite(value):
            return f"{name}: not a finite number"
    if isinstance(event, ControlEvent):
        try:
            orjson.dumps(dict(event.body))
        except TypeError as error:
            return f"body: {error}"
    return None


def rows_table(name: TableName, events: Iterable[Event]) -> pa.Table:
    """The events as rows of the table."""
    row = _ROWS[name]
    return pa.Table.from_pylist([row(event) for event in events], schema=SCHEMAS[name])


def _prediction_row(event: PredictionEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "event_time": microseconds(event.event_time),
        "observed_time": microseconds(event.observed_time),
        "schema_version": event.schema_version,
        "version": event.version,
        "role": event.role,
        "sample_key": event.sample_key,
        "latency_ms": event.latency_ms,
        "score": event.score,
        "prediction": event.prediction,
        "raw": _encode(event.raw),
        "features": _encode(event.features),
        "score_ms": event.score_ms,
        "rival_version": event.rival_version,
        "rival_score": event.rival_score,
        "rival_ms": event.rival_ms,
        "request_id": event.request_id,
    }


def _label_row(event: LabelEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "event_time": microseconds(event.label_time),
        "observed_time": microseconds(event.observed_time),
        "schema_version": event.schema_version,
        "prediction_id": event.prediction_id,
        "label": event.label,
        "sample_key": event.sample_key,
    }


def _control_row(event: ControlEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "event_time": microseconds(event.event_time),
        "observed_time": microseconds(event.observed_time),
        "schema_version": event.schema_version,
        "kind": event.kind,
        "body": _encode(event.body),
    }


def _service_row(event: ServiceEvent) -> dict[str, Any]:
    times = {"event_time": microseconds(event.event_time), "observed_time": microseconds(event.observed_time)}
    return event.model_dump(exclude={"kind", "model", *times}) | times


_ROWS: Final[Mapping[TableName, Callable[[Any], dict[str, Any]]]] = {
    "predictions": _prediction_row,
    "labels": _label_row,
    "control": _control_row,
    "service": _service_row,
}


def _encode(values: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(dict(values)).decode()
    except TypeError:  # a whole number beyond 64 bits: as a float it keeps its size
        return orjson.dumps({name: _fitting(value) for name, value in values.items()}).decode()


def _fitting(value: Any) -> Any:  # noqa: ANN401 - any scalar
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        try:
            return float(value)
        except OverflowError:
            return None
    return value


def event_of(name: TableName, model: str, row: Mapping[str, Any]) -> Event:
    """The event that a row was made of."""
    times = {"event_time": instant_of(row["event_time"]), "observed_time": instant_of(row["observed_time"])}
    values = {**row, **times, "model": model}
    if name == "predictions":
        json = {"raw": orjson.loads(row["raw"]), "features": orjson.loads(row["features"])}
        return PredictionEvent.model_validate(values | json)
    if name == "labels":
        values["label_time"] = values.pop("event_time")
        return LabelEvent.model_validate(values)
    if name == "service":
        return ServiceEvent.model_validate(values)
    return ControlEvent.model_validate(values | {"body": orjson.loads(row["body"])})


def json_columns(texts: Sequence[str]) -> dict[str, list[Any]]:
    """JSON objects as columns: every name that occurs, None where an object lacks it."""
    objects = [orjson.loads(text) for text in texts]
    names = list(dict.fromkeys(name for item in objects for name in item))
    return {name: [item.get(name) for item in objects] for name in names}


def text_columns(raw: Sequence[str], fields: Sequence[str]) -> dict[str, list[str | None]]:
    """These raw fields of JSON objects as columns of a sample; None where one is absent or no text."""
    objects = [orjson.loads(text) for text in raw]
    return {TEXT_PREFIX + field: [text_of(item, field) for item in objects] for field in fields}
