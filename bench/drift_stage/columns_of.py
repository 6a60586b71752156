"""Columns for s1, s2 and s8: plain ones, ones with the marginals of tweets, and tweets themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from bundle.signature import Feature, FeatureType, RawField, Signature
from observability.monitors.case import Case
from observability.monitors.drift.budget import level_of
from observability.monitors.drift.family import decided
from observability.monitors.drift.features import judge_features
from observability.monitors.reference import Reference
from observability.monitors.settings import FalseAlarms
from observability.monitors.verdicts import DriftVerdict, JointDrift
from observability.ports import Sample

Columns: TypeAlias = Callable[[int, np.random.Generator], pd.DataFrame]

#: the level of a claim, and the shipped one: a false alarm a month of windows of a day
LEVEL: Final = 0.05
SHIPPED_LEVEL: Final = level_of(
    FalseAlarms().per_month, FalseAlarms().highest_level, timedelta(days=1), monitors=1, segments=0, whole=True
)
#: rows that a monitor looks at of a larger window
SAMPLE: Final = 5_000

PLAIN: Final[Mapping[str, FeatureType]] = {
    **{f"normal_{place}": "numeric" for place in range(4)},
    "skewed": "numeric", "flag": "numeric", "count": "numeric",
    "few": "categorical", "some": "categorical", "many": "categorical",
}  # fmt: skip
TWEETS: Final[Mapping[str, FeatureType]] = {
    "followers": "numeric", "friends": "numeric", "favourites": "numeric", "verified": "numeric",
    "positive": "numeric", "negative": "numeric", "characters": "numeric",
    "location": "categorical", "hashtags": "categorical", "source": "categorical",
}  # fmt: skip
REAL: Final[Mapping[str, FeatureType]] = {
    "user_followers": "numeric", "user_friends": "numeric", "user_favourites": "numeric", "user_verified": "numeric",
    "characters": "numeric", "hour": "numeric", "tags": "numeric",
    "user_location": "categorical", "hashtags": "categorical", "source": "categorical",
}  # fmt: skip


def plain(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Ten columns without a trap: normal, skewed, counted, yes or no, and of 3, 8 and 20 categories."""
    columns: dict[str, Any] = {f"normal_{place}": rng.normal(size=rows) for place in range(4)}
    columns |= {"skewed": rng.lognormal(size=rows), "flag": 1.0 * (rng.random(rows) < 0.3)}
    columns |= {"count": rng.poisson(3, rows).astype(float)}
    columns |= {name: categories(rows, rng, k, 0, 0.7) for name, k in (("few", 3), ("some", 8), ("many", 20))}
    return pd.DataFrame(columns)


