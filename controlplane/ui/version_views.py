"""Versions as the pages show them: with the firing that they came from and what the gate said, check by check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.tables import Firing, GateRecord, Version
from controlplane.ui import words
from controlplane.ui.charts import Chart, Interval, interval_bar
from controlplane.ui.reading import interval_of

#: numbers of a check that are not shown beside it: they are a table of their own
PARTS = "values"


@dataclass(frozen=True)
class CheckView:
    """One thing that the gate asked, with its numbers."""

    name: str
    passed: bool
    detail: str
    numbers: tuple[tuple[str, str], ...]
    #: of a check by the values of a feature: (value, rows, difference, lower, upper)
    parts: tuple[tuple[str, int, float, float, float], ...] = ()


@dataclass(frozen=True)
class VersionView:
    """A version with the firing it came from and the verdict of the gate."""

    version: Version
    firing: Firing | None
    gate: GateRecord | None
    #: the improvement with its bounds, in words
    improvement: str
    over_constant: bool
    #: None where there is nothing to draw, or not on the scale of the others
    bar: Chart | None
    checks: tuple[CheckView, ...] = ()


def version_views(
    versions: Sequence[Version], firings: Mapping[str, Firing], gates: Mapping[int, GateRecord]
) -> tuple[VersionView, ...]:
    """The versions, newest first; all interval bars have one scale."""
    found = {number: interval for number, gate in gates.items() if (interval := interval_of(gate))}
    against = {number for number in found if gates[number].numbers.get("champion") is not None}
    drawn = [found[number] for number in against or found]
    reach = max((max(abs(each.low), abs(each.high)) for each in drawn), default=1.0) or 1.0
    views = []
    for version in versions:
        gate, interval = gates.get(version.number), found.get(version.number)
        said = interval_words(interval) if interval else ""
        shown = interval is not None and version.number in (against or found)
        bar = interval_bar(interval, reach, said) if interval and shown else None
        over = interval is not None and version.number not in against
        views.append(VersionView(version, firings.get(version.firing_id), gate, said, over, bar, checks_of(gate)))
    return tuple(views)


def interval_words(interval: Interval) -> str:
    """The improvement with its bounds."""
    difference, low, high = map(words.signed, (interval.difference, interval.low, interval.high))
    return f"{difference} [{low}, {high}]"


def checks_of(gate: GateRecord | None) -> tuple[CheckView, ...]:
    """Every check of a verdict; of one of an older release there are none."""
    return tuple(_check(each) for each in gate.checks or ()) if gate else ()


def _check(stored: Mapping[str, Any]) -> CheckView:
    numbers = stored.get("numbers") or {}
    kind, _, subject = str(stored.get("check") or "").partition(":")
    shown = tuple(
        (words.metric(str(name)), _number(value))
        for name, value in numbers.items()
        if name != PARTS and value is not None
    )
    return CheckView(
        f"{CHECKS.get(kind, words.metric(kind))}{f' {words.metric(subject)}' if subject else ''}",
        bool(stored.get("passed")), str(stored.get("detail") or ""), shown, tuple(_parts(numbers.get(PARTS))),
    )  # fmt: skip


#: what a check is called
CHECKS = {
    "parity": "export answers alike", "rows": "enough rows", "improvement": "better than the champion",
    "no_worse": "no worse on", "slice": "no part pays:", "calibration": "calibrated", "row_ms": "fast enough",
    "bytes": "small enough",
}  # fmt: skip


def _number(value: Any) -> str:  # noqa: ANN401 - JSON
    if isinstance(value, int) and not isinstance(value, bool):
        return words.count(value)
    return words.number(value, 4) if isinstance(value, float) else str(value)


def _parts(values: Any) -> list[tuple[str, int, float, float, float]]:  # noqa: ANN401 - JSON
    found = []
    for each in values if isinstance(values, list) else ():
        numbers = [each.get(name) for name in ("difference", "lower", "upper")]
        known = [float(number) for number in numbers if isinstance(number, int | float)]
        if len(known) == len(numbers):
            difference, low, high = known
            found.append((str(each.get("value")), int(each.get("rows") or 0), difference, low, high))
    return found
