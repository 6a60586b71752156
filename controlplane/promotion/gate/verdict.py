"""The gate: is the challenger better than the champion, on labelled rows that neither has learned from?

Every check is asked, also behind one that failed: who reads the verdict sees at once all that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from controlplane.promotion.gate import checks
from controlplane.promotion.gate.bootstrap import GateRows
from controlplane.promotion.gate.checks import Check, GateReason
from pipeline.contract.promotionspec import Gate


@dataclass(frozen=True)
class GateVerdict:
    """What the gate says, and the numbers it says it from."""

    passed: bool
    reason: GateReason
    detail: str
    numbers: Mapping[str, Any]
    checks: tuple[Check, ...] = ()
    #: it passed, and a person has to approve it too
    needs_approval: bool = False


def judge(
    gate: Gate,
    rows: GateRows,
    run_key: str,
    label_mismatches: int = 0,
    score_difference: float = 0.0,
    cost: Mapping[str, float] | None = None,
) -> GateVerdict:
    """The verdict on a challenger. The same rows and run key give the same verdict."""
    asked = (
        checks.parity(label_mismatches, score_difference),
        checks.enough_rows(gate, rows),
        checks.better(gate, rows, run_key),
        *_further(gate, rows, run_key, cost or {}),
    )
    improvement, failed = asked[2], [each for each in asked if not each.passed]
    measured = {**improvement.numbers, **error_gain(rows)}
    numbers = {"metric": gate.metric, "rows": len(rows), "margin": gate.margin, **measured}
    if failed:
        return GateVerdict(False, failed[0].reason, "; ".join(each.detail for each in failed), numbers, asked)
    return GateVerdict(True, improvement.reason, improvement.detail, numbers, asked, gate.approval)


def error_gain(rows: GateRows) -> dict[str, float]:
    """How many fewer wrong answers the challenger gave than the champion, as a share, and its standard error.

    Whatever the gate's own metric is: what a retraining brought is weighed in this when the next one is considered.
    """
    if rows.champion is None or len(rows) < 2:
        return {}
    labels = rows.labels > 0.5
    gains = ((rows.champion > 0.5) != labels).astype(float) - ((rows.challenger > 0.5) != labels)
    return {"error_gain": float(gains.mean()), "error_gain_se": float(gains.std(ddof=1) / np.sqrt(len(gains)))}


def _further(gate: Gate, rows: GateRows, run_key: str, cost: Mapping[str, float]) -> Iterator[Check]:
    """The checks that the spec asks for beside the improvement."""
    for metric in gate.no_worse:
        yield checks.no_worse(gate, metric, rows, run_key)
    for feature in gate.slices:
        yield checks.slices(gate, feature, rows, run_key)
    if gate.max_calibration_error is not None:
        yield checks.calibration(gate.max_calibration_error, rows)
    if gate.max_row_ms is not None:
        yield checks.row_latency(gate.max_row_ms, cost)
    if gate.max_bytes is not None:
        yield checks.size(gate.max_bytes, cost)
