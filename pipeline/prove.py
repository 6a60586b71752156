"""Proves that the exported model answers as its original, also on rows that hold what training never saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from bundle.columns import Columns
from bundle.recipe import Recipe, RecipeError
from bundle.scorer import Scorer
from bundle.signature import Signature
from pipeline.contract.training import Parity
from pipeline.engines.base import Scores
from pipeline.errors import ParityBroken

TOLERANCE: Final = 1e-5
UNSEEN: Final = "never-seen-in-training"
#: held-out rows that each change is tried on
_ROWS: Final = 40


@dataclass(frozen=True)
class Probes:
    """Rows to compare on: raw rows, and feature rows that no raw row of ours leads to."""

    #: held-out rows first, then changed ones
    raw: Columns
    raw_features: Columns
    features: Columns

    @property
    def all_features(self) -> Columns:
        return joined([self.raw_features, self.features])


def make_probes(recipe: Recipe, signature: Signature, raw: Columns, features: Columns) -> Probes:
    """The held-out rows, and their first few with each field unseen, and missing, and then each category."""
    changed = [(raw, features)]
    for part in _changed_raw(signature, _head(raw)):
        try:
            changed.append((part, recipe.features(part)))
        except RecipeError:  # the recipe refuses such rows, here as in serving
            continue
    probed = [part for part, _ in changed], [made for _, made in changed]
    return Probes(joined(probed[0]), joined(probed[1]), joined(_changed_features(signature, _head(features))))


def _head(columns: Columns) -> Columns:
    return {name: column[:_ROWS] for name, column in columns.items()}


def _changed_raw(signature: Signature, raw: Columns) -> list[Columns]:
    """Every text unseen, every optional field missing, one by one, and all at once."""
    rows = len(next(iter(raw.values())))
    texts = {f.name: np.full(rows, UNSEEN, dtype=object) for f in signature.raw if f.type == "string"}
    gone: Columns = {
        f.name: np.full(rows, None, dtype=object) if f.type == "string" else np.full(rows, np.nan)
        for f in signature.raw
        if not f.required
    }
    ones = [{**raw, name: column} for change in (texts, gone) for name, column in change.items()]
    return [*ones, {**raw, **texts}, {**raw, **gone}]


def _changed_features(signature: Signature, features: Columns) -> list[Columns]:
    """Every category unseen, and missing."""
    rows = len(next(iter(features.values())))
    parts = [{name: column[:0] for name, column in features.items()}]
    for feature in signature.features:
        if feature.type == "categorical":
            for value in (UNSEEN, ""):
                parts.append({**features, feature.name: np.full(rows, value, dtype=object)})
    return parts


def joined(parts: list[Columns]) -> Columns:
    """The rows of the parts one after another."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def prove(scorer: Scorer, probes: Probes, original: Scores) -> Parity:
    """Compare the version's answers with the original's scores on all probes. Raises ParityBroken."""
    _, from_raw = scorer.score(probes.raw)
    exported = np.concatenate([from_raw, scorer.score_features(probes.features)])
    differences = np.abs(exported - original)
    # A row without a score on either side is a difference, too: such a version could not answer it.
    worst = float(np.max(np.where(np.isnan(differences), np.inf, differences)))
    wrong = scorer.answer(exported) != scorer.answer(original)
    if wrong.any() or worst > TOLERANCE:
        row = int(np.argmax(np.where(np.isnan(differences), np.inf, differences)))
        values = {name: column[row] for name, column in probes.all_features.items()}
        raise ParityBroken(
            f"the exported model answers otherwise than its original: {int(wrong.sum())} of {len(original):,} labels "
            f"differ, scores by up to {worst:.3g} (allowed: 0 and {TOLERANCE:g}); worst row: {values}"
        )
    return Parity(rows=len(original), label_mismatches=0, max_score_difference=worst)
