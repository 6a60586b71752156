"""What a gate asks of a challenger, check by check. Each is a pure function that says what it found, and from what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import numpy as np

from controlplane.promotion.gate.bootstrap import GateRows, Improvement, improvement, measure
from controlplane.promotion.gate.metrics import calibration_error
from pipeline.contract.promotionspec import Gate, NoWorse, SliceCheck

PARITY_TOLERANCE: Final = 1e-5
_NO_CHAMPION: Final = "there is no champion that it could be worse than"


class GateReason(StrEnum):
    """Why a challenger passed or did not: the first check that failed."""

    PASS_BETTER = "better than the champion"  # noqa: S105 - not a password
    PASS_FIRST = "better than the constant answer, there is no champion"  # noqa: S105
    FAIL_PARITY = "the exported model does not answer as its original"
    FAIL_FEW_ROWS = "too few rows to tell"
    FAIL_NOT_BETTER = "not shown to be better than the champion"
    FAIL_CONSTANT = "not shown to be better than the constant answer"
    FAIL_WORSE = "not shown to be as good as the champion on another metric"
    FAIL_SLICE = "shown to be worse than the champion on a part of the rows"
    FAIL_CALIBRATION = "its scores are too far from the frequencies"
    FAIL_SLOW = "scoring a row takes too long"
    FAIL_LARGE = "its files are too large"
    FAIL_EVIDENCE = "what a check needs was not measured"


@dataclass(frozen=True)
class Check:
    """One thing that the gate asked, and what it found."""

    check: str
    reason: GateReason
    passed: bool
    detail: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def stored(self) -> dict[str, Any]:
        """As it is kept and shown."""
        return {"check": self.check, "passed": self.passed, "detail": self.detail, "numbers": dict(self.numbers)}


def parity(label_mismatches: int, score_difference: float) -> Check:
    """The exported model answers as its original."""
    passed = not label_mismatches and score_difference <= PARITY_TOLERANCE
    detail = f"{label_mismatches} labels differ from the original, scores by up to {score_difference:.2g}"
    numbers = {"label_mismatches": label_mismatches, "max_score_difference": _finite(score_difference)}
    return Check("parity", GateReason.FAIL_PARITY, passed, detail, numbers)


def enough_rows(gate: Gate, rows: GateRows) -> Check:
    """There are enough held-out rows to tell anything."""
    detail = f"{len(rows)} rows, {gate.min_rows} are needed"
    numbers = {"rows": len(rows), "min_rows": gate.min_rows}
    return Check("rows", GateReason.FAIL_FEW_ROWS, len(rows) >= gate.min_rows, detail, numbers)


def better(gate: Gate, rows: GateRows, run_key: str) -> Check:
    """It is shown to be better than the champion; the first of a model, than the best constant answer."""
    found, has_champion = measure(gate, rows, run_key), rows.champion is not None
    if found is None:
        detail = f"nearly all of the {len(rows)} rows have the same label"
        return Check("improvement", GateReason.FAIL_FEW_ROWS, False, detail)
    other = "champion" if has_champion else "constant answer"
    detail = (
        f"{gate.metric} {found.challenger:.4f} against {found.other:.4f} of the {other}: better by "
        f"{found.difference:+.4f}, at least {found.lower:+.4f} at {gate.confidence:.0%} confidence, "
        f"margin {gate.margin:g}"
    )
    passed = found.lower > gate.margin
    reasons = {
        (True, True): GateReason.PASS_BETTER,
        (True, False): GateReason.PASS_FIRST,
        (False, True): GateReason.FAIL_NOT_BETTER,
        (False, False): GateReason.FAIL_CONSTANT,
    }
    return Check("improvement", reasons[passed, has_champion], passed, detail, _measured(gate, found, has_champion))


def _measured(gate: Gate, found: Improvement, has_champion: bool) -> dict[str, Any]:
    return {
        "challenger": found.challenger,
        "champion": found.other if has_champion else None,
        "constant": None if has_champion else found.other,
        "difference": found.difference,
        "lower": found.lower,
        "upper": found.upper,
        "confidence": gate.confidence,
        "resamples": gate.resamples,
    }


def no_worse(gate: Gate, asked: NoWorse, rows: GateRows, run_key: str) -> Check:
    """It is shown to be no worse than the champion by more than a margin, on a metric beside the gate's own."""
    name, reason = f"no_worse:{asked.metric}", GateReason.FAIL_WORSE
    if rows.champion is None:
        return Check(name, reason, True, _NO_CHAMPION)
    found = improvement(asked.metric, rows, gate.confidence, gate.resamples, f"{run_key}:{name}")
    if found is None:
        return Check(name, reason, False, f"{asked.metric} cannot be told on the {len(rows)} rows")
    detail = (
        f"{asked.metric} {found.challenger:.4f} against {found.other:.4f} of the champion: better by "
        f"{found.difference:+.4f}, at least {found.lower:+.4f}, may be down to {-asked.margin:+g}"
    )
    numbers = _measured(gate, found, True) | {"metric": asked.metric, "margin": asked.margin}
    return Check(name, reason, found.lower > -asked.margin, detail, numbers)


