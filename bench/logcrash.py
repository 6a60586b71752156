"""Every line reaches Elasticsearch once, though processes die, calls time out and the store is away.

`python -m bench.logcrash [--short | --full] [--url URL] [--seed N]`. Real writers and the real shipper, killed with
SIGKILL from outside and at named points of the shipper's code; a real Elasticsearch behind a proxy that lets calls time
out before and after they are applied, breaks connections, and answers 429 (calls and items) and 503; data streams roll
over meanwhile. 1 % of the lines are poison.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from bench.form import Claim, show
from bench.logcrash_stage.plan import POISON, Plan
from bench.logcrash_stage.stage import Stage
from bench.logcrash_stage.verdict import judge, look
from tests.servers.elastic import ElasticsearchServer
from tests.servers.faulty_proxy import FaultyProxy

DRAIN_BAR: Final = 300.0


@dataclass(frozen=True)
class Size:
    """How much, how long, and how many processes die."""

    events: int
    outage_events: int
    seconds: float
    outage_seconds: float
    kills: int
    batch_lines: int = 200
    timeout_seconds: int = 1


SIZES: Final[Mapping[str, Size]] = {
    "short": Size(18_500, 1_500, seconds=25, outage_seconds=4, kills=40),
    "default": Size(18_000, 2_000, seconds=75, outage_seconds=10, kills=150),
    "full": Size(880_000, 120_000, seconds=900, outage_seconds=600, kills=500, batch_lines=5_000, timeout_seconds=5),
}


@contextmanager
def elasticsearch(url: str | None) -> Iterator[str]:
    """The address of a real one: the one that was named, or one of our own."""
    if url is not None:
        yield url
        return
    server = ElasticsearchServer()
    try:
        server.start()
        yield server.url
    finally:
        server.close()


def planned(folder: Path, url: str, proxy: str, size: str, seed: int) -> Plan:
    asked = SIZES[size]
    return Plan(
        folder=folder, proxy=proxy, elasticsearch=url, namespace=f"crash{time.time_ns():x}", seed=seed,
        events=asked.events, outage_events=asked.outage_events, seconds=asked.seconds,
        outage_seconds=asked.outage_seconds, kills=asked.kills, batch_lines=asked.batch_lines,
        timeout=timedelta(seconds=asked.timeout_seconds),
        segment_bytes=150_000 if asked.batch_lines < 1_000 else 2_000_000,
    )  # fmt: skip


def played(url: str, size: str, seed: int, keep: Path | None) -> dict[str, Any]:
    """The figures of one run."""
    folder = Path(tempfile.mkdtemp(prefix="bench-logcrash-", dir=keep))
    proxy = FaultyProxy(url, seed)
    try:
        plan = planned(folder, url, proxy.url, size, seed)
        begun = time.monotonic()
        stage = Stage(plan, proxy)
        measured = stage.play()
        faults = {fault.value: count for fault, count in sorted(proxy.happened.items())}
        return {
            **judge(look(plan)), **measured, "kills": stage.kills.total(), "kills_by_kind": dict(stage.kills),
            "faults": faults, "bulk_calls": proxy.calls, "seconds": round(time.monotonic() - begun, 1),
        }  # fmt: skip
    finally:
        proxy.close()
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def claims(figures: Mapping[str, Any], size: str) -> list[Claim]:
    """What the figures should hold, on whatever machine."""
    asked = SIZES[size]
    least = POISON * figures["events"] / 2
    return [
        Claim.of("events spooled", figures["events"], ">=", asked.events + asked.outage_events),
        Claim.of("SIGKILLs of writers and shippers", figures["kills"], ">=", asked.kills),
        Claim.of("events in Elasticsearch more than once", figures["duplicates"], "==", 0),
        Claim.of("lines unaccounted for", figures["unaccounted"], "==", 0),
        Claim.of("lines both indexed and set aside", figures["indexed_and_dead"], "==", 0),
        Claim.of("dead letters, of the poison", figures["dead_lettered"], ">=", least),
        Claim.of("lines that wait after the end", figures["waiting"], "==", 0),
        Claim.of("seconds to drain after the outage", figures["drained_s"], "<=", DRAIN_BAR),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.logcrash")
    parser.add_argument("--short", dest="size", action="store_const", const="short", default="default")
    parser.add_argument("--full", dest="size", action="store_const", const="full")
    parser.add_argument("--url", help="an Elasticsearch to use; else one is started")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder in which all that was written stays")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no process of the stage outlives it
    with elasticsearch(asked.url) as url:
        figures = {"seed": asked.seed, **played(url, asked.size, asked.seed, asked.keep)}
    return show("logcrash", figures, claims(figures, asked.size))


if __name__ == "__main__":
    sys.exit(main())
