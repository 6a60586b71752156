"""Dead letters sent again: once the cause is mended they go through the spool like any other line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from bundle.signature import Frozen
from observability.clock import Clock, SystemClock
from observability.events import EventRefused
from observability.spool.dead_letters import DeadLetter, DeadLetters
from observability.spool.shipper import admitted
from observability.spool.writer import SpoolFull, SpoolWriter

#: the folder in the spool from which they are shipped
WRITER: Final = "retry"
_AT_ONCE: Final = 1_000


class SentAgain(Frozen):
    """What became of the letters that waited."""

    sent: int
    #: those that are no event still, with today's reason
    refused: tuple[DeadLetter, ...] = ()
    #: why no more were sent, where the spool took no more
    stopped: str | None = None


def send_again(
    spool: Path, dead_letters: DeadLetters, clock: Clock | None = None, *, quota_bytes: int = 1 << 30
) -> SentAgain:
    """Offer each waiting letter at the door: what passes is spooled durably and marked, the others stay.

    Killed between the two, a line is spooled twice; the store takes its event once. What the store refuses again
    becomes a new letter, with the line's new place.
    """
    refused: list[DeadLetter] = []
    sent, now = 0, (clock or SystemClock()).now()
    with SpoolWriter.claim(spool, WRITER, quota_bytes=quota_bytes) as writer:
        letters = _admitted(dead_letters.waiting(), now, refused)
        while some := list(islice(letters, _AT_ONCE)):
            written = _spooled(writer, some)
            dead_letters.mark_sent(some[:written])
            sent += written
            if written < len(some):
                return SentAgain(sent=sent, refused=tuple(refused), stopped="the spool is full: start the shipper")
    return SentAgain(sent=sent, refused=tuple(refused))


def _admitted(letters: Iterable[DeadLetter], now: datetime, refused: list[DeadLetter]) -> Iterator[DeadLetter]:
    for letter in letters:
        try:
            admitted(letter.line, now)
        except EventRefused as error:
            refused.append(letter.model_copy(update={"reason": str(error)}))
        else:
            yield letter


def _spooled(writer: SpoolWriter, letters: list[DeadLetter]) -> int:
    """How many of the letters are on the disk again, the first ones of these."""
    taken = len(letters)
    try:
        writer.write([letter.data for letter in letters])
    except SpoolFull as full:
        taken -= full.refused
    writer.write_durably([]).result()
    return taken
