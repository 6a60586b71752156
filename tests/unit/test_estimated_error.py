"""The share of wrong answers before labels come: near the truth, honest about its doubt, withdrawn where it misses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.special import expit, logit

from bundle.signature import Feature, RawField, Signature
from controlplane.loop.scoring import stored
from observability.monitors.case import Case, PastVerdict
from observability.monitors.errors.calibrated import KINDS, calibrate
from observability.monitors.errors.encoding import MOST_FEATURES
from observability.monitors.errors.estimated import estimate_error
from observability.monitors.errors.trust import AGREEING, MISSES_TO_LEARN, checks_of, trust
from observability.monitors.judging import judge
from observability.monitors.reference import Reference
from observability.monitors.verdicts import Checked, EstimatedError, Promise
from observability.ports import Sample

Floats = npt.NDArray[np.float64]
SIGNATURE = Signature(
    model="default/test",
    task="binary",
    raw=(RawField(name="x", type="number"),),
    features=(Feature(name="x", type="numeric"), Feature(name="kind", type="categorical")),
    label="y",
)
PROMISES: Final[tuple[Promise, ...]] = ("share", "level", "slope")
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


def checked(expected: float, true: float, labels: int = 5_000, what: Promise = "share", doubt: float = 0.0) -> Checked:
    """A share among so many labels; of the slope one that is known as well."""
    chance = 0.2 * 0.8 / labels
    return Checked(what=what, expected=expected, realised=true, chance=chance, doubt=doubt, labels=labels)


def past_of(checks: Sequence[Sequence[Checked]], settled: bool = True) -> list[PastVerdict]:
    """Windows by what their labels showed, oldest first; the verdicts newest first."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    estimates = [EstimatedError(error=0.2, expected=0.2, checks=tuple(each)).model_dump(mode="json") for each in checks]
    return [
        PastVerdict(begin + timedelta(days=place), 5_000, 5_000, settled, {"estimate": estimate})
        for place, estimate in enumerate(estimates)
    ][::-1]


def shares(pairs: Sequence[tuple[float, float]], **changed: float) -> list[PastVerdict]:
    """Windows by the share of wrong answers that was expected, and the one that was so."""
    return past_of([[checked(*pair, **changed)] for pair in pairs])  # type: ignore[arg-type]


def labelled_case(window: pd.DataFrame, reference: Reference, past: Sequence[PastVerdict] = ()) -> Case:
    """Once all labels are due."""
    return replace(
        case_of(window, reference, past), sample=Sample(window.drop(columns="chance"), len(window), 0), settled=True
    )


def kept(said: Sequence[EstimatedError]) -> list[PastVerdict]:
    """Estimates as they are kept; oldest first, and newest first as they are given to the next."""
    return past_of([each.checks for each in said])


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
    assert estimate_error(case_of(window, reference, shares(good))).error is not None
    said = estimate_error(case_of(window, reference, shares(good + changed)))
    assert said.error is None and said.low is None and said.high is None and said.expected is not None
    assert said.reason is not None and said.reason.startswith("cannot tell: in the last ")
    assert "0.210 of the answers were expected to be wrong and 0.250 were" in said.reason
    healing = good + changed + good[: AGREEING - 1]
    assert estimate_error(case_of(window, reference, shares(healing))).reason is not None
    again = estimate_error(case_of(window, reference, shares([*healing, good[0]])))
    assert again.error == again.expected and again.reason is None


@pytest.mark.parametrize("what", PROMISES)
@pytest.mark.parametrize("shift", [4.0, 2.8, -2.8])
def test_two_labelled_windows_are_enough_for_each_thing_that_was_promised(shift: float, what: Promise) -> None:
    good = [[checked(0.2, 0.201, what=each) for each in PROMISES]] * 10
    missed = [[checked(0.2, 0.2 + shift * 0.0057 * (each.what == what), what=each.what) for each in good[0]]] * 2
    assert trust(past_of(good)).reason is None
    assert trust(past_of(good + missed)).reason is not None


def test_scores_that_mean_something_else_withdraw_it_though_no_more_answers_are_wrong(reference: Reference) -> None:
    """Every label is that of another row with the same answer: scores say little of it, and the shares are the same."""
    rng = np.random.default_rng(20)
    said: list[EstimatedError] = []
    for changed in (False, False, True, True):
        window = drawn(rng, 2_000, tilt=rng.normal())
        if changed:
            answered = window["prediction"] == 1
            for rows in (answered, ~answered):
                window.loc[rows, "label"] = rng.permutation(window.loc[rows, "label"])
        assert estimate_error(case_of(window, reference, kept(said))).error is not None or len(said) == 3
        said.append(estimate_error(labelled_case(window, reference, kept(said))))
    share, _, slope = said[-1].checks
    assert abs(share.missed()) < 2.5 and slope.missed() < -3 and slope.realised < 0.6
    reason = estimate_error(case_of(drawn(rng, 2_000), reference, kept(said))).reason
    assert reason is not None and f"of what they tell on the version's own rows, {-slope.missed():.1f}"[:20] in reason


