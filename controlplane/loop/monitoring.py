"""The monitor's pass: cuts the windows that are complete, has each scored, and adds errors when labels are due."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol

from pydantic import ValidationError

from bundle.blobs import BlobCorrupt, BlobStore
from bundle.manifest import REFERENCE, Manifest
from bundle.signature import Signature
from controlplane.errors import BrokenEvidence
from controlplane.loop.boundary import apart
from controlplane.loop.comparing import compare_rollouts
from controlplane.store import Store, spec_of
from controlplane.tables import Json, Model, ScoredWindow, Version
from observability.clock import Clock
from observability.monitors.reference import Reference, ReferenceUnreadable
from observability.monitors.verdicts import DriftSettings, WindowVerdict
from observability.ports import LogStore, LogStoreUnavailable, Sample, Span
from observability.windows import EPOCH, CountWindows, Cursor, TimeWindows, Window, time_span_of
from pipeline.contract.spec import ModelSpec, Monitor

LOG: Final = logging.getLogger(__name__)
REFERENCES_KEPT: Final = 8
#: so often are late labels of a window counted while it waits for another horizon
LOOKS_IN_A_HORIZON: Final = 24
SHORTEST_WAIT: Final = timedelta(minutes=1)
#: how long after a version was replaced its last answers may still come
STRAGGLERS: Final = timedelta(hours=1)


class Scorer(Protocol):
    """Scores a window; `observability.monitors.evidently_scores.score_window` is one."""

    def __call__(
        self,
        sample: Sample,
        reference: Reference,
        signature: Signature,
        check: DriftSettings,
        min_labels: int,
        threshold: float = 0.5,
    ) -> WindowVerdict: ...


@dataclass(frozen=True)
class Standard:
    """What windows of a version are compared with."""

    manifest: Manifest
    reference: Reference


@dataclass(frozen=True)
class Watch:
    """What a pass works with."""

    store: Store
    logs: LogStore
    blobs: BlobStore
    clock: Clock
    score: Scorer
    standards: dict[str, Standard] = field(default_factory=dict)


def reconcile_windows(watch: Watch) -> None:
    """One pass over every model that has a version in production, the version that it replaced, and its rollout.

    Doing it again changes nothing.

    While the log store does not answer nothing is recorded: the rules then see no new window, never a good one.
    """
    compare_rollouts(watch.store, watch.logs, watch.clock.now())
    for model in watch.store.models():
        production = watch.store.production(model.id)
        if production is None:
            continue
        apart(f"the monitor of {model.id}", partial(_watch_while_it_answers, watch, model, production))


def _watch_while_it_answers(watch: Watch, model: Model, production: Version) -> None:
    try:
        _watch_model(watch, model, production)
    except LogStoreUnavailable as error:
        LOG.warning("%s is not watched for the moment: %s", model.id, error)


def _watch_model(watch: Watch, model: Model, production: Version) -> None:
    watermark = watch.logs.watermark(model.id)
    if watermark is None:
        return
    spec, now = spec_of(model), watch.clock.now()
    replaced = watch.store.replaced_last(model.id)
    for monitor in spec.monitors:
        for version in (replaced, production) if replaced and not _is_cut(model, replaced, monitor) else (production,):
            for window in _new_windows(watch, version, monitor, watermark):
                _score_new(watch, spec, monitor, version, window, now)
    for row in watch.store.awaiting_labels(model.id, watermark, spec.label.horizon, now):
        _settle(watch, spec, row, watermark, now)
    known_until = datetime.fromisoformat(production.dataset["cutoff"])
    labelled = watch.logs.labelled_after(model.id, known_until)
    watch.store.observe(model.id, production.number, watermark, labelled, now)
    watch.store.mark_monitored(model.id, watermark)


def _is_cut(model: Model, replaced: Version, monitor: Monitor) -> bool:
    """Whether a finished pass saw everything that a version answered before it was replaced."""
    length = monitor.window.every if isinstance(monitor.window, TimeWindows) else timedelta(0)
    seen = model.monitored_until
    return seen is not None and seen > replaced.state_at + length + STRAGGLERS


def _new_windows(watch: Watch, version: Version, monitor: Monitor, watermark: datetime) -> Iterator[Window]:
    """The windows of a monitor that are complete and not cut yet, in order."""
    digest = monitor_digest(monitor)
    place = watch.store.last_until(version.model, version.number, monitor.name, digest)
    place = place or Cursor.before(EPOCH)
    while (span := _next_span(watch.logs, version, monitor, place, watermark)) is not None:
        after, place = span
        yield Window(
            model=version.model,
            version=version.number,
            monitor=monitor.name,
            after=after,
            until=place,
            spec_digest=digest,
        )


def _next_span(
    logs: LogStore, version: Version, monitor: Monitor, place: Cursor, watermark: datetime
) -> tuple[Cursor, Cursor] | None:
    if isinstance(monitor.window, CountWindows):
        until = logs.cut(version.model, version.number, place, monitor.window.size)
        return (place, until) if until is not None else None
    first = logs.first(version.model, version.number, place)
    if first is None:
        return None
    return time_span_of(monitor.window.every, first, watermark)


def monitor_digest(monitor: Monitor) -> str:
    """Of what decides where windows are cut; a change of thresholds goes on with the same windows."""
    return hashlib.sha256(monitor.window.model_dump_json().encode()).hexdigest()[:16]


def _score_new(
    watch: Watch, spec: ModelSpec, monitor: Monitor, version: Version, window: Window, now: datetime
) -> None:
    span = Span(window.model, window.version, window.after, window.until)
    sample = watch.logs.sample(span, monitor.sample)
    verdict = stored(_score(watch, monitor, version, sample), settled=False)
    due = window.until.event_time + spec.label.horizon
    watch.store.record_window(window, sample.rows, sample.labelled, verdict, due, now)


def _settle(watch: Watch, spec: ModelSpec, row: ScoredWindow, watermark: datetime, now: datetime) -> None:
    """Add the errors of a window whose labels are due; where too few have come, at the latest after another horizon."""
    monitor = next((each for each in spec.monitors if each.name == row.monitor), None)
    if monitor is None:
        watch.store.rescore_window(row.id, row.labelled, row.verdict, True, now, row.late_rows)
        return
    after, until = Cursor(row.after_time, row.after_id), Cursor(row.until_time, row.until_id)
    sample = watch.logs.sample(Span(row.model, row.version, after, until), monitor.sample)
    last_chance = watermark >= row.labels_due_at + spec.label.horizon
    if sample.labelled < monitor.min_labels and not last_chance:
        watch.store.look_later(row.id, now + max(spec.label.horizon / LOOKS_IN_A_HORIZON, SHORTEST_WAIT))
        return
    version = watch.store.version(row.model, row.version)
    verdict = stored(_score(watch, monitor, version, sample), settled=True)
    watch.store.rescore_window(row.id, sample.labelled, verdict, True, now, max(0, sample.rows - row.rows))


def _score(watch: Watch, monitor: Monitor, version: Version, sample: Sample) -> WindowVerdict:
    standard = _standard(watch, version.manifest)
    check = DriftSettings.model_validate(monitor.drift.model_dump())
    return watch.score(
        sample, standard.reference, standard.manifest.signature, check, monitor.min_labels,
        standard.manifest.threshold,
    )  # fmt: skip


def stored(verdict: WindowVerdict, *, settled: bool) -> Json:
    """A verdict as it is kept and shown: `error` stays empty until labels are due, so that it is never half a truth."""
    told = verdict.model_dump(mode="json")
    features = {each.pop("feature"): each for each in told["drift"]["features"]}
    error: dict[str, Any] = {"error": None}
    if settled:
        metrics = {name: value for name, value in told["errors"]["metrics"].items() if value is not None}
        error = {"error": metrics, "error_reference": told["errors"]["reference"]}
        error["error_reason"] = told["errors"]["reason"]
    return {
        "sampled": verdict.sampled,
        "features": features,
        "drifted_share": told["drift"]["drifted_share"],
        "prediction": told["drift"]["prediction"],
        "quality": told["quality"],
        **error,
    }


def _standard(watch: Watch, digest: str) -> Standard:
    known = watch.standards.get(digest)
    if known is None:
        known = read_standard(watch.blobs, digest)
        while len(watch.standards) >= REFERENCES_KEPT:
            watch.standards.pop(next(iter(watch.standards)))
        watch.standards[digest] = known
    return known


def read_standard(blobs: BlobStore, digest: str) -> Standard:
    """The version's manifest and reference. Raises BrokenEvidence."""
    try:
        manifest = Manifest.read(blobs, digest)
        return Standard(manifest, Reference.read(blobs.get(manifest.files[REFERENCE])))
    except (OSError, BlobCorrupt, ValidationError, ReferenceUnreadable, KeyError) as error:
        raise BrokenEvidence(f"the reference of version {digest} cannot be read: {error}") from error
