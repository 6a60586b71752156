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
from pipeline.engines.base import Answers, Scores
from pipeline.errors import ParityBroken, PipelineCodeError

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
    #: for people: the held-out row's id, and what was changed of it; never what is in it
    names: list[str]

    @property
    def all_features(self) -> Columns:
        return joined([self.raw_features, self.features])


def make_probes(recipe: Recipe, signature: Signature, ids: list[str], raw: Columns, features: Columns) -> Probes:
    """The held-out rows, and their first few with each field unseen, and missing, and then each category."""
    names, raw_parts, feature_parts = [*ids], [raw], [features]
    for what, part in _changed_raw(signature, _head(raw)).items():
        try:
            made = recipe.features(part)
        except RecipeError:  # the recipe refuses such rows, here as in serving
            continue
        raw_parts.append(part)
        feature_parts.append(made)
        names += [f"{identity} with {what}" for identity in ids[:_ROWS]]
    changed = _changed_features(signature, _head(features))
    names += [f"{identity} with {what}" for what in changed for identity in ids[:_ROWS]]
    only_features = joined([{name: column[:0] for name, column in features.items()}, *changed.values()])
    return Probes(joined(raw_parts), joined(feature_parts), only_features, names)


def _head(columns: Columns) -> Columns:
    return {name: column[:_ROWS] for name, column in columns.items()}


def _changed_raw(signature: Signature, raw: Columns) -> dict[str, Columns]:
    """By what was changed: every text unseen, every optional field missing, one by one, and all at once."""
    rows = len(next(iter(raw.values())))
    texts = {f.name: np.full(rows, UNSEEN, dtype=object) for f in signature.raw if f.type == "string"}
    gone: Columns = {
        f.name: np.full(rows, None, dtype=object) if f.type == "string" else np.full(rows, np.nan)
        for f in signature.raw
        if not f.required
    }
    return {
        **{f"{name} unseen": {**raw, name: column} for name, column in texts.items()},
        **{f"{name} missing": {**raw, name: column} for name, column in gone.items()},
        "every text unseen": {**raw, **texts},
        "every optional field missing": {**raw, **gone},
    }


def _changed_features(signature: Signature, features: Columns) -> dict[str, Columns]:
    """By what was changed: every category unseen, and missing."""
    rows = len(next(iter(features.values())))
    return {
        f"the feature {feature.name} {what}": {**features, feature.name: np.full(rows, value, dtype=object)}
        for feature in signature.features
        if feature.type == "categorical"
        for what, value in (("unseen", UNSEEN), ("missing", ""))
    }


def joined(parts: list[Columns]) -> Columns:
    """The rows of the parts one after another."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def check_scores(probes: Probes, scores: Scores) -> None:
    """Raises PipelineCodeError where the pipeline itself has no score for a row, naming the features missing there."""
    without = np.flatnonzero(~np.isfinite(scores))
    if not len(without):
        return
    features = probes.all_features
    missing = [{n for n, column in features.items() if column.dtype != object and np.isnan(column[i])} for i in without]
    alone = {name for names in missing if len(names) == 1 for name in names}
    causes = sorted(alone or set().union(*missing))
    if causes:
        where = "where " + " or ".join(f"`{name}`" for name in causes) + " is missing"
        raise PipelineCodeError(f"the pipeline gives no score {where}: impute it or fill it in features.py")
    raise PipelineCodeError(
        f"the pipeline gives no score for {len(without):,} of {len(scores):,} rows, such as "
        f"{probes.names[without[0]]}, though none of their features is missing"
    )


def prove(scorer: Scorer, probes: Probes, original: Answers) -> Parity:
    """Compare the version's scores and answers with the original's own on all probes. Raises ParityBroken."""
    _, from_raw = scorer.score(probes.raw)
    exported = np.concatenate([from_raw, scorer.score_features(probes.features)])
    differences = np.abs(exported - original.scores)
    # A row without a score on either side is a difference, too: such a version could not answer it.
    differences = np.where(np.isnan(differences), np.inf, differences)
    worst = float(np.max(differences))
    wrong = scorer.answer(exported) != original.predictions
    if wrong.any() or worst > TOLERANCE:
        row = int(np.argmax(differences if worst > TOLERANCE else wrong))
        raise ParityBroken(
            f"the exported model answers otherwise than its original: {int(wrong.sum())} of {len(exported):,} labels "
            f"differ, scores by up to {worst:.3g} (allowed: 0 and {TOLERANCE:g}); worst: row {probes.names[row]}"
            + ("; the pipeline cuts its scores elsewhere than at 0.5" if worst <= TOLERANCE else "")
        )
    return Parity(rows=len(exported), label_mismatches=0, max_score_difference=worst)
