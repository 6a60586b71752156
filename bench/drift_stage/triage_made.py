"""Made-up tables of different nature, on which the rules of the triage were written; nothing here is real.

`python -m bench.drift_stage.triage_made` prints what `triage` measures, for each table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from bench.drift_stage.triage import measure
from bench.drift_stage.triage_faults import Kinds
from bench.drift_stage.triage_sets import Set
from observability.monitors.judging import judge

DEV: Final = 7_001
CASES: Final = 20
WINDOWS: Final = 3
#: windows of a table, of which 13 are before the first that is broken
MADE: Final = 20

Numbers = npt.NDArray[np.float64]
_START: Final = pd.Timestamp("2025-03-03", tz="UTC")


def made() -> tuple[Set, ...]:
    """Every table, from its own seed."""
    makers: tuple[Callable[[np.random.Generator], Set], ...] = (shop, stations, social, trips, market, meters, hosts)
    return tuple(maker(np.random.default_rng(DEV + place)) for place, maker in enumerate(makers))


def shop(rng: np.random.Generator) -> Set:
    """Orders: heavy tails in cents, counts, a busy hour; day and night, and quieter weekends."""
    rows = 800 * MADE
    times = _traffic(rng, rows, per_day=300, weekend=0.6)
    amount = np.exp(rng.normal(3.5, 1.1, rows)).round(2)
    items = 1.0 + rng.poisson(1.5, rows)
    table = pd.DataFrame(
        {
            "amount": amount,
            "items": items,
            "age": rng.gamma(2, 200, rows).round(),
            "weight": rng.gamma(3, 0.7, rows),
            "hour": times.dt.hour + times.dt.minute / 60,
            "country": rng.choice(
                ["España", "France", "Österreich", "Italia", "Perú"], rows, p=[0.4, 0.3, 0.15, 0.1, 0.05]
            ),
            "plan": rng.choice(["Basic", "Premium", "Family"], rows, p=[0.6, 0.3, 0.1]),
        }
    )
    odds = 0.8 * np.log(amount) - 0.5 * items + 1.2 * (table["plan"] == "Basic") - 2.5
    kinds = Kinds(("amount", "items", "age", "weight", "hour"), ("country", "plan"), ("hour",), ("items",))
    return _set("shop", table, times, odds, rng, kinds, 800)


def stations(rng: np.random.Generator) -> Set:
    """Four stations by the hour: what is measured persists, goes together, and follows day and season."""
    hours, places = 250 * MADE, 4
    level = _persistent(rng, hours, 1.0, 0.97)
    times = _START + pd.to_timedelta(np.repeat(np.arange(hours), places), unit="h")
    hour = np.repeat(np.arange(hours), places) % 24
    day = np.repeat(np.arange(hours), places) / 24

    def over(values: Numbers, own: float) -> Numbers:
        return np.asarray(np.repeat(values, places) + rng.normal(0, own, hours * places))

    heat = over(6 * level / 4, 0.6) + 8 * np.sin(day / 58) + 4 * np.cos((hour - 15) / 12 * np.pi) + 12
    damp = heat - np.abs(over(_persistent(rng, hours, 1.0, 0.95), 0.7)) * 2
    load = np.clip(over(8 * np.abs(_persistent(rng, hours, 0.5, 0.9)), 1.5), 0, None)
    table = pd.DataFrame(
        {
            "heat": (heat * 10).round() / 10,
            "damp": (damp * 10).round() / 10,
            "load": (load / 1.25).round() * 1.25,
            "angle": (over(_persistent(rng, hours, 40.0, 0.9), 25) % 360 / 10).round() * 10,
            "burst": np.where(load > 10, (load * 1.4).round(1), np.nan),
            "sight": np.minimum(10, (20 - load + rng.normal(0, 3, hours * places)).clip(0.25).round()),
            "press": np.where(rng.random(hours * places) < 0.1, np.nan, (1013 + over(level * 2, 0.4)).round(1)),
            "hour": hour.astype(float),
            "station": np.tile(["AAA", "BBB", "CCC", "DDD"], hours),
        }
    )
    odds = (damp - heat + 3) + 0.2 * (load - 6) - 1
    numeric = ("heat", "damp", "load", "angle", "burst", "sight", "press", "hour")
    return _set("stations", table, pd.Series(times), odds, rng, Kinds(numeric, ("station",), ("hour",)), 1_000)


def social(rng: np.random.Generator) -> Set:
    """Posts: very heavy tails, free texts of which most come once, flags, bursts of traffic, small windows."""
    rows = 400 * MADE
    gaps = rng.exponential(10, rows) * np.exp(_persistent(rng, rows, 0.05, 0.995)) * np.linspace(0.5, 3, rows)
    night = np.cumsum(gaps)
    times = pd.Series(_START + pd.to_timedelta(night, unit="min")).dt.round("s")
    busy = rng.random(rows) < 0.7
    times = times.where(~busy, times.dt.floor("D") + pd.to_timedelta(rng.normal(16, 3, rows) % 24, unit="h"))
    times = times.sort_values(ignore_index=True)
    places = _names(rng, rows, 3_000, 1.05, "Town of {}")
    tags = _names(rng, rows, 2_000, 1.4, "tag{} vaccine")
    table = pd.DataFrame(
        {
            "fans": np.exp(rng.normal(6.5, 2.6, rows)).round(),
            "follows": np.exp(rng.normal(6, 1.8, rows)).round(),
            "mood": np.where(rng.random(rows) < 0.5, 0, rng.beta(2, 8, rows).round(3)),
            "length": np.minimum(140, rng.normal(125, 25, rows).round().clip(10)),
            "checked": _flag(rng, rows, 0.11),
            "link": _flag(rng, rows, 0.8),
            "tags": rng.poisson(1.7, rows).astype(float),
            "hour": times.dt.hour.astype(float),
            "place": np.where(rng.random(rows) < 0.22, None, places),
            "tag": np.where(rng.random(rows) < 0.25, None, tags),
        }
    )
    odds = 0.7 * (np.log1p(table["fans"]) - 6.5) + table["checked"] - 1
    kinds = Kinds(tuple(table)[:8], ("place", "tag"), ("hour",), ("checked", "link", "tags"))
    return _set("social", table, times, odds, rng, kinds, 400)


def trips(rng: np.random.Generator) -> Set:
    """Rides: distance, time and fare go together and lie on a grid; many places, some rows alike."""
    rows = 2_000 * MADE
    times = _traffic(rng, rows, per_day=400, weekend=0.7)
    miles = np.exp(rng.normal(1.0, 0.8, rows)).round(1)
    hour = (times.dt.hour + rng.integers(0, 12, rows) / 12).round(4)
    table = pd.DataFrame(
        {
            "miles": miles,
            "minutes": (miles * rng.lognormal(1.2, 0.3, rows)).round(),
            "fare": ((2.5 + 2.5 * miles) * 2).round() / 2,
            "seats": rng.choice([1.0, 2, 3, 4, 5, 6], rows, p=[0.7, 0.14, 0.05, 0.05, 0.04, 0.02]),
            "hour": hour,
            "from": _names(rng, rows, 60, 0.8, "Zone {}"),
            "to": _names(rng, rows, 60, 0.6, "Zone {}"),
            "vendor": rng.choice(["CMT", "VTS", "DDS"], rows, p=[0.5, 0.45, 0.05]),
        }
    )
    odds = 0.6 * (table["fare"] - 9) / 5 + (table["vendor"] == "CMT") - 0.5
    kinds = Kinds(("miles", "minutes", "fare", "seats", "hour"), ("from", "to", "vendor"), ("hour",), ("seats",))
    return _set("trips", table, times, odds, rng, kinds, 2_000)


def market(rng: np.random.Generator) -> Set:
    """A row a day, numbers only: prices that wander together, volumes, returns."""
    rows = 500 * MADE
    season = np.sin(np.arange(rows) / 365.25 * 2 * np.pi)
    base = 50 + 15 * season + _persistent(rng, rows, 2.0, 0.9)
    table = pd.DataFrame(
        {
            "open": base.round(1),
            "high": (base + rng.gamma(2, 1.5, rows)).round(1),
            "low": (base - rng.gamma(2, 1.5, rows)).round(1),
            "volume": np.exp(rng.normal(10, 0.6, rows)).round(),
            "wait": rng.exponential(3, rows).round(1),
            "turn": rng.normal(0, 1.2, rows),
            "depth": np.where(rng.random(rows) < 0.6, 0, rng.gamma(1, 4, rows)).round(2),
        }
    )
    times = pd.Series(_START - pd.Timedelta(days=rows) + pd.to_timedelta(np.arange(rows), unit="D"))
    odds = (table["high"] - table["low"] - 6) / 2 + table["turn"]
    return _set("market", table, times, odds, rng, Kinds(tuple(table)), 500)


def meters(rng: np.random.Generator) -> Set:
    """Readings: few values each, many ties, mostly zero, and so many rows alike."""
    rows = 600 * MADE
    times = pd.Series(_START + pd.to_timedelta(np.arange(rows) * 15, unit="min"))
    size = rng.choice([1.0, 2, 3, 5, 8], rows, p=[0.35, 0.3, 0.2, 0.1, 0.05])
    table = pd.DataFrame(
        {
            "size": size,
            "used": rng.poisson(size * 2).astype(float) * 5,
            "errors": rng.poisson(0.2, rows).astype(float),
            "tank": (rng.integers(0, 21, rows) * 5).astype(float),
            "state": rng.choice(["on", "idle", "off"], rows, p=[0.5, 0.4, 0.1]),
            "kind": rng.choice(["A1", "B2", "C3", "D4"], rows, p=[0.6, 0.2, 0.15, 0.05]),
        }
    )
    odds = 0.15 * (table["used"] - 22) + (table["state"] == "on")
    return _set("meters", table, times, odds, rng, Kinds(tuple(table)[:4], ("state", "kind"), (), ("errors",)), 600)


def hosts(rng: np.random.Generator) -> Set:
    """Requests of a few services whose share changes by the hour; times and sizes over many orders."""
    rows = 1_200 * MADE
    times = _traffic(rng, rows, per_day=600, weekend=0.9)
    lively = (1 + np.cos((times.dt.hour.to_numpy(float) - 14) / 12 * np.pi)) / 2
    api = rng.random(rows) < 0.3 + 0.4 * lively
    taken = np.exp(rng.normal(np.where(api, 3, 5), 1.0)).round(3)
    table = pd.DataFrame(
        {
            "ms": taken,
            "bytes": np.exp(rng.normal(np.where(api, 6, 9), 1.5)).round(),
            "retries": rng.poisson(0.3, rows).astype(float),
            "cpu": rng.beta(2, 5, rows),
            "memory": np.clip(0.5 + _persistent(rng, rows, 0.01, 0.999), 0, 1).round(3),
            "queue": rng.geometric(0.2, rows).astype(float),
            "service": np.where(api, "API", rng.choice(["Batch", "Web"], rows)),
            "region": rng.choice(["eu-west-1", "us-east-1", "ap-south-1"], rows, p=[0.5, 0.3, 0.2]),
            "client": _names(rng, rows, 400, 1.1, "Client/{}.0"),
        }
    )
    odds = 0.8 * (np.log(taken) - 4) + 0.1 * (table["queue"] - 5)
    kinds = Kinds(tuple(table)[:6], ("service", "region", "client"), (), ("retries", "queue"))
    return _set("hosts", table, times, odds, rng, kinds, 1_200)


def _set(
    name: str, table: pd.DataFrame, times: pd.Series, odds: Numbers | pd.Series, rng: np.random.Generator, kinds: Kinds,
    size: int,
) -> Set:  # fmt: skip
    label = (rng.random(len(table)) < 1 / (1 + np.exp(-1.5 * np.asarray(odds)))).astype(int)
    return Set(name, table.assign(event_time=times.to_numpy(), label=label), kinds, size)


def _traffic(rng: np.random.Generator, rows: int, per_day: int, weekend: float) -> pd.Series:
    """Times in order, more by day than by night and fewer at weekends."""
    drawn = rng.uniform(0, rows / per_day * 1.9, int(rows * 3))
    hour, weekday = drawn % 1 * 24, np.floor(drawn) % 7
    chance = (0.15 + 0.85 * (1 + np.cos((hour - 14) / 12 * np.pi)) / 2) * np.where(weekday >= 5, weekend, 1)
    kept = np.sort(drawn[rng.random(len(drawn)) < chance])[:rows]
    return pd.Series((_START + pd.to_timedelta(kept, unit="D")).floor("s"))


def _persistent(rng: np.random.Generator, rows: int, noise: float, stays: float) -> Numbers:
    values = rng.normal(0, noise, rows)
    for row in range(1, rows):
        values[row] += stays * values[row - 1]
    return values


def _names(rng: np.random.Generator, rows: int, many: int, steep: float, form: str) -> npt.NDArray[np.object_]:
    """Categories of which few are frequent and most are rare."""
    shares = np.arange(1, many + 1) ** -steep
    return np.array([form.format(place) for place in rng.choice(many, rows, p=shares / shares.sum())], dtype=object)


def _flag(rng: np.random.Generator, rows: int, share: float) -> Numbers:
    return (rng.random(rows) < share).astype(float)


def main() -> None:
    with threadpool_limits(1):
        for of in made():
            figures = measure([of], judge, DEV, CASES, WINDOWS)
            told = "".join(f" {name.removeprefix('triage_')} {value:.2f}" for name, value in figures.items())
            sys.stdout.write(f"{of.name}:{told}\n")


if __name__ == "__main__":
    main()
