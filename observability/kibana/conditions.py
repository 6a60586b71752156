"""What a panel or rule asks of documents, as Kibana's language has it and as Elasticsearch is asked.

Both come from one definition, so they cannot say different things. `query` is what Kibana makes of `kuery`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Value: TypeAlias = str | int | float | bool


@dataclass(frozen=True)
class Is:
    """The field has one of these values.

    >>> Is("log.level", "error", "critical").kuery
    'log.level: ("error" or "critical")'
    >>> Is("driftgate.drift.drifted", True).kuery
    'driftgate.drift.drifted: true'
    """

    field: str
    values: tuple[Value, ...]

    def __init__(self, field: str, *values: Value) -> None:
        object.__setattr__(self, "field", field)
        object.__setattr__(self, "values", values)

    @property
    def kuery(self) -> str:
        written = [_written(value) for value in self.values]
        return f"{self.field}: {written[0] if len(written) == 1 else '(' + ' or '.join(written) + ')'}"

    @property
    def query(self) -> Json:
        asked = [{"match_phrase" if isinstance(value, str) else "match": {self.field: value}} for value in self.values]
        return _any_of(asked)


@dataclass(frozen=True)
class AtLeast:
    """The number is at least so large.

    >>> AtLeast("driftgate.verdict.verdict.drifted_share", 0.5).kuery
    'driftgate.verdict.verdict.drifted_share >= 0.5'
    """

    field: str
    least: float

    @property
    def kuery(self) -> str:
        return f"{self.field} >= {self.least}"

    @property
    def query(self) -> Json:
        return _any_of([{"range": {self.field: {"gte": self.least}}}])


Condition: TypeAlias = Is | AtLeast


def kuery_of(conditions: Iterable[Condition]) -> str:
    """All of them, in Kibana's language; empty where there is none."""
    return " and ".join(condition.kuery for condition in conditions)


def query_of(conditions: Iterable[Condition], *more: Json) -> Json:
    """All of them, as a query of Elasticsearch that scores nothing."""
    return {"bool": {"filter": [*(condition.query for condition in conditions), *more]}}


def _any_of(queries: list[Json]) -> Json:
    return {"bool": {"should": queries, "minimum_should_match": 1}}


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)
