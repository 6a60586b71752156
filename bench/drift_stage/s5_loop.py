"""The closed loop over a stream: windows judged, rules asked, challengers made, shadowed, promoted and taken back.

Each part is the product's: `observability.monitors.judging.judge` says what a window holds, `controlplane.rules`
decides, the proof that a shadow asks for and the guards of a rollout are those of `controlplane.promotion`. Only time
and the store are played.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Final, TypeAlias

import numpy as np
import pandas as pd

from bench.drift_stage.s5_models import BATCHES, Models
from controlplane.loop.comparing import RESAMPLES, SAMPLE
from controlplane.loop.evidence import window_facts
from controlplane.loop.scoring import stored
from controlplane.promotion.gate import GateRows, improvement
from controlplane.promotion.proof import Proof, measure, prove
from controlplane.promotion.rollout import tripped
from controlplane.rules.facts import WindowFacts
from controlplane.rules.worth import Life, Trial, WindowLoss
from observability.monitors.case import PAST, Case, PastVerdict
from observability.monitors.judging import judge
from observability.monitors.settings import MonitorSettings
from observability.monitors.verdicts import WindowVerdict
from observability.ports import Sample
from pipeline.contract.promotionspec import Guards, Shadow

#: the model that every policy begins with
FIRST: Final = BATCHES - 1
BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)
#: a batch is a day
DAY: Final = timedelta(days=1)


#: after a batch: whether to train now
Policy: TypeAlias = "Callable[[Course, int], bool]"


@dataclass(frozen=True)
class Rollout:
    """How a challenger comes into production: one configuration for all streams."""

    #: how long it scores unseen, and what it has to show there
    shadow: Shadow
    guards: Guards
    #: batches after the promotion in which the version that was replaced scores beside it
    watched: int


@dataclass(frozen=True)
class Way:
    """A policy, and how what it has trained comes into production: without a rollout it serves from the next batch."""

    policy: Policy
    rollout: Rollout | None = None
    #: whether the policy looks at what monitors say; where not, nothing is judged
    looks: bool = False


@dataclass
class Course:
    """What has happened so far under a policy."""

    models: Models
    monitors: Monitors
    looks: bool
    serving: int = FIRST
    #: the model that served each batch, from FIRST + 1 on
    served: list[int] = field(default_factory=list)
    fits: int = 0
    promotions: int = 0
    taken_back: int = 0
    #: when the model in production went there
    since: int = FIRST
    lives: list[Life] = field(default_factory=list)
    challenger: int | None = None
    #: of the version that is watched: the one before, its life, and the batch after which it was replaced
    watching: tuple[int, Life, int] | None = None

    @property
    def quality(self) -> list[float]:
        return [self.models.accuracy(model, FIRST + 1 + n) for n, model in enumerate(self.served)]


class Monitors:
    """What the monitor says of each window under each version, judged once with those before it.

    On the made streams only the errors are counted (`judged` is off): the rest of a verdict would take minutes.
    """

    def __init__(self, models: Models, settings: MonitorSettings, level: float, *, judged: bool = True) -> None:
        self._models, self._settings, self._level, self._all = models, settings, level, judged
        self._judged: dict[tuple[int, int, int], WindowVerdict] = {}
        self._references = {}

    def verdict(self, model: int, since: int, batch: int) -> WindowVerdict:
        """Of a batch, by a model that is in production since the one before."""
        if (model, since, batch) not in self._judged:
            self._judged[(model, since, batch)] = judge(self._case(model, since, batch))
        return self._judged[(model, since, batch)]

    def facts(self, model: int, since: int, batch: int) -> WindowFacts:
        """As the rules are told."""
        if not self._all:
            loss = counted(self._models, model, batch)
            error = {} if loss.loss is None else {"error": loss.loss}
            return WindowFacts(str(batch), loss.rows, loss.labelled, None, error=error, settled=True)
        verdict = self.verdict(model, since, batch)
        window = SimpleNamespace(
            id=str(batch), rows=verdict.rows, labelled=verdict.labelled, error_at=True,
            verdict=stored(verdict, settled=True),
        )  # fmt: skip
        return window_facts(window)

    def loss(self, model: int, since: int, batch: int) -> WindowLoss:
        """As the rule about worth is told: the share of wrong answers with its standard error."""
        if not self._all:
            return counted(self._models, model, batch)
        verdict = self.verdict(model, since, batch)
        error, rows = verdict.errors.metrics.error, verdict.errors.labelled
        if self.broken(model, since, batch) is not None:
            return WindowLoss(str(batch), rows)
        return WindowLoss(str(batch), rows, rows, error, None if error is None else standard_error(error, rows))

    def broken(self, model: int, since: int, batch: int) -> str | None:
        """What looks like a bug in the batch's data: no rule retrains on that."""
        diagnosis = self.verdict(model, since, batch).diagnosis if self._all else None
        return None if diagnosis is None or diagnosis.may_retrain else diagnosis.explanation

    def begin(self, model: int) -> Life:
        """A version's life before its first window."""
        reference = self._reference(model)
        wrong = (reference.scores > 0.5) != (reference.labels > 0.5)
        return Life(model, float(wrong.mean()), standard_error(float(wrong.mean()), len(wrong)))

    def _case(self, model: int, since: int, batch: int) -> Case:
        past = [self._past(model, since, each) for each in range(batch - 1, max(since, batch - 1 - PAST), -1)]
        stream, scores = self._models.stream, self._models.scores(model, batch)
        frame, labels = stream.part(batch, batch)
        known = pd.DataFrame(
            {
                "id": [f"{batch}-{row}" for row in range(len(frame))],
                "event_time": BEGAN + batch * DAY,
                "version": model,
                "score": scores,
                "prediction": (scores > 0.5).astype(float),
                "label": labels.astype(float),
            }
        )
        sample = Sample(pd.concat([known, frame], axis=1), len(frame), len(frame))
        return Case(
            window=f"{stream.name}-{model}-{batch}", sample=sample, reference=self._reference(model),
            signature=stream.signature, settings=self._settings, level=self._level, settled=True, past=tuple(past),
        )  # fmt: skip

    def _past(self, model: int, since: int, batch: int) -> PastVerdict:
        verdict = self.verdict(model, since, batch)
        said = stored(verdict, settled=True)
        return PastVerdict(BEGAN + (batch + 1) * DAY, verdict.rows, verdict.labelled, settled=True, verdict=said)

    def _reference(self, model: int):
        if model not in self._references:
            self._references[model] = self._models.reference(model)
        return self._references[model]


