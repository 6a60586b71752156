"""Every line reaches Elasticsearch once, though processes die, calls time out and the store is away.

`python -m bench.logcrash [--short | --full] [--url URL] [--seed N]`. Real writers and the real shipper, killed with
SIGKILL from outside and at named points of the shipper's code; a real Elasticsearch behind a proxy that lets calls time
out before and after they are applied, breaks connections, and answers 429 (calls and items) and 503; data streams roll
over meanwhile. 1 % of the lines are poison.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench.form import Claim, show
from bench.logcrash_stage.plan import POISON, Plan
from bench.logcrash_stage.stage import Stage
from bench.logcrash_stage.verdict import judge, look
from tests.servers.elasticsearch import ElasticsearchServer
from tests.servers.faulty_proxy import FaultyProxy

DRAIN_BAR: Final = 300.0
#: events, events in the outage, seconds, seconds of the outage, kills, lines in a batch
SIZES: Final[Mapping[str, tuple[int, int, float, float, int, int]]] = {
    "short": (18_500, 1_500, 25, 4, 40, 200),
    "default": (18_000, 2_000, 75, 10, 150, 200),
    "full": (880_000, 120_000, 900, 600, 500, 5_000),
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
    events, outage_events, seconds, outage_seconds, kills, batch = SIZES[size]
    return Plan(
        folder=folder, proxy=proxy, elasticsearch=url, namespace=f"crash{time.time_ns():x}", events=events,
        outage_events=outage_events, seconds=seconds, outage_seconds=outage_seconds, kills=kills, batch_lines=batch,
        seed=seed,
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
    events, outage_events, _, _, kills, _ = SIZES[size]
    least = POISON * figures["events"] / 2
    return [
        Claim.of("events spooled", figures["events"], ">=", events + outage_events),
        Claim.of("SIGKILLs of writers and shippers", figures["kills"], ">=", kills),
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
    with elasticsearch(asked.url) as url:
        figures = {"seed": asked.seed, **played(url, asked.size, asked.seed, asked.keep)}
    return show("logcrash", figures, claims(figures, asked.size))


if __name__ == "__main__":
    sys.exit(main())
