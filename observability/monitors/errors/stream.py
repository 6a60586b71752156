"""Whether errors have risen: the sequential detector of `rising` over a version's windows, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import ceil

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ValidationError

from bundle.signature import Frozen
from observability.monitors.case import Case
from observability.monitors.errors.rising import ErrorStream, Floats, StreamState
from observability.monitors.verdicts import StreamVerdict


class KeptState(Frozen):
    """What a window leaves for the next one: the detector's state, and the last row that it has taken."""

    detector: StreamState
    event_time: datetime | None = None
    id: str = ""


def judge_stream(case: Case) -> StreamVerdict:
    """Whether errors have risen by the end of the window, going on from where the newest settled window left off.

    A version's first window goes on from its out-of-time rows: one that errs more than was promised alarms at once. A
    window whose labels are not due is not taken, since those that come late would be missed for good. Rows that a
    window before has taken (windows may overlap) are not taken twice.
    """
    detector = ErrorStream(rows_between(case))
    kept = _kept(case) or KeptState(detector=detector.learn(StreamState(), _reference_losses(case)))
    if not case.settled:
        return _verdict(detector, kept, reason="the labels of the window are not due yet")
    rows = _rows_after(case.sample.frame, kept)
    losses = losses_of(rows, case.signature.task) if len(rows) else np.empty(0)
    if len(rows):
        last = rows.iloc[-1]
        kept = KeptState(detector=kept.detector, event_time=last["event_time"].to_pydatetime(), id=str(last["id"]))
    losses, state, needed = losses[np.isfinite(losses)], kept.detector, case.settings.min_labels
    if state.rows < needed:
        learned = kept.model_copy(update={"detector": detector.learn(state, losses)})
        known = f"{state.rows} rows with labels were known before the window"
        return _verdict(detector, learned, reason=f"{known}: {needed} are needed to know what is usual")
    if not len(losses):
        return _verdict(detector, kept, reason="the window has no labels that were not looked at before")
    state, alarms = detector.update(state, losses)
    peak = max((alarm.evidence for alarm in alarms), default=state.total_evidence)
    return _verdict(detector, kept.model_copy(update={"detector": state}), evidence=peak, alarm=bool(alarms))


def rows_between(case: Case) -> int:
    """Rows between two false alarms: as many as the user asked for, and so many that a window of the budget's
    level alarms no more often than its drift verdict does.
    """
    return max(case.settings.errors.rows_between_false_alarms, ceil(len(case.sample.frame) / case.level))


def losses_of(rows: pd.DataFrame, task: str) -> Floats:
    """By row: 1 for a wrong answer of a classifier and 0 for a right one, or how far off a number is; NaN: unknown."""
    labels = pd.to_numeric(rows["label"], errors="coerce").to_numpy(float)
    answers = pd.to_numeric(rows["prediction" if task == "binary" else "score"], errors="coerce").to_numpy(float)
    if task != "binary":
        return np.asarray(np.abs(labels - answers))
    return np.where(np.isin(labels, [0, 1]) & np.isfinite(answers), (labels != answers).astype(float), np.nan)


def _verdict(
    detector: ErrorStream, kept: KeptState, *, evidence: float = 0.0, alarm: bool = False, reason: str | None = None
) -> StreamVerdict:
    baseline, current, since = kept.detector.suspicion()
    told = reason is None
    return StreamVerdict(
        alarm=alarm,
        evidence=evidence,
        threshold=float(detector.rows_between_false_alarms),
        baseline=baseline if told else None,
        current=current if told else None,
        since_rows=since if told else None,
        reason=reason,
        state=kept.model_dump(mode="json"),
    )


def _kept(case: Case) -> KeptState | None:
    """What the newest settled window left; None where there is none, or an older release's that says nothing here."""
    for past in case.past:
        stream = past.verdict.get("stream")
        if past.settled and isinstance(stream, Mapping) and stream.get("state"):
            return _read(stream["state"])
    return None


def _read(state: object) -> KeptState | None:
    try:
        return KeptState.model_validate(state)
    except ValidationError:
        return None


def _reference_losses(case: Case) -> Floats:
    scores, labels = case.reference.scores, case.reference.labels
    answers: npt.NDArray[np.float64] = np.where(np.isfinite(scores), scores > case.threshold, np.nan)
    rows = pd.DataFrame({"label": labels, "score": scores, "prediction": answers})
    losses = losses_of(rows, case.signature.task)
    return losses[np.isfinite(losses)]


def _rows_after(frame: pd.DataFrame, kept: KeptState) -> pd.DataFrame:
    """The rows in order of event time that no window before has taken."""
    if not {"id", "event_time", "score", "prediction", "label"} <= set(frame.columns):
        return frame.iloc[:0]
    times, ids = pd.to_datetime(frame["event_time"], utc=True), frame["id"].astype(str)
    rows = frame.assign(event_time=times, id=ids)
    if kept.event_time is not None:
        rows = rows[(times > kept.event_time) | ((times == kept.event_time) & (ids > kept.id))]
    return rows.sort_values(["event_time", "id"], kind="stable")
