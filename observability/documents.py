"""How events are written: one JSON document each, in the field names of the Elastic Common Schema where it has one.

A line of the spool is such a document, so that rsyslog, Filebeat and Logstash can move it as it is; a log store
indexes it under `event.id` in the data stream `logs-<event.dataset>-<namespace>`. What ECS has no name for stands below
`driftgate`. https://www.elastic.co/guide/en/ecs/8.17/index.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

Fields: TypeAlias = Mapping[str, Any]
Document: TypeAlias = dict[str, Any]

ECS_VERSION: Final = "8.17.0"
#: in front of the kind of each event
DATASET_PREFIX: Final = "driftgate."
_NANOSECONDS: Final = 1_000_000


class NotADocument(ValueError):
    """The JSON is not a document of the schema; says which field is wrong."""


def document_of(event: Fields) -> Document:
    """The document of an event's fields. What is None is left out."""
    kind = event["kind"]
    return _WRITERS.get(kind, _control_document)(event)


def prediction_document(event: Fields) -> Document:
    """The document of one prediction; built by hand, for serving writes one in each request."""
    own = {
        "schema_version": event["schema_version"],
        "model": event["model"],
        "version": event["version"],
        "role": event["role"],
        "sample_key": event["sample_key"],
        "score": event["score"],
        "prediction": event["prediction"],
        "raw": event["raw"],
        "features": event["features"],
    }
    if event.get("score_ms") is not None:
        own["score_ms"] = event["score_ms"]
    if event.get("rival_version") is not None:
        rival = {"version": event["rival_version"], "score": event.get("rival_score"), "ms": event.get("rival_ms")}
        own["rival"] = _present(rival)
    document = _frame(event, event["event_time"])
    document["event"]["duration"] = round(event["latency_ms"] * _NANOSECONDS)
    document["driftgate"] = own
    if event.get("request_id") is not None:
        document["http"] = {"request": {"id": event["request_id"]}}
    return document


def event_fields(document: object) -> Document:
    """The fields of the event that a document holds. Raises NotADocument.

    Only its shape is looked at; the schema says whether the values are right.
    """
    read = _Reader(document)
    dataset = read.value("event", "dataset")
    if not isinstance(dataset, str) or not dataset.startswith(DATASET_PREFIX):
        raise NotADocument(f"event.dataset: {str(dataset)[:64]!r} is none of {DATASET_PREFIX}*")
    kind = dataset.removeprefix(DATASET_PREFIX)
    fields = {
        "kind": kind,
        "id": read.value("event", "id"),
        "label_time" if kind == "label" else "event_time": read.value("@timestamp"),
        "observed_time": read.value("event", "created"),
        "schema_version": read.value("driftgate", "schema_version"),
    }
    _refuse_unknown(read, kind)
    return fields | _READERS.get(kind, _control_fields)(read, kind)


def _refuse_unknown(read: _Reader, kind: str) -> None:
    """What the schema does not know is refused, not dropped: it may be what the writer wanted to be kept."""
    known = {**_KNOWN, **_KNOWN_OF.get(kind, {"driftgate": {"schema_version", "model", kind}})}
    for place, names in known.items():
        found = read.value(*place.split(".")) if place else read.value()
        if isinstance(found, Mapping) and (unknown := sorted(map(str, set(found) - names))):
            path = f"{place}.{unknown[0]}" if place else unknown[0]
            raise NotADocument(f"{path[:128]}: the schema has no such field")


def _frame(event: Fields, timestamp: object) -> Document:
    return {
        "@timestamp": timestamp,
        "ecs": {"version": ECS_VERSION},
        "event": {
            "id": event["id"],
            "kind": "alert" if event["kind"] == "alert" else "event",
            "dataset": DATASET_PREFIX + event["kind"],
            "created": event["observed_time"],
        },
    }


def _label_document(event: Fields) -> Document:
    own = ("schema_version", "model", "prediction_id", "label", "sample_key")
    return {**_frame(event, event["label_time"]), "driftgate": {name: event[name] for name in own}}


def _control_document(event: Fields) -> Document:
    own = {"schema_version": event["schema_version"], "model": event["model"], event["kind"]: event["body"]}
    return {**_frame(event, event["event_time"]), "driftgate": own}


