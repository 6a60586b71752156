"""The share of wrong answers before labels come: near the truth, honest about its doubt, withdrawn where it misses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.special import expit, logit

from bundle.signature import Feature, RawField, Signature
from observability.monitors.case import Case, PastVerdict
from observability.monitors.errors.calibrated import KINDS, calibrate
from observability.monitors.errors.encoding import MOST_FEATURES
from observability.monitors.errors.estimated import estimate_error
from observability.monitors.errors.trust import AGREEING, MISSES_TO_LEARN, trust
from observability.monitors.reference import Reference
from observability.ports import Sample

Floats = npt.NDArray[np.float64]
SIGNATURE = Signature(
    model="default/test",
    task="binary",
    raw=(RawField(name="x", type="number"),),
    features=(Feature(name="x", type="numeric"), Feature(name="kind", type="categorical")),
    label="y",
)
KNOWN = ["kind a", "kind b", "kind c"]


def drawn(rng: np.random.Generator, rows: int, tilt: float = 0.0) -> pd.DataFrame:
    """Rows with the score of a model that does not see `kind`, and the true chance; `tilt` makes kind c frequent."""
    shares = np.array([1.0, 1.0, np.exp(tilt)])
    kinds = rng.choice(3, rows, p=shares / shares.sum())
    x = rng.normal(size=rows) + 0.2 * tilt
    chance = expit(1.5 * x - 0.5 + np.array([-0.4, 0.0, 0.6])[kinds])
    frame = pd.DataFrame({"x": x, "kind": np.array(KNOWN, dtype=object)[kinds], "chance": chance})
    return frame.assign(
        score=expit(1.4 * x - 0.45), label=(rng.random(rows) < chance) * 1.0, prediction=(x > 0.45 / 1.4) * 1.0
    )


def reference_of(rows: pd.DataFrame) -> Reference:
    features = rows[["x", "kind"]]
    return Reference(features, rows["score"].to_numpy(), rows["label"].to_numpy(), features)


def case_of(window: pd.DataFrame, reference: Reference, past: Sequence[PastVerdict] = ()) -> Case:
    unlabelled = window.drop(columns="chance").assign(label=np.nan)
    return Case("window", Sample(unlabelled, len(window), 0), reference, SIGNATURE, past=tuple(past))


def realised(window: pd.DataFrame) -> float:
    return float(np.mean(window["prediction"] != window["label"]))


def past_of(pairs: Sequence[tuple[float, float]], rows: int = 5_000, **changed: object) -> list[PastVerdict]:
    """What was expected and what was so, oldest first; the verdicts newest first."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        PastVerdict(
            until=begin + timedelta(days=place),
            rows=rows,
            labelled=int(changed.get("labelled", rows)),  # type: ignore[call-overload]
            settled=bool(changed.get("settled", True)),
            verdict={
                "sampled": rows,
                "estimate": {"error": expected, "expected": expected, "standard_error": 0.0057},
                "error": {"error": true},
            },
        )
        for place, (expected, true) in enumerate(pairs)
    ][::-1]


@pytest.fixture(scope="module")
def reference() -> Reference:
    return reference_of(drawn(np.random.default_rng(1), 10_000))


def test_windows_of_other_rows_get_their_own_error_and_its_interval_holds_the_realised_one(
    reference: Reference,
) -> None:
    rng, inside, missed, naive, true = np.random.default_rng(2), [], [], [], []
    for place in range(120):
        window = drawn(rng, 2_000, tilt=(-2.0, 0.0, 2.0)[place % 3])
        said = estimate_error(case_of(window, reference))
        assert said.error is not None and said.low is not None and said.high is not None and said.reference is not None
        assert said.method == "weighted" and said.reason is None and said.low <= said.error <= said.high
        inside.append(said.low <= realised(window) <= said.high)
        missed.append(said.error - realised(window))
        naive.append(said.reference - realised(window))
        true.append(realised(window))
    floor = np.sqrt(np.mean(true) * (1 - np.mean(true)) / 2_000)
    assert np.mean(inside) >= 0.9
    assert np.sqrt(np.mean(np.square(missed))) < 1.2 * floor < np.sqrt(np.mean(np.square(naive)))


