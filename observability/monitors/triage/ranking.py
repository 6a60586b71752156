"""Which features have to do with it: with the drift, and with the loss."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from observability.monitors.case import Case
from observability.monitors.triage.columns import Column, Columns, NumericColumn, numbers, texts
from observability.monitors.triage.harm import losses
from observability.monitors.verdicts import DriftVerdict, Ranked

#: rows of a bin that say what its loss is
_LEAST_ROWS: Final = 20


def rank(case: Case, columns: Columns, drift: DriftVerdict) -> tuple[Ranked, ...]:
    """The features by their share of the drift (squared effects), with their share of the loss that drift explains."""
    effects = {each.feature: (each.effect or 0.0) ** 2 for each in drift.features}
    total = sum(effects.values())
    if total <= 0:
        return ()
    loss = loss_shares(case, columns)
    ranked = sorted(effects, key=lambda name: -effects[name])
    return tuple(
        Ranked(feature=n, drift_share=effects[n] / total, loss_share=loss.get(n)) for n in ranked if effects[n]
    )


def loss_shares(case: Case, columns: Columns) -> dict[str, float]:
    """Of the loss that the features' new mixes explain, each alone, the share of each; empty where it is not known.

    What a mix costs is told by the version's own out-of-time rows: the mean loss of a bin there, weighted by how many
    rows the bin has now, against how many it had.
    """
    _, loss = losses(case.reference.labels, case.reference.scores, case.threshold)
    if len(case.reference.scored) != len(loss) or not len(loss) or np.isnan(loss).all():
        return {}
    more = {name: max(_more_loss(column, case, loss), 0.0) for name, column in columns.each.items()}
    total = sum(more.values())
    return {name: each / total for name, each in more.items()} if total > 0 else {}


def _more_loss(column: Column, case: Case, loss: npt.NDArray[np.float64]) -> float:
    rows_of = case.reference.scored
    bins = column.places(
        numbers(rows_of, column.name) if isinstance(column, NumericColumn) else texts(rows_of, column.name)
    )
    known = ~np.isnan(loss)
    rows = np.bincount(bins[known], minlength=len(column.shares_now))
    sums = np.bincount(bins[known], weights=loss[known], minlength=len(rows))
    mean = np.where(rows >= _LEAST_ROWS, sums / np.maximum(rows, 1), float(loss[known].mean()))
    return float(((column.shares_now - column.shares_then) * mean).sum())
