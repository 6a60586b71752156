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
NANOSECONDS: Final = 1_000_000


class NotADocument(ValueError):
    """The JSON is not a document of the schema; says which field is wrong."""


def sample_point(sample_key: str) -> int:
    """The first 53 bits of a sample key: a number that sorts as the key does, for stores that search numbers.

    53 are what JSON keeps everywhere, in a browser too.

    >>> sample_point("ffffffffffffffff") == 2**53 - 1
    True
    """
    return int(sample_key, 16) >> 11


#: with NaN: JSON has no word for infinity either, and says null
_NO_VALUES: Final = (None, "", float("inf"), float("-inf"))


def missing_of(features: Fields) -> list[str]:
    """The features without a value.

    They are said beside the features, so that a store can count them without a look into each feature of each document.
    """
    return [name for name, value in features.items() if value in _NO_VALUES or value != value]


def document_of(event: Fields) -> Document:
    """The document of an event's fields. What is None is left out."""
    kind = event["kind"]
    return _WRITERS.get(kind, _control_document)(event)


def prediction_document(event: Fields) -> Document:
    """The document of one prediction. Serving builds it itself (`serving/reporting.py`): a test compares the two."""
    own = {
        "schema_version": event["schema_version"],
        "model": event["model"],
        "version": event["version"],
        "role": event["role"],
        "sample_key": event["sample_key"],
        "sample_point": sample_point(event["sample_key"]),
        "score": event["score"],
        "prediction": event["prediction"],
        "raw": event["raw"],
        "features": event["features"],
    }
    if missing := missing_of(event["features"]):
        own["missing"] = missing
    if event.get("score_ms") is not None:
        own["score_ms"] = event["score_ms"]
    if event.get("rival_version") is not None:
        rival = {"version": event["rival_version"], "score": event.get("rival_score"), "ms": event.get("rival_ms")}
        own["rival"] = _present(rival)
    document = _frame(event, event["event_time"])
    document["event"]["duration"] = round(event["latency_ms"] * NANOSECONDS)
    document["driftgate"] = own
    if event.get("request_id") is not None:
        document["http"] = {"request": {"id": event["request_id"]}}
    return document


def event_fields(document: object) -> Document:
    """The fields of the event that a document holds. Raises NotADocument.

    Only its shape is looked at; the schema says whether the values are right. What the schema does not know is refused,
    not dropped: it may be what the writer wanted to be kept.
    """
    if not isinstance(document, dict):
        raise NotADocument("document: must be an object")
    event = document.get("event")
    dataset = event.get("dataset") if isinstance(event, dict) else None
    if not isinstance(dataset, str) or not dataset.startswith(DATASET_PREFIX):
        raise NotADocument(f"event.dataset: {str(dataset)[:64]!r} is none of {DATASET_PREFIX}*")
    kind = dataset[len(DATASET_PREFIX) :]
    return _READERS.get(kind, _control_fields)(document, kind)


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
    own = {name: event[name] for name in ("schema_version", "model", "prediction_id", "label", "sample_key")}
    own["sample_point"] = sample_point(event["sample_key"])
    return {**_frame(event, event["label_time"]), "driftgate": own}


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


_NOTHING: Final[Document] = {}


def _part(of: Document, name: str, known: frozenset[str], place: str = "") -> Document:
    """An object in a document, empty where there is none."""
    part = of.get(name)
    if part is None:
        return _NOTHING
    if not isinstance(part, dict):
        raise NotADocument(f"{place}{name}: must be an object")
    if not part.keys() <= known:
        raise _unknown(part, known, f"{place}{name}.")
    return part


def _unknown(part: Document, known: frozenset[str], place: str) -> NotADocument:
    name = min(map(str, part.keys() - known))
    return NotADocument(f"{place}{name}"[:128] + ": the schema has no such field")


def _opened(
    document: Document, kind: str, names: frozenset[str], own_names: frozenset[str]
) -> tuple[Document, Document]:
    """The fields that all kinds have, and the object `driftgate`; each part holds known names only."""
    if not document.keys() <= names:
        raise _unknown(document, names, "")
    _part(document, "ecs", _ECS)
    event = _part(document, "event", _TIMED_EVENT if kind == "prediction" else _EVENT)
    own = _part(document, "driftgate", own_names)
    fields = {
        "kind": kind,
        "id": event.get("id"),
        "label_time" if kind == "label" else "event_time": document.get("@timestamp"),
        "observed_time": event.get("created"),
        "schema_version": own.get("schema_version"),
        "model": own.get("model"),
    }
    return fields, own