def test_a_kind_of_row_that_the_model_answers_worse_counts_as_such(reference: Reference) -> None:
    window = drawn(np.random.default_rng(3), 20_000, tilt=9.0)
    plain = estimate_error(case_of(window, replace(reference, scored=pd.DataFrame())))
    weighted = estimate_error(case_of(window, reference))
    expected = float(np.where(window["prediction"] == 1, 1 - window["chance"], window["chance"]).mean())
    assert plain.method == "cbpe" and plain.error is not None and weighted.error is not None
    assert abs(weighted.error - expected) < 0.5 * abs(plain.error - expected)


@pytest.mark.parametrize("distort", [lambda p: p, lambda p: expit(2 * logit(p) + 1), lambda p: p**3, np.floor])
def test_scores_that_are_no_probabilities_are_made_so(distort: object) -> None:
    rng = np.random.default_rng(4)
    chances = rng.beta(1, 2, 6_000)
    scores = chances if distort is np.floor else np.asarray(distort(chances))  # type: ignore[operator]
    scores = np.round(3 * scores**0.3) / 3 if distort is np.floor else scores
    labels = (rng.random(6_000) < chances).astype(np.float64)
    calibration = calibrate(scores, labels)
    said = expit(calibration.log_odds(scores))
    edges = np.quantile(chances, [0.25, 0.5, 0.75])
    for part in range(4):
        rows = np.digitize(chances, edges) == part
        assert distort is np.floor or abs(said[rows].mean() - chances[rows].mean()) < 0.03
    assert abs(said.mean() - labels.mean()) < 0.02 and calibration.kind in KINDS


def test_probabilities_are_left_as_they_are() -> None:
    rng = np.random.default_rng(5)
    scores = rng.random(5_000)
    assert calibrate(scores, (rng.random(5_000) < scores).astype(np.float64)).kind == "as is"


def test_rows_unlike_any_known_widen_the_interval(reference: Reference) -> None:
    window = drawn(np.random.default_rng(6), 5_000)
    strange = window.assign(kind="kind z", x=1e9)
    near, far = estimate_error(case_of(window, reference)), estimate_error(case_of(strange, reference))
    assert near.standard_error is not None and far.standard_error is not None
    assert far.standard_error > 1.2 * near.standard_error


def test_the_same_case_is_told_the_same_and_broken_columns_break_nothing(reference: Reference) -> None:
    window = drawn(np.random.default_rng(7), 500)
    assert estimate_error(case_of(window, reference)) == estimate_error(case_of(window, reference))
    for broken in (
        window.drop(columns=["x"]),
        window.assign(kind=None),
        window.assign(x="text", kind=3.0),
        window.assign(x=np.inf),
        window.assign(score=np.where(np.arange(500) < 499, np.nan, 0.3)),
    ):
        said = estimate_error(case_of(broken, reference))
        assert said.error is not None and 0 <= said.error <= 1


def test_more_features_than_it_can_weigh_leave_the_plain_estimate() -> None:
    rows = drawn(np.random.default_rng(8), 1_000)
    names = [f"f{number}" for number in range(MOST_FEATURES + 1)]
    wide = rows.assign(**{name: 0.0 for name in names})
    reference = replace(reference_of(rows), scored=wide[names])
    signature = SIGNATURE.model_copy(update={"features": tuple(Feature(name=n, type="numeric") for n in names)})
    assert estimate_error(replace(case_of(wide, reference), signature=signature)).method == "cbpe"


def test_what_cannot_be_told_says_why(reference: Reference) -> None:
    window = drawn(np.random.default_rng(9), 200)
    few = replace(reference, scores=reference.scores[:50], labels=reference.labels[:50], scored=pd.DataFrame())
    for case, why in (
        (case_of(window, few), "50 of the version's out-of-time rows have a label, 100 are needed"),
        (case_of(window, replace(reference, labels=np.zeros(10_000))), "0 of the version's .* rarer class, 10 are"),
        (case_of(window, replace(reference, labels=np.full(10_000, np.nan))), "0 of the version's .* have a label"),
        (case_of(window.assign(score=np.nan), reference), "the window has no scores"),
        (case_of(window[:0], reference), "the window has no scores"),
        (
            replace(case_of(window, reference), signature=SIGNATURE.model_copy(update={"task": "regression"})),
            "regression",
        ),
    ):
        said = estimate_error(case)
        assert said.error is None and said.low is None and said.high is None
        assert pd.Series([said.reason]).str.match(f"cannot tell: .*{why}").all(), said.reason


