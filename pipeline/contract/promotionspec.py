"""What a user may say of how a version comes into production: the gate, and the way behind it."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, FiniteFloat, model_validator

from bundle.signature import ColumnName, Frozen
from observability.durations import Duration
from pipeline.contract.rulespec import GateMetric


class NoWorse(Frozen):
    """A metric on which the challenger need not be better, but must not be worse than by a margin."""

    metric: GateMetric
    #: the lower confidence bound of the improvement must be above minus this
    margin: FiniteFloat = Field(ge=0)


class SliceCheck(Frozen):
    """No part of the rows may pay for the rest: no worse than by a margin on each value of a feature."""

    #: a categorical feature
    feature: ColumnName
    #: the gate's own metric where none is given
    metric: GateMetric | None = None
    #: the upper confidence bound of the improvement must not be below minus this: shown to be worse, it fails
    margin: FiniteFloat = Field(default=0.02, ge=0)
    #: values with fewer rows are not judged
    min_rows: int = Field(default=100, ge=20)
    #: so many of the most frequent values are judged
    top: int = Field(default=10, ge=1, le=100)


class Gate(Frozen):
    """What a challenger must show before it replaces the champion, on labelled rows that neither has learned from."""

    #: what is compared
    metric: GateMetric = "roc_auc"
    #: the lower confidence bound of the improvement must be above this
    margin: FiniteFloat = 0.0
    #: of the lower bound, one-sided
    confidence: FiniteFloat = Field(default=0.95, gt=0.5, lt=1)
    #: fewer held-out rows than this prove nothing
    min_rows: int = Field(default=100, ge=20)
    #: draws of the bootstrap
    resamples: int = Field(default=1_000, ge=100, le=20_000)
    #: metrics on which it must not be worse
    no_worse: tuple[NoWorse, ...] = ()
    #: parts of the rows on which it must not be worse
    slices: tuple[SliceCheck, ...] = ()
    #: expected calibration error on the held-out rows, at most
    max_calibration_error: FiniteFloat | None = Field(default=None, gt=0, le=1)
    #: milliseconds in which 99 of 100 single rows are scored, on the machine that made the version, at most
    max_row_ms: FiniteFloat | None = Field(default=None, gt=0)
    #: of all its files, at most
    max_bytes: int | None = Field(default=None, gt=0)
    #: a person has to approve it too
    approval: bool = False


class Better(Frozen):
    """What a challenger must show in shadow before it answers anybody; it stays there until that is decided."""

    #: best the one in whose unit a retraining is weighed
    metric: GateMetric = "error"
    #: the probability that it is better than the champion must be at least this
    confidence: FiniteFloat = Field(default=0.8, gt=0.5, lt=1)
    #: fewer labelled rows show nothing
    min_labels: int = Field(default=200, ge=20)
    #: undecided on so many labelled rows, it goes
    max_labels: int = Field(default=4_000, ge=20, le=20_000)

    @model_validator(mode="after")
    def _in_order(self) -> Better:
        if self.max_labels < self.min_labels:
            raise ValueError("better: max_labels must be at least min_labels")
        return self


class Shadow(Frozen):
    """The challenger scores what the champion answers; nobody sees it."""

    #: answers that both have scored before the next step
    rows: int = Field(default=500, ge=1)
    #: no sooner than this
    at_least: Duration = timedelta(0)
    #: and not before this is shown on the labelled ones; where not said, nothing has to be shown
    better: Better | None = None


class Canary(Frozen):
    """The challenger answers a share of the requests."""

    share: FiniteFloat = Field(gt=0, lt=1)
    #: answers that both have scored before the next step
    rows: int = Field(default=500, ge=1)
    #: no sooner than this
    at_least: Duration = timedelta(0)


class Guards(Frozen):
    """What ends a rollout, or takes a version out of production again while it is watched."""

    #: share of the rows that the challenger could not score, at most; judged from 20 rows on
    error_share: FiniteFloat = Field(default=0.01, ge=0, le=1)
    #: 99th percentile of its milliseconds for a request, as a multiple of the champion's, at most
    latency_ratio: FiniteFloat | None = Field(default=None, gt=0)
    #: shown to be worse than the champion on this metric, it goes; None looks at no metric
    metric: GateMetric | None = None
    #: by more than this
    margin: FiniteFloat = Field(default=0.0, ge=0)
    #: of the bound, one-sided
    confidence: FiniteFloat = Field(default=0.99, gt=0.5, lt=1)
    #: fewer labelled rows show nothing
    min_labels: int = Field(default=200, ge=20)


class RolloutPlan(Frozen):
    """How a version that passed the gate comes into production. Without steps it does as soon as all have loaded it."""

    shadow: Shadow | None = None
    #: in order
    canary: tuple[Canary, ...] = ()
    guards: Guards = Guards()
    #: so long after the promotion the version that it replaced still scores beside it, and may come back by itself
    watch: Duration = timedelta(0)
    #: a version that is not in production so long after it passed the gate is rejected
    deadline: Duration = timedelta(days=7)

    @model_validator(mode="after")
    def _shares_grow(self) -> RolloutPlan:
        shares = [step.share for step in self.canary]
        if shares != sorted(set(shares)):
            raise ValueError("canary: each step must have a larger share than the one before")
        return self
