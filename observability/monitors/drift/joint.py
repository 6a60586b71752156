"""Judges all features of a window at once: what changed between columns, such as a correlation, is in none of them."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from bundle.signature import Feature
from observability.monitors.case import Case
from observability.monitors.drift.history import missing_key
from observability.monitors.drift.separation import Floats, Separation, picked, rank_sum, tell_apart, why_not
from observability.monitors.pooling import categorical_pair, column, numbers
from observability.monitors.verdicts import JointDrift

#: so many features are named
_NAMED: Final = 5
#: a feature is named if without it this share of what is better than guessing is lost
_LEANT: Final = 0.1


def judge_jointly(case: Case) -> JointDrift:
    """Whether trees tell the window's rows from the reference's: a p-value without correction, as of a column.

    Trees see what two or three columns do together, take missing values and categories as they are, and no scale
    matters to them. Nothing is said of a row's label or score: those have verdicts of their own.
    """
    now, then = case.sample.frame, case.reference.features
    reason = case.reference.reason or why_not(len(now), len(then))
    if reason is None and not case.settings.drift.joint:
        reason = "it is switched off: settings.drift.joint"
    if reason:
        return JointDrift(auc=None, p_value=None, effect=None, threshold=case.level, reason=reason)
    random = case.random("joint")
    now, then = now.iloc[picked(len(now), random)], then.iloc[picked(len(then), random)]
    features = case.signature.features
    table = np.column_stack([_codes(each, now, then, case.settings.drift.top_categories) for each in features])
    categories = np.array([each.type == "categorical" for each in features])
    with threadpool_limits(1):  # more threads take many times the processor for so few rows
        found = tell_apart(table, len(now), partial(_trees, categories), _stretch(case, len(now), len(then)))
        leaning = _leaning(found, table, case) if found.p_value <= case.level else ()
    return JointDrift(
        auc=found.auc,
        p_value=found.p_value,
        effect=found.effect,
        threshold=case.level,
        leaning=leaning,
    )


def _codes(feature: Feature, now: pd.DataFrame, then: pd.DataFrame, top: int) -> Floats:
    """One column of both: ranks of numbers, 0 for a missing one; the most frequent categories, all others, missing."""
    here, there = column(now, feature.name), column(then, feature.name)
    if feature.type == "numeric":
        ranks = stats.rankdata(np.concatenate([numbers(here), numbers(there)]), nan_policy="omit")
        return np.where(np.isnan(ranks), 0.0, ranks)
    pair = categorical_pair(here, there, top)
    return pd.factorize(np.concatenate([pair.current, pair.reference]))[0].astype(np.float64)


def _trees(categories: npt.NDArray[np.bool_]) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=30, max_leaf_nodes=16, min_samples_leaf=10, early_stopping=False,
        categorical_features=categories, random_state=0,
    )  # fmt: skip


def _stretch(case: Case, rows: int, rows_then: int) -> float:
    """What the test has to allow for, where columns vary between spans: the sum of what each varies too much.

    The trees find whatever differs, and what columns of their own do adds up. A column's factor is that of all rows; of
    the fewer that are looked at it is as much smaller as their number.
    """
    beyond = 0.0
    for feature in case.signature.features:
        known = case.reference.overdispersion
        factor = max(known.get(feature.name, 1.0), known.get(missing_key(feature.name), 1.0))
        beyond += max(0.0, factor - 1)
    looked_at = _harmonic(rows, rows_then) / _harmonic(len(case.sample.frame), len(case.reference.features))
    return 1 + beyond * looked_at


def _harmonic(rows: int, rows_then: int) -> float:
    return rows * rows_then / (rows + rows_then)


def _leaning(found: Separation, table: Floats, case: Case) -> tuple[str, ...]:
    """The features without which the trees would do worse, by how much: each is shuffled among the rows of a block."""
    rows, random = table[found.tested], case.random("joint leaning")
    area = rank_sum(found.learned.decision_function(rows), found.is_now)[1]
    lost: dict[str, float] = {}
    for place, name in enumerate(case.signature.feature_names):
        shuffled = rows.copy()
        shuffled[:, place] = random.permutation(rows[:, place])
        lost[name] = area - rank_sum(found.learned.decision_function(shuffled), found.is_now)[1]
    named = sorted((name for name in lost if lost[name] > _LEANT * (area - 0.5)), key=lambda name: -lost[name])
    return tuple(named[:_NAMED]) if area > 0.5 else ()