def follow(models: Models, monitors: Monitors, way: Way) -> Course:
    """The whole stream under a policy."""
    course = Course(models, monitors, way.looks, lives=[monitors.begin(FIRST)] if way.looks else [])
    for batch in range(FIRST + 1, models.stream.batches):
        course.served.append(course.serving)
        if way.looks:
            window = monitors.loss(course.serving, course.since, batch)
            course.lives[-1] = replace(course.lives[-1], windows=(*course.lives[-1].windows, window))
        if way.rollout is not None:
            _watch(course, way.rollout, batch)
            _shadow(course, way.rollout, batch)
        if course.challenger is None and batch + 1 < models.stream.batches and way.policy(course, batch):
            course.fits += 1
            if way.rollout is None:
                _promote(course, batch, batch)
            else:
                course.challenger = batch
    return course


def _watch(course: Course, rollout: Rollout, batch: int) -> None:
    """Take the new version back where it is shown to be worse than the one that it replaced."""
    if course.watching is None:
        return
    old, life, replaced = course.watching
    seed = f"{old}-{course.serving}-{batch}"
    if _worse(rollout.guards, _sampled(_rows(course.models, old, course.serving, replaced + 1, batch), seed), seed):
        _take_back(course, old, life, replaced, batch)
    elif batch - replaced >= rollout.watched:
        course.watching = None


def _worse(guards: Guards, rows: GateRows, seed: str) -> bool:
    """Whether the guards end it."""
    assert guards.metric is not None
    found = improvement(guards.metric, rows, guards.confidence, RESAMPLES, seed)
    compared = {"rows": len(rows), "failed": 0, "labelled": len(rows), "improvement": None}
    if found is not None:
        compared["improvement"] = {
            "upper": found.upper, "challenger": found.challenger, "champion": found.other,
            "difference": found.difference,
        }  # fmt: skip
    return tripped(guards, compared) is not None


