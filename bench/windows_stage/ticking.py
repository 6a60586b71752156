"""A process that ticks when it is told to, and says how long it took and how much memory.

`python -m bench.windows_stage.ticking STORE ADDRESS ROWS MODE`: a monitor's tick over a window of so many rows, of a
sample of it (`sample`), or of all of its rows by Evidently (`all`: what a monitor that does not sample has to do).
Reads words from its standard input: `tick`, `memory`.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import psutil

from bench.windows_stage.traffic import MODEL, SIGNATURE, START, reference
from observability.monitors.case import Case
from observability.monitors.drift.features import judge_features
from observability.monitors.evidently_scores import count_quality, error_metrics
from observability.monitors.judging import judge
from observability.monitors.settings import DriftSettings, MonitorSettings
from observability.monitors.verdicts import ErrorMetrics
from observability.ports import LogStore, Sample, Span
from observability.settings import Settings
from observability.windows import Cursor

#: as a spec declares where it says nothing
SAMPLE: Final = 5_000
#: what Evidently is asked for in the other mode
EVIDENTLY: Final = MonitorSettings(drift=DriftSettings(numeric_method="ks", categorical_method="jensenshannon"))
#: windows begin here, an odd while behind the first event
BEGIN: Final = Cursor.before(START + timedelta(seconds=61.7))
_PROC: Final = Path("/proc/self")


def open_store(kind: str, address: str) -> LogStore:
    if kind == "embedded":
        from observability.embedded.store import ParquetLogStore

        return ParquetLogStore(Path(address))
    from observability.elastic.store import ElasticLogStore

    url, namespace = address.rsplit("#", 1)
    settings = Settings.model_validate({"store": "elasticsearch", "elasticsearch_urls": (url,), "namespace": namespace})
    return ElasticLogStore.connect(settings)


class Ticker:
    """A monitor of one model with windows of so many predictions."""

    def __init__(self, store: LogStore, rows: int, everything: bool) -> None:
        self._store, self._rows, self._sample = store, rows, rows if everything else SAMPLE
        self._everything = everything
        self._reference = reference()

    def tick(self) -> dict[str, float]:
        """What a monitor's pass does for a new window, as in controlplane.loop: its parts in seconds."""
        store, rows = self._store, self._rows
        began = time.perf_counter()
        store.watermark(MODEL)
        until = store.cut(MODEL, 1, BEGIN, rows)
        if until is None:
            raise RuntimeError(f"the store holds fewer than {rows} predictions")
        cut = time.perf_counter()
        span = Span(MODEL, 1, BEGIN, until)
        sample = store.sample(span, self._sample)
        sampled = time.perf_counter()
        exact = store.rollup(span)
        counted = time.perf_counter()
        metrics = self._score(sample)
        scored = time.perf_counter()
        if not exact.rows == sample.rows == rows or metrics.roc_auc is None:
            raise RuntimeError(f"a window of {rows} rows came back with {sample.rows} and {exact.rows}")
        return {
            "cut": cut - began, "sample": sampled - cut, "rollup": counted - sampled, "score": scored - counted,
            "tick": scored - began,
        }  # fmt: skip

    def _score(self, sample: Sample) -> ErrorMetrics:
        """By the product, or in the other mode what Evidently has of it: drift, counts, and errors of both sides."""
        case = Case("w-1", sample, self._reference, SIGNATURE, settled=True)
        if not self._everything:
            return judge(case).errors.metrics
        judge_features(replace(case, settings=EVIDENTLY))
        count_quality(sample.frame, SIGNATURE)
        past = self._reference
        error_metrics(past.labels, past.scores, (past.scores > case.threshold).astype(float))
        known = sample.frame[sample.frame["label"].notna()]
        return error_metrics(*(known[name].to_numpy(float) for name in ("label", "score", "prediction")))


def peak_memory() -> int:
    """The most that this process has held since `forget_peak`, in bytes."""
    status = (_PROC / "status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def forget_peak() -> None:
    (_PROC / "clear_refs").write_text("5")


def main() -> int:
    kind, address, rows, mode = sys.argv[1:]
    ticker = Ticker(open_store(kind, address), int(rows), mode == "all")
    forget_peak()
    before = psutil.Process().memory_info().rss
    answers = {"tick": ticker.tick, "memory": lambda: {"bytes": peak_memory() - before}}
    for word in sys.stdin:
        sys.stdout.write(json.dumps(answers[word.strip()]()) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
