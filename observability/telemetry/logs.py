"""One set-up of logging for every process: JSON lines in ECS names on stderr, and the same lines into the log store.

Access lines are written by none: requests are counted in the metrics, what a change did is in the audit chain under
the id of its request, each prediction is an event that bears it, and what failed is logged with its stack trace.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import ecs_logging

from observability.telemetry.requests import REQUEST_ID
from observability.telemetry.secrets import without_secrets
from observability.telemetry.settings import LogSettings
from observability.telemetry.spooling import LEVELS, SpoolHandler, level_of, ways_of

TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
#: of what the library would write, this says nothing more, or is not in the schema of the spool's lines
_LEFT_OUT: Final = ("log.original", "log.origin", "process.name", "process.thread", "color_message", "taskName")
#: these write through handlers of their own, in another form
_OWN_HANDLERS: Final = ("bentoml", "circus", "uvicorn", "uvicorn.access", "uvicorn.asgi", "uvicorn.error")
#: these say at every step what they do; httpx and httpcore name whole addresses
_CHATTY: Final = (
    "alembic", "apscheduler", "elastic_transport", "httpcore", "httpx", "mlflow", "py4j", "pyspark", "urllib3",
    "uvicorn", "uvicorn.access", "uvicorn.error",
)  # fmt: skip


class EcsFormatter(ecs_logging.StdlibFormatter):
    """A line of JSON in ECS names, with the service, the host, and the id of the request where there is one."""

    def __init__(self, service: str, host: str) -> None:
        said = {"service.name": service, "host.name": host, "event.dataset": "driftgate.service"}
        super().__init__(exclude_fields=_LEFT_OUT, ensure_ascii=False, extra=said)

    def format_to_ecs(self, record: logging.LogRecord) -> dict[str, Any]:
        line: dict[str, Any] = super().format_to_ecs(record)
        if (name := REQUEST_ID.get()) is not None:
            line["http"] = {"request": {"id": name}}
        return line

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


class TextFormatter(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        name = REQUEST_ID.get()
        return without_secrets(super().format(record)) + (f" [request {name}]" if name is not None else "")


class LineCounter(logging.Handler):
    """Counts lines by level."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = Counter({level: 0 for level in LEVELS.values()})

    def emit(self, record: logging.LogRecord) -> None:
        self.lines[level_of(record)] += 1


class Logs:
    """The logging of a process, from `set_up_logging` until it is closed."""

    def __init__(self, counter: LineCounter, spooled: SpoolHandler | None) -> None:
        self._counter = counter
        #: None where no line goes into the spool
        self.spooled = spooled

    @property
    def lines(self) -> Mapping[str, int]:
        """How many were written, by level."""
        return self._counter.lines

    @property
    def refused(self) -> Mapping[str, int]:
        """How many of these should have gone into the spool and did not, by why."""
        return self.spooled.refused if self.spooled is not None else {}

    def close(self) -> None:
        """Give what waits to the spool. Lines on stderr go on."""
        if self.spooled is not None:
            logging.getLogger().removeHandler(self.spooled)
            self.spooled.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def set_up_logging(
    service: str, spool: Path | None, settings: LogSettings | None = None, stream: IO[str] | None = None
) -> Logs:
    """From now on all that this process logs has one form, and its lines reach the log store through this spool.

    `service` is control, monitor, shipper, serving or training. Whatever was set up before is replaced.
    """
    settings, out = settings or LogSettings(), stream or sys.stderr
    host = socket.gethostname()
    writing = logging.StreamHandler(out)
    as_text = settings.format == "text" or (settings.format == "auto" and out.isatty())
    writing.setFormatter(TextFormatter(TEXT) if as_text else EcsFormatter(service, host))
    spooled = None
    if spool is not None and settings.spool != "off":
        ways = ways_of(service, settings.spool)
        spooled = SpoolHandler(spool, service, host, ways, quota_bytes=settings.spool_quota_bytes)
    counter = LineCounter()
    written = logging.getLevelNamesMapping()[settings.level.upper()]
    for handler in (writing, counter):
        handler.setLevel(written)
    handlers = [writing, counter, *([spooled] if spooled else [])]
    logging.basicConfig(level=min(handler.level for handler in handlers), handlers=handlers, force=True)
    _quieten()
    return Logs(counter, spooled)


def _quieten() -> None:
    for name in _OWN_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
