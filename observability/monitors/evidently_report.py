"""Driftgate's tests as Evidently's, and Evidently's own report of a window with our verdicts in it.

Whoever imports this may name `driftgate_numeric` and `driftgate_categorical` wherever Evidently takes a method. It
takes 6 s to import and a second or more for a report, so it is for a process of its own.

Evidently writes text from data into its HTML without escaping it (0.7.23): a category such as `<script>` would run in
the browser of whoever reads the report. So it is given no such text: of categories only letters, digits and harmless
marks are left, and names of columns are made of nothing else anyway.
"""

from __future__ import annotations

import os

os.environ["DO_NOT_TRACK"] = "1"  # before the import: telemetry is on by default

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.presets import DataDriftPreset, DataSummaryPreset

from bundle.signature import Feature
from observability.monitors.case import Case
from observability.monitors.drift.columns import Compared, combine, compare_categories, compare_numbers
from observability.monitors.pooling import column, numbers
from observability.monitors.settings import DriftSettings
from observability.monitors.verdicts import DriftVerdict, FeatureDrift

NUMERIC: Final = "driftgate_numeric"
CATEGORICAL: Final = "driftgate_categorical"
#: rows of the window and of the reference that a report is of, and columns of each, at most
ROWS: Final = 5_000
COLUMNS: Final = 100
#: categories that keep their names; the others are one
_CATEGORIES: Final = 30
_LETTERS: Final = 40
_SCORE: Final = Feature(name="score", type="numeric")
#: letters and digits of any script, and marks that mean nothing in HTML, JavaScript and JSON
_HARMFUL: Final = re.compile(r"[^\w .,+@#-]")
#: what the tests answer while a report is written: the verdicts that were made
_TOLD: ContextVar[Mapping[str, FeatureDrift]] = ContextVar("told", default={})  # noqa: B039 - nothing is written to it


class NothingToReport(ValueError):
    """No column of the window has a verdict."""


@dataclass(frozen=True)
class _Compared:
    """One column of both, as Evidently is given it."""

    feature: Feature
    now: pd.Series[Any]
    then: pd.Series[Any]
    verdict: FeatureDrift


def report(case: Case, drift: DriftVerdict) -> bytes:
    """Evidently's report of a window beside its reference, as one HTML file that loads nothing: what drifted is our
    verdict, the drift score our corrected p-value, and its threshold the window's level.

    Of columns without a verdict, and of those beyond the first 100 (drifted ones come first), there is nothing in it.
    Raises NothingToReport where that leaves none.
    """
    compared = _compared(case, drift)
    if not compared:
        raise NothingToReport("no column of the window has a verdict: there are too few rows, or the reference has")
    with _telling({each.feature.name: each.verdict for each in compared}):
        metrics = [_drift_of(compared), DataSummaryPreset()]
        run = Report(metrics, include_tests=True).run(_data(compared, "now"), _data(compared, "then"))
        html: str = run.get_html_str(as_iframe=False)
    return html.encode()


def _compared(case: Case, drift: DriftVerdict) -> list[_Compared]:
    verdicts = {each.feature: each for each in drift.features}
    now, then = case.sample.frame, case.reference.features
    found = []
    for feature in case.signature.features:
        told = verdicts.get(feature.name)
        if told is not None and told.score is not None and told.drifted is not None:
            found.append(_made(feature, column(now, feature.name), column(then, feature.name), told))
    score = drift.prediction
    if score.score is not None and score.drifted is not None:
        found.append(_made(_SCORE, column(now, "score"), pd.Series(case.reference.usual_scores), score))
    known = [each for each in found if each.now.notna().any() and each.then.notna().any()]
    return sorted(known, key=lambda each: not each.verdict.drifted)[:COLUMNS]


