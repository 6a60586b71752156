"""Judges a window: its parts by turn, each of which says what it can and hides nothing of the others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from bundle.signature import Feature
from observability.monitors.case import Case
from observability.monitors.drift.family import decided
from observability.monitors.drift.features import judge_features
from observability.monitors.drift.joint import judge_jointly
from observability.monitors.drift.texts import judge_texts
from observability.monitors.errors.estimated import estimate_error
from observability.monitors.errors.stream import judge_stream
from observability.monitors.errors.verdict import judge_errors
from observability.monitors.evidently_scores import count_quality
from observability.monitors.quality import judge_quality
from observability.monitors.triage.columns import Columns
from observability.monitors.triage.diagnosis import diagnose
from observability.monitors.triage.hypotheses import shown
from observability.monitors.verdicts import (
    Diagnosis,
    DriftVerdict,
    ErrorMetrics,
    ErrorVerdict,
    EstimatedError,
    FeatureDrift,
    JointDrift,
    QualityVerdict,
    StreamVerdict,
    TextDrift,
    WindowVerdict,
)

LOG: Final = logging.getLogger(__name__)
#: what odd data are known to raise; whatever else is raised is no fault of the data
_REFUSALS: Final = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
#: characters of an exception that a reason holds: it may quote the data
_TOLD: Final = 120

_Part = TypeVar("_Part")


def judge(case: Case) -> WindowVerdict:
    """Everything that can be told of a window; what cannot is None with a reason.

    A part that the data are too odd for ends no other. The diagnosis is last: it weighs what the other parts said.
    """
    columns = _judged("columns", case, lambda: Columns.of(case), lambda why: None)
    verdict = WindowVerdict(
        rows=case.sample.rows,
        sampled=len(case.sample.frame),
        labelled=case.sample.labelled,
        drift=_drift(case),
        quality=_judged("quality", case, lambda: judge_quality(case, _counted(case), columns), _no_quality),
        errors=_judged("errors", case, lambda: judge_errors(case), _no_errors),
        stream=_judged("stream", case, lambda: judge_stream(case), _no_stream),
        estimate=_judged("estimate", case, lambda: estimate_error(case), _no_estimate),
    )
    diagnosis = _judged("diagnosis", case, lambda: diagnose(case, verdict, columns), _no_diagnosis)
    return verdict.model_copy(update={"diagnosis": diagnosis})


def _drift(case: Case) -> DriftVerdict:
    features, prediction = _judged("features", case, lambda: judge_features(case), lambda why: _no_features(case, why))
    joint = None
    if case.settings.drift.joint:
        joint = _judged("joint", case, lambda: judge_jointly(case), lambda why: _no_joint(case, why))
    texts = _judged("texts", case, lambda: judge_texts(case), lambda why: _no_texts(case, why))
    return decided(features, prediction, joint, texts, case.settings.drift, case.level)


def _counted(case: Case) -> QualityVerdict:
    return _judged("counts", case, lambda: count_quality(case.sample.frame, case.signature), _no_quality)


def _judged(part: str, case: Case, judged: Callable[[], _Part], nothing: Callable[[str], _Part]) -> _Part:
    """What a part says, or its verdict of nothing with the reason."""
    try:
        return judged()
    except _REFUSALS as error:
        LOG.warning("the part %s of window %s could not be judged", part, case.window, exc_info=error)
        return nothing(f"could not be judged: {type(error).__name__}: {shown(error, _TOLD)}")


def _no_features(case: Case, why: str) -> tuple[tuple[FeatureDrift, ...], FeatureDrift]:
    def unjudged(feature: Feature) -> FeatureDrift:
        check = case.settings.drift
        return FeatureDrift(
            feature=feature.name,
            method=check.numeric_method if feature.type == "numeric" else check.categorical_method,
            score=None, threshold=case.level, drifted=None, missing_share=0.0, reference_missing_share=0.0, reason=why,
        )  # fmt: skip

    return tuple(map(unjudged, case.signature.features)), unjudged(Feature(name="score", type="numeric"))


def _no_joint(case: Case, why: str) -> JointDrift:
    return JointDrift(auc=None, p_value=None, effect=None, threshold=case.level, reason=why)


def _no_texts(case: Case, why: str) -> tuple[TextDrift, ...]:
    nothing = TextDrift(
        field="", length=None, reference_length=None, out_of_vocabulary=None, reference_out_of_vocabulary=None,
        auc=None, p_value=None, effect=None, threshold=case.level, reason=why,
    )  # fmt: skip
    return tuple(nothing.model_copy(update={"field": field}) for field in case.settings.texts)


def _no_quality(why: str) -> QualityVerdict:
    return QualityVerdict(missing_share={}, unseen_share={}, out_of_range_share={}, reason=why)


def _no_errors(why: str) -> ErrorVerdict:
    return ErrorVerdict(labelled=0, metrics=ErrorMetrics(), reference=ErrorMetrics(), reason=why)


def _no_stream(why: str) -> StreamVerdict:
    """Without a state: the next window goes on from the one before."""
    return StreamVerdict(alarm=False, evidence=0.0, threshold=0.0, reason=why)


def _no_estimate(why: str) -> EstimatedError:
    return EstimatedError(error=None, reason=why)


def _no_diagnosis(why: str) -> Diagnosis:
    return Diagnosis(cause="unknown", explanation=f"The window {why}.")
