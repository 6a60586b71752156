"""Log lines on their way into the spool, as events of the kind `service`. Whoever logs never waits for it.

A line about writing the spool would be the cause of the next one: those go to stderr only. The shipper moves its own
lines too, so that each could be the cause of another: of it only warnings are spooled, and at most one a second.
"""

from __future__ import annotations

import logging
import queue
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from observability.documents import document_of
from observability.ids import new_id
from observability.spool.writer import SpoolError, SpoolFull, SpoolWriter
from observability.telemetry.requests import REQUEST_ID
from observability.telemetry.secrets import without_secrets

#: lines that may wait; so many more are refused
QUEUE_LINES: Final = 10_000
#: lines that are written together
_BATCH: Final = 500
_LONGEST_MESSAGE: Final = 8_192
_LONGEST_TRACE: Final = 16_384
#: they speak of the spool itself
_NEVER: Final = ("observability.spool.writer", "observability.telemetry")
LEVELS: Final[Mapping[int, str]] = {
    logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error",
    logging.CRITICAL: "critical",
}  # fmt: skip


@dataclass(frozen=True)
class Ways:
    """From which level on lines are spooled, and how many a second, after so many at once."""

    level: int
    per_second: float
    burst: float


def ways_of(service: str, level: str) -> Ways:
    """What holds for a service.

    >>> ways_of("shipper", "info")
    Ways(level=30, per_second=1.0, burst=60.0)
    """
    least = logging.getLevelNamesMapping()[level.upper()]
    if service == "shipper":
        return Ways(max(least, logging.WARNING), 1.0, 60.0)
    return Ways(least, 100.0, 2_000.0)


class Allowance:
    """A token bucket: so many a second, after a burst."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second, self._burst = per_second, burst
        self._left, self._at = burst, float("-inf")

    def take(self, now: float) -> bool:
        """Whether one more may pass at this second."""
        gained = 0.0 if self._at == float("-inf") else max(0.0, now - self._at) * self._per_second
        self._left, self._at = min(self._burst, self._left + gained), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class SpoolHandler(logging.Handler):
    """Writes lines to the first free folder `<service>-log-N` of the spool, from a thread of its own.

    What is refused is counted by why: `queue` (they came too fast), `rate` (too many a second), `spool` (it is full or
    cannot be written). They still are on stderr.
    """

    def __init__(
        self,
        spool: Path,
        service: str,
        host: str,
        ways: Ways,
        *,
        quota_bytes: int = 64 << 20,
        queue_lines: int = QUEUE_LINES,
        claim: Callable[..., SpoolWriter] = SpoolWriter.claim,
    ) -> None:
        super().__init__(ways.level)
        self.refused: Counter[str] = Counter({"queue": 0, "rate": 0, "spool": 0})
        self._service, self._host = service, host
        self._allowance = Allowance(ways.per_second, ways.burst)
        self._open = partial(claim, spool, f"{service}-log", quota_bytes=quota_bytes)
        self._lines: queue.Queue[bytes | None] = queue.Queue(queue_lines)
        self._thread = threading.Thread(target=self._write_all, name="log-spooler", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Called under the handler's lock."""
        if record.name.startswith(_NEVER):
            return
        if not self._allowance.take(record.created):
            self.refused["rate"] += 1
            return
        try:
            self._lines.put_nowait(service_line(record, self._service, self._host))
        except queue.Full:
            self.refused["queue"] += 1
        except Exception:  # noqa: BLE001 - logging must not end what logs: the standard way is to say it on stderr
            self.handleError(record)

    def close(self) -> None:
        """Write what waits; wait for that two seconds at most."""
        if self._thread.is_alive():
            try:
                self._lines.put(None, timeout=1)
            except queue.Full:
                return super().close()
            self._thread.join(timeout=2)
        return super().close()

    def _write_all(self) -> None:
        writer: SpoolWriter | None = None
        ended = False
        while not ended:
            lines, ended = self._next_lines()
            if not lines:
                continue
            try:
                writer = writer or self._open()
                writer.write(lines)
            except SpoolFull as full:
                self.refused["spool"] += full.refused
            except (SpoolError, OSError):
                self.refused["spool"] += len(lines)
        if writer is not None:
            writer.close()

    def _next_lines(self) -> tuple[list[bytes], bool]:
        """What waits, at least one; and whether nothing will come after."""
        lines: list[bytes] = []
        line = self._lines.get()
        while line is not None:
            lines.append(line)
            if len(lines) == _BATCH:
                return lines, False
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                return lines, False
        return lines, True


def service_line(record: logging.LogRecord, service: str, host: str) -> bytes:
    """The record as a line of the spool."""
    at = datetime.fromtimestamp(record.created, UTC)
    event: dict[str, Any] = {
        "kind": "service", "schema_version": 1, "id": new_id(), "model": "", "event_time": at, "observed_time": at,
        "service": service, "level": level_of(record), "logger": record.name,
        "message": _plain(record.getMessage(), _LONGEST_MESSAGE), "host": host, "process_id": record.process or 0,
        "request_id": REQUEST_ID.get(), "error_type": None, "error_message": None, "stack_trace": None,
    }  # fmt: skip
    return orjson.dumps(document_of({**event, **_error(record)}))


def level_of(record: logging.LogRecord) -> str:
    """The level of the schema that is not above the record's."""
    return next((name for number, name in sorted(LEVELS.items(), reverse=True) if record.levelno >= number), "debug")


def _error(record: logging.LogRecord) -> Mapping[str, str]:
    if not isinstance(record.exc_info, tuple) or record.exc_info[1] is None:
        return {}
    error = record.exc_info[1]
    trace = "".join(traceback.format_exception(error))
    return {
        "error_type": type(error).__name__,
        "error_message": _plain(str(error), _LONGEST_MESSAGE),
        "stack_trace": _plain(trace[-_LONGEST_TRACE:], _LONGEST_TRACE),
    }


def _plain(text: str, longest: int) -> str:
    """Text that can be stored: of bounded length, without secrets, and UTF-8."""
    kept = without_secrets(text[: 2 * longest])[:longest]
    return kept.encode("utf-8", "replace").decode()
