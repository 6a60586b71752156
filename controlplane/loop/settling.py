"""Windows that are looked at again: when their labels are due, and when more labels came since."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from controlplane.loop import scoring
from controlplane.loop.watch import Watch
from controlplane.tables import ScoredWindow
from observability.monitors.stored import first_look
from observability.ports import Sample
from observability.windows import Cursor, Segment, Window
from pipeline.contract.monitorspec import Monitor
from pipeline.contract.spec import ModelSpec

#: so often are late labels of a window counted while it waits for another horizon
LOOKS_IN_A_HORIZON: Final = 24
SHORTEST_WAIT: Final = timedelta(minutes=1)
#: horizons after labels were due at which those of a settled window are counted again: soon, for most of what is late
#: is a little late, and once more for the rest; what comes later still says nothing of how the model is doing now
RECOUNTS: Final = (1, 3)
#: a window is scored again when its labels have grown by this share, and by this share of the fewest that errors need:
#: a tenth more labels move an error metric by a third of its standard error at most (sqrt(1 - 1/1.1)) by chance
GROWTH: Final = 0.1


def settle_windows(watch: Watch, spec: ModelSpec, watermark: datetime, now: datetime, most: int) -> int:
    """Score the windows whose labels are due, and those that more labels came for; at most so many of either, the
    oldest first. Returns how many of the fuller kind that was: if `most`, there may be more.
    """
    due = list(islice(watch.store.awaiting_labels(spec.model, watermark, spec.label.horizon, now), most))
    for row in due:
        _settle(watch, spec, row, watermark, now)
    known = list(islice(watch.store.awaiting_recount(spec.model, watermark), most))
    for row in known:
        _count_again(watch, spec, row, watermark, now)
    return max(len(due), len(known))


def recount_after(row: ScoredWindow, horizon: timedelta, watermark: datetime) -> datetime | None:
    """When the labels of a settled window are counted next; None where that was the last time."""
    ahead = (row.labels_due_at + horizon * number for number in RECOUNTS)
    return next((at for at in ahead if at > watermark), None)


def is_worth_scoring(labelled: int, scored: int, min_labels: int) -> bool:
    """Whether a window's errors may have changed: so many labels came since it was scored, or its first errors did."""
    if scored < min_labels:
        return labelled >= min_labels
    return labelled - scored >= max(GROWTH * scored, GROWTH * min_labels)


def _settle(watch: Watch, spec: ModelSpec, row: ScoredWindow, watermark: datetime, now: datetime) -> None:
    """Add the errors of a window whose labels are due; where too few have come, at the latest after another horizon."""
    monitor = monitor_of(spec, row)
    if monitor is None:
        watch.store.rescore_window(row.id, row.labelled, row.verdict, True, now, row.late_rows)
        return
    window = window_of(row)
    sample = scoring.sample_of(watch, monitor, window)
    last_chance = watermark >= row.labels_due_at + spec.label.horizon
    if sample.labelled < monitor.min_labels and not last_chance:
        watch.store.look_later(row.id, now + max(spec.label.horizon / LOOKS_IN_A_HORIZON, SHORTEST_WAIT))
        return
    _score_again(watch, spec, monitor, row, sample, watermark, now)


def _count_again(watch: Watch, spec: ModelSpec, row: ScoredWindow, watermark: datetime, now: datetime) -> None:
    """Count the labels of a settled window, and score it again where that may change what was said."""
    monitor = monitor_of(spec, row)
    if monitor is None:
        watch.store.count_late(row.id, row.labelled, row.late_rows, None)
        return
    sample = scoring.sample_of(watch, monitor, window_of(row))
    if is_worth_scoring(sample.labelled, row.labelled, monitor.min_labels):
        _score_again(watch, spec, monitor, row, sample, watermark, now)
        return
    late = max(0, sample.rows - row.rows)
    watch.store.count_late(row.id, sample.labelled, late, recount_after(row, spec.label.horizon, watermark))


def _score_again(
    watch: Watch,
    spec: ModelSpec,
    monitor: Monitor,
    row: ScoredWindow,
    sample: Sample,
    watermark: datetime,
    now: datetime,
) -> None:
    version = watch.store.version(row.model, row.version)
    verdict = scoring.score(watch, spec, monitor, version, window_of(row), sample, watermark, settled=True)
    verdict |= {"labels_first": first_look(row.verdict)}
    late = max(0, sample.rows - row.rows)
    recount_at = recount_after(row, spec.label.horizon, watermark)
    watch.store.rescore_window(row.id, sample.labelled, verdict, True, now, late, recount_at)


def window_of(row: ScoredWindow) -> Window:
    """The window that was scored."""
    return Window(
        model=row.model, version=row.version, monitor=row.monitor, spec_digest=row.spec_digest, segment=row.segment,
        after=Cursor(row.after_time, row.after_id), until=Cursor(row.until_time, row.until_id),
    )  # fmt: skip


def monitor_of(spec: ModelSpec, row: ScoredWindow) -> Monitor | None:
    """The monitor of a window; None where it, or the segment, is declared no more."""
    monitor = next((each for each in spec.monitors if each.name == row.monitor), None)
    if monitor is None or (row.segment and Segment.named(row.segment) not in monitor.samples):
        return None
    return monitor
