"""What the log store asks Elasticsearch: bodies of its search API, as pure functions.

Every question about predictions is bounded by time, and none sorts or fetches more than it hands out. Instants are
written with nanoseconds: a shorter one would be rounded up where it is an upper bound.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from observability.ports import Span
from observability.rollups import BUCKETS, MOST_MS, bucket_of
from observability.windows import EPOCH, Cursor, Segment

Body: TypeAlias = dict[str, Any]
Filters: TypeAlias = list[Body]
Smallest: TypeAlias = Callable[[Filters, int], Body]

TIME: Final = "@timestamp"
OBSERVED: Final = "event.created"
DURATION: Final = "event.duration"
ID: Final = "event.id"
MODEL: Final = "driftgate.model"
VERSION: Final = "driftgate.version"
ROLE: Final = "driftgate.role"
KEY: Final = "driftgate.sample_point"
FEATURES: Final = "driftgate.features"
MISSING: Final = "driftgate.missing"
PREDICTION_ID: Final = "driftgate.prediction_id"
LABEL: Final = "driftgate.label"
#: hits that one answer of Elasticsearch may hold
PAGE: Final = 10_000
#: names of features that may lack a value, in one answer
NAMES: Final = 10_000
#: documents that show which features predictions name
SHOWN: Final = 500
#: standard deviations by which the bound of a sample is wider than what would hold it on average
CERTAINTY: Final = 6.0
#: sample keys are searched by their first bits, as numbers below this
SAMPLE_POINTS: Final = 1 << 53
#: the last instant that fits into nanoseconds since 1970
LAST: Final = datetime(2262, 4, 11, tzinfo=UTC)
#: behind every event
END: Final = Cursor.before(LAST)
_NANOSECONDS: Final = 1_000_000
#: what a hit is beside its `fields` and `sort`: nothing, so that no stored document is read
_NO_DOCUMENT: Final[Body] = {"stored_fields": "_none_"}


def instant(moment: datetime) -> str:
    """An instant as Elasticsearch compares it, within what it can hold."""
    moment = min(max(moment, EPOCH), LAST).astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}000Z"


def of_model(model: str) -> Filters:
    """What is about a model; about none where the name is empty."""
    return [_is(MODEL, model) if model else _none_of([{"exists": {"field": MODEL}}])]


def production(model: str, version: int | None, segment: Segment | None = None) -> Filters:
    """Predictions that make windows."""
    filters = [_is(MODEL, model), _is(ROLE, "production")]
    if version is not None:
        filters.append(_is(VERSION, version))
    if segment is not None:
        filters.append(_is(f"{FEATURES}.{segment.feature}", segment.value))
    return filters


def answered(model: str) -> Filters:
    """Predictions that callers were told, a canary's too."""
    return [_is(MODEL, model), {"terms": {ROLE: ["production", "canary"]}}]


def scored_by_both(model: str, champion: int, challenger: int) -> Filters:
    """Predictions in which two versions took part, whoever of them answered."""
    turns = ((champion, challenger), (challenger, champion))
    either = [_all([_is(VERSION, one), _is("driftgate.rival.version", other)]) for one, other in turns]
    return [_is(MODEL, model), {"bool": {"should": either, "minimum_should_match": 1}}]


def unscored_by(challenger: int) -> Body:
    """The challenger took part as the rival and has no score."""
    return {
        "bool": {
            "filter": [_is("driftgate.rival.version", challenger)],
            "must_not": [{"exists": {"field": "driftgate.rival.score"}}],
        }
    }


def behind(after: Cursor) -> Filters:
    """Events behind a cursor in the order of event time and id."""
    return between(after, END)


def between(after: Cursor, until: Cursor) -> Filters:
    """Events behind one cursor and up to another, that one's own among them.

    Times are bounded at both sides in one condition: of a field with nanoseconds, Elasticsearch cannot make intervals
    below a condition that is open at one side.
    """
    upper = {"lte" if until.id else "lt": instant(until.event_time)}
    filters = [_range(TIME, gte=instant(after.event_time), **upper)]
    if after.id:
        filters.append(_none_of([_at(after.event_time), _range(ID, lte=after.id)]))
    if until.id:
        filters.append(_none_of([_at(until.event_time), _range(ID, gt=until.id)]))
    return filters