def _service_document(event: Fields) -> Document:
    error = {"type": event["error_type"], "message": event["error_message"], "stack_trace": event["stack_trace"]}
    document = _frame(event, event["event_time"]) | {
        "message": event["message"],
        "log": {"level": event["level"], "logger": event["logger"]},
        "service": {"name": event["service"]},
        "host": {"name": event["host"]},
        "process": {"pid": event["process_id"]},
        "driftgate": _present({"schema_version": event["schema_version"], "model": event["model"] or None}),
    }
    if event["request_id"] is not None:
        document["http"] = {"request": {"id": event["request_id"]}}
    if _present(error):
        document["error"] = _present(error)
    return document


class _Reader:
    """Reads a document's fields by their path; one that is in the way of another is a clear error."""

    def __init__(self, document: object) -> None:
        self._document = document

    def value(self, *path: str) -> Any:  # noqa: ANN401 - the schema checks it
        found = self._document
        for depth, name in enumerate(path):
            if found is None and depth:
                return None
            if not isinstance(found, Mapping):
                raise NotADocument(f"{'.'.join(path[:depth]) or 'document'}: must be an object")
            found = found.get(name)
        return found


def _prediction_fields(read: _Reader, _kind: str) -> Document:
    duration = read.value("event", "duration")
    if not isinstance(duration, int | float):
        raise NotADocument("event.duration: must be a number of nanoseconds")
    names = ("model", "version", "role", "sample_key", "score", "prediction", "raw", "features", "score_ms")
    return _present(
        {name: read.value("driftgate", name) for name in names}
        | {"rival_" + name: read.value("driftgate", "rival", name) for name in ("version", "score", "ms")}
        | {"latency_ms": duration / _NANOSECONDS, "request_id": read.value("http", "request", "id")}
    )


def _label_fields(read: _Reader, _kind: str) -> Document:
    names = ("model", "prediction_id", "label", "sample_key")
    return {name: read.value("driftgate", name) for name in names}


def _control_fields(read: _Reader, kind: str) -> Document:
    return {"model": read.value("driftgate", "model"), "body": read.value("driftgate", kind)}


def _service_fields(read: _Reader, _kind: str) -> Document:
    return {
        "model": read.value("driftgate", "model") or "",
        "message": read.value("message"),
        "level": read.value("log", "level"),
        "logger": read.value("log", "logger"),
        "service": read.value("service", "name"),
        "host": read.value("host", "name") or "",
        "process_id": read.value("process", "pid") or 0,
        "request_id": read.value("http", "request", "id"),
        "error_type": read.value("error", "type"),
        "error_message": read.value("error", "message"),
        "stack_trace": read.value("error", "stack_trace"),
    }


def _present(fields: Fields) -> Document:
    return {name: value for name, value in fields.items() if value is not None}


_COMMON: Final = {"@timestamp", "ecs", "event", "driftgate"}
_KNOWN: Final[Mapping[str, set[str]]] = {
    "": _COMMON,
    "ecs": {"version"},
    "event": {"id", "kind", "dataset", "created", "ingested"},
    "http": {"request"},
    "http.request": {"id"},
}
_KNOWN_OF: Final[Mapping[str, Mapping[str, set[str]]]] = {
    "prediction": {
        "": {*_COMMON, "http"},
        "event": {*_KNOWN["event"], "duration"},
        "driftgate": {
            *("schema_version", "model", "version", "role", "sample_key", "score", "prediction"),
            *("raw", "features", "score_ms", "rival"),
        },
        "driftgate.rival": {"version", "score", "ms"},
    },
    "label": {"driftgate": {"schema_version", "model", "prediction_id", "label", "sample_key"}},
    "service": {
        "": {*_COMMON, "http", "message", "log", "service", "host", "process", "error"},
        "log": {"level", "logger"},
        "service": {"name"},
        "host": {"name"},
        "process": {"pid"},
        "error": {"type", "message", "stack_trace"},
        "driftgate": {"schema_version", "model"},
    },
}
_WRITERS: Final[Mapping[str, Callable[[Fields], Document]]] = {
    "prediction": prediction_document,
    "label": _label_document,
    "service": _service_document,
}
_READERS: Final[Mapping[str, Callable[[_Reader, str], Document]]] = {
    "prediction": _prediction_fields,
    "label": _label_fields,
    "service": _service_fields,
}
