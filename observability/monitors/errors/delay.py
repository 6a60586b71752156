"""Errors as of now, corrected for labels that are late.

Where labels of one class come sooner than those of the other, the labels that have come are no fair sample: of a loan,
"not paid" is known in a week and "paid" in a year. How large a share of a class's labels has come by now is known from
the settled windows before, or from the delays of the labels themselves; each label then counts for as many as it speaks
for, the inverse of that share (Horvitz and Thompson, 1952; Hajek, 1971). Delays are cut off on the right, by how old a
row is: their distribution is estimated in reversed time (Lagakos, Barraj and De Gruttola, 1988).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from observability.monitors.case import Case
from observability.monitors.errors.arrivals import Arrival, CannotTell, ages_of
from observability.monitors.errors.delays import arrivals_by_delay
from observability.monitors.errors.intervals import weighted_intervals
from observability.monitors.errors.metrics import answers_of, weighted_metrics
from observability.monitors.errors.pastlooks import arrivals_by_past
from observability.monitors.verdicts import ErrorMetrics, LabelsSeen


def labels_seen(case: Case) -> LabelsSeen:
    """The labels of a window's sample by class, and how old its rows were: a later window learns from it."""
    labels = answers_of(case.sample.frame, "binary", case.threshold).labels
    ages = ages_of(case)
    return LabelsSeen(
        by_class={"0": int((labels == 0).sum()), "1": int((labels == 1).sum())},
        age=None if ages is None or not len(ages) or case.as_of is None else float(ages.mean()),
    )


def correct_for_delay(case: Case) -> Mapping[str, Any]:
    """The fields of an ErrorVerdict that say what metrics will be once all labels are there, or why it is not known."""
    if case.signature.task != "binary":
        return {"corrected_reason": "the delay of a number's label is not known to depend on the number"}
    found = _arrival(case)
    if isinstance(found, CannotTell):
        return {"corrected_reason": str(found)}
    costs, settings = case.settings.errors.costs, case.settings.errors
    values = weighted_metrics(found.weights[None, :], found.rows, costs)
    known = {name: float(each[0]) for name, each in values.items() if np.isfinite(each[0])}
    draws = weighted_metrics(found.draws, found.rows, costs)
    return {
        "corrected": ErrorMetrics(**known),
        "corrected_intervals": weighted_intervals(known, draws, found.weights, settings.confidence),
        "arrived": found.arrived,
    }


def _arrival(case: Case) -> Arrival | CannotTell:
    """From the labels' own delays where they say enough, else from the windows before."""
    by_delay = arrivals_by_delay(case)
    if isinstance(by_delay, Arrival):
        return by_delay
    by_past = arrivals_by_past(case)
    if isinstance(by_past, Arrival) or by_delay.silent:
        return by_past
    return CannotTell(f"{by_delay}; {by_past}")
