"""What the verdict on a window promises, also of windows that Evidently would not survive alone."""

from __future__ import annotations

import io
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from bundle.signature import Feature, RawField, Signature
from observability.monitors import judging
from observability.monitors.case import Case
from observability.monitors.evidently_scores import count_quality, error_metrics
from observability.monitors.judging import judge
from observability.monitors.reference import Reference
from observability.monitors.settings import DriftSettings, MonitorSettings
from observability.monitors.verdicts import WindowVerdict
from observability.ports import Sample

NUMERIC = [f"n{i}" for i in range(8)]
TEXT = [f"c{i}" for i in range(4)]
SIGNATURE = Signature(
    model="default/tweets",
    task="binary",
    raw=(RawField(name="text", type="string"),),
    features=tuple(Feature(name=n, type="numeric") for n in NUMERIC)
    + tuple(Feature(name=n, type="categorical") for n in TEXT),
    label="retweeted",
)


def rows(seed: int, size: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: rng.lognormal(size=size) for name in NUMERIC})
    for name in TEXT:
        frame[name] = rng.choice(["Paris", "London", "Rome", ""], size=size, p=[0.5, 0.3, 0.15, 0.05])
    label = (rng.random(size) < 0.3).astype(float)
    frame["score"] = np.clip(0.6 * rng.random(size) + 0.3 * label, 0, 1)
    frame["prediction"] = (frame["score"] >= 0.5).astype(int)
    frame["label"] = label
    return frame


def reference(size: int = 5_000, frame: pd.DataFrame | None = None) -> Reference:
    frame = rows(0, size) if frame is None else frame
    scored = rows(1, size)
    return Reference(frame[NUMERIC + TEXT], scored["score"].to_numpy(), scored["label"].to_numpy())


def verdict(frame: pd.DataFrame, against: Reference | None = None, **check) -> WindowVerdict:
    sample = Sample(frame, rows=len(frame), labelled=int(frame["label"].notna().sum()))
    settings = MonitorSettings(drift=DriftSettings(**check))
    return judge(Case("w-1", sample, against or reference(), SIGNATURE, settings, level=0.001, settled=True))


def feature(of: WindowVerdict, name: str):
    return next(one for one in of.drift.features if one.feature == name)


@pytest.mark.parametrize("seed", range(10, 16))
def test_a_window_of_the_same_distribution_has_no_drift(seed):
    quiet = verdict(rows(seed, 1_000))
    assert quiet.drift.drifted == ()
    assert quiet.drift.drifted_share == 0
    assert quiet.drift.prediction.drifted is False
    assert all(one.reason is None for one in quiet.drift.features)


@pytest.mark.parametrize("seed", range(20, 23))
def test_a_clear_shift_is_drift_in_the_columns_that_shifted_and_in_no_other(seed):
    frame = rows(seed, 1_000)
    frame["n2"] *= 1.5
    frame["c1"] = np.where(np.random.default_rng(seed).random(1_000) < 0.3, "Berlin", frame["c1"])
    frame["score"] **= 2
    shifted = verdict(frame)
    assert shifted.drift.drifted == ("n2", "c1")
    assert shifted.drift.drifted_share == pytest.approx(2 / 12)
    assert shifted.drift.prediction.drifted is True
    assert feature(shifted, "c1").unseen_share == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("numeric", ["ks", "wasserstein", "jensenshannon", "psi"])
@pytest.mark.parametrize("categorical", ["jensenshannon", "psi", "chisquare"])
def test_every_method_tells_a_shifted_window_from_a_quiet_one(numeric, categorical):
    check = {
        "numeric_method": numeric, "numeric_threshold": 0.001 if numeric == "ks" else 0.25,
        "categorical_method": categorical, "categorical_threshold": 0.0001 if categorical == "chisquare" else 0.1,
    }  # fmt: skip
    frame = rows(30, 1_000)
    assert verdict(frame, **check).drift.drifted == ()
    frame["n0"], frame["c0"] = frame["n0"] * 4 + 5, "Paris"
    assert verdict(frame, **check).drift.drifted == ("n0", "c0")


def test_an_all_missing_or_absent_column_has_drifted_and_hides_no_other():
    frame = rows(40, 1_000).drop(columns=["n1", "c1"])
    frame["n0"], frame["c0"], frame["n2"] = np.nan, None, frame["n2"] * 2
    found = verdict(frame)
    for name in ("n0", "n1", "c0", "c1"):
        assert (feature(found, name).drifted, feature(found, name).aspect) == (True, "missing")
        assert feature(found, name).missing_share == 1
    assert feature(found, "n2").drifted is True
    assert feature(found, "n3").drifted is False
    assert found.quality.reason is None
    assert found.quality.empty_columns == 2


def test_a_column_that_the_reference_lacks_gets_no_verdict():
    lacking = reference(frame=rows(0, 5_000).drop(columns=["n0"]).assign(n0=np.nan, c0=""))
    found = verdict(rows(41, 1_000), lacking)
    assert (feature(found, "n0").drifted, feature(found, "c0").drifted) == (None, None)
    assert found.drift.drifted == ()