def _take_back(course: Course, old: int, life: Life, replaced: int, batch: int) -> None:
    """The version that was replaced goes on with its life; of the retraining it is known what it brought."""
    beside = tuple(counted(course.models, old, each) for each in range(replaced + 1, batch + 1))
    windows = (*life.windows, *beside)
    gain = _gain(course.models, old, course.serving, replaced + 1, batch, len(windows))
    course.lives = [*course.lives[:-2], replace(life, windows=windows, trials=(*life.trials, gain))]
    course.serving, course.since, course.watching, course.challenger = old, batch, None, None
    course.taken_back += 1


def counted(models: Models, model: int, batch: int) -> WindowLoss:
    """The errors of a batch, without a monitor: of a version that scores beside another no more is known."""
    error, rows = float(models.wrong(model, batch).mean()), models.stream.rows
    return WindowLoss(str(batch), rows, rows, error, standard_error(error, rows))


def _shadow(course: Course, rollout: Rollout, batch: int) -> None:
    """Ask whether a challenger is better by now: undecided, it goes on in shadow."""
    made = course.challenger
    if made is None:
        return
    rows, seed = _rows(course.models, course.serving, made, made + 1, batch), f"{course.models.stream.name}-{made}"
    better = rollout.shadow.better
    seen = _sampled(rows, seed, SAMPLE if better is None else max(SAMPLE, better.max_labels))
    worse = _worse(rollout.guards, seen, f"{seed}-{batch}")
    proof = Proof.NOT_BETTER if worse else _proven(rollout.shadow, len(rows), seen, (batch - made) * DAY, seed)
    if proof is Proof.UNDECIDED:
        return
    life = course.lives[-1]
    gain = _gain(course.models, course.serving, made, made + 1, batch, len(life.windows))
    course.lives[-1] = replace(life, trials=(*life.trials, gain))
    course.challenger = None
    if proof is Proof.BETTER:
        course.watching = (course.serving, course.lives[-1], batch) if rollout.watched else None
        _promote(course, made, batch)


def _proven(shadow: Shadow, rows: int, seen: GateRows, so_far: timedelta, seed: str) -> Proof:
    if shadow.better is None or rows < shadow.rows or so_far < shadow.at_least:
        return Proof.UNDECIDED
    return prove(shadow.better, rows, measure(shadow.better, seen, seed)).proof


def _promote(course: Course, model: int, batch: int) -> None:
    course.serving, course.since = model, batch
    course.promotions += 1
    if course.looks:
        course.lives.append(course.monitors.begin(model))


def _rows(models: Models, champion: int, challenger: int, first: int, last: int) -> GateRows:
    batches = range(first, last + 1)
    return GateRows(
        labels=np.concatenate([models.labels(each) for each in batches]).astype(float),
        challenger=np.concatenate([models.scores(challenger, each) for each in batches]),
        champion=np.concatenate([models.scores(champion, each) for each in batches]),
    )


def _sampled(rows: GateRows, seed: str, most: int = SAMPLE) -> GateRows:
    """So many of them as the product looks at."""
    if len(rows) <= most:
        return rows
    drawn = np.random.default_rng([ord(letter) for letter in seed]).permutation(len(rows)) < most
    return rows.where(drawn)


def _gain(models: Models, old: int, new: int, first: int, last: int, after: int) -> Trial:
    """How many answers fewer the new model had wrong, with the standard error of the paired difference."""
    less = np.concatenate(
        [models.wrong(old, each).astype(float) - models.wrong(new, each) for each in range(first, last + 1)]
    )
    return Trial(after, float(less.mean()), max(float(less.std()), 1e-3) / len(less) ** 0.5)


def standard_error(error: float, rows: int) -> float:
    """Of a share of wrong answers; not nothing where none or all are wrong (Agresti and Coull)."""
    share = (error * rows + 2) / (rows + 4)
    return float(np.sqrt(share * (1 - share) / (rows + 4)))
