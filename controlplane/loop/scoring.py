"""What is said of one window: its sample beside the reference, what is exact, and the errors once labels are due."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from bundle.blobs import BlobCorrupt, BlobStore
from bundle.manifest import REFERENCE, Manifest
from controlplane.errors import BrokenEvidence
from controlplane.loop.cutting import beginning_of
from controlplane.loop.references import reference_of
from controlplane.loop.watch import Sources, Standard, Watch
from controlplane.tables import Json, Version
from observability.monitors.case import PAST, Case
from observability.monitors.reference import Reference, ReferenceUnreadable
from observability.monitors.verdicts import WindowVerdict
from observability.ports import Sample, Span
from observability.rollups import Rollup
from observability.windows import Window
from pipeline.contract.monitorspec import Monitor
from pipeline.contract.spec import ModelSpec

REFERENCES_KEPT: Final = 8
QUANTILES: Final[Mapping[str, float]] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def sample_of(sources: Sources, monitor: Monitor, window: Window) -> Sample:
    """The predictions of a window that are looked at, with their labels of now."""
    return sources.logs.sample(_span(window), _size(monitor, window), monitor.texts)


def score(
    watch: Watch,
    spec: ModelSpec,
    monitor: Monitor,
    version: Version,
    window: Window,
    sample: Sample,
    as_of: datetime,
    *,
    settled: bool,
) -> Json:
    """Everything that is said of a window, of which this is the sample; `as_of` is how far events had come."""
    case, compared = case_of(watch, spec, monitor, version, window, sample, as_of, settled=settled)
    verdict = watch.score(case)
    confidence = monitor.settings.errors.confidence
    told = {"volume": case.volume, "reference": compared, "confidence": confidence}
    return exactly(stored(verdict, settled=settled), case.volume) | told


def case_of(
    sources: Sources,
    spec: ModelSpec,
    monitor: Monitor,
    version: Version,
    window: Window,
    sample: Sample,
    as_of: datetime | None,
    *,
    settled: bool,
) -> tuple[Case, Json]:
    """What a window is judged from, and what a verdict tells of its reference. Raises BrokenEvidence."""
    standard = _standard(sources, version.manifest)
    signature = standard.manifest.signature
    begins = beginning_of(sources.logs, window)
    reference, compared = reference_of(
        sources.logs, monitor.reference, standard.reference, window, begins, _size(monitor, window), monitor.texts
    )
    length = window.until.event_time - begins.event_time
    exact = sources.logs.rollup(_span(window))
    never = set(signature.feature_names) - set(sample.frame.columns)
    case = Case(
        window=window.id,
        sample=sample,
        reference=reference.beside(len(sample.frame), length),
        signature=signature,
        settings=monitor.settings,
        level=spec.level_of(monitor, length, whole=window.part is None),
        threshold=standard.manifest.threshold,
        settled=settled,
        as_of=as_of,
        horizon=spec.label.horizon,
        volume=volume_of(exact, signature.feature_names, length, never),
        past=tuple(sources.store.verdicts_before(window, PAST)),
    )
    return case, compared


def volume_of(exact: Rollup, features: tuple[str, ...], length: timedelta, never: Collection[str] = ()) -> Json:
    """What is exact about a window: counted over all of its predictions, not over the sample.

    A feature that no prediction of the sample bears, be it as a missing value (`never`), is in no rollup either: it is
    missing in all.
    """
    minutes = length / timedelta(minutes=1)
    missing = {name: exact.rows if name in never else 0 for name in features} | dict(exact.missing)
    return {
        "rows": exact.rows,
        "missing_share": {name: missing[name] / exact.rows if exact.rows else 0.0 for name in features},
        "latency_ms": {name: exact.latency.quantile(share) for name, share in QUANTILES.items()},
        "predictions_per_minute": exact.rows / minutes if minutes > 0 else None,
    }


def exactly(told: Json, volume: Mapping[str, Any]) -> Json:
    """The verdict with the exact missing shares in the place of the sample's."""
    missing = volume["missing_share"]
    features = {
        name: each | {"missing_share": missing[name]} if name in missing else each
        for name, each in told["features"].items()
    }
    quality = {name: value for name, value in told["quality"].items() if name != "missing_share"}
    return told | {"features": features, "quality": quality}


def stored(verdict: WindowVerdict, *, settled: bool) -> Json:
    """A verdict as it is kept and shown: `error` stays empty until labels are due, so that it is never half a truth;
    what the labels of before say is `error_so_far`.
    """
    told = verdict.model_dump(mode="json")
    drift, errors = told["drift"], told["errors"]
    return {
        "sampled": verdict.sampled,
        "level": drift["level"],
        "features": {each.pop("feature"): each for each in drift["features"]},
        "drifted_share": drift["drifted_share"],
        "prediction": drift["prediction"],
        "joint": drift["joint"],
        "texts": {each.pop("field"): each for each in drift["texts"]},
        "quality": told["quality"],
        "estimate": told["estimate"],
        "stream": told["stream"],
        "diagnosis": told["diagnosis"],
        "labels_seen": errors["seen"],
        **(_errors_due(errors) if settled else {"error": None, "error_so_far": _errors_so_far(errors)}),
    }


def _errors_due(errors: Json) -> Json:
    return {
        "error": _known(errors["metrics"]),
        "error_intervals": errors["intervals"],
        "error_reference": errors["reference"],
        "error_reason": errors["reason"],
    }


def _errors_so_far(errors: Json) -> Json | None:
    """What the labels that have come say; None where there are too few."""
    if not _known(errors["metrics"]):
        return None
    corrected = errors["corrected"]
    return {
        "labelled": errors["labelled"],
        "metrics": _known(errors["metrics"]),
        "intervals": errors["intervals"],
        "corrected": None if corrected is None else _known(corrected),
        "corrected_intervals": errors["corrected_intervals"],
        "corrected_reason": errors["corrected_reason"],
        "arrived": errors["arrived"],
    }


def _known(metrics: Json) -> Json:
    return {name: value for name, value in metrics.items() if value is not None}


def read_standard(blobs: BlobStore, digest: str) -> Standard:
    """The version's manifest and reference. Raises BrokenEvidence."""
    try:
        manifest = Manifest.read(blobs, digest)
        return Standard(manifest, Reference.read(blobs.get(manifest.files[REFERENCE])))
    except (OSError, BlobCorrupt, ValidationError, ReferenceUnreadable, KeyError) as error:
        raise BrokenEvidence(f"the reference of version {digest} cannot be read: {error}") from error


def _standard(sources: Sources, digest: str) -> Standard:
    known = sources.standards.get(digest)
    if known is None:
        known = read_standard(sources.blobs, digest)
        while len(sources.standards) >= REFERENCES_KEPT:
            sources.standards.pop(next(iter(sources.standards)))
        sources.standards[digest] = known
    return known


def _span(window: Window) -> Span:
    return Span(window.model, window.version, window.after, window.until, window.part)


def _size(monitor: Monitor, window: Window) -> int:
    return monitor.sample if window.part is None else monitor.samples.get(window.part, monitor.sample)
