"""Drift that comes back: a window before looked the same, and between them it was gone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np

from observability.monitors.case import Case, PastVerdict
from observability.monitors.stored import bug_of
from observability.monitors.verdicts import DriftVerdict

#: effects are alike up to this factor
_ALIKE = 1.6
#: between two times of one season the effects fell to this share
_GONE = 0.5
#: a bug that so many windows running had is one no more: nobody mends it, so the data are like this now
_LASTS = 7


def same_season(case: Case, drift: DriftVerdict) -> datetime | None:
    """When the same drift was there before, gone in between; None where it never was, or never went."""
    now = {each.feature: each.effect for each in drift.features if each.drifted and each.effect}
    if not now:
        return None
    gone = False
    for past in sorted(case.past, key=lambda each: each.until, reverse=True):
        then = effects(past)
        ratios = np.array([then.get(name, 0.0) / effect for name, effect in now.items()])
        if np.all(ratios <= _GONE):
            gone = True
        elif gone and np.all((ratios >= 1 / _ALIKE) & (ratios <= _ALIKE)) and not blamed(past):
            return past.until
    return None


def effects(past: PastVerdict) -> Mapping[str, float]:
    """How far each column was from the reference in a window before."""
    features = past.verdict.get("features") or {}
    return {name: float(told["effect"]) for name, told in features.items() if told.get("effect") is not None}


def blamed(past: PastVerdict) -> tuple[str, ...] | None:
    """The columns that a bug broke in a window before; None where there was no bug."""
    bug = bug_of(past.verdict.get("diagnosis"))
    return None if bug is None else bug.columns


def lasting(case: Case, bug: str, columns: tuple[str, ...]) -> str | None:
    """What to say of a bug that every one of the newest windows had; None where it has not lasted.

    Once it was taken so, it stays taken for as long as it is there: else each next window would begin anew.
    """
    of = f" of {', '.join(sorted(columns))}" if columns else ""
    said = f"what looked like a bug ({bug}{of}) has lasted {_LASTS} windows: taken as how the data are now"
    newest = sorted(case.past, key=lambda each: each.until, reverse=True)[:_LASTS]
    told = [each.verdict.get("diagnosis") or {} for each in newest]
    if told and said in (told[0].get("explanation") or ""):
        return said
    bugs = [bug_of(each) for each in told]
    same = [each is not None and each.bug == bug and set(each.columns) == set(columns) for each in bugs]
    return said if len(same) == _LASTS and all(same) else None