def test_a_changed_concept_withdraws_it_and_agreeing_windows_bring_it_back(reference: Reference) -> None:
    window = drawn(np.random.default_rng(10), 5_000)
    good, changed = [(0.2, 0.203), (0.21, 0.206)] * 4, [(0.2, 0.24), (0.21, 0.25)]
    assert estimate_error(case_of(window, reference, past_of(good))).error is not None
    said = estimate_error(case_of(window, reference, past_of(good + changed)))
    assert said.error is None and said.low is None and said.high is None and said.expected is not None
    assert said.reason is not None and said.reason.startswith("cannot tell: in the last ")
    assert "0.210 of the answers were expected to be wrong and 0.250 were" in said.reason
    healing = good + changed + good[: AGREEING - 1]
    assert estimate_error(case_of(window, reference, past_of(healing))).reason is not None
    again = estimate_error(case_of(window, reference, past_of([*healing, good[0]])))
    assert again.error == again.expected and again.reason is None


@pytest.mark.parametrize("shift", [4.0, 2.8])
def test_two_labelled_windows_are_enough(shift: float) -> None:
    good, missed = [(0.2, 0.201)] * 10, [(0.2, 0.2 + shift * 0.0057)] * 2
    assert trust(past_of(good)).reason is None
    assert trust(past_of(good + missed)).reason is not None
    assert trust(past_of(good + [(0.2, 0.2 - shift * 0.0057)] * 2)).reason is not None


def test_with_nothing_changed_it_is_told_in_nearly_all_windows() -> None:
    """Also where the calibration of the reference is off by chance, which all windows share."""
    rng, withdrawn = np.random.default_rng(11), []
    for _ in range(60):
        shared = rng.normal(0, 0.0028)
        pairs = [(0.2, 0.2 + shared + rng.normal(0, 0.0050)) for _ in range(45)]
        withdrawn += [trust(past_of(pairs[max(0, now - 30) : now])).reason is not None for now in range(1, 45)]
    assert np.mean(withdrawn) < 0.02


def test_a_truth_that_wobbles_widens_the_interval_but_a_lasting_change_does_not(reference: Reference) -> None:
    rng, window = np.random.default_rng(12), drawn(np.random.default_rng(13), 5_000)
    wobbling = [(0.2, 0.2 + rng.normal(0, 0.03)) for _ in range(30)]
    lasting = [(0.2, 0.2 + rng.normal(0, 0.0057) + 0.06 * (place > 15)) for place in range(30)]
    assert trust(past_of(wobbling[: MISSES_TO_LEARN - 1])).between == 0
    assert 0.02 < np.sqrt(trust(past_of(wobbling)).between) < 0.05
    assert np.sqrt(trust(past_of(lasting)).between) < 0.006 and trust(past_of(lasting)).reason is not None
    calm = estimate_error(case_of(window, reference))
    wide = estimate_error(case_of(window, reference, past_of(wobbling)))
    assert calm.high is not None and calm.low is not None and wide.high is not None and wide.low is not None
    assert wide.high - wide.low > 2 * (calm.high - calm.low)


def test_few_labels_prove_little_and_none_nothing() -> None:
    missed = [(0.2, 0.26)] * 3
    assert trust(past_of(missed)).reason is not None
    assert trust(past_of(missed, labelled=100)).reason is None
    assert trust(past_of(missed, labelled=0)).reason is None
    assert trust(past_of(missed, settled=False)).reason is None
    older = [replace(window, verdict={"error": {"error": 0.3}}) for window in past_of(missed)]
    assert trust(older).reason is None
