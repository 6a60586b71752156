"""What the shipper tells: the account of the log path, and whether it goes on."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson
from prometheus_client import CollectorRegistry

from observability.spool.ledger import ledger
from observability.spool.offsets import SpoolOffsets, read_offsets
from observability.spool.reader import writer_folders
from observability.spool.writer import segments_of
from observability.telemetry.metrics import Measure, Read, Values

SPOOLED: Final = Measure("driftgate_events_spooled_total", "counter", "Lines ever written to the spool.")
INDEXED: Final = Measure("driftgate_events_indexed_total", "counter", "Lines that the log store took.")
DEAD: Final = Measure("driftgate_events_dead_lettered_total", "counter", "Lines set aside because they were refused.")
WAITING: Final = Measure("driftgate_events_waiting", "gauge", "Lines in the spool that are not shipped yet.")
UNACCOUNTED: Final = Measure(
    "driftgate_events_unaccounted", "gauge",
    "Spooled less indexed, dead-lettered and waiting: 0, or the log path has lost or invented lines.",
)  # fmt: skip
OLDEST: Final = Measure(
    "driftgate_events_oldest_waiting_seconds", "gauge", "How long the oldest line has waited in the spool; 0 for none."
)
SPOOL_BYTES: Final = Measure("driftgate_spool_bytes", "gauge", "What a writer's segments take.", ("writer",))
FAILURES: Final = Measure(
    "driftgate_shipper_failures_total", "counter", "Batches that could not be moved, by the error: all waits then.",
    ("reason",),
)  # fmt: skip
STOPPED: Final = Measure(
    "driftgate_shipper_stopped", "gauge", "1 while shipping stands still because too many lines were refused."
)
CERTIFICATE: Final = Measure(
    "driftgate_log_store_certificate_expiry_timestamp_seconds", "gauge",
    "When the first certificate of the authority that signed those of the log store's nodes ends.",
)  # fmt: skip
ACCOUNT: Final = (SPOOLED, INDEXED, DEAD, WAITING, UNACCOUNTED, OLDEST, SPOOL_BYTES)
MEASURES: Final = (*ACCOUNT, FAILURES, STOPPED, CERTIFICATE)
_FAILURES: Final = ("DeadLettersFull", "LogStoreUnavailable", "OSError")
#: what else the shipper counts: the account has it
_NO_FAILURES: Final = frozenset({"batches", "indexed", "dead_lettered"})
#: counting the account reads what waits
ACCOUNT_SECONDS: Final = 10.0


class Shipping:
    """The shipper's metrics; `counts` is what it counts itself."""

    def __init__(
        self, registry: CollectorRegistry, spool: Path, counts: Mapping[str, int], ca_certificate: Path | None = None
    ) -> None:
        registry.register(Read((FAILURES,), lambda: {FAILURES: _failures(counts)}, fresh=0.0))
        registry.register(Read(ACCOUNT, lambda: account(spool, time.time()), ACCOUNT_SECONDS))
        registry.register(Read((CERTIFICATE,), lambda: {CERTIFICATE: expiry_of(ca_certificate)}))
        self._stopped = STOPPED.gauge(registry)

    def stands_still(self) -> None:
        """Too much was refused."""
        self._stopped.set(1)


def _failures(counts: Mapping[str, int]) -> Values:
    """From 0 on, so that the first failure is seen as one more."""
    known = {**dict.fromkeys(_FAILURES, 0), **counts}
    return {(name,): float(count) for name, count in known.items() if name not in _NO_FAILURES}


def account(spool: Path, now: float) -> Mapping[Measure, Values | float | None]:
    """The ledger of a spool, what it takes of the disk, and how old what waits is."""
    counted = ledger(spool)
    return {
        SPOOLED: counted.spooled,
        INDEXED: counted.indexed,
        DEAD: counted.dead_lettered,
        WAITING: counted.waiting,
        UNACCOUNTED: counted.unaccounted,
        OLDEST: oldest_waiting(spool, now),
        SPOOL_BYTES: {(folder.name,): float(bytes_of(folder)) for folder in writer_folders(spool)},
    }


def bytes_of(folder: Path) -> int:
    """What a writer's segments take of the disk."""
    return sum(size for path in segments_of(folder) if (size := _size(path)) is not None)


def oldest_waiting(spool: Path, now: float) -> float:
    """For how many seconds the oldest line that is not shipped has been in the spool."""
    offsets = read_offsets(spool)
    since = [at for folder in writer_folders(spool) if (at := _first_waiting(folder, offsets)) is not None]
    return max(0.0, now - min(since)) if since else 0.0


def _first_waiting(folder: Path, offsets: SpoolOffsets) -> float | None:
    """When the first line of a writer that is not shipped was written, about."""
    for segment in segments_of(folder):
        offset = offsets.progress(f"{folder.name}/{segment.name}").offset
        size = _size(segment)
        if size is not None and size > offset:
            return _written_at(segment, offset)
    return None


def _written_at(segment: Path, offset: int) -> float | None:
    try:
        with segment.open("rb") as file:
            file.seek(offset)
            line = file.readline()
        changed = segment.stat().st_mtime
    except FileNotFoundError:  # shipped meanwhile
        return None
    if not line.endswith(b"\n"):
        return changed
    try:
        created = orjson.loads(line)["event"]["created"]
        return _epoch_seconds(created)
    except (ValueError, KeyError, TypeError):  # a line that the shipper will refuse: it has no time of its own
        return changed


def _epoch_seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def expiry_of(ca_certificate: Path | None) -> float | None:
    """When the first of the certificates in a file ends; None where no file is named."""
    if ca_certificate is None:
        return None
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusted.load_verify_locations(ca_certificate)
    ends = [ssl.cert_time_to_seconds(str(each["notAfter"])) for each in trusted.get_ca_certs()]
    return float(min(ends)) if ends else None
