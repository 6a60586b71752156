"""A stored drift verdict judged again under another margin or level: no row of the window is needed for that.

What costs time, the tests themselves, is stored as a p-value and an effect for each part. The correction over the
window's parts and the margin come after it, and are the only things that are done again, by the same function as in
service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from observability.monitors.drift.family import decided
from observability.monitors.settings import DriftSettings
from observability.monitors.stored import stored_drift

Json = Mapping[str, Any]


def can_be_rejudged(verdict: Json) -> bool:
    """Whether any part of a stored verdict has a p-value; Evidently's methods and old releases give none."""
    return any(part.get("p_value") is not None for part in _parts(verdict))


def rejudged(verdict: Json, drift: DriftSettings, level: float) -> dict[str, Any]:
    """The verdict as it would be under these settings at this level; what has no p-value stays as it is."""
    if not can_be_rejudged(verdict):
        return dict(verdict)
    before = stored_drift(verdict)
    told = decided(before.features, before.prediction, before.joint, before.texts, drift, level).model_dump(mode="json")
    return {
        **verdict,
        "level": told["level"],
        "features": {each.pop("feature"): each for each in told["features"]},
        "drifted_share": told["drifted_share"],
        "prediction": told["prediction"] if verdict.get("prediction") else None,
        "joint": told["joint"],
        "texts": {each.pop("field"): each for each in told["texts"]},
    }


def _parts(verdict: Json) -> Iterator[Json]:
    for name in ("features", "texts"):
        yield from (verdict.get(name) or {}).values()
    yield from (part for part in (verdict.get("prediction"), verdict.get("joint")) if part)
