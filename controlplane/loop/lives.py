"""A model's past as the rule `worth` weighs it: what each version lost in its windows, what retrainings brought."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from scipy.special import ndtri

from controlplane.rules.worth import Life, Trial, WindowLoss
from controlplane.tables import Json
from observability.monitors.stored import bug_of


class PastRow(Protocol):
    """A window of the past, as far as it is read."""

    id: str
    version: int
    rows: int
    #: of these, those with a label, and those that were looked at
    labelled: int
    sampled: int | None
    cut_at: Any
    error: Json | None
    error_intervals: Json | None
    error_reference: Json | None
    estimate: Json | None
    diagnosis: Json | None
    #: of its intervals
    confidence: float | None


class GateRow(Protocol):
    """What a gate said, as far as it is read."""

    numbers: Json
    decided_at: Any


#: the loss that is weighed, the first that is known: by the cost matrix, of which the share of wrong answers is a case
LOSSES: Final = ("cost", "error")


def lives_of(windows: Sequence[PastRow], gates: Sequence[GateRow]) -> tuple[Life, ...]:
    """Each version's time in production, the one that served last behind the others; `windows` in order.

    The unit is that of the cost matrix. An estimate and a gate know wrong answers only: they count where that is the
    same.
    """
    lives: list[Life] = []
    in_errors = all(_costs_one(row) for row in windows)
    for version in reversed(dict.fromkeys(row.version for row in reversed(windows))):
        mine = [row for row in windows if row.version == version]
        known = next((row.error_reference for row in reversed(mine) if row.error_reference), None)
        losses = tuple(_loss(row, in_errors) for row in mine)
        trials = tuple(_trials(mine, windows, gates)) if in_errors else ()
        lives.append(Life(version, _value(known or {}), None, losses, trials))
    return tuple(lives)


def _costs_one(row: PastRow) -> bool:
    """Whether each wrong answer of the window costs 1, as far as it tells."""
    metrics = row.error or {}
    cost, error = metrics.get("cost"), metrics.get("error")
    return cost is None or error is None or math.isclose(cost, error, rel_tol=1e-9, abs_tol=1e-12)


def _loss(row: PastRow, in_errors: bool) -> WindowLoss:
    if bug_of(row.diagnosis) is not None:  # what a bug costs no retraining brings back
        return WindowLoss(row.id, row.rows)
    metrics, estimate, confidence = row.error or {}, row.estimate or {}, row.confidence or 0.95
    return WindowLoss(
        id=row.id,
        rows=row.rows,
        labelled=_looked_at(row),
        loss=_value(metrics),
        loss_se=_se((row.error_intervals or {}).get(_name(metrics)), confidence),
        estimated=estimate.get("error") if in_errors else None,
        estimated_se=_se(estimate, confidence) if in_errors else None,
    )


def _looked_at(row: PastRow) -> int:
    """Labels that the loss was measured on: those of the sample, where the window holds more."""
    if not row.sampled or not row.rows:
        return row.labelled
    return round(row.labelled * min(1.0, row.sampled / row.rows))


def _name(metrics: Mapping[str, Any]) -> str:
    return next((name for name in LOSSES if metrics.get(name) is not None), LOSSES[-1])


def _value(metrics: Mapping[str, Any]) -> float | None:
    value = metrics.get(_name(metrics))
    return float(value) if value is not None and math.isfinite(value) else None


def _se(interval: Mapping[str, Any] | None, confidence: float) -> float | None:
    """The standard error that an interval is about as wide as."""
    if not interval or interval.get("low") is None or interval.get("high") is None:
        return None
    return float((interval["high"] - interval["low"]) / (2 * ndtri(0.5 + confidence / 2)))


def _trials(mine: Sequence[PastRow], windows: Sequence[PastRow], gates: Sequence[GateRow]) -> list[Trial]:
    """The gate's verdicts of this version's time, each behind as many of its windows as had been cut."""
    found = []
    for gate in gates:
        before = [row for row in windows if row.cut_at <= gate.decided_at]
        gain, se = gate.numbers.get("error_gain"), gate.numbers.get("error_gain_se")
        if gain is not None and se is not None and before and before[-1].version == mine[0].version:
            found.append(Trial(sum(row in mine for row in before), float(gain), float(se)))
    return found