def tweets(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Ten columns with the marginals of 8,809 real tweets about vaccination.

    Of locations 22 % are missing, 72 % of the values stand once in 9,000 rows, and the top one has 1.3 %; of hashtags
    23 % are missing, 82 % stand once, and the top one has 8 %.
    """
    verified = rng.random(rows) < 0.110
    return pd.DataFrame({
        "followers": _accounts(rows, rng, 6.54, 2.63, 0.005),
        "friends": _accounts(rows, rng, 5.97, 1.75, 0.01),
        "favourites": _accounts(rows, rng, 7.35, 2.59, 0.035),
        "verified": 1.0 * verified,
        "positive": np.round(np.where(rng.random(rows) < 0.45, 0, rng.beta(1.5, 8, rows)), 3),
        "negative": np.round(np.where(rng.random(rows) < 0.6, 0, rng.beta(1.5, 10, rows)), 3),
        "characters": np.minimum(140, np.round(rng.gamma(9, 14, rows))),
        "location": _gone(categories(rows, rng, 20_000, 10, 1.0), 0.22, rng),
        "hashtags": _gone(categories(rows, rng, 200_000, 1, 1.0), 0.23, rng),
        "source": categories(rows, rng, 84, 1.5, 1.9),
    })  # fmt: skip


@cache
def real_tweets(path: Path) -> pd.DataFrame:
    """The real ones; nothing is generated and nothing left out."""
    rows = pd.read_csv(path)
    frame = rows[["user_location", "hashtags", "source"]].astype(object).where(lambda cells: cells.notna(), None)
    for name in ("user_followers", "user_friends", "user_favourites", "user_verified"):
        frame[name] = rows[name].astype(float)
    frame["characters"] = rows["text"].str.len().astype(float)
    frame["hour"] = pd.to_datetime(rows["date"]).dt.hour.astype(float)
    frame["tags"] = rows["hashtags"].fillna("").str.count(",").astype(float) + rows["hashtags"].notna()
    return frame[list(REAL)]


def scored(features: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The features beside scores that come from nothing."""
    return features.assign(score=rng.beta(1, 3, len(features)))


def case_of(
    now: pd.DataFrame, then: pd.DataFrame, types: Mapping[str, FeatureType], window: str, rows: int | None = None
) -> Case:
    """A window and its reference, both with a column `score`."""
    return Case(
        window=window,
        sample=Sample(now, rows=rows or len(now), labelled=0),
        reference=Reference(
            features=then[list(types)], scores=then["score"].to_numpy(np.float64), labels=np.full(len(then), np.nan)
        ),
        signature=Signature(
            model="default/bench",
            task="binary",
            raw=(RawField(name="raw", type="string"),),
            features=tuple(Feature(name=name, type=kind) for name, kind in types.items()),
            label="label",
        ),
        level=LEVEL,
    )


def verdicts(case: Case) -> tuple[DriftVerdict, DriftVerdict]:
    """By significance alone at the claims' level, and as it is shipped.

    The joint test is left out, which costs a second; of the shipped family it has its place, as one that finds nothing.
    """
    features, prediction = judge_features(case)
    shipped, joint = case.settings.drift, JointDrift(auc=0.5, p_value=1.0, effect=0.0)
    alone = shipped.model_copy(update={"margin": 0.0})
    return (
        decided(features, prediction, None, (), alone, LEVEL),
        decided(features, prediction, joint, (), shipped, SHIPPED_LEVEL),
    )


def alarmed(verdict: DriftVerdict) -> bool:
    return bool(verdict.drifted) or bool(verdict.prediction.drifted)


def by_evidently(now: pd.DataFrame, then: pd.DataFrame, types: Mapping[str, FeatureType]) -> tuple[set[str], bool]:
    """The columns that have drifted by Evidently's defaults, and whether the data set has."""
    os.environ["DO_NOT_TRACK"] = "1"
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    names: dict[FeatureType, list[str]] = {
        kind: [name for name in types if types[name] == kind] for kind in ("numeric", "categorical")
    }
    definition = DataDefinition(numerical_columns=names["numeric"], categorical_columns=names["categorical"])
    data = (Dataset.from_pandas(frame[list(types)], data_definition=definition) for frame in (now, then))
    with np.errstate(all="ignore"):
        found = Report([DataDriftPreset()], include_tests=True).run(*data).dict()
    columns = {
        test["metric_config"]["params"]["column"]
        for test in found["tests"]
        if "column" in test["metric_config"]["params"] and test["status"].endswith("FAIL")
    }
    return columns, found["metrics"][0]["value"]["share"] >= 0.5


def _accounts(rows: int, rng: np.random.Generator, mean: float, deviation: float, zero: float) -> npt.NDArray[Any]:
    counts = np.floor(np.expm1(np.maximum(0, rng.normal(mean, deviation, rows))))
    return np.where(rng.random(rows) < zero, 0, counts)


def categories(rows: int, rng: np.random.Generator, size: int, offset: float, power: float) -> npt.NDArray[Any]:
    names, cumulated = _ranked(size, offset, power)
    return names[np.searchsorted(cumulated, rng.random(rows), side="right")]


@cache
def _ranked(size: int, offset: float, power: float) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    shares = 1 / (np.arange(1, size + 1) + offset) ** power
    names = np.array([f"value {place}" for place in range(size)] + ["beyond"], dtype=object)
    return names, np.cumsum(shares / shares.sum())


def _gone(values: npt.NDArray[Any], share: float, rng: np.random.Generator) -> npt.NDArray[Any]:
    values[rng.random(len(values)) < share] = None
    return values
