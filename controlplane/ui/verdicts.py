"""A stored verdict as values. It is read with care: it may be older than this code, or hold less than it could."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: tests whose score is a p-value: the smaller, the more the feature drifted
P_VALUES: Final = frozenset({"calibrated", "ks", "chisquare"})
LEAST: Final = 1e-300


@dataclass(frozen=True)
class FeatureVerdict:
    """What the monitor said of one column in one window."""

    name: str
    method: str
    score: float | None
    threshold: float | None
    drifted: bool | None
    missing_share: float | None
    reference_missing_share: float | None
    unseen_share: float | None
    out_of_range_share: float | None
    #: why there is no verdict
    reason: str
    #: how far from the reference, in standard deviations; and what of it says so
    effect: float | None = None
    aspect: str = ""

    @property
    def severity(self) -> float | None:
        """How far the score is on its way to the threshold: 1 is at it, more is beyond it."""
        return severity(self.method, self.score, self.threshold, self.drifted)


@dataclass(frozen=True)
class ReferenceTold:
    """What a window was compared with."""

    kind: str
    rows: int | None
    #: as after and until, for people
    spans: tuple[str, ...]
    #: why it says nothing
    reason: str


#: cause of a change to how it is coloured and called
CAUSES: Final[Mapping[str, tuple[str, str]]] = {
    "stable": ("ok", "steady"),
    "bug": ("bad", "looks like a bug in the data"),
    "harmless": ("ok", "drift that does no harm"),
    "harmful": ("warn", "drift that does harm"),
    "concept": ("warn", "the concept changed"),
    "season": ("ok", "the season"),
}


@dataclass(frozen=True)
class DiagnosisTold:
    """What kind of change it is."""

    cause: str
    bug: str
    columns: tuple[str, ...]
    explanation: str
    #: feature, its share of the drift, its share of the loss
    ranked: tuple[tuple[str, float | None, float | None], ...]


@dataclass(frozen=True)
class Span:
    """A value and the interval that it lies in."""

    value: float | None
    low: float | None
    high: float | None
    #: why there is none
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the monitor said of one window."""

    features: tuple[FeatureVerdict, ...]
    drifted_share: float | None
    prediction: FeatureVerdict | None
    #: predictions that were looked at
    sampled: int | None
    #: what was counted of the sample as a whole
    counts: Mapping[str, int]
    error: Mapping[str, float]
    #: errors on the version's own out-of-time rows
    reference_error: Mapping[str, float]
    #: why something could not be told
    reasons: tuple[str, ...]
    #: what it was compared with
    reference: ReferenceTold
    #: exact numbers of the window: latencies in milliseconds, and predictions per minute
    latency: Mapping[str, float]
    per_minute: float | None
    diagnosis: DiagnosisTold | None = None
    #: what is wrong with the data, in sentences
    findings: tuple[str, ...] = ()
    #: share of wrong answers, estimated without labels; None where an older release did not estimate it
    estimate: Span | None = None
    #: interval of an error metric
    intervals: Mapping[str, Span] = field(default_factory=dict)

    @property
    def drifted(self) -> tuple[FeatureVerdict, ...]:
        return tuple(feature for feature in self.features if feature.drifted)


def cause_state(cause: str) -> str:
    """The colour of a cause."""
    return CAUSES.get(cause, ("idle", ""))[0]


def cause_words(cause: str) -> str:
    """A cause for people."""
    return CAUSES.get(cause, ("", "cannot tell"))[1]


def severity(method: str, score: float | None, threshold: float | None, drifted: bool | None) -> float | None:
    """The score relative to its threshold, for distances and p-values alike; the monitor's own word wins.

    >>> severity("psi", 0.05, 0.1, False), severity("ks", 1e-6, 0.001, True)
    (0.5, 2.0)
    """
    if score is None or not threshold:
        return None
    if method in P_VALUES:
        relative = math.log(max(score, LEAST)) / math.log(threshold) if threshold < 1 else 0.0
    else:
        relative = score / threshold
    if drifted is None:
        return relative
    return max(1.0, relative) if drifted else min(0.999, relative)


