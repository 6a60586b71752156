"""The form of every bench: figures, and the claims that they should hold.

The last line that a bench prints is one JSON object: name, machine, figures, claims.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import psutil

Sense: TypeAlias = Literal[">=", ">", "<=", "<", "=="]


@dataclass(frozen=True)
class Claim:
    """One sentence that a figure proves or does not."""

    claim: str
    #: None where it could not be measured here
    value: float | None
    bar: float
    holds: bool | None
    #: why it could not be measured
    why: str | None = None

    @classmethod
    def unmeasured(cls, claim: str, sense: Sense, bar: float, why: str) -> Claim:
        """The claim, of which nothing is known here, such as where its data are absent: neither held nor broken."""
        return cls(f"{claim} ({sense} {bar:g})", None, bar, None, why)

    @classmethod
    def of(cls, claim: str, value: float, sense: Sense, bar: float) -> Claim:
        """The claim that the value stands in this relation to the bar."""
        holds = {
            ">=": value >= bar, ">": value > bar, "<=": value <= bar, "<": value < bar, "==": value == bar,
        }[sense]  # fmt: skip
        return cls(f"{claim} ({sense} {bar:g})", value, bar, holds)


def machine() -> dict[str, Any]:
    """What the figures were measured on; nothing that names a host or a person."""
    return {
        "cpus": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30), 1),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def show(name: str, figures: Mapping[str, Any], claims: Sequence[Claim]) -> int:
    """Print tables for people and the JSON line for machines. Returns the exit code: 1 where a claim is broken."""
    width = max((len(key) for key in figures), default=0)
    for key, value in figures.items():
        sys.stdout.write(f"  {key:<{width}}  {_short(value)}\n")
    for claim in claims:
        verdict = {True: "holds", False: "DOES NOT HOLD", None: "NOT MEASURED"}[claim.holds]
        sys.stdout.write(f"  {verdict:<13}  {claim.claim}: {claim.why or _short(claim.value)}\n")
    answer = {"name": name, "machine": machine(), "figures": figures, "claims": [asdict(c) for c in claims]}
    sys.stdout.write(json.dumps(answer, default=str) + "\n")
    return 1 if any(claim.holds is False for claim in claims) else 0


def _short(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
