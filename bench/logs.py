"""What the log path costs, and what it carries.

`python -m bench.logs [--short | --full] [--url URL]`: events a second from the spool to Elasticsearch by the shipper
against the client's own `parallel_bulk` of the same documents; requests a second of serving with its event log against
without; the latency of predictions while Elasticsearch is away against before. Each pair is measured one after the
other, again and again; the figures are medians of the pairs' quotients. What is finished is told on stderr.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.form import Claim, show
from bench.logs_stage.model import MODEL_ID, flight, make_flights
from bundle.blobs import BlobStore
from observability.spool.ledger import ledger
from tests.servers.elastic import ElasticsearchServer
from tests.servers.faulty_proxy import FaultyProxy
from tests.serving_harness import TOKEN, ControlStandIn, ServingProcess, control_plane, serving, wait_until

CALLERS: Final = (1, 32)
#: predictions a second while the store is away, and before
PER_SECOND: Final = 200
PREDICT: Final = f"/v1/models/{MODEL_ID}/predict"
BODY: Final = json.dumps({"rows": [flight(random.Random(1))]}).encode()
_BEGUN: Final = time.monotonic()
_ROOT: Final = Path(__file__).parents[1]
_QUIET: Final = {f"OBSERVABILITY_METRICS_{name}_PORT": "0" for name in ("CONTROL", "MONITOR", "SHIPPER", "SERVING")}
Json = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How long and how often."""

    documents: int
    pairs: int
    load_pairs: int
    load_seconds: float
    outage_pairs: int
    outage_seconds: float


SIZES: Final[Mapping[str, Size]] = {
    "short": Size(documents=30_000, pairs=2, load_pairs=2, load_seconds=1.5, outage_pairs=3, outage_seconds=3),
    "default": Size(documents=40_000, pairs=5, load_pairs=9, load_seconds=1.5, outage_pairs=20, outage_seconds=4),
    "full": Size(documents=200_000, pairs=7, load_pairs=15, load_seconds=5, outage_pairs=20, outage_seconds=15),
}


def tell(done: str) -> None:
    """A line on stderr for a part that is finished."""
    sys.stderr.write(f"{done} ({time.monotonic() - _BEGUN:.0f} s)\n")
    sys.stderr.flush()


