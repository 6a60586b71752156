"""The shipper: moves each spooled line to the log store or to the dead letters, and none to nowhere.

The order of steps makes kill -9 harmless at any point: store (it takes no id twice), then dead letters (they
take no line twice), then the offset.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from observability.events import Event, EventRefused, LabelEvent, parse
from observability.ports import LogStore, LogStoreUnavailable
from observability.spool.dead_letters import DeadLetter, DeadLetters
from observability.spool.reader import SpoolLine, SpoolReader

LOG: Final = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS: Final = 0.25
_LONGEST_PAUSE_SECONDS: Final = 30.0


class TooMuchPoison(RuntimeError):
    """So many lines are refused that something is misconfigured: shipping stops, all is kept in the spool."""


@dataclass(frozen=True)
class PoisonWindow:
    """The last lines, refused or not, and how many may be refused (arroyo's DlqLimit).

    >>> PoisonWindow(share=0.5, size=4).after([True, True, False])
    PoisonWindow(share=0.5, size=4, recent=(True, True, False))
    """

    share: float = 0.05
    size: int = 1_000
    recent: tuple[bool, ...] = ()

    def after(self, outcomes: Iterable[bool], reasons: Sequence[str] = ()) -> PoisonWindow:
        """The window after these lines. Raises TooMuchPoison where the limit was passed at any of them."""
        recent = [*self.recent, *outcomes]
        refused = 0
        for place, poison in enumerate(recent):
            refused += poison - (recent[place - self.size] if place >= self.size else False)
            if refused > self.share * self.size:
                raise TooMuchPoison(
                    f"more than {self.share:.0%} of the last {self.size} lines were refused, most often for"
                    f" {_most_frequent(reasons)}; nothing is lost, shipping stands still. Correct what writes"
                    " them, or raise OBSERVABILITY_POISON_SHARE to set them aside as dead letters"
                )
        return PoisonWindow(self.share, self.size, tuple(recent[-self.size :]))


@dataclass(frozen=True)
class Shipped:
    """What one round did."""

    indexed: int = 0
    dead_lettered: int = 0

    @property
    def lines(self) -> int:
        return self.indexed + self.dead_lettered


class Shipper:
    """The one that moves lines from a spool to a store."""

    def __init__(
        self,
        reader: SpoolReader,
        store: LogStore,
        dead_letters: DeadLetters,
        *,
        batch_lines: int = 5_000,
        ahead: timedelta | None = timedelta(minutes=5),
        poison: PoisonWindow | None = None,
    ) -> None:
        self._reader = reader
        self._store = store
        self._dead_letters = dead_letters
        self._batch_lines = batch_lines
        self._ahead = ahead
        self._poison = poison or PoisonWindow()

    def ship_once(self) -> Shipped:
        """Move one batch. Raises LogStoreUnavailable or TooMuchPoison; the offset then stands still."""
        batch = self._reader.next_batch(self._batch_lines)
        if not batch.lines:
            self._reader.delete_shipped()
            return Shipped()
        reasons = self._store_what_can_be(batch.lines)
        poison = self._poison.after((line in reasons for line in batch.lines), list(reasons.values()))
        self._dead_letters.add([DeadLetter.of(line, reason) for line, reason in reasons.items()])
        self._reader.commit(batch, Counter(line.key for line in reasons))
        self._poison = poison
        self._reader.delete_shipped()
        return Shipped(indexed=len(batch.lines) - len(reasons), dead_lettered=len(reasons))

    def run(self, stop: threading.Event, *, linger_seconds: float = 0.5) -> None:
        """Ship until told to stop, patiently while the store does not answer. Raises TooMuchPoison."""
        pause = _FIRST_PAUSE_SECONDS
        while not stop.is_set():
            try:
                shipped = self.ship_once()
            except (LogStoreUnavailable, OSError) as error:
                LOG.warning("shipping waits %.2f s: %s", pause, error)
                stop.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                continue
            pause = _FIRST_PAUSE_SECONDS
            if shipped.lines < self._batch_lines // 2:
                stop.wait(linger_seconds)

    def _store_what_can_be(self, lines: Sequence[SpoolLine]) -> dict[SpoolLine, str]:
        """Append the lines that are events; the others, and those the store refuses, come back with why."""
        reasons: dict[SpoolLine, str] = {}
        events: list[tuple[SpoolLine, Event]] = []
        for line in lines:
            try:
                events.append((line, self._admitted(line)))
            except EventRefused as error:
                reasons[line] = str(error)
        refusals = {refusal.event_id: refusal.reason for refusal in self._store.append([e for _, e in events])}
        reasons |= {line: refusals[event.id] for line, event in events if event.id in refusals}
        return reasons

    def _admitted(self, line: SpoolLine) -> Event:
        if line.torn:
            raise EventRefused("event: half a line, left by a writer that died")
        event = parse(line.data)
        happened = event.label_time if isinstance(event, LabelEvent) else event.event_time
        if self._ahead is not None and happened - event.observed_time > self._ahead:
            raise EventRefused(f"event_time: more than {self._ahead} ahead of the time it was observed")
        return event


def _most_frequent(reasons: Sequence[str]) -> str:
    common = Counter(reasons).most_common(1)
    return f"{common[0][0]!r} ({common[0][1]} times)" if common else "unknown"
