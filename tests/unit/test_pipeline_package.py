"""What a run stores beside a version for the gate: the rows, the parts of them, and what the version costs."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd

from pipeline.dataset import Rows
from pipeline.package import TIMED, cost_of, gate_rows


def held_out(rows: int) -> Rows:
    place = np.array(["x", "", "ü"], dtype=object)[np.arange(rows) % 3]
    columns = {"followers": np.arange(rows, dtype=np.float32), "place": place}
    times = pd.Series(pd.date_range("2021-01-01", periods=rows, freq="h", tz="UTC"))
    return Rows([f"r{n}" for n in range(rows)], times, columns, columns, np.arange(rows) % 2)


class CountingScorer:
    """Remembers how many rows it was shown at a time."""

    def __init__(self) -> None:
        self.shown: list[int] = []

    def score(self, raw):
        self.shown.append(len(raw["place"]))
        return raw, np.zeros(len(raw["place"]))


def test_the_gate_rows_hold_the_features_of_the_slices_as_text_and_no_other():
    stored = gate_rows(held_out(6), np.full(6, 0.5), None, ["place", "place", "followers"])
    frame = pd.read_parquet(io.BytesIO(stored))

    assert [name for name in frame if name.startswith("slice:")] == ["slice:followers", "slice:place"]
    assert list(frame["slice:place"]) == ["x", "", "ü"] * 2
    assert list(frame["slice:followers"]) == ["0.0", "1.0", "2.0", "3.0", "4.0", "5.0"]
    assert "slice:place" not in pd.read_parquet(io.BytesIO(gate_rows(held_out(6), np.full(6, 0.5), None)))


def test_the_cost_is_of_single_rows_and_of_all_files():
    for rows in (5, 1_000):
        scorer = CountingScorer()
        cost = cost_of(scorer, {"a": b"12", "b": b"345"}, held_out(rows).raw)
        assert scorer.shown == [1] * min(rows, TIMED)
        assert cost["bytes"] == 5 and 0 < cost["row_ms_p50"] <= cost["row_ms_p99"]
