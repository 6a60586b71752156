"""What a version's reference says, of all its rows and of one segment."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from observability.monitors.reference import LEAST_ROWS, Reference, ReferenceUnreadable
from observability.windows import Segment

AA, UA = Segment("carrier", "AA"), Segment("carrier", "UA")


def written(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def reference(rows: int = 90, scored: int = 30) -> Reference:
    """Every third training row is of AA, and every second of those that were scored: these have a score of 0.9."""
    trained = [{"part": "features", "carrier": "UA" if n % 3 else "AA", "distance": float(n)} for n in range(rows)]
    held_out = [
        {"part": "scores", "carrier": "UA" if n % 2 else "AA", "score": 0.1 if n % 2 else 0.9, "label": float(n % 2)}
        for n in range(scored)
    ]
    return Reference.read(written(pd.DataFrame([*trained, *held_out])))


def test_a_segment_has_its_own_training_rows_scores_and_labels():
    whole, part = reference(), reference().of(AA)
    assert (len(whole.features), len(whole.scores)) == (90, 30)
    assert set(part.features["carrier"]) == {"AA"} and len(part.features) == 30
    assert set(part.usual_scores) == {0.9} and set(part.labels) == {0.0} and len(part.scores) == 15
    assert set(reference().of(UA).labels) == {1.0}


def test_a_segment_that_the_reference_does_not_know_has_nothing_and_says_so():
    nothing = reference().of(Segment("carrier", "HA")).judged()
    assert (len(nothing.features), len(nothing.scores), len(nothing.labels)) == (0, 0, 0)
    assert nothing.reason == "cannot tell: the reference has 0 rows, 30 are needed"
    assert len(reference().of(Segment("origin", "HA")).features) == 0


def test_scores_of_rows_whose_features_are_not_known_are_of_no_segment():
    bare = Reference(reference().features, np.array([0.5]), np.array([1.0]))
    assert len(bare.of(AA).scores) == 0 and list(bare.usual_scores) == [0.5]


@pytest.mark.parametrize(("rows", "says"), [(LEAST_ROWS - 1, True), (LEAST_ROWS, False)])
def test_too_few_rows_are_no_reference(rows, says):
    assert (reference(rows).judged().reason is not None) is says


def test_what_was_served_stands_in_for_features_and_usual_scores_and_never_for_the_errors():
    served = reference().served(pd.DataFrame({"carrier": ["AA"]}), np.array([0.3]))
    assert (len(served.features), list(served.usual_scores)) == (1, [0.3])
    assert len(served.scores) == len(served.labels) == 30


@pytest.mark.parametrize("data", [b"", b"no parquet", written(pd.DataFrame({"part": ["features"]}))])
def test_what_is_no_reference_is_told(data):
    with pytest.raises(ReferenceUnreadable, match="the reference"):
        Reference.read(data)