def test_a_rise_of_missing_values_is_measured_beside_the_drift():
    frame = rows(42, 1_000)
    frame.loc[frame.index % 10 != 0, "n0"] = np.nan
    frame.loc[frame.index % 2 == 0, "c0"] = None
    found = verdict(frame)
    assert found.quality.missing_share["n0"] == pytest.approx(0.9)
    assert (feature(found, "n0").drifted, feature(found, "n0").aspect) == (True, "missing")
    assert feature(found, "c0").missing_share == pytest.approx(0.52, abs=0.03)
    assert feature(found, "c0").reference_missing_share == pytest.approx(0.05, abs=0.01)
    assert feature(found, "c0").drifted is True


def test_thousands_of_categories_are_quick_and_no_drift():
    def many(seed: int, size: int) -> pd.DataFrame:
        places = np.random.default_rng(seed).zipf(1.3, size=size) % 3_000
        return rows(seed, size).assign(c0=[f"place {n}" for n in places])

    began = time.perf_counter()
    found = verdict(many(50, 1_000), reference(frame=many(0, 5_000)))
    assert time.perf_counter() - began < 5
    assert feature(found, "c0").drifted is False


@pytest.mark.parametrize("size", [40, 300])
def test_small_windows_of_many_categories_are_no_drift_by_chance_alone(size):
    def many(seed: int, size: int) -> pd.DataFrame:
        letters = list("abcdefghijklmnopqrstuvwxyz")
        return rows(seed, size).assign(c0=np.random.default_rng(seed).choice(letters, size=size))

    against = reference(frame=many(0, 5_000))
    alarms = sum(bool(feature(verdict(many(60 + n, size), against), "c0").drifted) for n in range(3))
    assert alarms == 0
    assert feature(verdict(many(60, size).assign(c0="a"), against), "c0").drifted is True


def test_text_that_would_be_markup_elsewhere_is_plain_data_here():
    evil = ["</script><script>window.PWNED=1</script>", "{{7*7}}", "'; DROP TABLE x; --", "missing", "other"]
    frame = rows(70, 1_000)
    frame["c0"] = np.random.default_rng(70).choice(evil, size=1_000)
    found = verdict(frame)
    assert feature(found, "c0").unseen_share == 1
    assert "script" not in found.model_dump_json()


def test_values_of_a_wrong_type_and_infinities_count_as_missing():
    frame = rows(71, 1_000).astype({"n0": object, "c0": object})
    frame.loc[frame.index % 2 == 0, "n0"] = "many"
    frame.loc[frame.index % 4 == 1, "n0"] = np.inf
    frame.loc[frame.index % 2 == 0, "c0"] = 12
    found = verdict(frame)
    assert feature(found, "n0").missing_share == pytest.approx(0.75)
    assert feature(found, "c0").unseen_share == pytest.approx(0.5)


def test_a_number_that_was_shortened_on_its_way_is_the_same_number():
    frame = rows(72, 1_000)
    discrete = np.round(frame["n0"], 1).astype(np.float32)
    against = reference(frame=pd.concat([frame] * 5).assign(n0=np.tile(discrete.astype(float), 5)))
    found = verdict(frame.assign(n0=[float(str(value)) for value in discrete]), against)
    assert feature(found, "n0").score == pytest.approx(1)
    assert found.quality.out_of_range_share["n0"] == 0


def test_an_empty_window_has_no_verdict_at_all():
    found = verdict(rows(73, 1_000).iloc[:0])
    assert all(one.drifted is None for one in (*found.drift.features, found.drift.prediction))
    assert found.drift.drifted_share is None, "not known is not stable"
    assert found.quality.reason is not None
    assert found.errors.reason is not None


def test_error_metrics_are_right_and_stand_beside_those_of_the_reference():
    frame = rows(80, 1_000)
    frame.loc[frame.index >= 700, "label"] = np.nan
    errors = verdict(frame).errors
    known = frame[:700]
    assert errors.labelled == 700
    assert errors.reason is None
    assert errors.metrics.roc_auc == pytest.approx(roc_auc_score(known["label"], known["score"]))
    assert errors.metrics.error == pytest.approx((known["label"] != known["prediction"]).mean())
    assert errors.metrics.brier == pytest.approx(((known["label"] - known["score"]) ** 2).mean())
    assert errors.metrics.log_loss == pytest.approx(errors.reference.log_loss, rel=0.2)
    assert 0.3 < errors.metrics.pr_auc < 1


def test_few_labels_give_no_error_metrics():
    frame = rows(81, 1_000)
    frame.loc[frame.index >= 99, "label"] = np.nan
    errors = verdict(frame).errors
    assert (errors.labelled, errors.metrics.error) == (99, None)
    assert "100 are needed" in errors.reason
    assert errors.reference.roc_auc is not None


