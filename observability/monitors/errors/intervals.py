"""Between which bounds an error metric lies, valid for few rows too.

- Shares (`error`): Wilson's score interval. Its coverage is near the nominal one for any share and any number of rows;
  Clopper and Pearson's never falls below it, and pays with intervals that are too wide just where rows are few.
  Brown, Cai and DasGupta (2001), Interval Estimation for a Binomial Proportion.
- `roc_auc`: DeLong's variance in the form of a score interval. Where a class has few rows the variance leans on Hanley
  and McNeil's, which does not vanish where every positive happens to stand above every negative.
  DeLong, DeLong and Clarke-Pearson (1988); Hanley and McNeil (1982); Newcombe (2006), Statistics in Medicine 25:559.
- Means of losses (`log_loss`, `brier`, `mae`, ...): a studentised bootstrap, for losses are skewed.
  Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 12.
- `cost`: a Dirichlet posterior over the four kinds of answers: a kind that has not occurred yet may, and may be dear.
- `pr_auc`, `calibration_error`: a bootstrap; see the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from observability.monitors.errors import weighted
from observability.monitors.errors.metrics import Answered, brier_losses, log_losses
from observability.monitors.errors.weighted import Floats
from observability.monitors.settings import CostMatrix
from observability.monitors.verdicts import ErrorMetrics, Interval

DRAWS: Final = 1_000
#: of metrics that are only asked for their variance
DRAWS_OF_VARIANCE: Final = 200
#: weights held in memory at once
CELLS: Final = 1_000_000
#: rows of the rarer class for which a measured variance counts as much as the assumed one
EQUAL_TRUST: Final = 10
#: of each class, for intervals of losses: of a class that was not seen nobody knows how wrong the scores are
LEAST_OF_CLASS: Final = 2
#: standard deviations up to which a gap between scores and shares is taken for chance
BY_CHANCE: Final = 1.5
_NEXT_TO: Final = 1e-9


def class_intervals(
    rows: Answered, metrics: ErrorMetrics, costs: CostMatrix, confidence: float, rng: np.random.Generator
) -> Mapping[str, Interval]:
    """The interval of each metric that is known."""
    decided, scored = rows.where(rows.decided), rows.where(rows.scored)
    found: dict[str, Interval | None] = {}
    if metrics.error is not None:
        found["error"] = share_interval(int((decided.labels != decided.predictions).sum()), len(decided), confidence)
        found["cost"] = cost_interval(decided, costs, confidence, rng)
    if metrics.roc_auc is not None:
        found["roc_auc"] = auc_interval(scored.labels, scored.scores, confidence)
        found["pr_auc"] = pr_auc_interval(scored, confidence, rng)
    if metrics.log_loss is not None:
        found |= _probability_intervals(scored, confidence, rng)
    return {name: interval for name, interval in found.items() if interval is not None}


def _probability_intervals(
    rows: Answered, confidence: float, rng: np.random.Generator
) -> Mapping[str, Interval | None]:
    """Of how good probabilities are, from the same draws; none of losses where a class is all but unseen."""
    losses = np.column_stack([log_losses(rows), brier_losses(rows)])
    gaps = weighted.in_bins(rows.scores - rows.labels, rows.scores)
    means = drawn_means(np.column_stack([losses, _squares(losses), gaps]), rng)
    found: dict[str, Interval | None] = {"calibration_error": calibration_interval(rows, means[:, 4:], confidence, rng)}
    if min(rows.labels.sum(), len(rows) - rows.labels.sum()) >= LEAST_OF_CLASS:
        found["log_loss"] = studentised(losses[:, 0], means[:, 0], means[:, 2], confidence)
        found["brier"] = _within(studentised(losses[:, 1], means[:, 1], means[:, 3], confidence), 0, 1)
    return found


def number_intervals(rows: Answered, confidence: float, rng: np.random.Generator) -> Mapping[str, Interval]:
    """The intervals of the errors of predicted numbers; none of fewer than two."""
    if len(rows) < 2:
        return {}
    missed = rows.scores - rows.labels
    losses = np.column_stack([np.abs(missed), missed**2, missed])
    means = drawn_means(np.column_stack([losses, _squares(losses)]), rng)
    mae, squared, bias = (studentised(losses[:, i], means[:, i], means[:, i + 3], confidence) for i in range(3))
    return {
        "mae": _within(mae, 0, np.inf),
        "rmse": Interval(low=max(squared.low, 0.0) ** 0.5, high=squared.high**0.5),
        "bias": bias,
    }


def share_interval(hits: int, of: int, confidence: float) -> Interval | None:
    """Wilson's interval of a share; None without rows."""
    if not of:
        return None
    told = stats.binomtest(hits, of).proportion_ci(confidence, method="wilson")
    return Interval(low=float(told.low), high=float(told.high))


