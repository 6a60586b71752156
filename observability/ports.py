"""What observability needs of others, by role. One contract suite runs on every adapter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pandas as pd

from observability.events import Event
from observability.windows import Cursor


@dataclass(frozen=True)
class Refusal:
    """An event that the store will never take, however often it is offered."""

    event_id: str
    reason: str


@dataclass(frozen=True)
class Span:
    """A model's predictions between two cursors, after < prediction <= until; of one version, or of all."""

    model: str
    version: int | None
    after: Cursor
    until: Cursor


@dataclass(frozen=True)
class Sample:
    """The predictions of a span with the k smallest sample keys, and what is exact about the whole span."""

    #: one row a prediction: id, event_time, version, score, prediction, label (NaN where there is none), then
    #: the feature columns; in the order of the sample keys
    frame: pd.DataFrame
    rows: int
    labelled: int


class LogStoreUnavailable(RuntimeError):
    """The store does not answer; nothing is known about its events until it does."""


class LogStore(Protocol):
    """Remembers events and hands out windows of them."""

    def append(self, events: Sequence[Event]) -> list[Refusal]:
        """Store the events durably; one already there counts as stored. Returns those refused for good.

        Raises LogStoreUnavailable where the whole call may be tried again.
        """
        ...

    def watermark(self, model: str) -> datetime | None:
        """The latest event time among the model's predictions; None before the first."""
        ...

    def cut(self, model: str, version: int, after: Cursor, size: int) -> Cursor | None:
        """The size-th prediction of the version behind `after`; None while there are fewer."""
        ...

    def first(self, model: str, version: int, after: Cursor) -> Cursor | None:
        """The first prediction of the version behind `after`."""
        ...

    def sample(self, span: Span, k: int) -> Sample:
        """At most k predictions of the span, each with its latest label."""
        ...

    def labelled_after(self, model: str, event_time: datetime) -> int:
        """How many predictions later than event_time have a label."""
        ...

    def predictions(self, model: str, observed_from: datetime) -> Iterator[pd.DataFrame]:
        """Production predictions answered since an instant: id, event_time, observed_time, the raw fields."""
        ...

    def labels(self, model: str, observed_from: datetime) -> Iterator[pd.DataFrame]:
        """Labels that arrived at or after an instant: prediction_id, label, label_time, observed_time."""
        ...

    def events(self, model: str, kind: str, limit: int) -> list[Event]:
        """The newest events of a kind, newest first."""
        ...
