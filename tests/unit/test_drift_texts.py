"""A text field is compared by its words: a new topic, length or spelling is seen, chance is not; no word is told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bundle.signature import Feature, RawField, Signature
from observability.monitors.case import Case
from observability.monitors.drift.family import decided
from observability.monitors.drift.features import judge_features
from observability.monitors.drift.joint import judge_jointly
from observability.monitors.drift.texts import judge_texts
from observability.monitors.reference import Reference
from observability.monitors.settings import MonitorSettings
from observability.ports import Sample
from pipeline.dataset import Rows
from pipeline.package import reference_table

SIGNATURE = Signature(
    model="default/test", task="binary", label="label", features=(Feature(name="x", type="numeric"),),
    raw=(RawField(name="body", type="string"),),
)  # fmt: skip
WORDS = np.array([f"word{place}" for place in range(1, 3_000)])
CHANCES = 1 / np.arange(1, 3_000)
COMMON = CHANCES / CHANCES.sum()
#: the same words in another order of frequency
SHUFFLED = COMMON[np.random.default_rng(0).permutation(len(COMMON))] * 0.3 + COMMON * 0.7


def texts(rows: int, random: np.random.Generator, chances=COMMON, mean: float = 12) -> list[str]:
    return [" ".join(random.choice(WORDS, 1 + random.poisson(mean), p=chances)) for _ in range(rows)]


def case(now: list, then: list, window: str = "w-1", level: float = 0.01, reason: str | None = None) -> Case:
    frames = [pd.DataFrame({"x": np.arange(len(part)) % 10, "score": 0.5, "text:body": part}) for part in (now, then)]
    reference = Reference(frames[1], np.zeros(0), np.zeros(0), reason=reason)
    settings = MonitorSettings(texts=("body",))
    return Case(window, Sample(frames[0], rows=len(now), labelled=0), reference, SIGNATURE, settings, level)


def judged(found: Case):
    texts_of = judge_texts(found)
    return decided(*judge_features(found), None, texts_of, found.settings.drift, found.level).texts[0]


def test_with_nothing_the_matter_no_more_fields_alarm_than_the_level_says():
    found = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        found.append(judge_texts(case(texts(120, random), texts(300, random), f"w-{seed}"))[0].p_value)
    assert np.mean(np.array(found) <= 0.2) <= stats.binom.ppf(0.99, 60, 0.2) / 60


@pytest.mark.parametrize(
    "changed",
    [
        lambda random: texts(400, random, SHUFFLED),
        lambda random: texts(400, random, mean=18),
        lambda random: [
            text.replace("word1 ", "wörd1 ") + " new" * (random.random() < 0.3) for text in texts(400, random)
        ],
    ],
    ids=["words", "length", "vocabulary"],
)
def test_texts_that_changed_are_drift(changed):
    random = np.random.default_rng(1)
    found = judged(case(changed(random), texts(1_000, random)))
    assert found.drifted
    assert found.p_value is not None and found.p_value < 0.001


def test_words_beyond_the_vocabulary_stand_beside_what_chance_gives():
    random = np.random.default_rng(2)
    same = judged(case(texts(400, random), texts(1_000, random)))
    assert not same.drifted
    assert same.reference_out_of_vocabulary > 0.02
    assert same.out_of_vocabulary == pytest.approx(same.reference_out_of_vocabulary, abs=0.02)
    new = judged(case([text.upper() + " brand new words" for text in texts(400, random)], texts(1_000, random)))
    assert new.out_of_vocabulary - new.reference_out_of_vocabulary == pytest.approx(3 / 16, abs=0.05)
    assert new.length > new.reference_length


def test_no_word_of_the_data_is_in_a_verdict():
    random = np.random.default_rng(3)
    found = judge_texts(case(["secretword " + text for text in texts(200, random)], texts(200, random)))
    assert "word" not in found[0].model_dump_json()


def test_a_field_of_which_nothing_can_be_told_says_why():
    random = np.random.default_rng(4)
    many = texts(150, random)
    odd = [None, "", 3.5, float("nan"), *many[:99]]
    without = case(many, many)
    without.reference.features.drop(columns="text:body", inplace=True)
    told = {
        "99 texts in the window, 100 are needed": case(odd, many),
        "99 texts in the reference, 100 are needed": case(many, odd),
        "nothing is known": case(many, many, reason="nothing is known"),
        "the reference holds no texts of this field: versions that are made from now on keep them": without,
    }
    for reason, each in told.items():
        found = judge_texts(each)[0]
        assert (found.field, found.p_value, found.auc, found.reason) == ("body", None, None, reason)
        assert judged(each).drifted is None
    assert judge_texts(case(many, many))[0].reason is None


def test_texts_without_a_word_and_endless_ones_break_nothing():
    random = np.random.default_rng(5)
    strange = ["!!!", "😀" * 50, "a" * 100_000, "\x00 \u202e"] * 40
    found = judge_texts(case(strange, texts(200, random)))[0]
    assert found.p_value < 1e-6
    nothing = judge_texts(case(["..."] * 120, ["..."] * 120))[0]
    assert (nothing.p_value, nothing.out_of_vocabulary) == (1.0, 0.0)


def test_the_same_case_is_judged_the_same():
    random = np.random.default_rng(6)
    now, then = texts(200, random), texts(300, random)
    assert judge_texts(case(now, then)) == judge_texts(case(now, then))


def test_a_version_keeps_the_texts_of_its_training_rows_and_columns_are_judged_as_without():
    random = np.random.default_rng(7)
    rows, bodies = 400, texts(400, random)
    made = Rows(
        ids=[str(place) for place in range(rows)],
        event_times=pd.Series(pd.date_range("2026-01-01", periods=rows, freq="h", tz="UTC")),
        raw={"body": np.array(bodies, dtype=object)},
        features={"x": random.normal(size=rows).astype(np.float32)},
        labels=random.integers(0, 2, rows),
    )
    scores = random.random(rows)
    plain, kept = (Reference.read(reference_table(SIGNATURE, made, made, scores, fields)) for fields in ((), ("body",)))
    assert kept.features["text:body"].tolist() == bodies
    assert list(plain.features) == ["x"]
    assert kept.history == plain.history and kept.overdispersion == plain.overdispersion
    now = pd.DataFrame({"x": random.normal(size=300), "score": random.random(300), "text:body": texts(300, random)})
    both = [Case("w", Sample(now, 300, 0), each, SIGNATURE) for each in (plain, kept)]
    assert judge_features(both[0]) == judge_features(both[1])
    assert judge_jointly(both[0]) == judge_jointly(both[1])
