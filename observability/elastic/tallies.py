"""Rollups out of what Elasticsearch added up, and in the form in which they are kept. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

import orjson

from observability.elastic.answers import Hit, buckets, start_of
from observability.rollups import LatencySketch, Rollup

Answer: TypeAlias = Mapping[str, Any]
_NOTHING: Final[Answer] = {}


def features_that_differ(hits: Sequence[Hit]) -> list[str]:
    """All names of features where documents do not name the same ones; none where they do.

    A document names its features without a value in a list of its own. One that does not even name them is found by
    counting each feature, which is dear; predictions of one version name the same, unless their writer changed.
    """
    named = [frozenset(hit["_source"].get("driftgate", _NOTHING).get("features") or ()) for hit in hits]
    return sorted(frozenset().union(*named)) if len(set(named)) > 1 else []


def rollup_of(totals: Answer, values: Answer | None, names: Sequence[str]) -> Rollup:
    """The rollup of all that was asked about."""
    rows, added_up = totals["hits"]["total"]["value"], totals["aggregations"]
    given = values["aggregations"] if values is not None else None
    counts = {int(bucket["key"]): bucket["doc_count"] for bucket in buckets(totals, "by_latency")}
    return Rollup(rows, _missing(rows, added_up, given, names), _sketch(counts))


def rollups_by_time(totals: Answer, values: Answer | None, names: Sequence[str]) -> dict[datetime, Rollup]:
    """The rollup of each interval, by its begin."""
    latencies: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for latency in buckets(totals, "by_latency"):
        for bucket in latency["by_time"]["buckets"]:
            latencies[bucket["key"]][int(latency["key"])] = bucket["doc_count"]
    given = {bucket["key"]: bucket for bucket in buckets(values, "by_time")}
    return {
        start_of(bucket): Rollup(
            rows=bucket["doc_count"],
            missing=_missing(bucket["doc_count"], bucket, given.get(bucket["key"]), names),
            latency=_sketch(latencies[bucket["key"]]),
        )
        for bucket in buckets(totals, "by_time")
    }


def written(rollup: Rollup) -> str:
    """As it is kept."""
    counts = {"rows": rollup.rows, "missing": rollup.missing, "latency": list(rollup.latency.counts.items())}
    return orjson.dumps(counts).decode()


def read(text: str) -> Rollup:
    """A rollup that was kept."""
    counts = orjson.loads(text)
    return Rollup(counts["rows"], counts["missing"], LatencySketch(dict(counts["latency"])))


def _missing(rows: int, totals: Answer, given: Answer | None, names: Sequence[str]) -> dict[str, int]:
    if given is None:
        return {bucket["key"]: bucket["doc_count"] for bucket in totals["missing"]["buckets"]}
    found = {
        name: rows - given[f"given{place}"]["value"] + given[f"empty{place}"]["doc_count"]
        for place, name in enumerate(names)
    }
    return {name: count for name, count in found.items() if count > 0}


def _sketch(counts: Mapping[int, int]) -> LatencySketch:
    return LatencySketch(Counter({bucket: count for bucket, count in counts.items() if count}))
