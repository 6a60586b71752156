"""Estimated accuracy: chunks of flights of other mixtures than the reference's, estimated before labels are seen.

Flights are split at random into rows that a model learns from, the reference and a pool, so that the concept is one. A
chunk is drawn from the pool, each row at most once, with weights that depend on features alone. The estimate is the
product's, with the past that its own verdicts of the chunks before have made once their labels were there. Where it was
withdrawn, wrongly then, the estimate without a past counts for error and coverage, so that no chunk is left out. Then
the concept is changed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from bench.drift_stage.s7_chunks import CONCEPTS, NAMES, NUMBERS, SHIFTS, SIGNATURE, Chunk, flown
from bench.drift_stage.s7_rivals import RIVALS, nannyml_cbpe
from bench.form import Claim, Sense
from observability.monitors.case import PastVerdict
from observability.monitors.errors.estimated import estimate_error
from observability.monitors.reference import Reference
from pipeline.package import SCORED_SAMPLE

Floats = npt.NDArray[np.float64]

#: of the scored run; while it was written the part ran on DEV
SEED: Final = 70_002
DEV: Final = 7
TRAINED: Final = 100_000
#: as many as a version keeps
REFERENCE: Final = SCORED_SAMPLE
CHUNK: Final = 5_000
#: splits, chunks of each, and changes of concept of each kind in each
SIZES: Final = {True: (12, 56, 4), False: (2, 14, 2)}
#: how far the log-weights of rows spread
STRENGTHS: Final = (0.5, 1.0, 1.5)
#: labelled chunks before a concept changes
BEFORE: Final = 12
WITHIN: Final = 2
#: figure, claim, and bar
BARS: Final[tuple[tuple[str, str, Sense, float], ...]] = (
    ("s7_over_floor", "S7 mean absolute error of the estimate over that of chance alone", "<=", 1.15),
    ("s7_coverage", "S7 realised accuracies within their 95 % interval", ">=", 0.93),
    ("s7_withdrawn_late", "S7 changed concepts after which it is told beyond two labelled chunks", "<=", 0.0),
    ("s7_withdrawn_wrongly", "S7 unchanged chunks with the estimate withdrawn", "<=", 0.05),
)


@dataclass(frozen=True)
class Judged:
    """One chunk: what was expected, and what was so."""

    shift: str
    realised: float
    low: float
    high: float
    withdrawn: bool
    #: estimates of the error, by whom
    estimates: Mapping[str, float]

    @property
    def standard_error(self) -> float:
        return float(np.sqrt(self.realised * (1 - self.realised) / CHUNK))


def run(full: bool) -> tuple[dict[str, float], list[Claim]]:
    flights = flown()
    if isinstance(flights, str):
        return {}, [Claim.unmeasured(claim, sense, bar, flights) for _, claim, sense, bar in BARS]
    return measure(flights, SEED, *SIZES[full])


def measure(flights: Chunk, seed: int, splits: int, chunks: int, changes: int) -> tuple[dict[str, float], list[Claim]]:
    """All figures over so many splits."""
    judged: list[Judged] = []
    late: dict[str, list[tuple[bool, float]]] = {name: [] for name in CONCEPTS}
    began = time.process_time()
    for split in range(splits):
        rng = np.random.default_rng([seed, split])
        reference, pool = divided(flights, rng)
        found, past = unchanged(reference, pool, rng, chunks)
        judged += found
        for name in CONCEPTS:
            late[name] += [changed(reference, pool, past, name, rng) for _ in range(changes)]
    figures = figures_of(judged)
    for name, each in late.items():
        missed, harm = np.mean(each, axis=0)
        figures |= {f"s7_withdrawn_late_{name}": float(missed), f"s7_harm_{name}": float(harm)}
    figures["s7_withdrawn_late"] = float(np.mean([missed for each in late.values() for missed, _ in each]))
    figures["s7_cpu_s"] = time.process_time() - began
    return figures, claims_of(figures)


def figures_of(judged: list[Judged]) -> dict[str, float]:
    figures = {"s7_chunks": float(len(judged)), "s7_reference_rows": float(REFERENCE)}
    for name in judged[0].estimates:
        figures["s7_over_floor" if name == "ours" else f"s7_{name}_over_floor"] = over_floor(judged, name)
    figures["s7_coverage"] = float(np.mean([each.low <= each.realised <= each.high for each in judged]))
    figures["s7_withdrawn_wrongly"] = float(np.mean([each.withdrawn for each in judged]))
    for shift in SHIFTS:
        figures[f"s7_over_floor_{shift}"] = over_floor([each for each in judged if each.shift == shift], "ours")
    return figures


def claims_of(figures: Mapping[str, float]) -> list[Claim]:
    return [Claim.of(claim, figures[name], sense, bar) for name, claim, sense, bar in BARS]


def over_floor(judged: list[Judged], name: str) -> float:
    """Mean absolute error over that of a normal deviation with a chunk's standard error."""
    missed = np.mean([abs(each.estimates[name] - each.realised) for each in judged])
    floor = np.sqrt(2 / np.pi) * np.mean([each.standard_error for each in judged])
    return float(missed / floor)


