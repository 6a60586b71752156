"""Which windows of a version are complete and not cut yet. Nothing is written here."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from controlplane.loop.watch import Watch
from controlplane.tables import Model, Version
from observability.ports import LogStore
from observability.windows import EPOCH, CountWindows, Cursor, SlidingWindows, Window, sliding_span_of, time_span_of
from pipeline.contract.monitorspec import Monitor

#: how long after a version was replaced its last answers may still come
STRAGGLERS: Final = timedelta(hours=1)
BEGINNING: Final = Cursor.before(EPOCH)


class Cut(NamedTuple):
    """A window that is complete, and whose it is."""

    monitor: Monitor
    version: Version
    window: Window


def complete_windows(
    watch: Watch, model: Model, monitors: tuple[Monitor, ...], production: Version, watermark: datetime
) -> Iterator[Cut]:
    """The windows of all monitors that are complete and not cut yet, those that end first before the others.

    Of the version in production, and of each that left it until everything that it answered is cut.
    """
    sequences = []
    for monitor in monitors:
        for version in (*watch.store.replaced_since(model.id, cut_before(model, monitor)), production):
            sequences.append(_sequence(watch, version, monitor, watermark))
    return heapq.merge(*sequences, key=lambda cut: cut.window.until)


def cut_before(model: Model, monitor: Monitor) -> datetime | None:
    """Whatever left production before this, a finished pass saw everything that it answered; None before the first."""
    seen = model.monitored_until
    return seen - (monitor.length + monitor.lateness + STRAGGLERS) if seen is not None else None


def monitor_digest(monitor: Monitor) -> str:
    """Of what decides where windows are cut; a change of thresholds goes on with the same windows."""
    return hashlib.sha256(monitor.window.model_dump_json().encode()).hexdigest()[:16]


def beginning_of(logs: LogStore, window: Window) -> Cursor:
    """Where a window begins: a version's first one by count with its first prediction, not with all time."""
    if window.after > BEGINNING:
        return window.after
    first = logs.first(window.model, window.version, window.after)
    return Cursor.before(first.event_time) if first is not None else window.after


def _sequence(watch: Watch, version: Version, monitor: Monitor, watermark: datetime) -> Iterator[Cut]:
    digest = monitor_digest(monitor)
    place, begun = _place(watch, version, monitor.name, digest, watermark)
    on_time = watermark - monitor.lateness
    while (span := _next_span(watch.logs, version, monitor, place, begun, on_time)) is not None:
        after, place = span
        begun = True
        window = Window(
            model=version.model, version=version.number, monitor=monitor.name, after=after, until=place,
            spec_digest=digest,
        )  # fmt: skip
        yield Cut(monitor, version, window)


def _place(watch: Watch, version: Version, monitor: str, digest: str, watermark: datetime) -> tuple[Cursor, bool]:
    """What is cut already, and whether windows of this declaration lead up to there.

    Where a monitor's windows are declared anew they go on where the ones before them ended: no rule sees the same
    predictions twice, or ones that were judged long ago.
    """
    begins = _beginning(watch, version, watermark)
    last = watch.store.last_window(version.model, version.number, monitor)
    if last is None or last[0] < begins:
        return begins, False
    until, before = last
    return until, before == digest


def _beginning(watch: Watch, version: Version, watermark: datetime) -> Cursor:
    """Where a version's windows begin; those of one that came back begin anew, behind what others answered meanwhile.

    It came back at an instant of the clock, and where event times lag behind that, at the event time that the monitor
    had come to.
    """
    back = version.promoted_at
    if back is None or back == version.first_promoted_at:
        return BEGINNING
    seen = watch.store.seen_before(version.model, version.number, back)
    if seen is None and watermark < back:
        return BEGINNING  # how far events had come nobody knows
    return Cursor.before(min(back, seen or back))


def _next_span(
    logs: LogStore, version: Version, monitor: Monitor, place: Cursor, begun: bool, watermark: datetime
) -> tuple[Cursor, Cursor] | None:
    """The span behind this place, if the watermark has passed it. Windows never begin anew where one was cut."""
    declared = monitor.window
    if isinstance(declared, CountWindows):
        until = logs.cut(version.model, version.number, place, declared.size)
        return (place, until) if until is not None and until.event_time <= watermark else None
    first = logs.first(version.model, version.number, place)
    if first is None:
        return None
    if isinstance(declared, SlidingWindows):
        span = sliding_span_of(declared, first, begun, watermark)
    else:
        span = time_span_of(declared.every, first, watermark)
    return span if span is None or begun else (max(place, span[0]), span[1])
