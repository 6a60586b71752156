"""Judges the features of a window, and its scores, each apart: what breaks one hides no other."""

from __future__ import annotations

from typing import Final

import pandas as pd

from bundle.signature import Feature
from observability.monitors.case import Case
from observability.monitors.drift.columns import Compared, combine, compare_categories, compare_numbers
from observability.monitors.drift.history import missing_key
from observability.monitors.pooling import column, numeric_pair, paired
from observability.monitors.verdicts import FeatureDrift

#: what data of no sensible type are known to raise
_REFUSALS: Final = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
_SCORE: Final = Feature(name="score", type="numeric")


def judge_features(case: Case) -> tuple[tuple[FeatureDrift, ...], FeatureDrift]:
    """Each feature beside the reference, and the scores: p-values without correction, which `family.decided` makes.

    A column that a frame lacks is missing in every row. A feature whose method is one of Evidently's comes decided.
    """
    now, then = case.sample.frame, case.reference.features
    features = tuple(
        _judge(case, feature, column(now, feature.name), column(then, feature.name))
        for feature in case.signature.features
    )
    return features, _judge(case, _SCORE, column(now, "score"), pd.Series(case.reference.usual_scores))


def _judge(case: Case, feature: Feature, now: pd.Series, then: pd.Series) -> FeatureDrift:
    check = case.settings.drift
    method = check.numeric_method if feature.type == "numeric" else check.categorical_method
    try:
        if method != "calibrated":
            return _by_evidently(case, feature, now, then)
        known = case.reference.overdispersion
        stretch, of_missing = (max(1.0, known.get(name, 1.0)) for name in (feature.name, missing_key(feature.name)))
        if feature.type == "numeric":
            found = compare_numbers(now, then, check.min_rows, stretch, of_missing)
        else:
            found = compare_categories(now, then, check.top_categories, check.min_rows, stretch, of_missing)
    except _REFUSALS as error:
        return FeatureDrift(
            feature=feature.name, method=method, score=None, threshold=case.level, drifted=None,
            missing_share=float(now.isna().mean()) if len(now) else 0.0,
            reference_missing_share=float(then.isna().mean()) if len(then) else 0.0,
            reason=f"could not be compared: {type(error).__name__}: {error}",
        )  # fmt: skip
    return _said(case, feature, found, stretch, len(now), len(then))


def _said(case: Case, feature: Feature, found: Compared, stretch: float, rows: int, rows_then: int) -> FeatureDrift:
    certain = case.level / (len(case.signature.features) + 1)
    reason = case.reference.reason or _why_not(found, case.settings.drift.min_rows, rows, rows_then, certain)
    told = None if reason else combine(found.tests, certain)
    return FeatureDrift(
        feature=feature.name,
        method="calibrated",
        score=None,
        threshold=case.level,
        drifted=None,
        missing_share=found.missing_share,
        reference_missing_share=found.reference_missing_share,
        unseen_share=None if case.reference.reason else found.unseen_share,
        reason=reason,
        p_value=told and told.p_value,
        effect=told and told.effect,
        aspect=told and told.aspect,
        overdispersion=stretch,
    )


def _why_not(found: Compared, min_rows: int, rows: int, rows_then: int, certain: float) -> str | None:
    """Why a column has no verdict. One that lost its values is no such column: that so many are missing is drift."""
    for name, count in (("the window", rows), ("the reference", rows_then)):
        if count < min_rows:
            return f"{count} values in {name}, {min_rows} are needed"
    if found.reference_present == 0:
        return "the reference holds no values"
    if found.tests["missing"].p_value <= certain:
        return None
    for name, count in (("the window", found.present), ("the reference", found.reference_present)):
        if count < min_rows:
            return f"{count} values in {name}, {min_rows} are needed"
    return None


def _by_evidently(case: Case, feature: Feature, now: pd.Series, then: pd.Series) -> FeatureDrift:
    from observability.monitors.evidently_scores import feature_drift  # it takes 6 s, and few ask for it

    check = case.settings.drift
    frames = pd.DataFrame({feature.name: now}), pd.DataFrame({feature.name: then})
    pair = numeric_pair(now, then) if feature is _SCORE else paired(feature, *frames, check.top_categories)
    return feature_drift(feature, pair, check, case.reference.reason)
