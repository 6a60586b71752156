"""A stored drift verdict judged again under another margin or level: no row of the window is needed for that.

What costs time, the tests themselves, is stored as a p-value and an effect for each part. The correction over the
window's parts and the margin come after it, and are the only things that are done again, by the same function as in
service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from observability.monitors.drift.family import decided
from observability.monitors.settings import DriftSettings
from observability.monitors.verdicts import FeatureDrift, JointDrift, TextDrift

Json = Mapping[str, Any]
#: stands where the scores were not compared: it has no p-value, so it weakens no other part
_NO_SCORES: Final = FeatureDrift(
    feature="", method="", score=None, threshold=0.0, drifted=None, missing_share=0.0, reference_missing_share=0.0
)


def can_be_rejudged(verdict: Json) -> bool:
    """Whether any part of a stored verdict has a p-value; Evidently's methods and old releases give none."""
    return any(part.get("p_value") is not None for part in _parts(verdict))


def rejudged(verdict: Json, drift: DriftSettings, level: float) -> dict[str, Any]:
    """The verdict as it would be under these settings at this level; what has no p-value stays as it is."""
    if not can_be_rejudged(verdict):
        return dict(verdict)
    scores, joint = verdict.get("prediction"), verdict.get("joint")
    told = decided(
        [FeatureDrift.model_validate({**part, "feature": name}) for name, part in _named(verdict, "features")],
        FeatureDrift.model_validate(scores) if scores else _NO_SCORES,
        JointDrift.model_validate(joint) if joint else None,
        [TextDrift.model_validate({**part, "field": name}) for name, part in _named(verdict, "texts")],
        drift,
        level,
    ).model_dump(mode="json")
    return {
        **verdict,
        "level": told["level"],
        "features": {each.pop("feature"): each for each in told["features"]},
        "drifted_share": told["drifted_share"],
        "prediction": told["prediction"] if scores else scores,
        "joint": told["joint"],
        "texts": {each.pop("field"): each for each in told["texts"]},
    }


def _named(verdict: Json, name: str) -> Iterator[tuple[str, Json]]:
    yield from (verdict.get(name) or {}).items()


def _parts(verdict: Json) -> Iterator[Json]:
    for name in ("features", "texts"):
        yield from (part for _, part in _named(verdict, name))
    yield from (part for part in (verdict.get("prediction"), verdict.get("joint")) if part)
