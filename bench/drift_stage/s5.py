"""S5, the closed loop: what retraining costs and brings under each policy, beside what hindsight could have done.

Windows are judged, rules decide, shadows and guards compare: all by the product's own code (`s5_loop`), with one
configuration for all streams. The rivals promote whatever they have trained, as they are used; what the rules of the
product have trained goes through a shadow that it has to win, and a watch. A retraining is a model that was made, also
one that was refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.metrics import log_loss, roc_auc_score

from bench.drift_stage.planner import every_plan, plan, plans, total_by_retrainopt
from bench.drift_stage.s5_loop import DAY, FIRST, Course, Monitors, Rollout, Way, follow
from bench.drift_stage.s5_models import Models
from bench.drift_stage.s5_policies import EvidentlyDrift, by_rule, every, never, on_accuracy_drop
from bench.drift_stage.s5_sets import KINDS, SEEDS, Stream, flights, made, noaa
from bench.form import Claim
from observability.monitors.settings import MonitorSettings
from pipeline.contract.promotionspec import Better, Guards, Shadow
from pipeline.contract.rulespec import DriftRule, WorthRule

#: how a challenger of the product's rules comes into production: unseen until it is shown to be better, then watched
ROLLOUT: Final = Rollout(
    shadow=Shadow(rows=500, at_least=2 * DAY, better=Better(metric="error", confidence=0.8, max_labels=4_000)),
    guards=Guards(metric="error", confidence=0.95),
    watched=8,
)
#: family-wise level of a window's drift verdict
LEVEL: Final = 0.05
WORTH: Final = WorthRule(name="worth", kind="worth", monitor="batches")
DRIFT: Final = DriftRule(name="drift", kind="drift", monitor="batches", drifted_share=0.5)
#: the product's shipped policy: what the claims are about
OURS: Final = "worth"
#: of the block bootstrap of differences by batch
DRAWS: Final = 10_000
BLOCK: Final = 4
SEED: Final = 5
#: retrainings that the bar allows on NOAA
ALLOWED: Final = 3
#: the short form sees so many batches of the flights
SHORT: Final = 16
#: the prices of a retraining, in mean errors of a batch, at which the planner is checked against retrainopt
PRICES: Final = (0.0, 0.005, 0.02)

GAP: Final = "NOAA: of the gap between never retraining and the best plan with as many retrainings, so much is closed"
SPENT: Final = "NOAA: retrainings"
HARM: Final = "the 95 % interval of the policy against never retraining reaches up to, on the worst set and metric"

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """A policy on a stream."""

    policy: str
    retrainings: int
    promotions: int
    taken_back: int
    #: by metric (more is better), the value of each batch
    quality: Mapping[str, Values]
    #: mean accuracy of the best plan with as many retrainings
    best: float | None

    @property
    def accuracy(self) -> float:
        return float(self.quality["accuracy"].mean())


def run_all(models: Models, ways: Mapping[str, Way], *, planned: bool, judged: bool) -> list[Row]:
    """Every policy on the stream, side by side; the first is never to retrain."""
    monitors = Monitors(models, MonitorSettings(), LEVEL, judged=judged)
    matrix = accuracies(models) if planned else None
    rows = []
    for name, way in ways.items():
        course = follow(models, monitors, way)
        best = None if matrix is None else plan(matrix, FIRST, course.fits).quality
        rows.append(Row(name, course.fits, course.promotions, course.taken_back, _quality(course), best))
    if matrix is not None:
        _check(matrix)
    return rows


def accuracies(models: Models) -> Values:
    """The accuracy of every model on every later batch."""
    batches = models.stream.batches
    found = np.zeros((batches, batches))
    for model in range(FIRST, batches - 1):
        for batch in range(model + 1, batches):
            found[model, batch] = models.accuracy(model, batch)
    return found


def _check(matrix: Values) -> None:
    """The planner finds what retrainopt's exact one finds."""
    served = matrix.shape[1] - FIRST - 1
    ours = plans(matrix, FIRST, served)
    for price in PRICES:
        theirs = total_by_retrainopt(matrix, FIRST, price)
        if isinstance(theirs, float):
            least = min(served * (1 - each.quality) + price * number for number, each in enumerate(ours))
            assert abs(theirs - least) < 1e-9, f"at {price} a retraining: {least}, retrainopt has {theirs}"


def _quality(course: Course) -> dict[str, Values]:
    served = list(enumerate(course.served, start=FIRST + 1))
    models = course.models
    said = [(models.labels(batch), models.scores(model, batch)) for batch, model in served]
    return {
        "accuracy": np.array([models.accuracy(model, batch) for batch, model in served]),
        "auc": np.array([roc_auc_score(labels, scores) for labels, scores in said]),
        "log_loss": np.array([-log_loss(labels, scores, labels=[0, 1]) for labels, scores in said]),
    }