def _made(feature: Feature, now: pd.Series[Any], then: pd.Series[Any], verdict: FeatureDrift) -> _Compared:
    now, then = _fewer(now), _fewer(then)
    if feature.type == "numeric":
        numeric, usual = (pd.Series(numbers(part).astype(np.float64)) for part in (now, then))
        return _Compared(feature, numeric, usual, verdict)
    names = _names(pd.concat([now, then]))
    named, known = (part.map(_text).map(names).reset_index(drop=True) for part in (now, then))
    return _Compared(feature, named, known, verdict)


def _fewer(values: pd.Series[Any]) -> pd.Series[Any]:
    if len(values) <= ROWS:
        return values
    return values.iloc[np.linspace(0, len(values) - 1, ROWS).astype(int)]


def _text(value: object) -> str:
    return "" if value is None or (isinstance(value, float) and np.isnan(value)) else str(value)


def _names(values: pd.Series[Any]) -> Mapping[str, str | None]:
    """What each category is called: what is harmless of its text; two that are the same then are told by a number."""
    frequent = values.map(_text).value_counts()
    names: dict[str, str | None] = {str(text): "other categories" for text in frequent.index[_CATEGORIES + 1 :]}
    taken: set[str] = {"other categories"}
    for text in frequent.index[: _CATEGORIES + 1]:
        plain = harmless(str(text))
        name, number = plain, 2
        while name in taken:
            name, number = f"{plain} no. {number}", number + 1
        taken.add(name)
        names[str(text)] = name
    names[""] = None
    return names


def harmless(text: str) -> str:
    """A category's text without what means anything to a browser, and not too long.

    >>> harmless("</script><b>bold & brash")
    '  script  b bold   brash'
    """
    return _HARMFUL.sub(" ", text[:_LETTERS])


def _drift_of(compared: list[_Compared]) -> DataDriftPreset:
    """Any column that has drifted makes the data set drift, as it makes a window alarm."""
    return DataDriftPreset(
        num_method=NUMERIC,
        cat_method=CATEGORICAL,
        per_column_threshold={each.feature.name: each.verdict.threshold for each in compared},
        drift_share=1 / len(compared),
    )


def _data(compared: list[_Compared], which: str) -> Dataset:
    of = {
        kind: [each.feature.name for each in compared if each.feature.type == kind]
        for kind in ("numeric", "categorical")
    }
    frame = pd.DataFrame({each.feature.name: getattr(each, which) for each in compared})
    definition = DataDefinition(numerical_columns=of["numeric"], categorical_columns=of["categorical"])
    return Dataset.from_pandas(frame, data_definition=definition)


@contextmanager
def _telling(told: Mapping[str, FeatureDrift]) -> Iterator[None]:
    """Within this the tests say what was said, and the warnings of third parties about constant columns are not."""
    token = _TOLD.set(told)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        _TOLD.reset(token)


def _test(reference: pd.Series[Any], current: pd.Series[Any], kind: ColumnType, threshold: float) -> tuple[float, bool]:
    """What Evidently asks: a score of two columns, and whether the second has drifted.

    Where no report of ours is written it is the column's own p-value, of values only, without a correction.
    """
    told = _TOLD.get().get(str(current.name))
    if told is not None and told.score is not None:
        return told.score, bool(told.drifted)
    settings = DriftSettings()
    found = _of_values(reference, current, kind, settings)
    if "values" not in found.tests:
        return 1.0, False
    said = combine({"values": found.tests["values"]}, threshold)
    return said.p_value, said.p_value <= threshold and said.effect >= settings.margin


def _of_values(
    reference: pd.Series[Any], current: pd.Series[Any], kind: ColumnType, settings: DriftSettings
) -> Compared:
    if kind == ColumnType.Numerical:
        return compare_numbers(current, reference, settings.min_rows)
    return compare_categories(current, reference, settings.top_categories, settings.min_rows)


for _name, _kind in ((NUMERIC, ColumnType.Numerical), (CATEGORICAL, ColumnType.Categorical)):
    register_stattest(StatTest(_name, "Driftgate, corrected p-value", [_kind], default_threshold=0.05), _test)
