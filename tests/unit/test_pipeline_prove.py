"""What is proven: the version's scores and answers are the original's own; what is told of a row is its id."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.manifest import Manifest
from bundle.recipe import Recipe
from bundle.signature import Feature, RawField, Signature
from pipeline.engines.base import Answers
from pipeline.engines.sklearn import SklearnEngine
from pipeline.engines.spark import check_threshold
from pipeline.errors import ParityBroken, PipelineCodeError
from pipeline.prove import check_scores, make_probes, prove

SIGNATURE = Signature(
    model="default/small", task="binary", label="y",
    raw=(RawField(name="spend", type="number"), RawField(name="name", type="string")),
    features=(Feature(name="spend", type="numeric"), Feature(name="name", type="categorical")),
)  # fmt: skip
RECIPE = Recipe("def features(raw):\n    return dict(raw)\n", "features", SIGNATURE)
RAW = {"spend": np.array([1.0, 2.0]), "name": np.array(["Jane Doe", "John Doe"], dtype=object)}


class Stub:
    """A scorer whose scores are given, with the real rule for answers."""

    def __init__(self, scores):
        from bundle.scorer import Scorer

        self.scores = scores
        self.threshold = Manifest(signature=SIGNATURE, features_function="f", files=dict.fromkeys("abcd", "")).threshold
        self.answer = lambda scores: Scorer.answer(self, scores)

    def score(self, raw):
        rows = len(raw["spend"])
        return raw, self.scores[:rows]

    def score_features(self, features):
        return self.scores[-len(features["spend"]) :]


@pytest.fixture
def probes():
    return make_probes(RECIPE, SIGNATURE, ["r1", "r2"], RAW, RECIPE.features(RAW))


def test_every_probe_has_a_name(probes):
    assert len(probes.names) == len(probes.all_features["spend"])
    assert probes.names[:3] == ["r1", "r2", "r1 with name unseen"]
    assert probes.names[-1] == "r2 with the feature name missing"


def test_the_originals_own_predictions_are_compared(probes):
    scores = np.full(len(probes.names), 0.4)
    predictions = np.zeros(len(scores), dtype=np.int64)
    assert prove(Stub(scores), probes, Answers(scores, predictions)).rows == len(scores)

    predictions[1] = 1

    with pytest.raises(ParityBroken, match=r"1 of 16 labels differ.*worst: row r2; the pipeline cuts its scores"):
        prove(Stub(scores), probes, Answers(scores, predictions))


def test_a_broken_parity_names_the_row_and_never_what_is_in_it(probes):
    scores = np.full(len(probes.names), 0.4)
    exported = scores.copy()
    exported[2] = 0.6

    with pytest.raises(ParityBroken) as caught:
        prove(Stub(exported), probes, Answers(scores, np.zeros(len(scores), dtype=np.int64)))

    assert str(caught.value).endswith("worst: row r1 with name unseen")
    assert "Doe" not in str(caught.value)


def test_a_score_of_one_half_answers_zero_on_both_sides():
    class Half:
        def fit(self, frame, labels):
            return self

        def predict_proba(self, frame):
            return np.full((len(frame), 2), 0.5)

        def predict(self, frame):
            return self.predict_proba(frame).argmax(axis=1)

    fitted = SklearnEngine().fit(lambda signature: Half(), SIGNATURE, RECIPE.features(RAW), np.array([0, 1]))
    answers = fitted.answer(RECIPE.features(RAW))

    assert answers.predictions.tolist() == Stub(answers.scores).answer(answers.scores).tolist() == [0, 0]


def test_a_pipeline_without_a_score_is_refused_with_the_feature_that_is_missing_there(probes):
    scores = np.where(np.isnan(probes.all_features["spend"]), np.nan, 0.4)

    with pytest.raises(PipelineCodeError, match=r"no score where `spend` is missing: impute it or fill it in features"):
        check_scores(probes, scores)


def test_a_pipeline_without_a_score_for_a_whole_row_names_the_row(probes):
    scores = np.full(len(probes.names), 0.4)
    check_scores(probes, scores)
    scores[0] = np.inf

    with pytest.raises(PipelineCodeError, match="no score for 1 of 16 rows, such as r1, though none"):
        check_scores(probes, scores)


class Stage:
    def __init__(self, **parameters):
        self.parameters = parameters

    def hasParam(self, name):
        return name in self.parameters

    def isDefined(self, name):
        return self.parameters[name] is not None

    def getOrDefault(self, name):
        return self.parameters[name]


def test_a_spark_classifier_that_cuts_elsewhere_is_refused():
    check_threshold(Stage(threshold=0.5, thresholds=None))

    with pytest.raises(PipelineCodeError, match=r"Stage has thresholds set to \[0\.2, 0\.8\].*leave thresholds out"):
        check_threshold(Stage(thresholds=[0.2, 0.8]))
    with pytest.raises(PipelineCodeError, match=r"threshold set to 0\.3"):
        check_threshold(Stage(threshold=0.3, thresholds=None))
