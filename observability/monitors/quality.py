"""What is wrong with a window's data, whatever the model makes of it: each check on its own, so none hides another.

A finding says that a share lies beyond the reference's by more than its margin, and that chance does not explain it:
the margin alone would fire on small windows, and chance alone on large ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import pandas as pd
from scipy import stats

from bundle.signature import Feature
from observability.monitors.case import Case
from observability.monitors.pooling import ColumnPair, paired
from observability.monitors.triage.columns import Columns
from observability.monitors.triage.replays import copies, is_more
from observability.monitors.triage.schemas import mistyped
from observability.monitors.triage.stale import find_stale
from observability.monitors.triage.volume import volume_departure
from observability.monitors.verdicts import Finding, QualityVerdict

#: a check fires on clean data at most this often, for each column
LEVEL: Final = 1e-5
#: of the values present, those of another type that are a finding
_MISTYPED: Final = 0.01


def judge_quality(case: Case, counted: QualityVerdict | None = None, columns: Columns | None = None) -> QualityVerdict:
    """The shares of a window and everything that is wrong with it, beside the counts that Evidently took.

    `columns` are the window's, where they are made already.
    """
    top = case.settings.drift.top_categories
    frame = case.sample.frame.reset_index(drop=True)
    pairs = {each.name: paired(each, frame, case.reference.features, top) for each in case.signature.features}
    told = case.reference.reason is None
    verdict = counted or QualityVerdict(missing_share={}, unseen_share={}, out_of_range_share={})
    unseen = {name: each.unseen_share for name, each in pairs.items() if told and each.unseen_share is not None}
    outside = {
        name: pair.out_of_range_share for name, pair in pairs.items() if told and pair.out_of_range_share is not None
    }
    return verdict.model_copy(
        update={
            "missing_share": {name: pair.missing_share for name, pair in pairs.items()},
            "unseen_share": unseen,
            "out_of_range_share": outside,
            "findings": tuple(_findings(case, pairs, columns)),
        }
    )


def _findings(case: Case, pairs: Mapping[str, ColumnPair], columns: Columns | None) -> Iterator[Finding]:
    if case.reference.reason is None and len(case.sample.frame):
        columns = columns or Columns.of(case)
        for feature in case.signature.features:
            pair = pairs[feature.name]
            for check in (_missing, _mistyped, _constant, _out_of_range, _unseen):
                if (found := check(case, feature, pair)) is not None:
                    yield found
        for stale in find_stale(columns):
            yield Finding(check="stale", feature=stale.columns[0], said=stale.said, numbers=stale.numbers)
        yield from _duplicates(case, columns)
    if (departure := volume_departure(case)) is not None:
        yield Finding(check="volume", feature=None, said=departure.said, numbers=departure.numbers)


def _missing(case: Case, feature: Feature, pair: ColumnPair) -> Finding | None:
    """Exact where the window's rollup counted it, else of the sample."""
    exact = (case.volume.get("missing_share") or {}).get(feature.name)
    share, rows = (pair.missing_share, len(case.sample.frame)) if exact is None else (float(exact), case.sample.rows)
    usual = pair.reference_missing_share
    if not _is_beyond(share, rows, usual, len(case.reference.features), case.settings.quality.missing_margin):
        return None
    if share == 1:
        said = f"{feature.name} is empty: missing in every row, in {usual:.1%} of the reference"
        return _found("empty", feature, said, share=share, reference=usual)
    said = f"{feature.name} is missing in {share:.1%} of the rows, in {usual:.1%} of the reference"
    return _found("missing", feature, said, share=share, reference=usual)


def _mistyped(case: Case, feature: Feature, pair: ColumnPair) -> Finding | None:
    numeric = feature.type == "numeric"
    share, usual = mistyped(case, feature.name, numeric=numeric)
    if not _is_beyond(share, len(case.sample.frame), usual, len(case.reference.features), _MISTYPED):
        return None
    what = "text in a numeric column" if numeric else "numbers in a column of categories"
    said = f"{share:.1%} of the values of {feature.name} are {what}, {usual:.1%} in the reference"
    return _found("type", feature, said, share=share, reference=usual)


def _constant(case: Case, feature: Feature, pair: ColumnPair) -> Finding | None:
    """One value in every row, of which the reference holds more than one, too many for chance."""
    present, known = pair.current, pair.reference
    if feature.type == "categorical":
        present, known = present[present != "missing"], known[known != "missing"]
    if len(present) < 2 or present.nunique() != 1 or known.nunique() < 2:
        return None
    usual = float((known == present.iloc[0]).mean())
    if len(present) * np.log(max(usual, 1 / (len(known) + 1))) > np.log(LEVEL):
        return None
    said = f"{feature.name} holds one value in all {len(present):,} rows, {usual:.1%} of the reference has it"
    return _found("constant", feature, said, rows=len(present), reference=usual)


def _out_of_range(case: Case, feature: Feature, pair: ColumnPair) -> Finding | None:
    share, rows = pair.out_of_range_share, len(pair.current)
    margin = case.settings.quality.out_of_range
    if share is None or not _is_beyond(share, rows, 2 / (len(pair.reference) + 1), len(pair.reference), margin):
        return None
    low, high = pair.reference.min(), pair.reference.max()
    said = f"{share:.1%} of the values of {feature.name} lie outside {low:.4g} to {high:.4g}, all of the reference's"
    return _found("out_of_range", feature, said, share=share, low=float(low), high=float(high))


def _unseen(case: Case, feature: Feature, pair: ColumnPair) -> Finding | None:
    """Beyond chance: of a column with many rare categories every sample holds some that another lacks.

    How many that are, singletons of the reference tell (Good and Turing): the share of rows with a category seen once.
    """
    if pair.unseen_share is None:
        return None
    then = case.reference.features.get(feature.name, pd.Series(dtype=object))
    counts = then[then.notna()].astype(str).value_counts()
    usual = float((counts == 1).sum() / max(len(then), 1))
    rows = len(case.sample.frame)
    if not _is_beyond(pair.unseen_share, rows, usual, len(then), case.settings.quality.missing_margin):
        return None
    said = (
        f"{pair.unseen_share:.1%} of the rows hold a {feature.name} that the reference does not, {usual:.1%} by chance"
    )
    return _found("unseen", feature, said, share=pair.unseen_share, chance=usual)


def _duplicates(case: Case, columns: Columns) -> Iterator[Finding]:
    now, usual = copies(case, columns)
    if is_more(case, now, usual):
        said = f"{now:.1%} of the rows are copies of another, {usual:.1%} as a rule"
        yield Finding(check="duplicates", feature=None, said=said, numbers={"share": now, "usual": usual})


def _is_beyond(share: float, rows: int, usual: float, known: int, margin: float) -> bool:
    """Above the usual share and its margin, where chance would be so once in 1 / LEVEL windows at most.

    Exact (Fisher's one-sided test, a hypergeometric tail) against a reference that has the margin too: the share that
    is tolerated is known no better than the reference's rows tell.
    """
    if share <= usual + margin or not rows or not known:
        return False
    now, then = round(share * rows), round(min(usual + margin, 1.0) * known)
    return bool(stats.hypergeom.sf(now - 1, rows + known, now + then, rows) < LEVEL)


def _found(check: str, feature: Feature, said: str, **numbers: float) -> Finding:
    return Finding(check=check, feature=feature.name, said=said, numbers=numbers)
