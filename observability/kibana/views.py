"""Data views: what a dashboard's panels read, one for each kind of event and one for all of them.

A field's type is that of the mapping by which Elasticsearch keeps it, so a definition that names none is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from observability.elastic.streams import KINDS, mapping_of, stream_of

Json: TypeAlias = dict[str, Any]
#: types as Lens calls them
DataType: TypeAlias = Literal["string", "number", "boolean", "date"]

#: when it happened, when it was observed, and when it came to the log store
TIME, SEEN, COME = "@timestamp", "event.created", "event.ingested"
#: milliseconds between an event's observation and its coming to the log store
LAG: Final = "driftgate.ingest_lag"
_TYPES: Final[Mapping[str, DataType]] = {
    "keyword": "string", "long": "number", "double": "number", "boolean": "boolean", "date_nanos": "date",
}  # fmt: skip
_LAG_SCRIPT: Final = (
    "if (doc['event.ingested'].size() > 0 && doc['event.created'].size() > 0) "
    "{ emit(ChronoUnit.MILLIS.between(doc['event.created'].value, doc['event.ingested'].value)); }"
)


class UnknownField(LookupError):
    """No mapping of the data view has such a field, or it cannot be counted and added up."""


@dataclass(frozen=True)
class DataView:
    """Documents that a panel reads: those of one kind, or of all kinds."""

    key: str
    #: as people see it in Kibana
    name: str
    kinds: tuple[str, ...]
    #: which time the time that people choose is
    time: str = TIME
    #: name -> script: fields that are computed when they are asked for, all of them whole numbers
    computed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def pattern(self, namespace: str) -> str:
        """The data streams that it reads.

        >>> VIEWS["prediction"].pattern("default"), VIEWS["arrivals"].pattern("default")
        ('logs-driftgate.prediction-default', 'logs-driftgate.*-default')
        """
        return stream_of(self.kinds[0] if len(self.kinds) == 1 else "*", namespace)

    def id(self, namespace: str) -> str:
        """The same at every import."""
        return f"driftgate-{namespace}-{self.key}"

    @property
    def runtime_fields(self) -> Json:
        """The computed fields, as Kibana keeps them and as a search is given them."""
        return {name: {"type": "long", "script": {"source": script}} for name, script in self.computed.items()}

    def type_of(self, name: str) -> DataType:
        """Of a field, as Lens calls it. Raises UnknownField."""
        if name in self.computed:
            return "number"
        found = {_declared(mapping_of(kind)["properties"], name) for kind in self.kinds}
        known = _TYPES.get(str(next(iter(found)))) if len(found) == 1 else None
        if known is None:
            raise UnknownField(f"{self.key}: {name} is {sorted(map(str, found))}, nothing that can be counted")
        return known


def _declared(fields: Mapping[str, Json], name: str) -> str | None:
    """The mapping's type of a field; None where it has none, or no values beside the documents."""
    found: Json = {"properties": fields}
    for part in name.split("."):
        below: Json = found.get("properties") or found.get("fields") or {}
        found = below.get(part, {})
    return found.get("type") if found.get("doc_values", True) else None


def _views() -> dict[str, DataView]:
    of_kinds = {kind: DataView(kind, f"Driftgate: {kind}s", (kind,)) for kind in KINDS}
    of_kinds["drift"] = DataView("drift", "Driftgate: drift of features", ("drift",))
    of_kinds["service"] = DataView("service", "Driftgate: service logs", ("service",))
    return {
        **of_kinds,
        "all": DataView("all", "Driftgate: everything", KINDS),
        "arrivals": DataView("arrivals", "Driftgate: arrivals", KINDS, COME, {LAG: _LAG_SCRIPT}),
    }


#: by key: the kind, or what it is of all kinds
VIEWS: Final[Mapping[str, DataView]] = MappingProxyType(_views())
