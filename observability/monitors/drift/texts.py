"""Judges raw text fields by how long they are, by words that the reference does not hold, and by their words together.

A verdict holds numbers only: no word of the data. What texts of one day have in common with each other, such as a
topic, is drift here: nothing is known of how texts vary between spans of the past.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from typing import Final

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from observability.monitors.case import Case
from observability.monitors.drift.columns import compare_numbers
from observability.monitors.drift.separation import LEAST_ROWS, Floats, tell_apart
from observability.monitors.drift.twosample import Difference
from observability.monitors.pooling import column
from observability.monitors.verdicts import TextDrift
from observability.ports import TEXT_PREFIX

#: texts of each side that are looked at, and characters of each
_TEXTS: Final = 2_000
_CHARACTERS: Final = 2_000
_WORD: Final = re.compile(r"\w+")
#: words are told apart by so many hashes
_HASHES: Final = 1 << 14
_TESTS: Final = 3


def judge_texts(case: Case) -> tuple[TextDrift, ...]:
    """Each text field that the settings name, with one p-value: corrected for its three tests, not for the window."""
    return tuple(_judge(case, field) for field in case.settings.texts)


def _judge(case: Case, field: str) -> TextDrift:
    random, name = case.random(f"text {field}"), TEXT_PREFIX + field
    now = _picked(column(case.sample.frame, name), random)
    then = _picked(column(case.reference.features, name), random)
    if reason := case.reference.reason or _why_not(now, then):
        return TextDrift(
            field=field, length=_length(now), reference_length=_length(then), out_of_vocabulary=None,
            reference_out_of_vocabulary=None, auc=None, p_value=None, effect=None, threshold=case.level, reason=reason,
        )  # fmt: skip
    half = len(then) // 2
    vocabulary = {word for text in then[:half] for word in _words(text)}
    unknown, unknown_then = _unknown(now, vocabulary), _unknown(then[half:], vocabulary)
    auc, by_words = _by_words(now, then)
    tests = {
        "length": _compared([len(text) for text in now], [len(text) for text in then]),
        "unknown": _compared(unknown / _counts(now), unknown_then / _counts(then[half:])),
        "words": by_words,
    }
    p_value, effect = _together(tests, case.level)
    return TextDrift(
        field=field,
        length=_length(now),
        reference_length=_length(then),
        out_of_vocabulary=float(unknown.sum() / _counts(now).sum()),
        reference_out_of_vocabulary=float(unknown_then.sum() / _counts(then[half:]).sum()),
        auc=auc,
        p_value=p_value,
        effect=effect,
        threshold=case.level,
    )


def _picked(values: pd.Series, random: np.random.Generator) -> list[str]:
    """Some of the texts, in an order of chance; what is missing, empty or no text is left out."""
    texts = [value[:_CHARACTERS] for value in values if isinstance(value, str) and value]
    return [texts[place] for place in random.permutation(len(texts))[:_TEXTS]]


def _why_not(now: Sequence[str], then: Sequence[str]) -> str | None:
    if not then:
        return "the reference holds no texts of this field: versions that are made from now on keep them"
    for name, texts in (("the window", now), ("the reference", then)):
        if len(texts) < LEAST_ROWS:
            return f"{len(texts)} texts in {name}, {LEAST_ROWS} are needed"
    return None


def _length(texts: Sequence[str]) -> float | None:
    return float(np.median([len(text) for text in texts])) if texts else None


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _counts(texts: Sequence[str]) -> Floats:
    """Words of each text; a text without any counts as one that is known."""
    return np.array([max(1, len(_words(text))) for text in texts], dtype=np.float64)


def _unknown(texts: Sequence[str], vocabulary: Set[str]) -> Floats:
    """Words of each text beyond the vocabulary.

    That is of one half of the reference, so that what the other half lacks of it is what chance alone gives.
    """
    return np.array([sum(word not in vocabulary for word in _words(text)) for text in texts], dtype=np.float64)


def _compared(now: Sequence[float] | Floats, then: Sequence[float] | Floats) -> Difference:
    return compare_numbers(pd.Series(now), pd.Series(then), LEAST_ROWS // 2).tests["values"]


def _by_words(now: Sequence[str], then: Sequence[str]) -> tuple[float, Difference]:
    hashed = HashingVectorizer(
        n_features=_HASHES, alternate_sign=False, tokenizer=_words, token_pattern=None, lowercase=False
    )
    table = hashed.transform([*now, *then])
    with threadpool_limits(1):
        found = tell_apart(table, len(now), lambda: LogisticRegression(solver="liblinear"))
    return found.auc, Difference(found.p_value, found.effect)


def _together(tests: Mapping[str, Difference], level: float) -> tuple[float, float]:
    """Bonferroni's p-value, and the largest effect of those tests that are sure: of the surest where none is."""
    surest = min(tests.values(), key=lambda test: test.p_value)
    sure = [test.effect for test in tests.values() if test.p_value * _TESTS <= level]
    return min(1.0, _TESTS * surest.p_value), max(sure, default=surest.effect)
