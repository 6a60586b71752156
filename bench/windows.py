"""A monitor's tick costs the same for windows of any size: its time, its memory, and what sampling costs in truth.

`python -m bench.windows [--short | --full] [--store embedded|elasticsearch|both]`. A full tick (the window is cut, its
sample read and joined with labels, counted and scored by Evidently) over windows of 10^4, 10^5 and 10^6 predictions
(10^7 with `--full`) of one store, each in a process of its own, beside a monitor that looks at all rows of the window.
The processes take turns, one tick each, so that what else the machine does is in all of them; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from bench.form import Claim, show
from bench.windows_stage.filling import fill_files, fill_store
from bench.windows_stage.sampling_error import sampling_errors
from bench.windows_stage.ticking import open_store
from tests.servers.elastic import ElasticsearchServer

STORES: Final = ("embedded", "elasticsearch")
#: exponents of the sizes of windows, turns, rows of the windows that samples are compared with, draws of them
FORMS: Final = {
    "short": ((4, 5, 6), 7, 20_000, 3), "default": ((4, 5, 6), 15, 100_000, 10), "full": ((4, 5, 6, 7), 15, 100_000, 20)
}  # fmt: skip
#: the sizes up to which all rows are looked at as well
_BEARABLE: Final = 5
#: predictions behind the largest window, so that it has an end
_BEHIND: Final = 40_000
_BARS: Final = {"time": 2.0, "memory": 1.2, "evidently": 1.0}
_MIB: Final = 1 << 20


class Process:
    """One process of bench.windows_stage.ticking."""

    def __init__(self, store: str, address: str, exponent: int, mode: str) -> None:
        self.name = f"{mode}_1e{exponent}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.windows_stage.ticking", store, address, str(10**exponent), mode],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, word: str) -> dict[str, float]:
        """Its answer. Raises RuntimeError where it died."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("no pipes")
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} died: its words are above")
        told: dict[str, float] = json.loads(answer)
        return told

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def filled(store: str, rows: int) -> Iterator[str]:
    """The address of a store that holds so many predictions."""
    if store == "embedded":
        with tempfile.TemporaryDirectory(prefix="dg-windows-") as folder:
            fill_files(Path(folder) / "logs", rows)
            yield str(Path(folder) / "logs")
        return
    server = ElasticsearchServer(heap="1g", fast=False)
    try:
        server.start()
        address = f"{server.url}#bench"
        opened = open_store(store, address)
        fill_store(opened, rows)
        opened.close()
        time.sleep(2)  # what was written is seen a second later
        yield address
    finally:
        server.close()


def measured(store: str, exponents: Sequence[int], turns: int) -> dict[str, Any]:
    """Seconds of each part of a tick, by process and turn, and the MiB of each process."""
    ticks: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with filled(store, 10 ** exponents[-1] + _BEHIND) as address, ExitStack() as stack:
        processes = [Process(store, address, each, "sample") for each in exponents]
        processes += [Process(store, address, each, "all") for each in exponents if each <= _BEARABLE]
        for process in processes:
            stack.callback(process.close)
        for turn in range(turns + 1):
            for process in processes:
                parts = process.ask("tick")
                for part, seconds in parts.items() if turn else ():  # the first one imports and connects
                    ticks[process.name][part].append(seconds)
        memory = {process.name: process.ask("memory")["bytes"] / _MIB for process in processes}
    return {"seconds": ticks, "mib": memory}


def _ratio(some: Sequence[float], others: Sequence[float]) -> float:
    """How much longer some ticks took than others: the median of turns, for those of one turn had the same machine."""
    return statistics.median(one / other for one, other in zip(some, others, strict=True))


def figures_of(store: str, found: Mapping[str, Any], most: int) -> tuple[dict[str, Any], list[Claim]]:
    """The figures of a store, and what they should be."""
    seconds, memory = found["seconds"], found["mib"]
    smallest, largest, everything = "sample_1e4", f"sample_1e{most}", "all_1e4"
    figures = {
        f"{store}_time_1e{most}_over_1e4": _ratio(seconds[largest]["tick"], seconds[smallest]["tick"]),
        f"{store}_memory_1e{most}_over_1e4": memory[largest] / memory[smallest],
        f"{store}_time_1e4_over_evidently": _ratio(seconds[smallest]["tick"], seconds[everything]["tick"]),
    }
    claims = [
        Claim.of(f"{store}: {said}", value, "<=", bar)
        for said, value, bar in zip(
            (
                f"a tick over 10^{most} predictions takes little longer than one over 10^4",
                f"a tick over 10^{most} predictions takes little more memory than one over 10^4",
                "a tick over 10^4 predictions is no slower than one that has Evidently look at all of them",
            ),
            figures.values(),
            _BARS.values(),
            strict=True,
        )
    ]
    # beside scoring alone: as if reading the rows cost nothing
    figures[f"{store}_time_1e4_over_scoring_all"] = _ratio(seconds[smallest]["tick"], seconds[everything]["score"])
    return figures, claims


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--store", choices=(*STORES, "both"), default="both")
    chosen = parser.parse_args()
    exponents, turns, rows, draws = FORMS["full" if chosen.full else "short" if chosen.short else "default"]
    figures: dict[str, Any] = {}
    claims: list[Claim] = []
    for store in STORES if chosen.store == "both" else (chosen.store,):
        found = measured(store, exponents, turns)
        told, held = figures_of(store, found, exponents[-1])
        seconds = {
            name: {part: statistics.median(each) for part, each in of.items()} for name, of in found["seconds"].items()
        }
        figures |= told | {f"{store}_seconds": seconds, f"{store}_mib": found["mib"]}
        claims += held
    figures["sampling_errors"] = sampling_errors(rows, draws)
    return show("windows", figures, claims)


if __name__ == "__main__":
    sys.exit(main())
