"""Data views: what a dashboard's panels read, one for each kind of event and one for all of them.

A field's type is that of the mapping by which Elasticsearch keeps it, so a definition that names none is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, get_args

from observability.elastic.streams import KINDS, mapping_of, stream_of
from observability.events import ControlKind

Json: TypeAlias = dict[str, Any]
#: types as Lens calls them
DataType: TypeAlias = Literal["string", "number", "boolean", "date"]

TIME: Final = "@timestamp"
#: milliseconds between an event's observation and its coming to the log store
LAG: Final = "driftgate.ingest_lag"
#: what the documents of one kind call otherwise, so that one control finds a version in all of them
VERSION: Final = "driftgate.version"
_TYPES: Final[Mapping[str, DataType]] = {
    "keyword": "string", "long": "number", "double": "number", "boolean": "boolean", "date_nanos": "date",
}  # fmt: skip
_LAG_SCRIPT: Final = (
    "if (doc['event.ingested'].size() > 0 && doc['event.created'].size() > 0) "
    "{ emit(ChronoUnit.MILLIS.between(doc['event.created'].value, doc['event.ingested'].value)); }"
)
_VERSION_SCRIPT: Final = (
    "if (doc['driftgate.{kind}.version'].size() > 0) {{ emit(doc['driftgate.{kind}.version'].value); }}"
)


class UnknownField(LookupError):
    """No mapping of the data view has such a field, or it cannot be counted and added up."""


@dataclass(frozen=True)
class DataView:
    """Documents that a panel reads: those of one kind, or of all kinds."""

    kind: str
    #: as people see it in Kibana
    name: str
    #: name -> script: fields that are computed when they are asked for, all of them whole numbers
    computed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def pattern(self, namespace: str) -> str:
        """The data streams that it reads.

        >>> VIEWS["prediction"].pattern("default"), VIEWS["all"].pattern("default")
        ('logs-driftgate.prediction-default', 'logs-driftgate.*-default')
        """
        return stream_of("*" if self.kind == "all" else self.kind, namespace)

    def id(self, namespace: str) -> str:
        """The same at every import."""
        return f"driftgate-{namespace}-{self.kind}"

    @property
    def runtime_fields(self) -> Json:
        """The computed fields, as Kibana keeps them and as a search is given them."""
        return {name: {"type": "long", "script": {"source": script}} for name, script in self.computed.items()}

    def type_of(self, name: str) -> DataType:
        """Of a field, as Lens calls it. Raises UnknownField."""
        if name in self.computed:
            return "number"
        kinds = KINDS if self.kind == "all" else (self.kind,)
        found = {_declared(mapping_of(kind)["properties"], name) for kind in kinds}
        known = _TYPES.get(str(next(iter(found)))) if len(found) == 1 else None
        if known is None:
            raise UnknownField(f"{self.kind}: {name} is {sorted(map(str, found))}, nothing that can be counted")
        return known


def _declared(fields: Mapping[str, Json], name: str) -> str | None:
    """The mapping's type of a field; None where it has none, or no values beside the documents."""
    found: Json = {"properties": fields}
    for part in name.split("."):
        below: Json = found.get("properties") or found.get("fields") or {}
        found = below.get(part, {})
    return found.get("type") if found.get("doc_values", True) else None


def _views() -> dict[str, DataView]:
    named = {kind: DataView(kind, f"Driftgate: {kind}s") for kind in KINDS}
    named["drift"] = DataView("drift", "Driftgate: drift of features")
    named["service"] = DataView("service", "Driftgate: service logs")
    for kind in get_args(ControlKind):
        if _declared(mapping_of(kind)["properties"], f"driftgate.{kind}.version") == "long":
            named[kind] = DataView(kind, named[kind].name, {VERSION: _VERSION_SCRIPT.format(kind=kind)})
    return {**named, "all": DataView("all", "Driftgate: everything", {LAG: _LAG_SCRIPT})}


#: by kind
VIEWS: Final[Mapping[str, DataView]] = MappingProxyType(_views())
