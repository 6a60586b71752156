"""Verdicts as they are stored, read again: each question that more than one part asks of them is answered here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from observability.monitors.verdicts import Diagnosis, DriftVerdict, FeatureDrift, JointDrift, TextDrift

Json = Mapping[str, Any]
#: where a stored verdict says which labels its window has, and which it had at the first look
SEEN: Final = "labels_seen"
FIRST: Final = "labels_first"
_SOME_BUG: Final = "a bug in the pipeline"
#: stands where the scores were not compared: it has no p-value, so it weakens no other part
_NO_SCORES: Final = FeatureDrift(
    feature="", method="", score=None, threshold=0.0, drifted=None, missing_share=0.0, reference_missing_share=0.0
)


def stored_drift(verdict: Json) -> DriftVerdict:
    """What a stored verdict says of drift; nothing where it says nothing."""
    scores, joint = verdict.get("prediction"), verdict.get("joint")
    return DriftVerdict(
        features=tuple(
            FeatureDrift.model_validate({**part, "feature": name}) for name, part in _of(verdict, "features")
        ),
        drifted_share=verdict.get("drifted_share"),
        prediction=FeatureDrift.model_validate(scores) if scores else _NO_SCORES,
        joint=JointDrift.model_validate(joint) if joint else None,
        texts=tuple(TextDrift.model_validate({**part, "field": name}) for name, part in _of(verdict, "texts")),
        level=verdict.get("level"),
    )


def bug_of(diagnosis: Json | None) -> Diagnosis | None:
    """A stored diagnosis where it is of a bug in the pipeline; None where it is of anything else, or there is none.

    Of one that holds less than it could, what is missing is empty.
    """
    if not isinstance(diagnosis, Mapping) or diagnosis.get("cause") != "bug":
        return None
    said, columns = diagnosis.get("explanation"), diagnosis.get("columns")
    return Diagnosis.model_construct(
        cause="bug", bug=diagnosis.get("bug"), columns=tuple(columns or ()), explanation=str(said or _SOME_BUG)
    )


def first_look(before: Json) -> Json | None:
    """What must be kept of a window's stored verdict when a later one replaces it: the labels of the first look."""
    kept = before.get(FIRST) or before.get(SEEN)
    return kept if isinstance(kept, Mapping) else None


def _of(verdict: Json, name: str) -> Iterator[tuple[str, Json]]:
    yield from (verdict.get(name) or {}).items()