def within(span: Span) -> Filters:
    """The predictions of a span."""
    return [*production(span.model, span.version, span.segment), *between(span.after, span.until)]


def later_than(moment: datetime) -> Body:
    return _range(TIME, gt=instant(moment), lte=instant(LAST))


def observed_from(moment: datetime) -> Body:
    return _range(OBSERVED, gte=instant(moment), lte=instant(LAST))


def keys_below(share: float) -> Body:
    """Predictions whose sample key is in the smallest share of all keys."""
    return _range(KEY, lt=int(share * SAMPLE_POINTS))


def key_share(k: int, rows: int) -> float:
    """The share of all sample keys that holds the k smallest of so many rows but once in a billion times."""
    return min(1.0, (k + CERTAINTY * math.sqrt(k) + CERTAINTY**2) / rows)


def count(filters: Filters) -> Body:
    return {"size": 0, "track_total_hits": True, "query": _all(filters)}


def counts(filters: Filters, interval: str) -> Body:
    """How many there are in each interval that has any, as the aggregation `by_time`."""
    return _unsorted(filters, 0) | {"aggs": {"by_time": _by_time(interval)}}


def place(filters: Filters, number: int) -> Body:
    """The prediction at a place, from 1, in the order of event time and id; of the first PAGE only."""
    return _sorted(filters, [TIME, ID], 1) | {"from": number - 1, **_NO_DOCUMENT}


def in_order(filters: Filters) -> Body:
    """Event times and ids, in their order."""
    return _sorted(filters, [TIME, ID], PAGE) | _NO_DOCUMENT


def newest_time(model: str) -> Body:
    return _unsorted(of_model(model), 1) | {"sort": [{TIME: "desc"}], **_NO_DOCUMENT}


def newest(filters: Filters) -> Body:
    """Whole documents, the last observed first."""
    return _unsorted(filters, PAGE) | {"sort": [{OBSERVED: "desc"}, {ID: "desc"}], "_source": True}


def smallest(filters: Filters, k: int) -> Body:
    """The predictions with the k smallest sample keys, with what a sample shows of them."""
    shown = [TIME, ID, VERSION, "driftgate.score", "driftgate.prediction", FEATURES]
    return _sorted(filters, [KEY, ID], k) | {"_source": shown}


def smallest_with_texts(texts: Sequence[str], filters: Filters, k: int) -> Body:
    """The same, and of the raw fields these."""
    body = smallest(filters, k)
    return body | {"_source": [*body["_source"], *(f"driftgate.raw.{field}" for field in texts)]}


def smallest_ids(filters: Filters, k: int) -> Body:
    """The ids of the predictions with the k smallest sample keys: the second value by which each is sorted."""
    return _sorted(filters, [KEY, ID], k) | _NO_DOCUMENT


def smallest_pairs(filters: Filters, k: int) -> Body:
    """What both versions said and how long they took, of the predictions with the k smallest sample keys."""
    shown = [VERSION, "driftgate.score", "driftgate.score_ms", "driftgate.rival.score", "driftgate.rival.ms"]
    return smallest_ids(filters, k) | {"docvalue_fields": shown}


def oldest(filters: Filters, *shown: str) -> Body:
    """Pages of documents, the first observed first, with these parts of each."""
    return _sorted(filters, [OBSERVED, ID], PAGE) | {"_source": [TIME, OBSERVED, ID, *shown]}


def last_labels(model: str, prediction_ids: Sequence[str]) -> Body:
    """The last label of each prediction that has one: by label time, then by arrival, then by id."""
    return _unsorted(_labels_of(model, prediction_ids), len(prediction_ids)) | {
        "collapse": {"field": PREDICTION_ID},
        "sort": [{TIME: "desc"}, {OBSERVED: "desc"}, {ID: "desc"}],
        "docvalue_fields": [LABEL],
        **_NO_DOCUMENT,
    }


