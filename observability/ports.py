"""What observability needs of others, by role. One contract suite runs on every adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from observability.events import Event
from observability.rollups import Rollup
from observability.windows import Cursor, Segment

if TYPE_CHECKING:
    import pandas as pd  # whoever only names a sample need not wait for it

#: predictions up to which labels are counted one by one
EXACT_LABELS: Final = 50_000
#: predictions that are read at most to find those of a segment
READ_ROWS: Final = 500_000
#: under which column of a sample, or of a reference, a raw text field stands: no feature can have the name
TEXT_PREFIX: Final = "text:"


@dataclass(frozen=True)
class Refusal:
    """An event that the store will never take, however often it is offered."""

    event_id: str
    reason: str


@dataclass(frozen=True)
class Span:
    """A model's production predictions between two cursors, after < prediction <= until.

    Of one version, or of all; of one segment, or of all.
    """

    model: str
    version: int | None
    after: Cursor
    until: Cursor
    segment: Segment | None = None


@dataclass(frozen=True)
class Sample:
    """The predictions of a span with the k smallest sample keys, and how many the whole span holds."""

    #: one row a prediction: id, event_time, version, score, prediction, label (NaN where there is none), then
    #: the feature columns, and a column `text:<field>` of each raw text field that was asked for; in the order of the
    #: sample keys
    frame: pd.DataFrame
    #: predictions of the span, exact
    rows: int
    #: of these, those with a label; where the sample is not the whole span: the sample's share of all rows
    labelled: int


@dataclass(frozen=True)
class Paired:
    """Two versions on the same rows: what each said, and what it took them.

    A latency is that of the scoring in a request, once for each of its rows. How many are labelled, and the latencies,
    are exact up to EXACT_LABELS rows; beyond, they are those of the rows with the smallest sample keys.
    """

    #: predictions in which both took part, whoever answered
    rows: int
    #: of these, those that the challenger could not score
    failed: int
    #: of these, those that both scored and that have a label
    labelled: int
    #: the columns label, champion and challenger (scores) of the labelled rows with the smallest sample keys
    frame: pd.DataFrame
    #: None where no such scoring was timed
    champion_ms_p99: float | None
    challenger_ms_p99: float | None


def text_of(raw: Mapping[str, Any], field: str) -> str | None:
    """A raw field as a sample shows it."""
    value = raw.get(field)
    return value if isinstance(value, str) else None


class LogStoreUnavailable(RuntimeError):
    """The store does not answer; nothing is known about its events until it does."""


class LogStore(Protocol):
    """Remembers events and hands out windows of them, at a cost that does not grow with what it holds.

    What a question reads is bounded by k, and by how many minutes (rollups) or files the span touches; never by its
    predictions: samples are found by their keys, counts come from rollups.

    A row of the role `canary` is the answer of a challenger that is not yet promoted. It is the truth of what callers
    were told, so retraining learns from it; windows leave it out, because a monitor watches the version in production,
    and a canary's share of the traffic would be measured against a reference that it is being compared with anyway.
    """

    def append(
        self, events: Sequence[Event], lines: Sequence[bytes] | None = None, *, fresh: bool = False
    ) -> list[Refusal]:
        """Store the events durably; one already there counts as stored. Returns those refused for good.

        `lines` are the same events as they stood in the spool, checked: a store of documents may take these bytes
        and need not encode each event anew. `fresh` says that none of them was ever offered before, not by a call that
        failed and not by a process that died: a store that must look for an id before it writes it need not.
        Raises LogStoreUnavailable where the whole call may be tried again.
        """
        ...

    def watermark(self, model: str) -> datetime | None:
        """The latest event time among the model's predictions, of whatever role; None before the first.

        A canary's answer says as much about how far the traffic has come as any other.
        """
        ...

    def cut(self, model: str, version: int, after: Cursor, size: int) -> Cursor | None:
        """The size-th production prediction of the version behind `after`; None while there are fewer."""
        ...

    def first(self, model: str, version: int, after: Cursor) -> Cursor | None:
        """The first production prediction of the version behind `after`."""
        ...

    def sample(self, span: Span, k: int, texts: Sequence[str] = ()) -> Sample:
        """At most k predictions of the span, each with its latest label, and with these of its raw fields as text.

        Of a segment in a span of more than READ_ROWS predictions they may be fewer than k, though there are more: those
        among the READ_ROWS with the smallest keys, so a rare segment costs no more, and its sample stays uniform.
        """
        ...

    def rollup(self, span: Span) -> Rollup:
        """What is exact about the span's predictions: how many, missing values by feature, latencies.

        A span of a segment is counted like any other. Its missing values and latencies are those of its predictions:
        of the EXACT_LABELS with the smallest sample keys, scaled up, where it holds more. An empty text is missing too.
        """
        ...

    def labelled_after(self, model: str, event_time: datetime) -> int:
        """How many answered predictions later than event_time have a label, canary answers among them.

        Exact up to EXACT_LABELS such predictions; beyond, counted on those with the smallest sample keys and scaled up
        (a relative standard error below 1 %).
        """
        ...

    def compare(self, model: str, champion: int, challenger: int, since: datetime, k: int) -> Paired:
        """Two versions on the rows that both were asked, observed at or after an instant; at most k of them labelled.

        The rows are those with the smallest sample keys, each with its last label by label time.
        """
        ...

    def predictions(self, model: str, observed_from: datetime) -> Iterator[pd.DataFrame]:
        """Predictions answered since an instant, a canary's too: id, event_time, observed_time, the raw fields."""
        ...

    def labels(self, model: str, observed_from: datetime) -> Iterator[pd.DataFrame]:
        """Labels that arrived at or after an instant: prediction_id, label, label_time, observed_time."""
        ...

    def events(self, model: str, kind: str, limit: int) -> list[Event]:
        """The newest events of a kind, newest first."""
        ...
