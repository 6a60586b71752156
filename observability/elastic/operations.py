"""An event as the two lines of a bulk call that create its document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from observability.documents import document_of
from observability.elastic.streams import stream_of
from observability.events import Event, parse

#: what one call carries at most, far below the 100 MB that Elasticsearch takes
MOST_BYTES: Final = 5 << 20
#: smaller calls than this cost more than they save by running beside each other
_LEAST_BYTES: Final = 256 << 10
_EVENT: Final = b'"event":{"'


@dataclass(frozen=True, slots=True)
class Operation:
    """The creation of one document."""

    stream: str
    id: str
    data: bytes


def operation_of(event: Event, line: bytes | None, namespace: str, ingested: str) -> Operation:
    """The operation of an event, whose checked spool line saves encoding it. Raises EventRefused.

    `event.ingested` is added: when it came to the store.
    """
    stream = stream_of(event.kind, namespace)
    action = b'{"create":{"_index":"%s","_id":%s}}\n' % (stream.encode(), orjson.dumps(event.id))
    source = with_ingested(_checked_line(event) if line is None else line, ingested)
    return Operation(stream, event.id, action + source + b"\n")


def with_ingested(line: bytes, ingested: str) -> bytes:
    """The document with the instant at which it came to the store.

    Our own writers put the object `event` first: there it is put in as text, which is ten times as fast.

    >>> with_ingested(b'{"event":{"id":"a"},"driftgate":{}}', "2021-01-16T10:00:00Z")
    b'{"event":{"ingested":"2021-01-16T10:00:00Z","id":"a"},"driftgate":{}}'
    """
    head, found, rest = line.partition(_EVENT)
    if found and b'"driftgate"' not in head and b'"ingested"' not in line and b"\n" not in line:
        return b'%s"event":{"ingested":"%s","%s' % (head, ingested.encode(), rest)
    document: dict[str, Any] = orjson.loads(line)
    document["event"] = {**document["event"], "ingested": ingested}
    return orjson.dumps(document)


def chunks(operations: Sequence[Operation], count: int) -> Iterator[list[Operation]]:
    """The operations in calls of a bounded size: about `count` of them, unless they would be small or large."""
    size = sum(len(operation.data) for operation in operations)
    limit = min(MOST_BYTES, max(_LEAST_BYTES, -(-size // count)))
    chunk: list[Operation] = []
    held = 0
    for operation in operations:
        if chunk and held + len(operation.data) > limit:
            yield chunk
            chunk, held = [], 0
        chunk.append(operation)
        held += len(operation.data)
    if chunk:
        yield chunk


def _checked_line(event: Event) -> bytes:
    """The event's line, read again by the schema: an event that was put together past it is refused here."""
    document = document_of(event.model_dump())
    try:
        line = orjson.dumps(document)
    except orjson.JSONEncodeError:  # an integer of more than 64 bits: JSON has it
        line = json.dumps(document, default=lambda instant: instant.isoformat()).encode()
    parse(line)
    return line
