"""A stored verdict is read in one way by whoever asks it the same, also where it is older than this code."""

from __future__ import annotations

import pytest

from observability.monitors.stored import bug_of, stored_drift
from observability.monitors.verdicts import Diagnosis


def test_a_bug_is_found_as_it_was_told():
    told = Diagnosis(cause="bug", bug="nulls", columns=("place",), explanation="place is empty")
    assert bug_of(told.model_dump(mode="json")) == told


@pytest.mark.parametrize("diagnosis", [None, {}, {"cause": "season", "explanation": "x"}, {"bug": "nulls"}, "null"])
def test_what_is_not_told_as_a_bug_is_none(diagnosis):
    assert bug_of(diagnosis) is None


def test_a_bug_of_which_little_is_stored_still_is_one():
    found = bug_of({"cause": "bug", "columns": None, "of_another_release": 1})
    assert found is not None and (found.bug, found.columns, found.explanation) == (None, (), "a bug in the pipeline")


def test_a_verdict_that_says_nothing_of_drift_is_read_as_that():
    drift = stored_drift({"error": None})
    assert (drift.features, drift.drifted_share, drift.prediction.drifted, drift.level) == ((), None, None, None)