def test_other_kinds_of_rows_few_labels_and_labels_of_some_rows_only_withdraw_nothing() -> None:
    """Of small references too, and where only rows of low scores get labels."""
    rng, withdrawn, counted = np.random.default_rng(21), [], []
    for place, (known, rows, of) in enumerate([(400, 600, 1.0), (2_000, 1_000, 1.0), (5_000, 900, 0.2)] * 5):
        reference, said = reference_of(drawn(rng, known)), list[EstimatedError]()
        for _ in range(10):
            window = drawn(rng, rows, tilt=rng.normal())
            labelled = rng.random(rows) < of
            labelled &= (window["score"] < 0.6).to_numpy() | (place % 2 == 0)
            said.append(
                estimate_error(
                    labelled_case(window.assign(label=window["label"].where(labelled)), reference, kept(said))
                )
            )
        withdrawn += [each.error is None for each in said]
        counted += [bool(each.checks) for each in said]
    assert np.mean(withdrawn) <= 0.02 and np.mean(counted) > 0.9


def test_what_was_promised_is_not_checked_before_its_labels_are_due_or_by_too_few(reference: Reference) -> None:
    window = drawn(np.random.default_rng(22), 500)
    due = labelled_case(window, reference)
    assert [check.what for check in estimate_error(due).checks] == list(PROMISES)
    assert estimate_error(replace(due, settled=False)).checks == ()
    few = window.assign(label=window["label"].where(np.arange(500) < 99))
    assert estimate_error(labelled_case(few, reference)).checks == ()
    same = [check.what for check in estimate_error(labelled_case(window.assign(score=0.3, x=0.0), reference)).checks]
    assert same[:2] == ["share", "level"]


def test_what_a_window_is_kept_with_is_what_later_estimates_are_judged_by(reference: Reference) -> None:
    window = drawn(np.random.default_rng(24), 300)
    due = labelled_case(window.assign(label=1 - window["label"]), reference)
    verdict = json.loads(json.dumps(stored(judge(due), settled=True)))
    kept = PastVerdict(datetime(2026, 1, 1, tzinfo=UTC), 300, 300, True, verdict)
    assert checks_of(kept) == estimate_error(due).checks and trust([kept]).reason is not None


def test_what_was_promised_is_off_by_one_standard_error_on_average() -> None:
    """Over references and windows, so that also what a reference leaves open is in it."""
    rng, misses = np.random.default_rng(23), []
    for _ in range(40):
        known, window = drawn(rng, 1_000), drawn(rng, 1_000, tilt=rng.normal())
        known, window = (rows.assign(score=expit(3 * logit(rows["score"]))) for rows in (known, window))
        checks = estimate_error(labelled_case(window, reference_of(known))).checks
        misses.append([check.missed() for check in checks])
    assert (np.abs(np.sqrt(np.mean(np.square(misses), axis=0)) - 1) < 0.35).all()


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.95])
def test_with_nothing_changed_it_is_told_in_nearly_all_windows(shared: float) -> None:
    """Also where the calibration of the reference is off by chance, which all windows share, and is most of a miss."""
    rng, withdrawn = np.random.default_rng(11), []
    chance = 0.2 * 0.8 / 5_000
    doubt = chance * shared / (1 - shared)
    for _ in range(40):
        off = rng.normal(0, np.sqrt(doubt), 3)
        windows = [
            [
                checked(0.2, 0.2 + each + rng.normal(0, np.sqrt(chance)), what=what, doubt=doubt)
                for what, each in zip(PROMISES, off, strict=True)
            ]
            for _ in range(45)
        ]
        withdrawn += [trust(past_of(windows[max(0, now - 30) : now])).reason is not None for now in range(1, 45, 2)]
    assert np.mean(withdrawn) < 0.02


def test_a_truth_that_wobbles_widens_the_interval_but_a_lasting_change_does_not(reference: Reference) -> None:
    rng, window = np.random.default_rng(12), drawn(np.random.default_rng(13), 5_000)
    wobbling = [(0.2, 0.2 + rng.normal(0, 0.03)) for _ in range(30)]
    lasting = [(0.2, 0.2 + rng.normal(0, 0.0057) + 0.06 * (place > 15)) for place in range(30)]
    assert trust(shares(wobbling[: MISSES_TO_LEARN - 1])).between == 0
    assert 0.02 < np.sqrt(trust(shares(wobbling)).between) < 0.05
    assert np.sqrt(trust(shares(lasting)).between) < 0.006 and trust(shares(lasting)).reason is not None
    calm = estimate_error(case_of(window, reference))
    wide = estimate_error(case_of(window, reference, shares(wobbling)))
    assert calm.high is not None and calm.low is not None and wide.high is not None and wide.low is not None
    assert wide.high - wide.low > 2 * (calm.high - calm.low)


def test_few_labels_prove_little_and_none_nothing() -> None:
    missed = [[checked(0.2, 0.26)]] * 3
    assert trust(past_of(missed)).reason is not None
    assert trust(shares([(0.2, 0.26)] * 3, labels=100)).reason is None
    assert trust(past_of(missed, settled=False)).reason is None
    assert trust(past_of([()] * 3)).reason is None
    assert trust([replace(window, verdict={"error": {"error": 0.3}}) for window in past_of(missed)]).reason is None
