"""A window's verdict from the p-values of its parts: Holm's correction, and the margin below which nothing matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from observability.monitors.settings import DriftSettings
from observability.monitors.verdicts import DriftVerdict, FeatureDrift, JointDrift, TextDrift

_Part: TypeAlias = FeatureDrift | JointDrift | TextDrift


def decided(
    features: Sequence[FeatureDrift],
    prediction: FeatureDrift,
    joint: JointDrift | None,
    texts: Sequence[TextDrift],
    settings: DriftSettings,
    level: float,
) -> DriftVerdict:
    """What has drifted: with nothing the matter, any part of the window alarms with the chance `level` at most.

    A part without a p-value is none of the family: one that Evidently judged keeps its verdict, and one that could not
    be judged has none and weakens no other.
    """
    parts: list[_Part] = [
        *features,
        prediction,
        *([] if joint is None else [joint]),
        *texts,
    ]
    scores = iter(holm([part.p_value for part in parts if part.p_value is not None]))
    told = [part if part.p_value is None else _told(part, next(scores), level, settings.margin) for part in parts]
    columns = tuple(part for part in told[: len(features)] if isinstance(part, FeatureDrift))
    score = told[len(features)]
    known = any(column.drifted is not None for column in columns)
    return DriftVerdict(
        features=columns,
        drifted_share=sum(bool(column.drifted) for column in columns) / len(columns) if known else None,
        prediction=score if isinstance(score, FeatureDrift) else prediction,
        joint=next((part for part in told if isinstance(part, JointDrift)), None),
        texts=tuple(part for part in told if isinstance(part, TextDrift)),
        level=level,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value, corrected for its being one of so many: Holm's step-down.

    >>> [round(score, 3) for score in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=float)[order] * np.arange(len(order), 0, -1)
    scores = np.empty(len(order))
    scores[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(score) for score in scores]


def _told(part: _Part, score: float, level: float, margin: float) -> _Part:
    drifted = score <= level and (part.effect or 0.0) >= margin
    return part.model_copy(update={"score": score, "threshold": level, "drifted": drifted})