def interval(differences: Values) -> tuple[float, float]:
    """The 95 % interval of the mean, by drawing blocks of batches that follow each other."""
    rng = np.random.default_rng(SEED)
    count = len(differences)
    starts = rng.integers(0, count, (DRAWS, -(-count // BLOCK)))
    drawn = (starts[:, :, None] + np.arange(BLOCK)).reshape(DRAWS, -1)[:, :count] % count
    low, high = np.quantile(differences[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _table(title: str, rows: Sequence[Row], metrics: Sequence[str]) -> None:
    still = rows[0].quality
    sys.stdout.write(f"\n  {title}: retrainings / promoted / taken back, mean, difference to never [95 %], regret\n")
    for row in rows:
        parts = [f"  {row.policy:<24} {row.retrainings:>3} /{row.promotions:>3} /{row.taken_back:>2} "]
        for metric in metrics:
            off = row.quality[metric] - still[metric]
            low, high = interval(off)
            parts.append(f" {metric} {row.quality[metric].mean():.4f} {off.mean():+.4f} [{low:+.4f}, {high:+.4f}]")
        regret = "" if row.best is None else f" regret {row.best - row.accuracy:.4f}"
        sys.stdout.write("".join(parts) + regret + "\n")


def harm(rows: Sequence[Row], metrics: Sequence[str]) -> float:
    """The upper end of the worst interval of the product's policy against never retraining."""
    ours = next(row for row in rows if row.policy == OURS)
    return min(interval(ours.quality[metric] - rows[0].quality[metric])[1] for metric in metrics)


def _ways(models: Models) -> dict[str, Way]:
    """Every policy on a real stream."""
    evidently = EvidentlyDrift(models)
    return {
        **_plain(),
        "Evidently, data set": Way(evidently.of_the_set),
        "Evidently, any column": Way(evidently.of_any_column),
        "drift rule, gated": Way(by_rule(DRIFT), ROLLOUT, looks=True),
    }


def _plain() -> dict[str, Way]:
    """Those that need no more than the errors."""
    return {
        "never": Way(never),
        "every 4": Way(every(4)),
        "every batch": Way(every(1)),
        "every 8, gated": Way(every(8), ROLLOUT, looks=True),
        "accuracy drop": Way(on_accuracy_drop, looks=True),
        "accuracy drop, gated": Way(on_accuracy_drop, ROLLOUT, looks=True),
        OURS: Way(by_rule(WORTH), ROLLOUT, looks=True),
    }


def _real(
    load: Callable[[], Stream | str], name: str, metrics: Sequence[str], *, planned: bool, most: int | None
) -> tuple[dict[str, float], list[Row]] | str:
    stream = load()
    if isinstance(stream, str):
        return stream
    if most is not None:
        stream = stream.first(most)
    models = Models(stream)
    rows = run_all(models, _ways(models), planned=planned, judged=True)
    _table(f"{name}, {stream.batches} batches of {stream.rows:,}", rows, metrics)
    ours = next(row for row in rows if row.policy == OURS)
    figures = {f"s5_{name}_accuracy": ours.accuracy, f"s5_{name}_retrainings": float(ours.retrainings)}
    if planned and ours.best is not None:
        gap = ours.best - rows[0].accuracy
        figures[f"s5_{name}_regret"] = ours.best - ours.accuracy
        figures[f"s5_{name}_gap_closed"] = (ours.accuracy - rows[0].accuracy) / gap if gap > 0 else 0.0
        figures |= _by_chance(name, accuracies(models), rows[0].accuracy)
    return figures, rows


def _by_chance(name: str, matrix: Values, never: float) -> dict[str, float]:
    """What plans close of the gap that retrain ALLOWED times at any batches: how far the bar is beyond luck."""
    best = plan(matrix, FIRST, ALLOWED).quality
    closed = (every_plan(matrix, FIRST, ALLOWED) - never) / (best - never)
    return {
        f"s5_{name}_any_plan_closes": float(closed.mean()),
        f"s5_{name}_any_plan_closes_sd": float(closed.std()),
        f"s5_{name}_plans_closing_half": float(np.mean(closed >= 0.5)),
    }


def _made(full: bool) -> None:
    """The policies on made streams; no claim is about them: the policy was developed on others of their kind."""
    for kind in KINDS if full else ("abrupt", "storm"):
        for seed in SEEDS if full else SEEDS[:1]:
            models = Models(made(kind, seed))
            rows = run_all(models, _plain(), planned=full, judged=False)
            _table(f"made: {kind} {seed}", rows, ["accuracy"])


def run(full: bool) -> tuple[dict[str, float], list[Claim]]:
    """The real streams and the made ones. The short form sees fewer of the flights' batches, without the planner."""
    figures: dict[str, float] = {}
    claims: list[Claim] = []
    harms: list[float] = []
    absent: list[str] = []
    on_noaa = _real(noaa, "noaa", ["accuracy"], planned=True, most=None)
    if isinstance(on_noaa, str):
        absent.append(on_noaa)
        claims += [Claim.unmeasured(GAP, ">=", 0.5, on_noaa), Claim.unmeasured(SPENT, "<=", ALLOWED, on_noaa)]
    else:
        figures |= on_noaa[0]
        harms.append(harm(on_noaa[1], ["accuracy"]))
        claims += [
            Claim.of(GAP, figures["s5_noaa_gap_closed"], ">=", 0.5),
            Claim.of(SPENT, figures["s5_noaa_retrainings"], "<=", ALLOWED),
        ]
    metrics = ["accuracy", "auc", "log_loss"]
    on_flights = _real(flights, "flights", metrics, planned=full, most=None if full else SHORT)
    if isinstance(on_flights, str):
        absent.append(on_flights)
    else:
        figures |= on_flights[0]
        harms.append(harm(on_flights[1], metrics))
    if harms:
        figures["s5_worst_harm_high"] = min(harms)
    if absent:
        claims.append(Claim.unmeasured(HARM, ">=", -0.001, "; ".join(absent)))
    else:
        claims.append(Claim.of(HARM, figures["s5_worst_harm_high"], ">=", -0.001))
    _made(full)
    return figures, claims
