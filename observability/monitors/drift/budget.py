"""Which level a window is judged at, so that a model's false alarms stay within what its user accepts.

This is alpha spending in equal parts over time. The false alarms of a model are a sum, over its windows, of "this one
alarmed with nothing the matter", and the mean of a sum is the sum of the means whatever depends on what (Bonferroni's
argument): windows that overlap, share a reference or hold the same rows change the spread of the count and never its
mean. So each window gets the part of a month that passes until the next one, as the group sequential trials of Lan
and DeMets (1983) spend a level over the interim analyses, only that the total is a rate and never runs out.

An e-process (Ramdas et al. 2023) would bound the chance of a false alarm ever, and let evidence of several windows add
up. It is not chosen here: what a user accepts is a rate and not "ever"; a bound that holds for ever must forget no
window, so it needs a reference that stays, while ours change with each version; and it costs power in the one window
that a real change is first seen in. The stream of errors, where single rows add up, has one: `errors.stream`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

MONTH: Final = timedelta(days=30)


def level_of(per_month: float, highest: float, span: timedelta, monitors: int, segments: int, whole: bool) -> float:
    """The family-wise level of one window: with nothing the matter, so often anything of it may alarm.

    Over the windows of a model the levels of 30 days sum up to `per_month` at most. `span` is how long it is until the
    monitor's next window: its step where windows slide, else its length (by count: how long this one took). Half of
    a window's part is for the window as a whole and half is shared by its segments; all where it has none. None is
    above `highest`: a window a year is not judged at level 1.

    >>> round(level_of(1, 0.05, timedelta(days=1), monitors=1, segments=0, whole=True), 4)
    0.0333
    >>> round(level_of(1, 0.05, timedelta(days=1), monitors=2, segments=10, whole=False), 6)
    0.000833
    """
    part = per_month * (max(span, timedelta(0)) / MONTH) / max(monitors, 1)
    if segments > 0:
        part *= 0.5 if whole else 0.5 / segments
    return min(part, highest)
