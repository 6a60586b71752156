"""Takes what was committed to the spool, from where it goes to the log store like every other event.

At least once: an entry is marked after it is on the disk, so a crash in between writes it again under the
same event id, and the log store takes an id once.
"""

from __future__ import annotations

from typing import Protocol

from controlplane.store import Store
from controlplane.tables import OutboxEntry
from observability.events import ControlEvent, line_of


class DurableLines(Protocol):
    """Where lines are put on the disk."""

    def put(self, lines: list[bytes]) -> None:
        """Write the lines; they survive a power cut when this returns."""
        ...


def publish(store: Store, lines: DurableLines) -> int:
    """Move what waits, oldest first; returns how many entries that was."""
    entries = store.unpublished()
    if entries:
        lines.put([_line(entry) for entry in entries])
        store.mark_published(entries)
    return len(entries)


def _line(entry: OutboxEntry) -> bytes:
    event = ControlEvent.model_validate(
        {
            "kind": entry.kind,
            "id": entry.event_id,
            "model": entry.model,
            "event_time": entry.event_time,
            "observed_time": entry.recorded_at,
            "body": entry.body,
        }
    )
    return line_of(event)
