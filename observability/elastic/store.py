"""The log store in Elasticsearch: events as documents of data streams, questions answered by its search."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import numpy as np
import pandas as pd
from elasticsearch import Elasticsearch

from observability.elastic import answers, client, questions, streams
from observability.elastic.bulk import Bulk
from observability.elastic.questions import PAGE
from observability.elastic.reading import Reader
from observability.elastic.rollups import Rollups
from observability.events import Event
from observability.ports import EXACT_LABELS, Paired, Refusal, Sample, Span
from observability.rollups import Rollup
from observability.settings import Settings
from observability.windows import Cursor

#: intervals in which predictions are counted to find a place among them, from coarse to fine
INTERVALS: Final = (
    ("1d", timedelta(days=1)), ("1h", timedelta(hours=1)), ("1m", timedelta(minutes=1)),
    ("1s", timedelta(seconds=1)), ("1ms", timedelta(milliseconds=1)),
)  # fmt: skip
#: ids whose labels are looked up in one question
LOOKED_UP: Final = 5_000
#: of more than EXACT_LABELS pairs of scores: so many are read for each row that is asked for, and at least
PAIRS_A_ROW, LEAST_PAIRS = 4, 20_000
#: where the share of labelled predictions is known so well, relatively, no more are looked at
WELL_KNOWN: Final = 0.009


class ElasticLogStore:
    """A LogStore in an Elasticsearch cluster. Threads may share it.

    `refresh` makes what was just appended visible to each question: for tests. Otherwise that takes a second.
    """

    def __init__(self, connected: Elasticsearch, settings: Settings, *, refresh: bool = False) -> None:
        self._client = connected
        self._settings = settings
        self._bulk = Bulk(connected, settings.namespace)
        self._reader = Reader(connected, settings.namespace, refresh=refresh)
        self._rollups = Rollups(connected, self._reader, settings.namespace)
        self._setting_up = threading.Lock()
        self._set_up = False

    @classmethod
    def connect(cls, settings: Settings, *, refresh: bool = False) -> ElasticLogStore:
        """The store that the settings name; nothing is asked of the cluster yet."""
        return cls(client.connect(settings), settings, refresh=refresh)

    def close(self) -> None:
        """Give up the connections, and the threads that write."""
        self._bulk.close()
        self._client.close()

    def append(
        self, events: Sequence[Event], lines: Sequence[bytes] | None = None, *, fresh: bool = False
    ) -> list[Refusal]:
        self._ensure_templates()
        return self._bulk.append(events, lines, fresh=fresh)

    def watermark(self, model: str) -> datetime | None:
        hits = self._reader.hits("prediction", questions.newest_time(model))
        return answers.instant_of(hits[0]["sort"][0]) if hits else None

    def first(self, model: str, version: int, after: Cursor) -> Cursor | None:
        return self.cut(model, version, after, 1)

    def cut(self, model: str, version: int, after: Cursor, size: int) -> Cursor | None:
        filters = [*questions.production(model, version), *questions.behind(after)]
        for interval, length in INTERVALS:  # Elasticsearch sorts all that match, so they are few before it has to
            answer = self._reader.ask("prediction", questions.counts(filters, interval), repeated=True)
            for start, rows in answers.counts_by_time(answer).items():
                if size <= rows:
                    filters += questions.between(Cursor.before(start), Cursor.before(start + length))
                    break
                size -= rows
            else:
                return None
            if rows <= PAGE:
                break
        hit = self._place(filters, size)
        return answers.cursor_of(hit) if hit is not None else None

    def _place(self, filters: questions.Filters, number: int) -> answers.Hit | None:
        if number <= PAGE:
            hits = self._reader.hits("prediction", questions.place(filters, number))
        else:
            hits = self._reader.first("prediction", questions.in_order(filters), number)[number - 1 :]
        return hits[0] if hits else None

    def sample(self, span: Span, k: int, texts: Sequence[str] = ()) -> Sample:
        rows = self._rollups.rows(span)
        body = partial(questions.smallest_with_texts, texts) if texts else questions.smallest
        hits = self._smallest(questions.within(span), body, k, rows) if k else []
        rows = len(hits) if len(hits) < k else max(rows, len(hits))
        frame = answers.sample_frame(hits, texts)
        labels = self._last_labels(span.model, frame["id"].tolist())
        labelled = round(len(labels) / len(frame) * rows) if len(frame) else 0
        return Sample(frame=answers.with_labels(frame, labels), rows=rows, labelled=labelled)

    def _smallest(self, filters: questions.Filters, body: questions.Smallest, k: int, rows: int) -> list[answers.Hit]:
        """The k hits with the smallest sample keys, of so many rows: looked for where they are all but certainly."""
        share = questions.key_share(k, rows) if rows > k else 1.0
        if share < 1:
            found = self._reader.first("prediction", body([*filters, questions.keys_below(share)], k), k)
            if len(found) == k:
                return found
        return self._reader.first("prediction", body(filters, k), k)

    def _last_labels(self, model: str, ids: Sequence[str]) -> dict[str, float]:
        labels: dict[str, float] = {}
        for chunk in _chunks(ids, LOOKED_UP):
            labels |= answers.labels_of(self._reader.hits("label", questions.last_labels(model, chunk)))
        return labels

    def rollup(self, span: Span) -> Rollup:
        return self._rollups.rollup(span)

    def labelled_after(self, model: str, event_time: datetime) -> int:
        filters = [*questions.answered(model), questions.later_than(event_time)]
        rows = self._reader.count("prediction", questions.count(filters))
        if rows > EXACT_LABELS:
            filters.append(questions.keys_below(questions.key_share(EXACT_LABELS, rows)))
        looked_at = labelled = 0
        for page in self._reader.pages("prediction", questions.smallest_ids(filters, PAGE)):
            labelled += self._labelled(model, answers.ids_of(page))
            looked_at += len(page)
            if rows > EXACT_LABELS and _is_known(labelled, looked_at):
                break
        return round(labelled / looked_at * max(rows, looked_at)) if looked_at else 0

    def compare(self, model: str, champion: int, challenger: int, since: datetime, k: int) -> Paired:
        filters = [*questions.scored_by_both(model, champion, challenger), questions.observed_from(since)]
        rows = self._reader.count("prediction", questions.count(filters))
        failed = self._reader.count("prediction", questions.count([*filters, questions.unscored_by(challenger)]))
        most = rows if rows <= EXACT_LABELS else max(LEAST_PAIRS, PAIRS_A_ROW * k)
        hits = self._smallest(filters, questions.smallest_pairs, most, rows) if rows else []
        pairs = answers.pair_frame(hits, champion)
        scored = pairs.dropna(subset=["champion", "challenger"])
        labelled = self._labelled(model, scored["id"].tolist())
        return Paired(
            rows=rows,
            failed=failed,
            labelled=round(labelled / len(hits) * max(rows, len(hits))) if hits else 0,
            frame=self._labelled_pairs(model, scored, k),
            champion_ms_p99=_p99(pairs["champion_ms"]),
            challenger_ms_p99=_p99(pairs["challenger_ms"]),
        )

    def _labelled_pairs(self, model: str, scored: pd.DataFrame, k: int) -> pd.DataFrame:
        """The first k rows that have a label, with it."""
        labels: dict[str, float] = {}
        for ids in _chunks(scored["id"].tolist(), LOOKED_UP):
            labels |= self._last_labels(model, ids)
            if len(labels) >= k:
                break
        frame = scored[scored["id"].isin(labels)][:k]
        frame = frame.assign(label=frame["id"].map(labels).astype(np.float64))
        return frame[["label", "champion", "challenger"]].reset_index(drop=True)

    def _labelled(self, model: str, ids: Sequence[str]) -> int:
        """How many of these predictions have a label."""
        return sum(
            answers.labelled_of(self._reader.ask("label", questions.labelled(model, chunk)))
            for chunk in _chunks(ids, PAGE)
        )

    def predictions(self, model: str, observed_from: datetime) -> Iterator[pd.DataFrame]:
        filters = [*questions.answered(model), questions.observed_from(observed_from)]
        pages = self._reader.pages("prediction", questions.oldest(filters, "driftgate.raw"))
        return map(answers.served_frame, pages)

    def labels(self, model: str, observed_from: datetime) -> Iterator[pd.DataFrame]:
        filters = [*questions.of_model(model), questions.observed_from(observed_from)]
        shown = (questions.PREDICTION_ID, questions.LABEL)
        return map(answers.label_frame, self._reader.pages("label", questions.oldest(filters, *shown)))

    def events(self, model: str, kind: str, limit: int) -> list[Event]:
        hits = self._reader.first(kind, questions.newest(questions.of_model(model)), limit)
        return answers.events_of(hits)

    def _ensure_templates(self) -> None:
        """A stream is made by the first document that comes: its template has to be there before."""
        if self._set_up:
            return
        with self._setting_up:
            if not self._set_up:
                streams.setup(self._client, self._settings)
                self._set_up = True


def _is_known(labelled: int, looked_at: int) -> bool:
    """Whether the share of labelled predictions has a standard error that is small beside it."""
    return labelled > 0 and math.sqrt((1 - labelled / looked_at) / labelled) <= WELL_KNOWN


def _p99(times: pd.Series[float]) -> float | None:
    timed = times.dropna()
    return float(timed.quantile(0.99)) if len(timed) else None


def _chunks(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
