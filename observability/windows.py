"""Windows: spans of one model version's predictions, with ids that follow from what they span."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from bundle.signature import Frozen
from observability.durations import Duration

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime.min.replace(tzinfo=UTC)


class Cursor(NamedTuple):
    """A place in the order of events: event time, then id. A window holds after < event <= until."""

    event_time: datetime
    id: str

    @classmethod
    def before(cls, instant: datetime) -> Cursor:
        """Just before any event of that instant: the empty id sorts first."""
        return cls(instant, "")


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return value


class CountWindows(Frozen):
    """Consecutive windows of a fixed number of predictions, in (event time, id) order."""

    kind: Literal["count"]
    size: int = Field(ge=10)


class TimeWindows(Frozen):
    """Consecutive windows of a fixed length, aligned to the Unix epoch in UTC."""

    kind: Literal["time"]
    every: Annotated[Duration, AfterValidator(_positive)]


class SlidingWindows(Frozen):
    """Windows of a fixed length, one at each step, aligned to the Unix epoch in UTC: they overlap."""

    kind: Literal["sliding"]
    length: Annotated[Duration, AfterValidator(_positive)]
    step: Annotated[Duration, AfterValidator(_positive)]

    @model_validator(mode="after")
    def _steps_fill_the_length(self) -> SlidingWindows:
        if self.length % self.step:
            raise ValueError("length: must be a whole number of steps, so that every prediction is seen equally often")
        return self


WindowSpec = Annotated[CountWindows | TimeWindows | SlidingWindows, Field(discriminator="kind")]


class Segment(NamedTuple):
    """The predictions whose categorical feature has this value."""

    feature: str
    value: str

    @property
    def name(self) -> str:
        """As it stands in window ids, verdicts and pages, such as `carrier=AA`."""
        return f"{self.feature}={self.value}"

    @classmethod
    def named(cls, name: str) -> Segment:
        """The segment of this name; a feature's name holds no `=`."""
        feature, _, value = name.partition("=")
        return cls(feature, value)


class Window(Frozen):
    """One span of one version's predictions, cut once at the watermark and never again."""

    model: str
    version: int
    monitor: str
    after: Cursor
    until: Cursor
    #: of the monitor's declaration: another declaration makes other windows
    spec_digest: str
    #: the name of the segment that is looked at; all of the version's predictions where it is empty
    segment: str = ""

    @property
    def part(self) -> Segment | None:
        """The segment that is looked at; None where it is all of the version's predictions."""
        return Segment.named(self.segment) if self.segment else None

    @property
    def id(self) -> str:
        """Deterministic: the same span under the same declaration has one id, in every replica and replay."""
        parts = (
            *(self.model, str(self.version), self.monitor, self.spec_digest),
            *(self.after.event_time.isoformat(), self.after.id),
            *(self.until.event_time.isoformat(), self.until.id),
            *((self.segment,) if self.segment else ()),
        )
        return "w-" + hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:24]


def time_bounds(every: timedelta, instant: datetime) -> tuple[datetime, datetime]:
    """The start (inclusive) and end (exclusive) of the time window that holds the instant."""
    start = EPOCH + ((instant - EPOCH) // every) * every
    return start, start + every


def time_span_of(every: timedelta, first: Cursor, watermark: datetime) -> tuple[Cursor, Cursor] | None:
    """The ends of the time window that holds this prediction; None while the watermark has not passed it."""
    start, end = time_bounds(every, first.event_time)
    return (Cursor.before(start), Cursor.before(end)) if watermark >= end else None


def sliding_span_of(
    windows: SlidingWindows, first: Cursor, begun: bool, watermark: datetime
) -> tuple[Cursor, Cursor] | None:
    """The ends of the next sliding window, `first` being the first prediction behind the one before it.

    The first window of a version begins with the step of its first prediction, so it is a full one, and no prediction
    is in none. Once that has `begun`, a window ends with the step of the prediction: a step without any makes no
    window, for it would say again what the one before it said. None while the watermark has not passed the window.
    """
    start, end = time_bounds(windows.step, first.event_time)
    if begun:
        start = end - windows.length
    else:
        end = start + windows.length
    return (Cursor.before(start), Cursor.before(end)) if watermark >= end else None


def seasons_before(after: Cursor, until: Cursor, period: timedelta, seasons: int) -> tuple[tuple[Cursor, Cursor], ...]:
    """The same span one period before, two periods before, and so on, the nearest first.

    A window by count may be longer than a period: its seasons are then so many whole periods apart that none holds a
    part of it or of another, and those before the first of all years are left out.
    """
    periods = max(1, -(-(until.event_time - after.event_time) // period))
    known = (after.event_time - _FIRST) // (period * periods)
    shifts = [period * periods * number for number in range(1, min(seasons, known) + 1)]
    return tuple((Cursor.before(after.event_time - shift), Cursor.before(until.event_time - shift)) for shift in shifts)


def directly_before(after: Cursor, length: timedelta) -> tuple[Cursor, Cursor]:
    """The span of this length that ends where a window begins."""
    return Cursor.before(after.event_time - length), after