def divided(flights: Chunk, rng: np.random.Generator) -> tuple[Reference, Chunk]:
    """The reference of a model that learned from other rows, and a pool that neither knows."""
    order = rng.permutation(len(flights.rows))
    trained, kept, pool = np.split(order, [TRAINED, TRAINED + REFERENCE])
    codes = pd.DataFrame({name: _codes(flights.rows[name]) for name in (*NUMBERS, *NAMES)})
    model = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.15, early_stopping=False, random_state=0)
    model.fit(codes.iloc[trained], flights.labels[trained])
    scored = replace(flights, scores=model.predict_proba(codes)[:, 1])
    known = scored.of(kept)
    return Reference(known.rows, known.scores, known.labels, known.rows), scored.of(pool)


def unchanged(
    reference: Reference, pool: Chunk, rng: np.random.Generator, count: int
) -> tuple[list[Judged], tuple[PastVerdict, ...]]:
    """Chunks one after the other, labelled before the next comes; and the past that they make, newest first."""
    judged: list[Judged] = []
    past: tuple[PastVerdict, ...] = ()
    estimators = {name: fit(reference, SIGNATURE) for name, fit in _rivals().items()}
    for shift, strength in islice(_shifts(), count):
        chunk = pool.drawn(rng, SHIFTS[shift](pool.rows, rng, strength), CHUNK)
        said = estimate_error(chunk.case(reference, past))
        told = said if said.error is not None else estimate_error(chunk.case(reference, ()))
        realised = chunk.error(chunk.labels)
        estimates = {name: estimate(chunk.rows, chunk.scores) for name, estimate in estimators.items()}
        judged.append(
            Judged(shift, realised, _known(told.low), _known(told.high), said.error is None,
                   {"ours": _known(told.error)} | estimates)
        )  # fmt: skip
        past = chunk.settled(reference, past, chunk.labels)
    return judged, past


def changed(
    reference: Reference, pool: Chunk, past: tuple[PastVerdict, ...], concept: str, rng: np.random.Generator
) -> tuple[bool, float]:
    """Whether the estimate is still told once WITHIN chunks of the changed concept have their labels; and how much more
    of their answers are wrong than under the old one.

    The chunks before are some of the unchanged ones, after which it was told.
    """
    told = [place for place in range(len(past) - BEFORE) if past[place].verdict["estimate"]["error"] is not None]
    first = int(rng.choice(told)) + 1 if told else 0
    past, found, harm = past[first : first + BEFORE], False, []
    for _ in range(WITHIN):
        shift = str(rng.choice(list(SHIFTS)))
        chunk = pool.drawn(rng, SHIFTS[shift](pool.rows, rng, float(rng.choice(STRENGTHS))), CHUNK)
        labels = CONCEPTS[concept](chunk.labels, chunk.delays, rng)
        harm.append(chunk.error(labels) - chunk.error(chunk.labels))
        past = chunk.settled(reference, past, labels)
        found = found or estimate_error(chunk.case(reference, past)).error is None
    return not found, float(np.mean(harm))


def _rivals() -> Mapping[str, Any]:
    return dict(RIVALS) | ({"nannyml": nannyml_cbpe} if find_spec("nannyml") else {})


def _shifts() -> Iterator[tuple[str, float]]:
    while True:
        for strength in STRENGTHS:
            for shift in SHIFTS:
                yield shift, strength


def _codes(column: pd.Series) -> Floats:
    return pd.factorize(column, sort=True)[0].astype(np.float64) if column.dtype == object else column.to_numpy(float)


def _known(value: float | None) -> float:
    return float("nan") if value is None else value
