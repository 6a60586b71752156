"""What Elasticsearch answered, in the forms of the log store: frames, cursors, counts.

A mapping is more lenient than the schema of events: a time may be a number there. A document that cannot be read, which
another shipper brought or an older release let through, is left out of what is handed on, and logged: the others are as
good as before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import orjson
import pandas as pd

from observability.elastic.questions import LABEL, PREDICTION_ID
from observability.events import Event, parse
from observability.ports import TEXT_PREFIX, text_of
from observability.windows import EPOCH, Cursor

LOG: Final = logging.getLogger(__name__)
Hit: TypeAlias = Mapping[str, Any]
#: what a document that is not as it should be raises where its parts are taken
_UNREADABLE: Final = (AttributeError, KeyError, OverflowError, TypeError, ValueError)
_FIXED: Final = ("id", "event_time", "version", "score", "prediction", "label")


def cursor_of(hit: Hit) -> Cursor:
    """The place of a hit that is sorted by event time and id."""
    nanoseconds, id = hit["sort"][:2]
    return Cursor(instant_of(nanoseconds), id)


def instant_of(nanoseconds: int) -> datetime:
    """The instant, aware and in UTC."""
    return EPOCH + timedelta(microseconds=nanoseconds // 1_000)


def counts_by_time(answer: Mapping[str, Any] | None) -> dict[datetime, int]:
    """How many there are in each interval, by its begin, in order."""
    return {start_of(bucket): bucket["doc_count"] for bucket in buckets(answer, "by_time")}


def buckets(answer: Mapping[str, Any] | None, name: str) -> Sequence[Mapping[str, Any]]:
    """The buckets of an aggregation; none where there was nothing to ask."""
    found: Sequence[Mapping[str, Any]] = answer["aggregations"][name]["buckets"] if answer is not None else ()
    return found


def start_of(bucket: Mapping[str, Any]) -> datetime:
    return EPOCH + timedelta(milliseconds=bucket["key"])


def ids_of(hits: Sequence[Hit]) -> list[str]:
    """The ids of hits whose second sort value they are."""
    return [hit["sort"][1] for hit in hits]


def labels_of(hits: Sequence[Hit]) -> dict[str, float]:
    """The last labels by prediction id."""
    fields = [hit["fields"] for hit in hits]
    return {each[PREDICTION_ID][0]: each[LABEL][0] for each in fields}


def labelled_of(answer: Mapping[str, Any] | None) -> int:
    """How many predictions have a label, where each of several labels was counted."""
    if answer is None:
        return 0
    repeated = sum(int(bucket["doc_count"]) - 1 for bucket in buckets(answer, "several"))
    return int(answer["hits"]["total"]["value"]) - repeated


def sample_frame(hits: Sequence[Hit], texts: Sequence[str] = ()) -> pd.DataFrame:
    """The predictions of a sample that can be read, still without labels, then their features and these raw texts."""
    return _frame(partial(_predictions, texts=texts), hits)


def with_labels(sample: pd.DataFrame, labels: Mapping[str, float]) -> pd.DataFrame:
    """The sample with the labels that are known."""
    return sample.assign(label=sample["id"].map(labels).astype(np.float64))


def served_frame(hits: Sequence[Hit]) -> pd.DataFrame:
    """Answered predictions: their raw fields, ids and times."""
    return _frame(_served, hits)


def label_frame(hits: Sequence[Hit]) -> pd.DataFrame:
    """Labels as they arrived."""
    return _frame(_labels, hits)


def events_of(hits: Sequence[Hit]) -> list[Event]:
    """The events that whole documents hold."""
    events = []
    for hit in hits:
        try:
            events.append(parse(orjson.dumps(hit["_source"])))
        except _UNREADABLE as error:
            _leave_out([hit], error)
    return events


def pair_frame(hits: Sequence[Hit], champion: int) -> pd.DataFrame:
    """What two versions said of the same rows and how long they took, NaN where one did not; by sample key."""
    rows = [{name: value[0] for name, value in hit["fields"].items()} for hit in hits]
    own = [row["driftgate.version"] == champion for row in rows]

    def column(answered: str, rival: str) -> list[float]:
        return [row.get(answered if is_own else rival, np.nan) for row, is_own in zip(rows, own, strict=True)]

    scores, times = ("driftgate.score", "driftgate.rival.score"), ("driftgate.score_ms", "driftgate.rival.ms")
    return pd.DataFrame(
        {
            "id": ids_of(hits),
            "champion": np.array(column(*scores), dtype=np.float64),
            "challenger": np.array(column(*scores[::-1]), dtype=np.float64),
            "champion_ms": np.array(column(*times), dtype=np.float64),
            "challenger_ms": np.array(column(*times[::-1]), dtype=np.float64),
        }
    )


def columns(objects: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """JSON objects as columns: every name that occurs, None where an object lacks it."""
    names = list(dict.fromkeys(name for item in objects for name in item))
    return {name: [item.get(name) for item in objects] for name in names}


def instants(texts: Sequence[str]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(list(texts), format="ISO8601", utc=True))


def _frame(read: Callable[[Sequence[Hit]], pd.DataFrame], hits: Sequence[Hit]) -> pd.DataFrame:
    try:
        return read(hits)
    except _UNREADABLE as error:
        readable, others = _told_apart(read, hits)
        if not others:
            raise
        _leave_out(others, error)
    return read(readable)


def _told_apart(read: Callable[[Sequence[Hit]], pd.DataFrame], hits: Sequence[Hit]) -> tuple[list[Hit], list[Hit]]:
    """The hits that can be read and those that cannot, found by halves: they are few."""
    try:
        read(hits)
    except _UNREADABLE:
        if len(hits) == 1:
            return [], list(hits)
        half = len(hits) // 2
        (first, others), (second, more) = _told_apart(read, hits[:half]), _told_apart(read, hits[half:])
        return first + second, others + more
    return list(hits), []


def _leave_out(hits: Sequence[Hit], why: Exception) -> None:
    first, reason = hits[0], str(why).partition("\n")[0]
    LOG.warning(
        "documents that cannot be read are left out: %d, such as %s of %s: %s",
        len(hits), first["_id"], first["_index"], reason,
    )  # fmt: skip


def _predictions(hits: Sequence[Hit], texts: Sequence[str]) -> pd.DataFrame:
    documents = [hit["_source"] for hit in hits]
    own = [document["driftgate"] for document in documents]
    fixed = {
        "id": [document["event"]["id"] for document in documents],
        "event_time": instants([document["@timestamp"] for document in documents]),
        "version": np.array([each["version"] for each in own], dtype=np.int64),
        "score": np.array([each["score"] for each in own], dtype=np.float64),
        "prediction": np.array([each["prediction"] for each in own], dtype=np.int64),
        "label": np.full(len(documents), np.nan),
    }
    features = columns([each.get("features") or {} for each in own])
    fixed |= {name: column for name, column in features.items() if name not in _FIXED}
    raw = [each.get("raw") or {} for each in own]
    return pd.DataFrame(fixed | {TEXT_PREFIX + field: [text_of(item, field) for item in raw] for field in texts})


def _served(hits: Sequence[Hit]) -> pd.DataFrame:
    documents = [hit["_source"] for hit in hits]
    raw = columns([document["driftgate"].get("raw") or {} for document in documents])
    fixed = {"id": [document["event"]["id"] for document in documents]}
    return pd.DataFrame(raw | fixed | _times(documents, "event_time"))


def _labels(hits: Sequence[Hit]) -> pd.DataFrame:
    documents = [hit["_source"] for hit in hits]
    own = [document["driftgate"] for document in documents]
    fixed: dict[str, Any] = {
        "prediction_id": [each["prediction_id"] for each in own],
        "label": np.array([each["label"] for each in own], dtype=np.float64),
    }
    return pd.DataFrame(fixed | _times(documents, "label_time"))


def _times(documents: Sequence[Mapping[str, Any]], name: str) -> dict[str, pd.DatetimeIndex]:
    return {
        name: instants([document["@timestamp"] for document in documents]),
        "observed_time": instants([document["event"]["created"] for document in documents]),
    }
