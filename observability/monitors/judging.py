"""Judges a window: its parts by turn, each of which says what it can and hides nothing of the others."""

from __future__ import annotations

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
from observability.monitors.triage.diagnosis import diagnose
from observability.monitors.verdicts import WindowVerdict


def judge(case: Case) -> WindowVerdict:
    """Everything that can be told of a window; what cannot is None with a reason.

    The diagnosis is last: it weighs what the other parts said.
    """
    features, prediction = judge_features(case)
    joint = judge_jointly(case) if case.settings.drift.joint else None
    verdict = WindowVerdict(
        rows=case.sample.rows,
        sampled=len(case.sample.frame),
        labelled=case.sample.labelled,
        drift=decided(features, prediction, joint, judge_texts(case), case.settings.drift, case.level),
        quality=judge_quality(case, count_quality(case.sample.frame, case.signature)),
        errors=judge_errors(case),
        stream=judge_stream(case),
        estimate=estimate_error(case),
    )
    return verdict.model_copy(update={"diagnosis": diagnose(case, verdict)})
