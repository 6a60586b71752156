"""Whether a challenger in shadow is better, told from as many labelled rows as it takes: one training, many looks.

Who looks often sees a lead by chance. So rows on which both are alike are counted in beside those that were seen: what
is asked for is a probability under a prior of no difference, and that holds however often one looks. A lead on few rows
has to be large, on many rows a small one is enough.

Reference: Berry (1987), Interim analysis in clinical trials: the role of the likelihood principle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from statistics import NormalDist
from typing import Any, Final, NamedTuple

from controlplane.promotion.gate import GateRows, improvement
from pipeline.contract.promotionspec import Better

#: so many rows on which both are alike are counted in
ALIKE: Final = 500
#: draws of the bootstrap
RESAMPLES: Final = 1_000
_NORMAL: Final = NormalDist()


class Proof(StrEnum):
    """What the rows so far say."""

    BETTER = "better"
    NOT_BETTER = "not better"
    UNDECIDED = "undecided"


class Said(NamedTuple):
    """What they say, and the numbers in words."""

    proof: Proof
    detail: str


def confidence_on(rows: int, confidence: float) -> float:
    """The confidence at which a bound on these rows alone must exclude nothing, for the probability to be as asked.

    >>> round(confidence_on(500, 0.8), 3), round(confidence_on(50_000, 0.8), 3)
    (0.883, 0.801)
    """
    return _NORMAL.cdf(_NORMAL.inv_cdf(confidence) * (1 + ALIKE / rows) ** 0.5)


def measure(asked: Better, rows: GateRows, seed: str) -> dict[str, Any] | None:
    """How much better the challenger is on labelled rows, with bounds; None where there are too few to tell."""
    if len(rows) < asked.min_labels:
        return None
    found = improvement(asked.metric, rows, confidence_on(len(rows), asked.confidence), RESAMPLES, seed)
    if found is None:
        return None
    told = asdict(found)
    return {"metric": asked.metric, "rows": len(rows), "champion": told.pop("other"), **told}


def prove(asked: Better, looked_at: int, found: Mapping[str, Any] | None) -> Said:
    """What was measured on the labelled rows that were looked at, against what was asked; undecided on enough of them,
    it is not shown to be better.

    What is shown to be worse is a matter of the guards, which look at a shadow too.
    """
    enough = looked_at >= asked.max_labels
    if found is None:
        few = f"{looked_at} labelled rows, on which {asked.metric} cannot be told"
        return Said(Proof.NOT_BETTER if enough else Proof.UNDECIDED, few)
    detail = (
        f"{asked.metric} {found['challenger']:.4f} against {found['champion']:.4f} on {found['rows']} labelled rows: "
        f"better by {found['difference']:+.4f}, at least {found['lower']:+.4f} where a probability of "
        f"{asked.confidence:.0%} is asked"
    )
    if found["lower"] > 0:
        return Said(Proof.BETTER, detail)
    if enough:
        return Said(Proof.NOT_BETTER, detail)
    return Said(Proof.UNDECIDED, f"{detail}; looked at until {asked.max_labels} rows were compared")
