"""What is done to a window for the bench of the triage: eight kinds of bugs, and drift that is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

FACTORS: Final = (10.0, 100.0, 1000.0, 0.1, 0.01, 0.001)
#: miles and kilometres, feet and metres, pounds and kilograms, seconds and minutes, knots and miles an hour,
#: hectopascals and inches of mercury; both ways
PAIRS: Final = (1.609344, 0.3048, 2.204623, 60.0, 1.150779, 0.02952998)
#: of the conversions, those that round to two decimals
ROUNDED: Final = 0.2
HOURS: Final = (-11, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 8, 9, 12)
SENTINELS: Final[Mapping[str, tuple[object, ...]]] = {
    "numeric": (np.nan, np.nan, 0.0, -1.0, -999.0, 999.0, 9999.0),
    "categorical": (None, None, "unknown", "N/A", "null"),
}


@dataclass(frozen=True)
class Kinds:
    """The columns of a set, by what they hold."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...] = ()
    #: hours of the day
    hours: tuple[str, ...] = ()
    #: numbers that no unit has, such as days of the week; they are among the numeric ones
    counted: tuple[str, ...] = ()

    @property
    def measured(self) -> tuple[str, ...]:
        return tuple(name for name in self.numeric if name not in self.counted)


#: rows in the order of time in, broken rows and the broken columns out; no columns: the source as a whole
Fault = Callable[[np.random.Generator, pd.DataFrame, Kinds], tuple[pd.DataFrame, tuple[str, ...]]]


def unit(rng: np.random.Generator, rows: pd.DataFrame, kinds: Kinds) -> tuple[pd.DataFrame, tuple[str, ...]]:
    name = str(rng.choice(kinds.measured))
    draw, factor = rng.random(), float(rng.choice(FACTORS))
    values = rows[name].astype(float)
    if draw < 0.45:
        changed = values * factor
    elif draw < 0.9:
        factor = float(rng.choice(PAIRS))
        changed = values * (factor if rng.random() < 0.5 else 1 / factor)
    else:
        changed = values * 1.8 + 32 if rng.random() < 0.5 else (values - 32) / 1.8
    if rng.random() < ROUNDED:
        changed = changed.round(2)
    return rows.assign(**{name: np.where(_hit(rng, rows), changed, values)}), (name,)


def swapped(rng: np.random.Generator, rows: pd.DataFrame, kinds: Kinds) -> tuple[pd.DataFrame, tuple[str, ...]]:
    pools = [pool for pool in (kinds.numeric, kinds.categorical) if len(pool) > 1]
    one, other = map(str, rng.choice(pools[int(rng.integers(len(pools)))], 2, replace=False))
    hit = _hit(rng, rows)
    changed = {one: np.where(hit, rows[other], rows[one]), other: np.where(hit, rows[one], rows[other])}
    return rows.assign(**changed), (one, other)


def nulls(rng: np.random.Generator, rows: pd.DataFrame, kinds: Kinds) -> tuple[pd.DataFrame, tuple[str, ...]]:
    name, hit = _any(rng, kinds), rng.random(len(rows)) < rng.uniform(0.1, 1.0)
    choices = SENTINELS["numeric" if name in kinds.numeric else "categorical"]
    value = choices[int(rng.integers(len(choices)))]
    column = rows[name].astype(float if name in kinds.numeric else object).copy()
    column[hit] = value
    return rows.assign(**{name: column}), (name,)


def stale(rng: np.random.Generator, rows: pd.DataFrame, kinds: Kinds) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """From some time on the last value is told, or each value is told for many rows."""
    name, places = _any(rng, kinds), np.arange(len(rows))
    if rng.random() < 0.7:
        since = int(rng.uniform(0.0, 0.75) * len(rows))
        source = np.minimum(places, since)
    else:
        held = int(rng.integers(20, 200))
        source = places // held * held
    return rows.assign(**{name: rows[name].to_numpy()[source]}), (name,)