@pytest.mark.parametrize("only", [0, 1])
def test_labels_of_a_single_class_give_what_can_be_told_and_end_nothing(only):
    found = verdict(rows(82, 1_000).assign(label=float(only)))
    assert found.errors.metrics.roc_auc is None
    assert "one class" in found.errors.reason
    assert 0 < found.errors.metrics.error < 1
    assert found.errors.metrics.log_loss > 0
    assert found.drift.drifted == ()


def test_predictions_of_a_single_class_have_error_metrics():
    labels, scores = np.array([0.0, 1.0] * 100), np.linspace(0.6, 0.9, 200)
    metrics = error_metrics(labels, scores, np.ones(200))
    assert metrics.error == pytest.approx(0.5)
    assert metrics.roc_auc == pytest.approx(0.5, abs=0.05)


def test_broken_data_shows_in_the_quality_verdict():
    frame = rows(90, 1_000)
    frame["n1"], frame["n2"], frame["n3"] = frame["n0"], 7.0, frame["n3"] + 1_000
    frame = pd.concat([frame[:900], frame[:100]])
    quality = verdict(frame).quality
    assert quality.duplicated_rows == 100
    assert quality.duplicated_columns == 1
    assert quality.constant_columns == 1
    assert quality.out_of_range_share["n3"] == 1


def test_a_verdict_survives_json():
    frame = rows(91, 1_000).drop(columns=["n1"])
    found = verdict(frame)
    assert WindowVerdict.model_validate_json(found.model_dump_json()) == found


def test_a_window_of_a_thousand_rows_and_twelve_columns_takes_little_time():
    frame, against = rows(92, 1_000), reference()
    verdict(frame, against)
    began = time.perf_counter()
    verdict(frame, against)
    assert time.perf_counter() - began < 5


def test_the_reference_in_a_versions_file_is_read_by_its_parts():
    features = rows(1, 50)[NUMERIC + TEXT].assign(part="features", score=np.nan, label=np.nan)
    scores = rows(2, 20)[[*NUMERIC, *TEXT, "score", "label"]].assign(part="scores")
    data = io.BytesIO()
    pd.concat([features, scores]).to_parquet(data)
    read = Reference.read(data.getvalue())
    assert (len(read.features), len(read.scores), len(read.labels)) == (50, 20, 20)
    assert list(read.features.columns) == NUMERIC + TEXT
    assert set(read.labels) <= {0.0, 1.0}


@pytest.mark.parametrize("data", [b"", b"not parquet"])
def test_bytes_that_are_no_reference_are_an_error_that_says_so(data):
    with pytest.raises(ValueError, match="reference"):
        Reference.read(data)


def test_a_word_among_the_labels_ends_no_part_but_those_that_cannot_read_it():
    frame = rows(93, 1_000)
    frame["label"] = frame["label"].astype(object)
    frame.loc[3, "label"] = "yes"
    frame["n0"] *= 5
    found = verdict(frame)
    assert found.drift.drifted == ("n0",)
    assert found.quality.reason is None
    assert found.diagnosis is not None
    assert found.errors.metrics.error is not None or found.errors.reason


def test_a_number_beyond_every_float_hides_no_other_column_and_says_why():
    frame = rows(94, 1_000)
    frame["n0"], frame["n1"] = frame["n0"].astype(object), frame["n1"] * 5
    frame.loc[3, "n0"] = 10**400
    found = verdict(frame)
    assert feature(found, "n1").drifted is True
    assert feature(found, "n0").drifted is not None or feature(found, "n0").reason
    assert found.errors.metrics.error is not None
    assert found.diagnosis is not None
    assert WindowVerdict.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    "part",
    ["judge_features", "judge_jointly", "judge_texts", "count_quality", "judge_quality", "judge_errors", "judge_stream",
     "estimate_error", "diagnose"],
)  # fmt: skip
def test_a_part_that_the_data_are_too_odd_for_says_so_and_ends_no_other(part, monkeypatch, caplog):
    def refuses(*_):
        raise OverflowError("int too large " + "9" * 10_000)

    monkeypatch.setattr(judging, part, refuses)
    found = verdict(rows(95, 1_000).assign(n0=99.0))
    told = found.model_dump_json()
    assert ("could not be judged: OverflowError: 'int too large" in told) is (part != "judge_texts")
    assert "9" * 200 not in told
    assert len([each for each in caplog.records if "could not be judged" in each.getMessage()]) == 1
    assert found.diagnosis is not None
    assert (found.diagnosis.cause == "unknown") is (part == "diagnose")
    assert (found.drift.drifted == ("n0",)) is (part != "judge_features")
    assert (found.errors.metrics.error is not None) is (part != "judge_errors")


def test_a_window_of_very_many_columns_is_not_counted_and_says_why():
    names = [f"n{i}" for i in range(101)]
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 101)), columns=names)
    wide = SIGNATURE.model_copy(update={"features": tuple(Feature(name=n, type="numeric") for n in names)})
    found = count_quality(frame, wide)
    assert found.duplicated_columns is None
    assert "101" in (found.reason or "")
