"""Triage: bugs of eight kinds in real windows name the broken column and never retrain; harmful drift does.

Windows are of New York's weather and of tweets, neither of which was looked at while the rules were written: those were
written on made-up tables (`triage_made`). Flights and NOAA's weather were scored before rules were mended: what they
say is told apart, as seen. Each bug breaks a random column, in a random way and strength, before the model scores it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import threadpool_limits

from bench.drift_stage.triage_faults import FAULTS, Kinds, another_concept, another_mix, shifted
from bench.drift_stage.triage_sets import Set, flights, noaa, tweets, weather
from bench.form import Claim
from controlplane.loop.scoring import stored
from observability.monitors.case import Case, PastVerdict
from observability.monitors.drift.history import SCORE, history_of
from observability.monitors.judging import judge
from observability.monitors.reference import Reference
from observability.monitors.settings import MonitorSettings
from observability.monitors.verdicts import WindowVerdict
from observability.ports import Sample

SEED: Final = 20_261_125
#: of each kind: bugs, harmful drift, harmless drift, clean windows
CASES: Final = 50
SHORT_CASES: Final = 4
#: windows of a set that are broken, drawn once
WINDOWS: Final = 8
SHORT_WINDOWS: Final = 2
#: windows before the version is made of: trained on TRAIN, proven on one, then PAST served well
TRAIN: Final = 4
PAST: Final = 8
#: an error is harm that is above that on the version's own rows, and that of the window as it was, by so much
HARM: Final = 0.05
#: and by so many of a window's standard errors; what is not above them is none
HARM_ERRORS: Final = 4.0
TRIES: Final = 100
#: a bug changes at least so many of the rows
CHANGED: Final = 0.1
LEVEL: Final = 0.01

Told = tuple[str, ...]


@dataclass(frozen=True)
class Version:
    """A model with what its windows are compared with, and the verdicts of the windows before."""

    of: Set
    model: Pipeline
    reference: Reference
    past: tuple[PastVerdict, ...] = ()

    def case(self, window: str, rows: pd.DataFrame, minutes: float) -> Case:
        """The window of these rows, which lasted so long, once all labels are there."""
        names = [*self.of.kinds.numeric, *self.of.kinds.categorical]
        scores = self.scores(rows)
        frame = pd.DataFrame({
            "id": [f"{window}-{place}" for place in range(len(rows))], "event_time": rows["event_time"].to_numpy(),
            "version": 1, "score": scores, "prediction": (scores > 0.5).astype(int),
            "label": rows["label"].to_numpy(float),
        })  # fmt: skip
        frame[names] = rows[names].reset_index(drop=True)
        missing = {name: float(pd.isna(rows[name]).mean()) for name in names}
        return Case(
            window, Sample(frame, len(frame), len(frame)),
            self.reference.beside(len(frame), timedelta(minutes=minutes)), self.of.signature, MonitorSettings(),
            level=LEVEL, settled=True, past=self.past,
            volume={"rows": len(frame), "missing_share": missing, "predictions_per_minute": len(frame) / minutes},
        )  # fmt: skip

    def scores(self, rows: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.model.predict_proba(_seen(rows, self.of.kinds))[:, 1])

    def error(self, rows: pd.DataFrame) -> float:
        return float(np.mean((self.scores(rows) > 0.5) != rows["label"]))

    @property
    def proven(self) -> float:
        """The share of wrong answers on its own out-of-time rows."""
        return float(np.mean((self.reference.scores > 0.5) != self.reference.labels))


class NoSuchDrift(RuntimeError):
    """Whatever is done to the features of a window, its errors do not do what is asked for."""


Judge = Callable[[Case], WindowVerdict]


def run(full: bool) -> tuple[dict[str, float], list[Claim]]:
    """Eight kinds of bugs, harmful and harmless drift and clean windows, each judged as the product judges it."""
    figures, why = _figures((weather(), tweets()), full)
    seen, _ = _figures((flights(), noaa()), full)
    figures |= {name.replace("triage_", "triage_seen_"): value for name, value in seen.items()}
    if why:
        return figures, [Claim.unmeasured(*claim, why) for claim in _CLAIMS.values()]
    return figures, [Claim.of(said, figures[name], *bar) for name, (said, *bar) in _CLAIMS.items()]


def _figures(loaded: Sequence[Set | str], full: bool) -> tuple[dict[str, float], str]:
    """The figures of these sets; none, and why, where one of them is not there."""
    if missing := [each for each in loaded if isinstance(each, str)]:
        return {}, "; ".join(missing)
    sets = [each for each in loaded if isinstance(each, Set)]
    with threadpool_limits(1):
        return measure(sets, judge, SEED, CASES if full else SHORT_CASES, WINDOWS if full else SHORT_WINDOWS), ""


_CLAIMS: Final = {
    "triage_right": ("a bug is called one, and its column or source is named", ">=", 0.95),
    "triage_false_retrainings": ("windows with a bug that would retrain", "==", 0.0),
    "triage_harmful_retrained": ("harmful drift leads to a retraining", ">=", 0.9),
}


def measure(sets: Sequence[Set], judged: Judge, seed: int, cases: int, windows: int) -> dict[str, float]:
    """The figures of the triage on these sets."""
    outcomes = [Outcome.of(*each) for each in outcomes_of(sets, judged, seed, cases, windows)]
    bugs = [each for each in outcomes if each.kind in FAULTS]
    harmful = [each for each in outcomes if each.kind == "harmful"]
    figures = {
        "triage_bugs_missed": _share(bugs, lambda each: each.cause != "bug"),
        "triage_right": _share(bugs, lambda each: each.right),
        "triage_kind_right": _share(bugs, lambda each: each.kind_right),
        "triage_false_retrainings": float(sum(each.retrains for each in bugs)),
        "triage_harmful_retrained": _share(harmful, lambda each: each.retrains),
    }
    for kind in FAULTS:
        figures[f"triage_{kind}_right"] = _share([b for b in bugs if b.kind == kind], lambda each: each.right)
    for kind in ("harmful", "harmless", "clean"):
        figures[f"triage_{kind}_called_bug"] = _share(
            [each for each in outcomes if each.kind == kind], lambda each: each.cause == "bug"
        )
    return figures


@dataclass(frozen=True)
class Outcome:
    """What was done to a window, and what was said of it."""

    kind: str
    cause: str
    right: bool
    kind_right: bool
    #: a rule that acts on harm would fire
    retrains: bool

    @classmethod
    def of(cls, kind: str, truth: Told, verdict: WindowVerdict) -> Outcome:
        told = verdict.diagnosis
        assert told is not None
        # a feed that lacks rows or has them twice is broken as a whole, whichever column shows it
        right = set(told.columns) == set(truth) or (kind in ("truncated", "duplicates") and not told.columns)
        bug = told.cause == "bug"
        retrains = told.may_retrain and told.cause in ("harmful", "concept")
        return cls(kind, told.cause, bug and right, bug and told.bug == kind, retrains)


def _share(outcomes: list[Outcome], holds: Callable[[Outcome], bool]) -> float:
    return sum(map(holds, outcomes)) / len(outcomes) if outcomes else float("nan")


def outcomes_of(
    sets: Sequence[Set], judged: Judge, seed: int, cases: int, windows: int
) -> Iterator[tuple[str, Told, WindowVerdict]]:
    """Every broken, drifted and clean window: what was done, the columns that were broken, and what is said of it."""
    rng = np.random.default_rng(seed)
    worlds = [(each, _windows_of(each, rng, windows)) for each in sets]
    versions: dict[tuple[str, int], Version] = {}
    for kind in (*FAULTS, "harmful", "harmless", "clean"):
        able = [world for world in worlds if _can(world[0], kind)]
        for place in range(cases if able else 0):
            of, numbers = able[place % len(able)]
            for _ in range(TRIES):
                number = int(rng.choice(numbers))
                if (of.name, number) not in versions:
                    versions[of.name, number] = version_of(of, number, judged)
                try:
                    outcome = _outcome(versions[of.name, number], number, kind, place, rng, judged)
                except NoSuchDrift as error:
                    sys.stderr.write(f"another window: {error}\n")
                    continue
                yield kind, *outcome
                break
            else:
                raise NoSuchDrift(f"no window of {of.name} gave {kind} drift")


def _windows_of(of: Set, rng: np.random.Generator, windows: int) -> np.ndarray:
    first = TRAIN + 1 + PAST
    return rng.choice(np.arange(first, of.windows - 1), min(windows, of.windows - 1 - first), replace=False)


def _can(of: Set, kind: str) -> bool:
    return bool({"encoding": of.kinds.categorical, "timezone": of.kinds.hours}.get(kind, (of.name,)))


def _outcome(
    version: Version, number: int, kind: str, place: int, rng: np.random.Generator, judged: Judge
) -> tuple[Told, WindowVerdict]:
    rows, truth = version.of.window(number), ()
    if kind in FAULTS:
        rows, truth = _broken(rng, rows, kind, version.of.kinds)
    elif kind in ("harmful", "harmless"):
        rows = _drifted(version, number, rng, harmful=kind == "harmful")
    return truth, judged(version.case(f"{version.of.name}-{number}-{kind}-{place}", rows, version.of.minutes(number)))


def _broken(rng: np.random.Generator, rows: pd.DataFrame, kind: str, kinds: Kinds) -> tuple[pd.DataFrame, Told]:
    """A fault is drawn until it changes something: a weekday that is held for an hour is the weekday that it was."""
    while True:
        broken, truth = FAULTS[kind](rng, rows, kinds)
        if len(broken) < CHANGED * len(rows):  # of a column that is mostly one value an interval may be all of it
            continue
        if len(broken) != len(rows) or any(
            np.mean(broken[name].astype(str).to_numpy() != rows[name].astype(str).to_numpy()) >= CHANGED
            for name in truth
        ):
            return broken, truth


def _drifted(version: Version, number: int, rng: np.random.Generator, *, harmful: bool) -> pd.DataFrame:
    """Drift that is drawn until the truth says that errors rise by enough, or do not rise."""
    of, rows = version.of, version.of.window(number)
    usual = max(version.error(rows), version.proven)
    least = max(HARM, HARM_ERRORS * (usual * (1 - usual) / len(rows)) ** 0.5)
    pool = pd.concat([of.window(each) for each in range(number - 1, number + 2)], ignore_index=True)
    for _ in range(TRIES):
        way = rng.random()
        if way < 0.4:
            drifted = shifted(rng, rows, of.kinds)
        elif way < 0.7 or not harmful:
            drifted = another_mix(rng, pool, of.kinds, len(rows))
        else:
            drifted = another_concept(rng, rows, of.kinds)
        error = version.error(drifted)
        if error >= usual + least if harmful else error <= usual:
            return drifted
    raise NoSuchDrift(
        f"no drift of window {number} of {of.name} in {TRIES} tries is {'harmful' if harmful else 'harmless'}"
    )


def version_of(of: Set, number: int, judged: Judge) -> Version:
    """The version that serves window `number`: some windows old, with clean verdicts of those in between."""
    proven = number - PAST - 1
    train = pd.concat([of.window(each) for each in range(proven - TRAIN, proven)], ignore_index=True)
    model = make_pipeline(
        make_column_transformer(
            (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), list(of.kinds.categorical)),
            remainder="passthrough",
        ),
        HistGradientBoostingClassifier(max_iter=60, learning_rate=0.15, early_stopping=False, random_state=0),
    )
    model.fit(_seen(train, of.kinds), train["label"])
    names, held_out = [*of.kinds.numeric, *of.kinds.categorical], of.window(proven)
    scores = np.asarray(model.predict_proba(_seen(held_out, of.kinds))[:, 1])
    reference = Reference(
        train[names], scores, held_out["label"].to_numpy(float), held_out[names],
        history=history_of(train[names], of.signature.features, train["event_time"]),
        score_history=history_of(pd.DataFrame({SCORE.name: scores}), [SCORE], held_out["event_time"]),
    )  # fmt: skip
    version = Version(of, model, reference)
    for each in range(proven + 1, number):
        rows = of.window(each)
        case = version.case(f"{of.name}-{each}", rows, of.minutes(each))
        version = replace(version, past=(_past(case, judged(case)), *version.past))
    return version


def _past(case: Case, verdict: WindowVerdict) -> PastVerdict:
    rows = case.sample.rows
    until = case.sample.frame["event_time"].max().to_pydatetime()
    return PastVerdict(until, rows, rows, True, stored(verdict, settled=True) | {"volume": case.volume})


def _seen(rows: pd.DataFrame, kinds: Kinds) -> pd.DataFrame:
    """The features as the model sees them: numbers, and text."""
    columns = {name: pd.to_numeric(rows[name], errors="coerce").astype(float) for name in kinds.numeric}
    columns |= {name: rows[name].map(str, na_action="ignore").fillna("").astype(object) for name in kinds.categorical}
    return pd.DataFrame(columns)