def truncated(rng: np.random.Generator, rows: pd.DataFrame, kinds: Kinds) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Some categories or an interval are lost, or rows at random."""
    draw = rng.random()
    if draw < 0.25:
        return rows[rng.random(len(rows)) < rng.uniform(0.1, 0.4)], ()
    if draw < 0.6 and kinds.categorical:
        name = str(rng.choice(kinds.categorical))
        shares = rows[name].value_counts(normalize=True)
        shares = shares[(shares >= 0.08) & (shares <= 0.6)]
        if len(shares):
            lost = rng.choice(shares.index.to_numpy(), min(len(shares), int(rng.integers(1, 3))), replace=False)
            return rows[~rows[name].isin(lost)], (name,)
    name = str(rng.choice(kinds.measured))
    wide = rng.uniform(0.15, 0.6)
    low = float(rng.choice([0.0, 1 - wide, rng.uniform(0, 1 - wide)]))
    ends = rows[name].quantile([low, low + wide]).to_numpy()
    return rows[~rows[name].between(*ends)], (name,)


def encoding(rng: np.random.Generator, rows: pd.DataFrame, kinds: Kinds) -> tuple[pd.DataFrame, tuple[str, ...]]:
    name = str(rng.choice(kinds.categorical))
    writings: list[Callable[[str], str]] = [
        str.lower, lambda t: f" {t}", lambda t: f"{t} ", lambda t: f'"{t}"', lambda t: f"b'{t}'",
        lambda t: f"\ufeff{t}", lambda t: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in t),
        lambda t: "".join(f"{c}\x00" for c in t), lambda t: t.encode("utf-8").decode("latin-1"),
        lambda t: t.encode("ascii", "replace").decode(),
    ]  # fmt: skip
    if all(str(text).isascii() for text in rows[name].dropna().unique()):
        writings = writings[:-2]
    write = writings[int(rng.integers(len(writings)))]
    written = rows[name].map(lambda text: write(str(text)), na_action="ignore")
    return rows.assign(**{name: np.where(_hit(rng, rows), written, rows[name])}), (name,)


def timezone(rng: np.random.Generator, rows: pd.DataFrame, kinds: Kinds) -> tuple[pd.DataFrame, tuple[str, ...]]:
    name = str(rng.choice(kinds.hours))
    turned = np.mod(rows[name].astype(float) + float(rng.choice(HOURS)), 24)
    return rows.assign(**{name: np.where(_hit(rng, rows), turned, rows[name])}), (name,)


def duplicates(rng: np.random.Generator, rows: pd.DataFrame, kinds: Kinds) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A batch of rows that follow each other in time comes twice."""
    length = int(rng.uniform(0.15, 0.6) * len(rows))
    first = int(rng.integers(len(rows) - length + 1))
    return pd.concat([rows, rows.iloc[first : first + length]], ignore_index=True), ()


FAULTS: Final[Mapping[str, Fault]] = {
    "unit": unit, "swapped": swapped, "nulls": nulls, "stale": stale, "truncated": truncated, "encoding": encoding,
    "timezone": timezone, "duplicates": duplicates,
}  # fmt: skip


def shifted(rng: np.random.Generator, rows: pd.DataFrame, kinds: Kinds) -> pd.DataFrame:
    """A measured column moves: by a part of its spread, by a ratio, or by noise."""
    name = str(rng.choice(kinds.measured))
    values, draw = rows[name].astype(float), rng.random()
    spread = float(values.std())
    if draw < 0.4:
        moved = values + rng.choice([-1, 1]) * rng.uniform(0.3, 1.5) * spread
    elif draw < 0.7:
        moved = values * rng.choice([rng.uniform(1.15, 1.5), rng.uniform(0.6, 0.85)])
    else:
        moved = values + rng.normal(0, rng.uniform(0.5, 1.5) * spread, len(rows))
    return rows.assign(**{name: moved})


def another_mix(rng: np.random.Generator, pool: pd.DataFrame, kinds: Kinds, size: int) -> pd.DataFrame:
    """Other rows come, none of them twice: of some categories more, or of greater numbers more."""
    names = (*kinds.measured, *kinds.categorical)
    weights = np.zeros(len(pool))
    for name in rng.choice(names, min(2, len(names)), replace=False):
        if name in kinds.categorical:
            values = pool[name].astype(str)
            liking = {value: rng.normal(0, 1.0) for value in sorted(values.unique())}
            weights += values.map(liking).to_numpy(float)
        else:
            ranks = pool[name].rank(pct=True).to_numpy(float)
            weights += rng.choice([-1, 1]) * rng.uniform(1.0, 4.0) * np.nan_to_num(ranks, nan=0.5)
    chances = np.exp(weights) / np.exp(weights).sum()
    return pool.iloc[np.sort(rng.choice(len(pool), size, replace=False, p=chances))].reset_index(drop=True)


def another_concept(rng: np.random.Generator, rows: pd.DataFrame, kinds: Kinds) -> pd.DataFrame:
    """The same rows are answered differently: in a part of the traffic labels turn."""
    names = (*kinds.measured, *kinds.categorical)
    name = str(rng.choice(names))
    if name in kinds.categorical:
        values = rows[name].astype(str)
        chosen = [value for value in sorted(values.unique()) if rng.random() < 0.5]
        part = values.isin(chosen).to_numpy()
    else:
        part = (rows[name] > rows[name].quantile(rng.uniform(0.3, 0.7))).to_numpy()
    turned = part & (rng.random(len(rows)) < rng.uniform(0.3, 0.7))
    return rows.assign(label=np.where(turned, 1 - rows["label"], rows["label"]))


def _any(rng: np.random.Generator, kinds: Kinds) -> str:
    return str(rng.choice((*kinds.numeric, *kinds.categorical)))


def _hit(rng: np.random.Generator, rows: pd.DataFrame) -> np.ndarray:
    """Every row, or a part of them."""
    share = 1.0 if rng.random() < 0.6 else rng.uniform(0.3, 1.0)
    return rng.random(len(rows)) < share