def labelled(model: str, prediction_ids: Sequence[str]) -> Body:
    """How many labels these predictions have; those with several as the aggregation `several`.

    `map` counts what was found: the alternative first numbers all ids that the index holds.
    """
    several = {"field": PREDICTION_ID, "size": len(prediction_ids), "min_doc_count": 2, "execution_hint": "map"}
    return count(_labels_of(model, prediction_ids)) | {"aggs": {"several": {"terms": several}}}


def totals(filters: Filters, interval: str | None) -> Body:
    """What a rollup holds: rows and missing values `by_time`, counts `by_latency`; and the features of some documents.

    Those are the ones with the smallest sample keys, so of all times and writers. Without an interval all of it is one.
    Latencies come first and times below them, so that only what is there is told.
    """
    shown = _sorted(filters, [KEY], SHOWN) | {"_source": [FEATURES]}
    missing: Body = {"missing": {"terms": {"field": MISSING, "size": NAMES}}}
    ranges: Body = {"range": {"field": DURATION, "ranges": LATENCIES, "keyed": False}}
    if interval is None:
        return shown | {"track_total_hits": True, "aggs": {**missing, "by_latency": ranges}}
    return shown | {
        "aggs": {
            "by_time": _by_time(interval) | {"aggs": missing},
            "by_latency": ranges | {"aggs": {"by_time": _by_time(interval)}},
        },
    }


def values(filters: Filters, interval: str | None, names: Sequence[str]) -> Body:
    """How many predictions have a value of each feature, `given0` and so on, and of how many it is empty: `empty0`."""
    each: Body = {}
    for place, name in enumerate(names):
        each[f"given{place}"] = {"value_count": {"field": f"{FEATURES}.{name}"}}
        each[f"empty{place}"] = {"filter": _is(f"{FEATURES}.{name}", "")}
    aggregations = each if interval is None else {"by_time": _by_time(interval) | {"aggs": each}}
    return _unsorted(filters, 0) | {"track_total_hits": True, "aggs": aggregations}


def _edge(bucket: int) -> int:
    """The first whole nanosecond behind a bucket of a latency sketch."""
    most = range(round(MOST_MS * _NANOSECONDS) + 1)
    return bisect.bisect_right(most, bucket, key=lambda edge: bucket_of(edge / _NANOSECONDS))


def _latencies() -> list[Body]:
    """The buckets of a latency sketch as ranges of nanoseconds; the key of each is its number."""
    edges = [_edge(bucket) for bucket in range(BUCKETS)]
    between = zip([None, *edges], [*edges, None], strict=True)
    return [
        {"key": str(bucket)} | ({} if low is None else {"from": low}) | ({} if high is None else {"to": high})
        for bucket, (low, high) in enumerate(between)
    ]


LATENCIES: Final = _latencies()


def _by_time(interval: str) -> Body:
    return {"date_histogram": {"field": TIME, "fixed_interval": interval, "min_doc_count": 1}}


def _labels_of(model: str, prediction_ids: Sequence[str]) -> Filters:
    return [_is(MODEL, model), {"terms": {PREDICTION_ID: list(prediction_ids)}}]


def _sorted(filters: Filters, fields: Sequence[str], size: int) -> Body:
    return _unsorted(filters, size) | {"sort": [{field: "asc"} for field in fields]}


def _unsorted(filters: Filters, size: int) -> Body:
    return {"size": size, "track_total_hits": False, "query": _all(filters)}


def _all(filters: Filters) -> Body:
    return {"bool": {"filter": filters}}


def _none_of(filters: Filters) -> Body:
    return {"bool": {"must_not": [_all(filters)]}}


def _is(field: str, value: object) -> Body:
    return {"term": {field: {"value": value}}}


def _at(moment: datetime) -> Body:
    return _range(TIME, gte=instant(moment), lte=instant(moment))


def _range(field: str, **bounds: str | int) -> Body:
    return {"range": {field: bounds}}
