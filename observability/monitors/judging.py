"""Judges a window: its parts by turn, each of which says what it can and hides nothing of the others."""

from __future__ import annotations

from observability.monitors.case import Case
from observability.monitors.evidently_scores import score_window
from observability.monitors.verdicts import WindowVerdict


def judge(case: Case) -> WindowVerdict:
    """Everything that can be told of a window; what cannot is None with a reason."""
    return score_window(case)
