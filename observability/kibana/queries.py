"""The query behind each panel: the aggregation that Kibana sends for it.

Its names are those of the panel's columns in Kibana, so an answer reads like the chart: `split0`, `metric0`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from observability.kibana.conditions import Condition, query_of
from observability.kibana.panels import Between, Lines, Metric, Over, Panel, Split, Top

Json: TypeAlias = dict[str, Any]

#: documents that Discover reads at once
LINES: Final = 500
_PLAIN: Final[Mapping[str, str]] = {"average": "avg", "max": "max", "min": "min", "sum": "sum", "unique": "cardinality"}


@dataclass(frozen=True)
class Span:
    """What is chosen in a dashboard: from then until before then, in steps of so long."""

    since: datetime
    until: datetime
    step: str = "1h"
    #: what the controls say, too
    where: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Query:
    """A search, and where."""

    index: str
    body: Json


def query_behind(panel: Panel | Lines, namespace: str, span: Span) -> Query:
    """What Elasticsearch is asked for a panel."""
    chosen = () if isinstance(panel, Panel) and panel.whole else span.where
    time = panel.reads.time
    between = {"range": {time: {"gte": span.since.isoformat(), "lt": span.until.isoformat()}}}
    body: Json = {"query": query_of((*panel.where, *chosen), between)}
    if computed := panel.reads.runtime_fields:
        body["runtime_mappings"] = computed
    if isinstance(panel, Lines):
        body |= {"size": LINES, "sort": [{time: "desc"}], "fields": list(panel.columns)}
    else:
        body |= {"size": 0, "track_total_hits": True, "aggs": _aggregations(panel, span.step)}
    return Query(panel.reads.pattern(namespace), body)


def _aggregations(panel: Panel, step: str) -> Json:
    found = {name: each for number, metric in enumerate(panel.metrics) for name, each in _metric(number, metric)}
    for number, split in reversed(list(enumerate(panel.by))):
        if isinstance(split, Top):  # what it is sorted by has to be directly below, too
            found = dict(_metric(0, panel.metrics[0])) | found
        inner = {"aggs": found} if found else {}
        found = {split_name(number): {**_split(split, step, panel.metrics[0]), **inner}}
    return found


def split_name(number: int) -> str:
    return f"split{number}"


def metric_name(number: int) -> str:
    return f"metric{number}"


def _metric(number: int, metric: Metric) -> list[tuple[str, Json]]:
    """Nothing for a plain count: each bucket has it."""
    name, told = metric_name(number), _value(metric)
    if not metric.where:
        return [] if told is None else [(name, told)]
    return [(name, {"filter": query_of(metric.where), **({"aggs": {"value": told}} if told else {})})]


def _value(metric: Metric) -> Json | None:
    match metric.operation:
        case "count":
            return None
        case "percentile":
            return {"percentiles": {"field": metric.field, "percents": [metric.percentile]}}
        case operation:
            return {_PLAIN[operation]: {"field": metric.field}}


def _split(split: Split, step: str, first: Metric) -> Json:
    match split:
        case Over(field):
            return {"date_histogram": {"field": field, "fixed_interval": step, "time_zone": "UTC", "min_doc_count": 1}}
        case Top(field, _, size):
            return {"terms": {"field": field, "size": size, "order": {_order(first): "desc"}}}
        case Between(field, _, edges):
            ends = (*edges[1:], None)
            ranges = [
                {"from": low} | ({} if high is None else {"to": high}) for low, high in zip(edges, ends, strict=True)
            ]
            return {"range": {"field": field, "ranges": ranges}}


def _order(metric: Metric) -> str:
    """What the largest is by: the first metric."""
    of = f".{metric.percentile}" if metric.operation == "percentile" else ""
    if metric.where:
        return metric_name(0) + (">value" + of if metric.operation != "count" else "")
    return "_count" if metric.operation == "count" else metric_name(0) + of


def number_in(bucket: Mapping[str, Any], number: int, metric: Metric) -> float | None:
    """What a bucket of the answer, or the answer's aggregations with `doc_count`, says of a metric."""
    if metric.operation == "count":
        counted = bucket[metric_name(number)] if metric.where else bucket
        return float(counted["doc_count"])
    told = bucket[metric_name(number)]
    told = told["value"] if metric.where else told
    if metric.operation == "percentile":
        return next(iter(told["values"].values()), None)
    found: float | None = told["value"]
    return found
