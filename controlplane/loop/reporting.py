"""Evidently's own report of a window that was judged: of the same case, with the verdicts that are stored of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.errors import NotReportable
from controlplane.loop.scoring import case_of, sample_of
from controlplane.loop.settling import monitor_of, window_of
from controlplane.loop.watch import Sources
from controlplane.store import Store, spec_of
from controlplane.tables import Json, ScoredWindow
from observability.monitors.stored import stored_drift
from observability.ports import Sample


def window_to_report(store: Store, model_id: str, window_id: str) -> ScoredWindow:
    """A window that has a verdict to report. Raises NotFound or NotReportable."""
    row = ScoredWindow(**store.one("windows", model_id, id=window_id))
    if not was_compared(row.verdict):
        raise NotReportable("no column of this window has a verdict: its rows or its reference's were too few")
    return row


def was_compared(verdict: Mapping[str, Any]) -> bool:
    """Whether a stored verdict says of any column that it drifted, or did not."""
    columns = [*(verdict.get("features") or {}).values(), verdict.get("prediction") or {}]
    return any(each.get("drifted") is not None and each.get("score") is not None for each in columns)


def write_report(sources: Sources, row: ScoredWindow) -> bytes:
    """The report of a window as one HTML file. It takes seconds, and most of them to import Evidently.

    Raises NotReportable, BrokenEvidence or LogStoreUnavailable.
    """
    spec = spec_of(sources.store.model(row.model))
    monitor = monitor_of(spec, row)
    if monitor is None:
        raise NotReportable(f"the spec declares no monitor {row.monitor} with this window's segment any more")
    version, window = sources.store.version(row.model, row.version), window_of(row)
    sample = sample_of(sources, monitor, window)
    settled = row.error_at is not None
    case, compared = case_of(sources, spec, monitor, version, window, sample, None, settled=settled)
    if (gone := rows_gone(row, sample, compared)) is not None:
        raise NotReportable(gone)
    from observability.monitors import evidently_report  # 6 s

    try:
        return evidently_report.report(case, stored_drift(row.verdict))
    except evidently_report.NothingToReport as error:
        raise NotReportable(str(error)) from error


def rows_gone(row: ScoredWindow, sample: Sample, compared: Json) -> str | None:
    """Which rows that a window was judged by the log store has deleted since, in words; None where it has all.

    A report of the others would show what the verdict was not made of.
    """
    if sample.rows < row.rows:
        return f"the log store has deleted rows of this window: {sample.rows} of {row.rows} are left"
    known = (row.verdict.get("reference") or {}).get("rows")
    if known is not None and compared["rows"] < known:
        return f"the log store has deleted rows of this window's reference: {compared['rows']} of {known} are left"
    return None