def read_verdict(stored: Mapping[str, Any]) -> Verdict:
    """The verdict in a window's JSON, as `scoring.score` made it."""
    quality = _mapping(stored.get("quality"))
    beyond = _mapping(quality.get("out_of_range_share"))
    features, prediction = _mapping(stored.get("features")), _mapping(stored.get("prediction"))
    volume = _mapping(stored.get("volume"))
    counted = {str(name): _integer(value) for name, value in quality.items()}
    return Verdict(
        features=tuple(_feature(str(name), _mapping(body), beyond) for name, body in features.items()),
        drifted_share=_number(stored.get("drifted_share")),
        prediction=_feature("score", prediction, {}) if prediction else None,
        sampled=_integer(stored.get("sampled")),
        counts={name: value for name, value in counted.items() if value is not None},
        error=_numbers(stored.get("error")),
        reference_error=_numbers(stored.get("error_reference")),
        reasons=tuple(str(each) for each in (quality.get("reason"), stored.get("error_reason")) if each),
        reference=_reference(_mapping(stored.get("reference"))),
        latency=_numbers(volume.get("latency_ms")),
        per_minute=_number(volume.get("predictions_per_minute")),
        diagnosis=_diagnosis(_mapping(stored.get("diagnosis"))),
        findings=tuple(str(_mapping(each).get("said") or "") for each in _list(quality.get("findings"))),
        estimate=_span(_mapping(stored.get("estimate")), "error") if stored.get("estimate") else None,
        intervals={
            str(name): _span(_mapping(body), "") for name, body in _mapping(stored.get("error_intervals")).items()
        },
    )


def _diagnosis(body: Mapping[str, Any]) -> DiagnosisTold | None:
    if not body:
        return None
    ranked = (_mapping(each) for each in _list(body.get("ranked")))
    return DiagnosisTold(
        cause=str(body.get("cause") or "unknown"),
        bug=str(body.get("bug") or ""),
        columns=tuple(str(each) for each in _list(body.get("columns"))),
        explanation=str(body.get("explanation") or ""),
        ranked=tuple(
            (str(each.get("feature")), _number(each.get("drift_share")), _number(each.get("loss_share")))
            for each in ranked
        ),
    )


def _span(body: Mapping[str, Any], value: str) -> Span:
    return Span(
        _number(body.get(value)), _number(body.get("low")), _number(body.get("high")), str(body.get("reason") or "")
    )


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - JSON
    return value if isinstance(value, list) else []


def _reference(body: Mapping[str, Any]) -> ReferenceTold:
    """Before there was a choice it was the training sample."""
    each = [_mapping(span) for span in _list(body.get("spans"))]
    return ReferenceTold(
        kind=str(body.get("kind") or "training"),
        rows=_integer(body.get("rows")),
        spans=tuple(f"{_minute(span.get('after'))} to {_minute(span.get('until'))}" for span in each),
        reason=str(body.get("reason") or ""),
    )


def _minute(instant: Any) -> str:  # noqa: ANN401 - JSON
    return str(instant)[:16].replace("T", " ")


def _feature(name: str, body: Mapping[str, Any], beyond: Mapping[str, Any]) -> FeatureVerdict:
    drifted = body.get("drifted")
    return FeatureVerdict(
        name=name,
        method=str(body.get("method") or ""),
        score=_number(body.get("score")),
        threshold=_number(body.get("threshold")),
        drifted=drifted if isinstance(drifted, bool) else None,
        missing_share=_number(body.get("missing_share")),
        reference_missing_share=_number(body.get("reference_missing_share")),
        unseen_share=_number(body.get("unseen_share")),
        out_of_range_share=_number(beyond.get(name)),
        reason=str(body.get("reason") or ""),
        effect=_number(body.get("effect")),
        aspect=str(body.get("aspect") or ""),
    )


def _mapping(value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - JSON
    return value if isinstance(value, Mapping) else {}


def _numbers(value: Any) -> Mapping[str, float]:  # noqa: ANN401 - JSON
    found = ((str(name), _number(each)) for name, each in _mapping(value).items())
    return {name: each for name, each in found if each is not None}


def _number(value: Any) -> float | None:  # noqa: ANN401 - JSON
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _integer(value: Any) -> int | None:  # noqa: ANN401 - JSON
    return value if isinstance(value, int) and not isinstance(value, bool) else None
