"""Two columns that stand in each other's place: each looks as the other did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final, TypeVar

import numpy as np

from observability.monitors.triage.columns import Column, Columns, Numbers, NumericColumn, TextColumn
from observability.monitors.triage.exchanges import came_from, exchanged
from observability.monitors.triage.fitting import Fit, beyond, fit, is_apart
from observability.monitors.triage.hypotheses import Hypothesis

_LEAST_EXPLAINED: Final = 0.7
#: of each of the two, and of their difference
_LEAST_OF_EACH: Final = 0.3
#: of the other, where values of the one came from far beyond its range
_LEAST_OF_OTHER: Final = 0.5
#: what a world that changes does not do to two columns at once
_SURELY: Final = 0.9
_LEAST_SHARE: Final = 0.04
#: columns of a type that are looked at, those that moved most: pairs are many, and two that stand in each other's place
#: are far from where they were
_MOST: Final = 40

_Kind = TypeVar("_Kind", NumericColumn, TextColumn)


def find_swaps(columns: Columns) -> Iterator[Hypothesis]:
    """Every pair of one type of which each column has moved to where the other was."""
    for one, other in combinations(_moved(columns.numeric), 2):
        if (share := exchanged(one, other)) is not None:
            yield _seen(one, other, share)
            continue
        fits = _fits(one, one.shares(other.then), other, other.shares(one.then))
        sides = zip((one, other), (other, one), reversed(fits), strict=True)
        if any(came_from(a, b) and found.explained >= _LEAST_OF_OTHER for a, b, found in sides):
            yield _seen(one, other, max(each.share for each in fits))
            continue
        if not _explain_each(fits):  # the difference takes bins of its own, which is dear
            continue
        difference = NumericColumn("difference", one.now - other.now, one.then - other.then)
        if is_apart(difference):
            yield from _told(one, other, [*fits, fit(difference, difference.shares(-difference.then))])
    for left, right in combinations(_moved(columns.categorical), 2):
        yield from _told(left, right, _fits(left, left.shares(right.then), right, right.shares(left.then)))


def _seen(one: NumericColumn, other: NumericColumn, share: float) -> Hypothesis:
    said = (
        f"{one.name} and {other.name} stand in each other's place in {share:.0%} of the rows: "
        "what left the one, of gaps, decimals or range, came to the other"
    )
    return Hypothesis("swapped", (one.name, other.name), 1.0, 2 * share, said, {"share": share}, seen=True)


def _moved(candidates: Sequence[_Kind]) -> list[_Kind]:
    """Those that chance has not moved, the most moved of them where they are many; in the order of the columns."""
    apart = [each for each in candidates if is_apart(each)]
    most = sorted(apart, key=lambda each: -beyond(each))[:_MOST]
    chosen = {each.name for each in most}
    return [each for each in apart if each.name in chosen]


def _explain_each(fits: Sequence[Fit]) -> bool:
    return min(each.explained for each in fits) >= _LEAST_OF_EACH


def _fits(one: Column, as_other: Numbers, other: Column, as_one: Numbers) -> list[Fit]:
    return [fit(one, as_other), fit(other, as_one)]


def _told(one: Column, other: Column, fits: list[Fit]) -> Iterator[Hypothesis]:
    before, after = sum(each.before for each in fits), sum(each.after for each in fits)
    share = float(np.median([each.share for each in fits]))
    explained = 1 - after / before if before > 0 else 0.0
    if explained < _LEAST_EXPLAINED or share < _LEAST_SHARE or not _explain_each(fits):
        return
    said = (
        f"{one.name} looks as {other.name} did, and {other.name} as {one.name} did, in {share:.0%} of the rows: "
        f"put back, {explained:.0%} of their distance from the reference is gone"
    )
    gain = sum(each.gain for each in fits[:2])
    yield Hypothesis(
        "swapped", (one.name, other.name), explained, gain, said, {"share": share}, seen=explained >= _SURELY
    )