def _prediction_fields(document: Document, kind: str) -> Document:
    fields, own = _opened(document, kind, _ASKED, _PREDICTION)
    duration = document["event"].get("duration")
    if not isinstance(duration, int | float):
        raise NotADocument("event.duration: must be a number of nanoseconds")
    fields["latency_ms"] = duration / NANOSECONDS
    for name in _PREDICTION_VALUES:
        fields[name] = own.get(name)
    if "rival" in own:
        rival = _part(own, "rival", _RIVAL, "driftgate.")
        fields |= {"rival_" + name: value for name, value in rival.items()}
    if "http" in document:
        fields["request_id"] = _request_id(document)
    return fields


def _label_fields(document: Document, kind: str) -> Document:
    fields, own = _opened(document, kind, _COMMON, _LABEL)
    return fields | {name: own.get(name) for name in ("prediction_id", "label", "sample_key")}


def _control_fields(document: Document, kind: str) -> Document:
    fields, own = _opened(document, kind, _COMMON, frozenset({"schema_version", "model", kind}))
    return fields | {"body": own.get(kind)}


def _service_fields(document: Document, kind: str) -> Document:
    fields, own = _opened(document, kind, _SERVICE, _SERVICE_OWN)
    log, error = _part(document, "log", _LOG), _part(document, "error", _ERROR)
    return fields | {
        "model": own.get("model") or "",
        "message": document.get("message"),
        "level": log.get("level"),
        "logger": log.get("logger"),
        "service": _part(document, "service", _NAMED).get("name"),
        "host": _part(document, "host", _NAMED).get("name") or "",
        "process_id": _part(document, "process", _PROCESS).get("pid") or 0,
        "request_id": _request_id(document),
        "error_type": error.get("type"),
        "error_message": error.get("message"),
        "stack_trace": error.get("stack_trace"),
    }


def _request_id(document: Document) -> object:
    http = _part(document, "http", _HTTP)
    return _part(http, "request", _REQUEST, "http.").get("id")


def _present(fields: Fields) -> Document:
    return {name: value for name, value in fields.items() if value is not None}


_COMMON: Final = frozenset({"@timestamp", "ecs", "event", "driftgate"})
_ASKED: Final = _COMMON | {"http"}
_SERVICE: Final = _ASKED | {"message", "log", "service", "host", "process", "error"}
_ECS: Final = frozenset({"version"})
#: `ingested` is what a log store adds
_EVENT: Final = frozenset({"id", "kind", "dataset", "created", "ingested"})
_TIMED_EVENT: Final = _EVENT | {"duration"}
_HTTP: Final = frozenset({"request"})
_REQUEST: Final = frozenset({"id"})
_PREDICTION_VALUES: Final = ("version", "role", "sample_key", "score", "prediction", "raw", "features", "score_ms")
#: `missing` follows from the features
_PREDICTION: Final = frozenset({"schema_version", "model", "rival", "missing", "sample_point", *_PREDICTION_VALUES})
_RIVAL: Final = frozenset({"version", "score", "ms"})
_LABEL: Final = frozenset({"schema_version", "model", "prediction_id", "label", "sample_key", "sample_point"})
_SERVICE_OWN: Final = frozenset({"schema_version", "model"})
_LOG: Final = frozenset({"level", "logger"})
_NAMED: Final = frozenset({"name"})
_PROCESS: Final = frozenset({"pid"})
_ERROR: Final = frozenset({"type", "message", "stack_trace"})
_WRITERS: Final[Mapping[str, Callable[[Fields], Document]]] = {
    "prediction": prediction_document,
    "label": _label_document,
    "service": _service_document,
}
_READERS: Final[Mapping[str, Callable[[Document, str], Document]]] = {
    "prediction": _prediction_fields,
    "label": _label_fields,
    "service": _service_fields,
}