def auc_interval(labels: Floats, scores: Floats, confidence: float) -> Interval | None:
    """Where the area under the ROC curve lies; None where a class has fewer than two rows."""
    above, below = _placements(labels, scores)
    if min(len(above), len(below)) < 2:
        return None
    area, parts = float(above.mean()), (above.var(ddof=1) / len(above), below.var(ddof=1) / len(below))
    rarer, pairs = min(len(above), len(below)), len(above) * len(below)

    def assumed(theta: float) -> float:
        return hanley_variance(theta, len(above), len(below))

    ratio = float(sum(parts)) / assumed(float(np.clip(area, 0.5 / pairs, 1 - 0.5 / pairs)))
    trust = rarer / (rarer + EQUAL_TRUST)
    factor = trust * ratio + 1 - trust
    return _score_interval(area, lambda theta: factor * assumed(theta), _t(confidence, _freedom(parts, above, below)))


def hanley_variance(area: float, positives: int, negatives: int) -> float:
    """The variance of an area under the ROC curve where scores are exponential (Hanley and McNeil, 1982)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    excess = (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    return (area * (1 - area) + excess) / (positives * negatives)


def pr_auc_interval(rows: Answered, confidence: float, rng: np.random.Generator) -> Interval | None:
    """Where the average precision lies: that of a share of the positives, with the variance of a bootstrap."""
    positives = int(rows.labels.sum())
    value = float(weighted.pr_auc(np.ones((1, len(rows))), rows.labels, rows.scores)[0])
    if positives < 2 or not np.isfinite(value):
        return None
    draws = np.concatenate(
        [weighted.pr_auc(block, rows.labels, rows.scores) for block in _blocks(len(rows), DRAWS_OF_VARIANCE, rng)]
    )
    variance, assumed = float(np.nanvar(draws)), max(value * (1 - value), 0.5 / positives**2) / positives
    trust = positives / (positives + EQUAL_TRUST)
    factor = trust * variance / assumed + 1 - trust
    return _score_interval(value, lambda theta: factor * theta * (1 - theta) / positives, _t(confidence, positives - 1))


def calibration_interval(rows: Answered, drawn_gaps: Floats, confidence: float, rng: np.random.Generator) -> Interval:
    """Where the expected calibration error lies.

    Chance makes gaps too, so the measured error lies above the truth, most where there is none. It may be 0 unless
    scores that are right would seldom show as much. Else the draws start from gaps without those that chance explains
    (1.5 standard deviations), and say how far the measured error may lie above the truth.
    """
    high_tail = _tails(confidence)[1]
    gaps = weighted.in_bins(rows.scores - rows.labels, rows.scores).mean(axis=0)
    value, around = float(np.abs(gaps).sum()), drawn_gaps - gaps
    drawn = np.abs(drawn_gaps).sum(axis=1)
    high = value + float(np.quantile(drawn, high_tail) - np.median(drawn))
    low = 0.0
    if value > float(np.quantile(_gaps_by_chance(rows.scores, rng), high_tail)):
        firm = np.where(np.abs(gaps) > BY_CHANCE * around.std(axis=0), gaps, 0.0)
        above = np.quantile(np.abs(firm + around).sum(axis=1), high_tail) - np.abs(firm).sum()
        low = value - max(float(above), 0.0)
    return _within(Interval(low=low, high=high), 0, 1)


def _gaps_by_chance(scores: Floats, rng: np.random.Generator) -> Floats:
    """Calibration errors that would be measured if each score were right."""
    counts = weighted.in_bins(np.ones(len(scores)), scores).sum(axis=0).astype(np.int64)
    promised = weighted.in_bins(scores, scores).sum(axis=0)
    shares = np.divide(promised, counts, out=np.zeros(weighted.BINS), where=counts > 0)
    seen = rng.binomial(counts, np.clip(shares, 0, 1), (DRAWS, weighted.BINS))
    return np.asarray(np.abs(seen - promised).sum(axis=1) / len(scores))


def cost_interval(rows: Answered, costs: CostMatrix, confidence: float, rng: np.random.Generator) -> Interval | None:
    """Where the mean cost lies: 4 kinds of answers with a prior that weighs as much as one row."""
    if not len(rows):
        return None
    kinds = np.bincount((2 * rows.labels + rows.predictions).astype(np.int64), minlength=4)
    prices = np.array([costs.true_negative, costs.false_positive, costs.false_negative, costs.true_positive])
    low, high = np.quantile(rng.dirichlet(kinds + 0.25, 20 * DRAWS) @ prices, _tails(confidence))
    return Interval(low=float(low), high=float(high))


def drawn_means(columns: Floats, rng: np.random.Generator) -> Floats:
    """Means of the columns (rows x columns) on draws of the rows (draws x columns)."""
    rows = len(columns)
    return np.concatenate([block @ columns for block in _blocks(rows, DRAWS, rng)]) / rows


def studentised(losses: Floats, means: Floats, squares: Floats, confidence: float) -> Interval:
    """Where the mean loss lies, by its means and mean squares about the measured mean on draws.

    Losses of two values only are a share: a draw in which one of them is missing has no variance to divide by.
    """
    values = np.unique(losses)
    if len(values) < 3:
        share = share_interval(int((losses == values[-1]).sum()), len(losses), confidence) if len(values) > 1 else None
        low, high = (share.low, share.high) if share else (0.0, 0.0)
        return Interval(low=_between(values, low), high=_between(values, high))
    centre, error = float(losses.mean()), float(losses.std(ddof=1)) / len(losses) ** 0.5
    spread = np.sqrt(np.maximum(squares - (means - centre) ** 2, 0) / (len(losses) - 1))
    steady = spread > 1e-9 * error
    if steady.sum() < DRAWS / 2:
        reach = _t(confidence, len(losses) - 1) * error
        return Interval(low=centre - reach, high=centre + reach)
    low, high = np.quantile((means[steady] - centre) / spread[steady], _tails(confidence))
    return Interval(low=centre - float(high) * error, high=centre - float(low) * error)


def _squares(losses: Floats) -> Floats:
    return np.asarray((losses - losses.mean(axis=0)) ** 2)


def _between(values: Floats, share: float) -> float:
    return float(values[0] + share * (values[-1] - values[0]))


def _placements(labels: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Of each positive the share of negatives below it, and of each negative that of positives above it; ties half."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    if not len(positive) or not len(negative):
        return np.empty(0), np.empty(0)
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    above = (ranks[: len(positive)] - stats.rankdata(positive)) / len(negative)
    below = 1 - (ranks[len(positive) :] - stats.rankdata(negative)) / len(positive)
    return above, below


def _freedom(parts: tuple[float, float], above: Floats, below: Floats) -> float:
    """Degrees of freedom of a sum of two variances (Satterthwaite)."""
    whole = sum(parts) ** 2
    if not whole:
        return float(min(len(above), len(below)) - 1)
    return float(whole / (parts[0] ** 2 / (len(above) - 1) + parts[1] ** 2 / (len(below) - 1)))


def _score_interval(value: float, variance: Callable[[float], float], reach: float) -> Interval:
    """All values between 0 and 1 from which the measured one is no further than so many of their own deviations."""

    def beyond(theta: float) -> float:
        return (theta - value) ** 2 - reach**2 * variance(theta)

    inside = min(max(value, _NEXT_TO), 1 - _NEXT_TO)
    low = 0.0 if value <= _NEXT_TO else float(brentq(beyond, 0.0, inside))
    high = 1.0 if value >= 1 - _NEXT_TO else float(brentq(beyond, inside, 1.0))
    return Interval(low=low, high=high)


def weighted_intervals(
    values: Mapping[str, float], draws: Mapping[str, Floats], weights: Floats, confidence: float
) -> Mapping[str, Interval]:
    """The intervals of metrics over weighted rows, by their values on draws of the rows and weights.

    What lies between 0 and 1 is taken as a share that is known as well as from so many rows that it varies as much.
    """
    found: dict[str, Interval] = {}
    reach = float(stats.norm.ppf(_tails(confidence)[1]))
    for name, value in values.items():
        told = draws[name][np.isfinite(draws[name])]
        if name == "calibration_error" or len(told) < len(draws[name]) / 2:
            continue
        variance = float(told.var())
        if name == "cost":
            found[name] = Interval(low=value - reach * variance**0.5, high=value + reach * variance**0.5)
        elif name == "log_loss":
            factor = float(np.exp(reach * variance**0.5 / max(value, _NEXT_TO)))
            found[name] = Interval(low=value / factor, high=value * factor)
        else:
            rows = value * (1 - value) / variance if variance > _NEXT_TO**2 else weights.sum() ** 2 / (weights**2).sum()
            found[name] = _share_of(value, float(rows), reach)
    return found


def _share_of(value: float, rows: float, reach: float) -> Interval:
    """Wilson's interval of a share that is known as well as from so many rows, be they no whole number."""
    return _score_interval(value, lambda theta: theta * (1 - theta) / rows, reach)


def _blocks(rows: int, draws: int, rng: np.random.Generator) -> Iterator[Floats]:
    block = max(1, CELLS // rows)
    for start in range(0, draws, block):
        yield weighted.drawn(rows, min(block, draws - start), rng)


def _tails(confidence: float) -> tuple[float, float]:
    return (1 - confidence) / 2, (1 + confidence) / 2


def _t(confidence: float, freedom: float) -> float:
    return float(stats.t.ppf(_tails(confidence)[1], max(freedom, 1.0)))


def _within(interval: Interval, low: float, high: float) -> Interval:
    return Interval(low=float(np.clip(interval.low, low, high)), high=float(np.clip(interval.high, low, high)))
