"""What a sample costs in truth: drift scores of samples beside those of all rows, by method."""

from __future__ import annotations

from typing import Any, Final, get_args

import numpy as np
import pandas as pd

from bench.windows_stage.ticking import SAMPLE
from bench.windows_stage.traffic import SIGNATURE, features, reference
from observability.monitors.case import Case
from observability.monitors.judging import judge
from observability.monitors.settings import CategoricalMethod, DriftSettings, MonitorSettings, NumericMethod
from observability.monitors.verdicts import FeatureDrift
from observability.ports import Sample

#: a window that has drifted a little: some columns are near the threshold, so that sampling has something to spoil
_SHIFT: Final = 0.1


def sampling_errors(rows: int, draws: int) -> dict[str, dict[str, float]]:
    """By method: the mean and the largest difference of a score, and how often the verdict is the same.

    A score of ks and chisquare is a p-value, which falls with the number of rows: read its verdicts, not its size.
    """
    rng = np.random.default_rng(3)
    window = features(rows, rng, _SHIFT).assign(score=rng.random(rows) ** 1.1, prediction=0, label=np.nan)
    samples = [window.iloc[np.sort(rng.permutation(rows)[:SAMPLE])] for _ in range(draws)]
    categorical = get_args(CategoricalMethod)
    errors = {}
    for place, numeric in enumerate(get_args(NumericMethod)):
        check = DriftSettings(numeric_method=numeric, categorical_method=categorical[place % len(categorical)])
        exact = _scores(window, check)
        drawn = [_scores(sample, check) for sample in samples]
        for method in {each.method for each in exact}:
            errors[f"{method}_{'numeric' if method == numeric else 'categorical'}"] = _compared(method, exact, drawn)
    return errors


def _scores(frame: pd.DataFrame, check: DriftSettings) -> list[FeatureDrift]:
    sample = Sample(frame, rows=len(frame), labelled=0)
    drift = judge(Case("w-1", sample, reference(), SIGNATURE, MonitorSettings(drift=check))).drift
    return [*drift.features, drift.prediction]


def _compared(method: str, exact: list[FeatureDrift], drawn: list[list[FeatureDrift]]) -> dict[str, Any]:
    pairs = [(one, other) for sample in drawn for one, other in zip(exact, sample, strict=True) if one.method == method]
    errors = [abs(one.score - other.score) for one, other in pairs if one.score is not None and other.score is not None]
    return {
        "mean_error": float(np.mean(errors)),
        "largest_error": float(np.max(errors)),
        "mean_score": float(np.mean([one.score for one, _ in pairs if one.score is not None])),
        "same_verdict_share": float(np.mean([one.drifted == other.drifted for one, other in pairs])),
    }
