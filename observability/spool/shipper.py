"""The shipper: moves each spooled line to the log store or to the dead letters, and none to nowhere.

The order of steps makes kill -9 harmless at any point: announcement, store (it takes no id twice), dead letters (they
take no line twice), offset. While the store takes a batch, the next one is read and checked.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from observability.clock import Clock, SystemClock
from observability.events import Event, EventRefused, happened, read_line
from observability.ports import LogStore, LogStoreUnavailable
from observability.spool.dead_letters import DeadLetter, DeadLetters, DeadLettersFull
from observability.spool.poison import PoisonWindow, TooMuchPoison
from observability.spool.reader import Batch, CrashPoint, SpoolLine, SpoolReader, pass_by

LOG: Final = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS: Final = 0.25
_LONGEST_PAUSE_SECONDS: Final = 15.0
#: how often the log says how far shipping is
_TELL_SECONDS: Final = 30.0
#: how much later than it was observed something may have happened, and than now observed: clocks differ by so much, and
#: not by more
AHEAD: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Shipped:
    """What one round did."""

    indexed: int = 0
    dead_lettered: int = 0
    #: more lines were there to be read
    more: bool = False

    @property
    def lines(self) -> int:
        return self.indexed + self.dead_lettered


@dataclass(frozen=True)
class _Checked:
    """A batch behind the door: the events, with their lines, and why the others are none."""

    batch: Batch
    lines: list[SpoolLine] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    refused: dict[SpoolLine, str] = field(default_factory=dict)


class Shipper:
    """The one that moves lines from a spool to a store."""

    def __init__(
        self,
        reader: SpoolReader,
        store: LogStore,
        dead_letters: DeadLetters,
        *,
        batch_lines: int = 5_000,
        ahead: timedelta | None = AHEAD,
        poison: PoisonWindow | None = None,
        clock: Clock | None = None,
        at: Callable[[CrashPoint], None] = pass_by,
    ) -> None:
        self._reader = reader
        self._store = store
        self._dead_letters = dead_letters
        self._batch_lines = batch_lines
        self._ahead = ahead
        self._poison = (poison or PoisonWindow()).resumed(reader.outcomes)
        self._clock = clock or SystemClock()
        self._at = at
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="spool-read")
        self._following: _Checked | None = None
        #: since the start: lines `indexed` and `dead_lettered`, `batches`, and failed rounds by the error's name
        self.counts: Counter[str] = Counter()

    def ship_once(self) -> Shipped:
        """Move one batch. Raises LogStoreUnavailable, DeadLettersFull, TooMuchPoison, OSError: all waits then."""
        try:
            shipped = self._ship()
        except (LogStoreUnavailable, DeadLettersFull, TooMuchPoison, OSError) as error:
            self.counts[type(error).__name__] += 1
            raise
        self.counts.update(batches=bool(shipped.lines), indexed=shipped.indexed, dead_lettered=shipped.dead_lettered)
        return shipped

    def run(self, stop: threading.Event, *, linger_seconds: float = 0.5) -> None:
        """Ship until told to stop, patiently while the store does not answer. Raises TooMuchPoison.

        A batch that is under way when it is told to stop is finished.
        """
        failures, told_at, moved = 0, time.monotonic(), 0
        while not stop.is_set():
            try:
                shipped = self.ship_once()
            except (LogStoreUnavailable, DeadLettersFull, OSError) as error:
                pause = pause_after(failures, random.random())  # noqa: S311 - no secret
                failures += 1
                LOG.warning("shipping waits %.2f s, %s: %s", pause, self._waiting(), error)
                stop.wait(pause)
                continue
            if failures and shipped.lines:
                LOG.info("shipping goes on after %d failed attempts, %s", failures, self._waiting())
                failures = 0
            moved += shipped.lines
            if moved and (elapsed := time.monotonic() - told_at) >= _TELL_SECONDS:
                LOG.info("shipped %d lines, %.0f a second, %s", moved, moved / elapsed, self._waiting())
                told_at, moved = time.monotonic(), 0
            if not shipped.more:
                stop.wait(linger_seconds)

    def _ship(self) -> Shipped:
        checked, self._following = self._following or self._check(self._reader.next_batch(self._batch_lines)), None
        if not checked.batch.lines:
            self._reader.delete_shipped()
            return Shipped()
        self._reader.announce(checked.batch)
        reading = self._read_ahead(checked.batch)
        try:
            reasons = self._offer(checked)
        finally:
            following = reading.result() if reading else None  # nobody reads while offsets move or files are deleted
        self._at("stored")
        self._settle(checked.batch, reasons, following)
        self._following = following
        self._reader.delete_shipped()
        dead = len(reasons)
        return Shipped(indexed=len(checked.batch.lines) - dead, dead_lettered=dead, more=checked.batch.more)

    def _settle(self, batch: Batch, reasons: dict[SpoolLine, str], following: _Checked | None) -> None:
        poison = self._poison.after([line in reasons for line in batch.lines], list(reasons.values()))
        if reasons:
            self._dead_letters.add([DeadLetter.of(line, reasons[line]) for line in batch.lines if line in reasons])
            self._at("set aside")
        dead_lettered = Counter(line.key for line in reasons)
        self._reader.commit(batch, dead_lettered, following.batch if following else None, poison.saved)
        self._poison = poison

    def _offer(self, checked: _Checked) -> dict[SpoolLine, str]:
        """Append what is an event; what is none, and what the store refuses, comes back with why."""
        refused = self._store.append(checked.events, checked.data, fresh=checked.batch.fresh)
        if not refused:
            return checked.refused
        reasons = {refusal.event_id: refusal.reason for refusal in refused}
        pairs = zip(checked.lines, checked.events, strict=True)
        return checked.refused | {line: reasons[event.id] for line, event in pairs if event.id in reasons}

    def _read_ahead(self, batch: Batch) -> Future[_Checked] | None:
        if not batch.more:
            return None
        return self._reading.submit(lambda: self._check(self._reader.next_batch(self._batch_lines, batch)))

    def _check(self, batch: Batch) -> _Checked:
        checked, now = _Checked(batch), self._clock.now()
        for line in batch.lines:
            try:
                event, data = admitted(line, now, self._ahead)
            except EventRefused as error:
                checked.refused[line] = str(error)
            else:
                checked.lines.append(line)
                checked.events.append(event)
                checked.data.append(data)
        return checked

    def _waiting(self) -> str:
        return f"{self._reader.waiting_bytes() / (1 << 20):.1f} MiB wait"


def admitted(line: SpoolLine, now: datetime, ahead: timedelta | None = AHEAD) -> tuple[Event, bytes]:
    """The event in a line, and its document: the door of the log path. Raises EventRefused with the reason.

    One event of a clock that runs ahead would make all others old: to retention, and to whoever waits for a window's
    end. Times of the past are taken, whatever they are: a replay has them.
    """
    if line.torn:
        raise EventRefused("event: half a line, left by a writer that died")
    event, data = read_line(line.data)
    if ahead is not None and happened(event) - event.observed_time > ahead:
        raise EventRefused(f"event_time: more than {ahead} ahead of the time it was observed")
    if ahead is not None and event.observed_time - now > ahead:
        raise EventRefused(f"observed_time: more than {ahead} ahead of this machine's clock: set the clocks right")
    return event, data


def pause_after(failures: int, drawn: float) -> float:
    """Seconds to wait after so many failures before this one: twice as long each time, and not all at once.

    >>> [pause_after(failures, 1.0) for failures in (0, 1, 2, 20)]
    [0.25, 0.5, 1.0, 15.0]
    >>> pause_after(2, 0.0)
    0.5
    """
    longest = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 20), _LONGEST_PAUSE_SECONDS)
    return longest * (0.5 + drawn / 2)
