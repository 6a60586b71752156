"""The gate: what a challenger must show. Pure functions of rows, spec and run key."""

from __future__ import annotations

from controlplane.gate.bootstrap import GateRows, Improvement, draws, improvement, measure
from controlplane.gate.checks import Check, GateReason
from controlplane.gate.metrics import METRICS, calibration_error, roc_auc
from controlplane.gate.verdict import GateVerdict, judge

__all__ = [
    "METRICS", "Check", "GateReason", "GateRows", "GateVerdict", "Improvement", "calibration_error", "draws",
    "improvement", "judge", "measure", "roc_auc",
]  # fmt: skip
