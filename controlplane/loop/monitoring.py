"""The monitor's pass: has the windows scored that are complete, and looks again at those whose labels are due."""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial
from typing import Final

from controlplane.loop import scoring
from controlplane.loop.boundary import apart
from controlplane.loop.comparing import compare_rollouts
from controlplane.loop.cutting import Cut, complete_windows
from controlplane.loop.settling import settle_windows
from controlplane.loop.watch import Watch
from controlplane.store import spec_of
from controlplane.tables import Model, Version
from observability.ports import LogStoreUnavailable
from pipeline.contract.spec import ModelSpec

LOG: Final = logging.getLogger(__name__)
#: after an outage many windows are complete at once: so many verdicts of a model are made in one pass, and as many
#: looked at again; the rest comes in the next pass, when the other models had their turn
VERDICTS_A_PASS: Final = 20


def reconcile_windows(watch: Watch) -> None:
    """One pass over every model that has a version in production, the versions that it replaced, and its rollout.

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
    newest = watch.logs.watermark(model.id)
    if newest is None:
        return
    watermark = min(newest, watch.machine.now())  # an event of tomorrow tells how wrong a clock is, not what has come
    spec, now = spec_of(model), watch.clock.now()
    finished = _score_new(watch, model, spec, production, watermark, now)
    finished &= settle_windows(watch, spec, watermark, now, VERDICTS_A_PASS) < VERDICTS_A_PASS
    known_until = datetime.fromisoformat(production.dataset["cutoff"])
    labelled = watch.logs.labelled_after(model.id, known_until)
    watch.store.observe(model.id, production.number, watermark, labelled, now)
    if finished:
        watch.store.mark_monitored(model.id, watermark)


def _score_new(
    watch: Watch, model: Model, spec: ModelSpec, production: Version, watermark: datetime, now: datetime
) -> bool:
    """Score what is complete, the oldest first. False where there is more than one pass may take."""
    verdicts = 0
    for cut in complete_windows(watch, model, spec.monitors, production, watermark):
        if verdicts >= VERDICTS_A_PASS:
            return False
        verdicts += _score_cut(watch, spec, cut, watermark, now)
    return True


def _score_cut(watch: Watch, spec: ModelSpec, cut: Cut, watermark: datetime, now: datetime) -> int:
    """Score a window and its segments; returns how many verdicts that made.

    The whole window is recorded last: it is what the next one is cut behind, so that none is without its segments,
    whenever the process ends.
    """
    due = cut.window.until.event_time + spec.label.horizon
    names = [*(segment.name for segment in cut.monitor.samples), ""]
    for name in names:
        window = cut.window.model_copy(update={"segment": name})
        sample = scoring.sample_of(watch, cut.monitor, window)
        verdict = scoring.score(watch, spec, cut.monitor, cut.version, window, sample, watermark, settled=False)
        watch.store.record_window(window, sample.rows, sample.labelled, verdict, due, now)
    return len(names)
