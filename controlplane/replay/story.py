"""How a replay ends: the figures gathered from the control plane and the answers, and shown to people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from controlplane.client import ControlClient
from controlplane.replay.rows import Answer
from controlplane.replay.source import ReplayRefused, Source
from controlplane.replay.summary import Summary, quality
from controlplane.replay.traffic import Traffic


def summarise(
    control: ControlClient,
    model: str,
    traffic: Traffic,
    first: dict[str, float],
    source: Source,
    before: dict[str, Any],
) -> Summary:
    after = control.status(model).model_dump(mode="json")
    firings = [each.model_dump(mode="json") for each in control.firings(model, 1_000)]
    versions = [each.model_dump(mode="json") for each in control.versions(model, 1_000)]
    counts, earlier = after["counts"], before["counts"]
    scored = [answer for answer in traffic.answers if answer.row.id in first]
    if not scored:
        raise ReplayRefused(f"no row was answered; failed requests: {dict(traffic.failures)}")
    periods, pooled = quality(scored, first)
    onset = source.onset
    detected = _first_after(firings, onset)
    return Summary(
        model=model,
        events=len(traffic.answers),
        firings={kind: n - earlier["firings"][kind] for kind, n in counts["firings"].items()},
        runs=sum(counts["runs"].values()) - sum(earlier["runs"].values()),
        promotions=counts["promotions"] - earlier["promotions"],
        rejections=counts["rejections"],
        requests_ok=traffic.requests_ok,
        requests_failed=traffic.requests_failed,
        onset=onset.isoformat() if onset else None,
        events_onset_to_firing=_events_between(traffic.answers, onset, detected),
        firing_to_serving_s=_firing_to_serving(firings, versions, traffic.answers, onset),
        quality=periods,
        pooled=pooled,
    )


def _first_after(firings: Sequence[dict[str, Any]], onset: datetime | None) -> datetime | None:
    """When the data or its errors first made a rule fire after the onset."""
    found = [datetime.fromisoformat(f["fired_at"]) for f in firings if f["trigger"] in ("data", "metric")]
    return min((at for at in found if onset is not None and at >= onset), default=None)


def _events_between(answers: Sequence[Answer], start: datetime | None, end: datetime | None) -> int | None:
    if start is None or end is None:
        return None
    return sum(start <= answer.row.event_time <= end for answer in answers)


def _firing_to_serving(
    firings: Sequence[dict[str, Any]],
    versions: Sequence[dict[str, Any]],
    answers: Sequence[Answer],
    onset: datetime | None,
) -> float | None:
    """Seconds from the first firing that led to a promotion, since the onset if there is one, to its first answer."""
    fired = {firing["id"]: firing for firing in firings}
    for version in sorted(versions, key=lambda each: int(each["number"])):
        firing = fired[version["firing_id"]]
        late_enough = onset is None or datetime.fromisoformat(firing["fired_at"]) >= onset
        served = [answer.answered_at for answer in answers if answer.version == version["number"]]
        if version["number"] > 1 and late_enough and served:
            return round(min(served) - datetime.fromisoformat(firing["recorded_at"]).timestamp(), 1)
    return None


def show(console: Console, summary: Summary) -> None:
    table = Table(title="quality of the version in service, and of version 1 never retrained (ROC AUC)")
    for heading in ("period", "rows", "in service", "version 1"):
        table.add_column(heading, justify="left" if heading == "period" else "right")
    for period in summary.quality:
        table.add_row(period.period, f"{period.rows:,}", _auc(period.live_auc), _auc(period.first_version_auc))
    pooled = summary.pooled
    table.add_section()
    table.add_row("all", f"{summary.events:,}", _auc(pooled.live_auc), _auc(pooled.first_version_auc))
    console.print(table)
    if pooled.difference_low is not None:
        console.print(f"difference over all rows: {pooled.difference_low:+.4f} to {pooled.difference_high:+.4f} (95 %)")
    fired = ", ".join(f"{count} {kind}" for kind, count in summary.firings.items())
    console.print(
        f"firings: {fired}; training runs: {summary.runs}; promoted: {summary.promotions}; "
        f"rejected by the gate: {summary.rejections}"
    )
    if summary.events_onset_to_firing is not None:
        console.print(f"events from the onset of the planted drift to the firing: {summary.events_onset_to_firing:,}")
    if summary.firing_to_serving_s is not None:
        console.print(f"seconds from firing to serving: {summary.firing_to_serving_s}")
    console.print(f"requests answered: {summary.requests_ok:,}; requests failed: {summary.requests_failed}")


def _auc(value: float | None) -> str:
    return "one class" if value is None else f"{value:.3f}"