def asked(module: str, *arguments: object, body: bytes = b"") -> Json:
    """What a module of ours printed as JSON, from a process of its own."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, input=body, capture_output=True, cwd=_ROOT, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr.decode()[-3000:]}")
    answer: Json = json.loads(done.stdout.splitlines()[-1])
    return answer


def shipping(url: str, folder: Path, size: Size) -> Json:
    """Events a second of the shipper and of `parallel_bulk`, and their quotient."""
    namespace, module = f"bench{time.time_ns():x}", "bench.logs_stage.shipping"
    rates: dict[str, list[float]] = {"shipper": [], "parallel_bulk": []}
    size_of_one = 0.0
    for number in range(size.pairs + 1):
        for who in ("shipper", "parallel_bulk"):
            one = folder / f"{who}-{number}"
            one.mkdir()
            told = asked(module, who, url, namespace, one, size.documents if number else size.documents // 5)
            shutil.rmtree(one)
            size_of_one = told["bytes"]
            if number:  # the first pair warms the server up
                rates[who].append(told["per_second"])
        if number:
            ours, bare = rates["shipper"][-1], rates["parallel_bulk"][-1]
            tell(f"shipping, pair {number} of {size.pairs}: {ours:.0f} and {bare:.0f} documents a second")
    quotients = [ours / bare for ours, bare in zip(rates["shipper"], rates["parallel_bulk"], strict=True)]
    return {
        "shipped_over_parallel_bulk": round(statistics.median(quotients), 3),
        "shipped_per_second": round(statistics.median(rates["shipper"])),
        "parallel_bulk_per_second": round(statistics.median(rates["parallel_bulk"])),
        "document_bytes": round(size_of_one),
    }


class Unlogged(ServingProcess):
    """Serving as it is, without an event log: requests are answered together as they are with one."""

    module = "bench.logs_stage.unlogged"


def logging_cost(folder: Path, control: ControlStandIn, size: Size) -> Json:
    """Requests a second with the event log over without, for one caller and for many."""
    figures = {}
    with serving(folder / "on", control.url) as on, unlogged(folder / "off", control.url) as off:
        for process in (on, off):
            process.wait_ready()

        def rps(process: ServingProcess, callers: int, seconds: float) -> float:
            told = asked(
                "bench.serving_rivals.load", f"127.0.0.1:{process.port}", PREDICT, callers, seconds, TOKEN, body=BODY
            )
            assert not told["failed"], told["first_failure"]
            return float(told["rps"])

        for callers in CALLERS:
            quotients = []
            for number in range(size.load_pairs + 1):
                first, second = (on, off) if number % 2 else (off, on)
                rates = {process: rps(process, callers, size.load_seconds) for process in (first, second)}
                if number:
                    quotients.append(rates[on] / rates[off])
                    tell(f"serving, {callers} callers, pair {number} of {size.load_pairs}: {quotients[-1]:.3f}")
            figures[f"rps_logging_on_over_off_{callers}"] = round(statistics.median(quotients), 3)
        assert on.spooled() and not off.spooled(), "one must log, and the other must not"
    return {"rps_logging_on_over_off": min(figures.values()), **figures}


@contextmanager
def unlogged(home: Path, control_url: str) -> Iterator[ServingProcess]:
    process = Unlogged(home, control_url)
    try:
        yield process
    finally:
        process.kill()


@contextmanager
def shipper(home: Path, url: str) -> Iterator[None]:
    """`driftgate ship` of a data folder, to this Elasticsearch."""
    given = {
        "OBSERVABILITY_STORE": "elasticsearch", "OBSERVABILITY_ELASTICSEARCH_URLS": url,
        "OBSERVABILITY_ELASTICSEARCH_TIMEOUT": "2s", "OBSERVABILITY_NAMESPACE": f"bench{time.time_ns():x}", **_QUIET,
    }  # fmt: skip
    command = [sys.executable, "-m", "controlplane", "ship", "--home", str(home)]
    with (home.parent / "shipper.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | given, cwd=_ROOT, stdout=log, stderr=log)
    try:
        yield
        assert process.poll() is None, (home.parent / "shipper.log").read_text()[-3000:]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def outages(folder: Path, control: ControlStandIn, url: str, size: Size) -> Json:
    """The 99th percentile of predictions while the store is away over that before it, by pairs."""
    proxy = FaultyProxy(url)
    measured: list[tuple[float, float]] = []
    with ExitStack() as stack:
        stack.callback(proxy.close)
        ours = stack.enter_context(serving(folder / "home", control.url)).wait_ready()
        stack.enter_context(shipper(folder / "home", proxy.url))
        spool = ours.home.spool

        def p99(seconds: float) -> float:
            told = asked("bench.logs_stage.paced", ours.port, PREDICT, PER_SECOND, seconds, TOKEN, body=BODY)
            assert not told["failed"], f"{told['failed']} predictions failed"
            return float(told["p99_ms"])

        p99(2)
        for number in itertools.count():
            wait_until(lambda: ledger(spool).waiting == 0, "the spool is drained", 120)
            before = p99(size.outage_seconds)
            proxy.down()
            during = p99(size.outage_seconds)
            assert ledger(spool).waiting, "the store was away, and yet nothing waits"
            proxy.up()
            measured.append((before, during))
            tell(f"outage {number + 1} of {size.outage_pairs}: p99 {before:.2f} ms before, {during:.2f} ms during")
            if number + 1 == size.outage_pairs:
                break
        begun = time.monotonic()
        wait_until(lambda: ledger(spool).waiting == 0, "the spool is drained", 120)
        book = ledger(spool)
    return {
        "outage_p99_rise": round(statistics.median(during / before for before, during in measured), 3),
        "before_p99_ms": round(statistics.median(before for before, _ in measured), 2),
        "outage_p99_ms": round(statistics.median(during for _, during in measured), 2),
        "outage_pairs": len(measured),
        "outage_drained_s": round(time.monotonic() - begun, 1),
        "outage_unaccounted": book.unaccounted,
        "outage_dead_lettered": book.dead_lettered,
    }


@contextmanager
def elasticsearch(url: str | None) -> Iterator[str]:
    """The address of a real one: the one that was named, or one of our own, compiled as in production."""
    if url is not None:
        yield url
        return
    server = ElasticsearchServer(heap="1g", fast=False)
    try:
        server.start()
        yield server.url
    finally:
        server.close()


def claims(figures: Json) -> list[Claim]:
    return [
        Claim.of("the shipper over parallel_bulk", figures["shipped_over_parallel_bulk"], ">=", 0.8),
        Claim.of("requests a second, event log on over off", figures["rps_logging_on_over_off"], ">=", 0.9),
        Claim.of("p99 of predictions, store away over before", figures["outage_p99_rise"], "<=", 1.1),
        Claim.of("lines unaccounted for", figures["outage_unaccounted"], "==", 0),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.logs")
    parser.add_argument("--short", dest="size", action="store_const", const="short", default="default")
    parser.add_argument("--full", dest="size", action="store_const", const="full")
    parser.add_argument("--url", help="an Elasticsearch to use; else one is started")
    wanted = parser.parse_args()
    size = SIZES[wanted.size]
    os.environ.update(_QUIET)
    with tempfile.TemporaryDirectory(prefix="bench-logs-") as name, ExitStack() as stack:
        folder = Path(name)
        blobs = BlobStore(folder / "blobs")
        control = stack.enter_context(control_plane(blobs))
        control.want("production", 1, make_flights(blobs), MODEL_ID)
        tell("a model is trained")
        figures = logging_cost(folder, control, size)  # before Elasticsearch takes its share of the machine
        url = stack.enter_context(elasticsearch(wanted.url))
        tell("Elasticsearch answers")
        figures |= shipping(url, folder, size)
        figures |= outages(folder, control, url, size)
    figures["seconds"] = round(time.monotonic() - _BEGUN)
    return show("logs", figures, claims(figures))


if __name__ == "__main__":
    sys.exit(main())
