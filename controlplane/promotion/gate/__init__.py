"""The gate: what a challenger must show. Pure functions of rows, spec and run key."""

from __future__ import annotations

from controlplane.promotion.gate.bootstrap import GateRows, Improvement, draws, improvement, measure
from controlplane.promotion.gate.checks import Check, GateReason
from controlplane.promotion.gate.metrics import METRICS, calibration_error, roc_auc
from controlplane.promotion.gate.verdict import GateVerdict, error_gain, judge

__all__ = [
    "METRICS", "Check", "GateReason", "GateRows", "GateVerdict", "Improvement", "calibration_error", "draws",
    "error_gain", "improvement", "judge", "measure", "roc_auc",
]  # fmt: skip