def slices(gate: Gate, asked: SliceCheck, rows: GateRows, run_key: str) -> Check:
    """On no value of a feature that has enough rows is it shown to be worse than the champion by more than a margin."""
    name = f"slice:{asked.feature}"
    if rows.champion is None:
        return Check(name, GateReason.FAIL_SLICE, True, _NO_CHAMPION)
    if asked.feature not in rows.slices:
        detail = f"the rows of this version do not hold {asked.feature}: train it again"
        return Check(name, GateReason.FAIL_EVIDENCE, False, detail)
    found = list(_judged_values(gate, asked, rows, f"{run_key}:{name}"))
    worse = [each for each in found if each["upper"] < -asked.margin]
    named = ", ".join(
        f"{each['value']!r} {each['difference']:+.4f}, at most {each['upper']:+.4f} ({each['rows']} rows)"
        for each in worse
    )
    metric = asked.metric or gate.metric
    detail = f"{metric} by {asked.feature}: " + (
        f"worse on {named}, may be down to {-asked.margin:+g}" if worse else f"worse on none of {len(found)} values"
    )
    numbers = {"metric": metric, "margin": asked.margin, "min_rows": asked.min_rows, "values": found}
    return Check(name, GateReason.FAIL_SLICE, not worse, detail, numbers)


def _judged_values(gate: Gate, asked: SliceCheck, rows: GateRows, seed: str) -> Iterator[dict[str, Any]]:
    """The most frequent values, most rows first; one on which the metric cannot be told is left out."""
    column = rows.slices[asked.feature].astype(str)
    values, counts = np.unique(column, return_counts=True)
    for place in np.argsort(-counts, kind="stable")[: asked.top]:
        value, count = str(values[place]), int(counts[place])
        if count < asked.min_rows:
            return
        part = rows.where(column == values[place])
        found = improvement(asked.metric or gate.metric, part, gate.confidence, gate.resamples, f"{seed}:{value}")
        if found is not None:
            yield {
                "value": value, "rows": count, "challenger": found.challenger, "champion": found.other,
                "difference": found.difference, "lower": found.lower, "upper": found.upper,
            }  # fmt: skip


def calibration(most: float, rows: GateRows) -> Check:
    """Its scores are probabilities: of those with a score around 0.3, about 3 in 10 are positive."""
    if not len(rows):
        return Check("calibration", GateReason.FAIL_FEW_ROWS, False, "there are no rows to tell it from")
    error = calibration_error(rows.labels, rows.challenger)
    detail = f"calibration error {error:.4f}, allowed {most:g}"
    numbers = {"calibration_error": error, "max": most}
    return Check("calibration", GateReason.FAIL_CALIBRATION, error <= most, detail, numbers)


def row_latency(most: float, cost: Mapping[str, float]) -> Check:
    """99 of 100 single rows are scored within the budget."""
    found = cost.get("row_ms_p99")
    if found is None:
        return Check("row_ms", GateReason.FAIL_EVIDENCE, False, "how long a row takes was not measured: train it again")
    detail = f"99 of 100 rows are scored within {found:.3g} ms, allowed {most:g} ms"
    return Check("row_ms", GateReason.FAIL_SLOW, found <= most, detail, {"row_ms_p99": found, "max": most})


def size(most: int, cost: Mapping[str, float]) -> Check:
    """All its files together are within the budget."""
    found = cost.get("bytes")
    if found is None:
        return Check("bytes", GateReason.FAIL_EVIDENCE, False, "its size was not measured: train it again")
    detail = f"its files have {int(found):,} bytes, allowed {most:,}"
    return Check("bytes", GateReason.FAIL_LARGE, found <= most, detail, {"bytes": int(found), "max": most})


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
