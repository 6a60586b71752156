"""Windows, rules and versions as the pages understand them: pure functions from rows to values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from controlplane.promotion.gate import GateReason
from controlplane.promotion.rejection import Rejection
from controlplane.promotion.rollout import StepReason
from controlplane.rules.decide import Reason
from controlplane.tables import DecisionRecord, GateRecord, ScoredWindow, Version
from controlplane.ui import words
from controlplane.ui.charts import Interval
from controlplane.ui.timeline import Level, Reign
from controlplane.ui.verdicts import Verdict, read_verdict
from pipeline.contract.rulespec import HIGHER_IS_BETTER, METRICS_OF, DriftRule, MetricRule
from pipeline.contract.spec import ModelSpec

Tone: TypeAlias = Literal["ok", "warn", "bad", "busy", "idle"]
#: before this an instant is a beginning of all time, not one of the data
EARLIEST: Final = 1971
FAR: Final = 1e9


@dataclass(frozen=True)
class Seen:
    """A window with its verdict read."""

    row: ScoredWindow
    verdict: Verdict

    def metric(self, name: str) -> float | None:
        return self.verdict.error.get(name)

    @property
    def waits_for_labels(self) -> bool:
        return self.row.error_at is None


@dataclass(frozen=True)
class Status:
    """How a model is, in one word and one sentence."""

    tone: Tone
    word: str
    sentence: str


@dataclass(frozen=True)
class Bounds:
    """What a monitor's rules compare with."""

    drifted_share: float | None = None
    metric: str | None = None
    below: float | None = None
    above: float | None = None

    def breached(self, value: float | None) -> bool:
        if value is None:
            return False
        return (self.below is not None and value < self.below) or (self.above is not None and value > self.above)


def seen(rows: Iterable[ScoredWindow]) -> tuple[Seen, ...]:
    """The windows with their verdicts read."""
    return tuple(Seen(row, read_verdict(row.verdict)) for row in rows)


def bounds_of(spec: ModelSpec, monitor: str, segment: str = "") -> Bounds:
    """The bounds of the first drift rule and the first metric rule on a monitor's whole windows, or on a segment's."""
    looking = [
        rule
        for rule in spec.rules
        if isinstance(rule, DriftRule | MetricRule) and (rule.monitor, rule.segment or "") == (monitor, segment)
    ]
    drift = next((rule for rule in looking if isinstance(rule, DriftRule)), None)
    metric = next((rule for rule in looking if isinstance(rule, MetricRule)), None)
    return Bounds(
        drifted_share=drift.drifted_share if drift else None,
        metric=metric.metric if metric else None,
        below=metric.below if metric else None,
        above=metric.above if metric else None,
    )


def watched_metric(spec: ModelSpec, monitor: str, segment: str = "") -> str:
    """The error metric that a monitor's page shows: that of its rule, else that of the gate."""
    usual = spec.gate.metric if spec.task == "binary" else METRICS_OF[spec.task][0]
    return bounds_of(spec, monitor, segment).metric or usual


def better(metric: str, value: float | None, than: float | None) -> bool | None:
    """Whether a value of a metric is better than another; None where one of them is not known."""
    if value is None or than is None:
        return None
    if metric == "bias":
        return abs(value) < abs(than)
    higher: Mapping[str, bool] = {str(name): more for name, more in HIGHER_IS_BETTER.items()}
    return value > than if higher.get(metric, False) else value < than


def levels_of(spec: ModelSpec, monitor: str, segment: str, production: Version | None) -> tuple[Level, ...]:
    """What the error metric is compared with on the timeline."""
    found, metric = bounds_of(spec, monitor, segment), watched_metric(spec, monitor, segment)
    levels: list[Level] = []
    if (below := found.below) is not None:
        levels.append(Level(below, f"fires below {below:g}", "bound"))
    if (above := found.above) is not None:
        levels.append(Level(above, f"fires above {above:g}", "bound"))
    constant = production.constant_metrics.get(metric) if production else None
    if constant is not None:
        levels.append(Level(constant, f"constant {constant:.3g}", "constant"))
    return tuple(levels)


def reigns(versions: Sequence[Version], metric: str) -> tuple[Reign, ...]:
    """Who was in service when: each promotion ends the reign before."""
    begun = {
        (at, version.number): version
        for version in versions
        for at in (version.first_promoted_at, version.promoted_at)
        if at is not None
    }
    order = sorted(begun)
    ends: list[datetime | None] = [at for at, _ in order[1:]]
    return tuple(
        Reign(number, at, until, begun[at, number].metrics.get(metric))
        for (at, number), until in zip(order, [*ends, None], strict=False)
    )


def spans_of(windows: Sequence[Seen]) -> list[tuple[datetime, datetime]]:
    """From when to when each window spans, oldest first.

    The first window of a version by count begins with the beginning of time: it is shown from where the one before
    it ended, or as long as the shortest of the others.
    """
    known = [w.row.until_time - w.row.after_time for w in windows if has_beginning(w.row)]
    usual = min(known, default=timedelta(hours=1))
    spans: list[tuple[datetime, datetime]] = []
    for window in windows:
        end = window.row.until_time
        start = window.row.after_time if has_beginning(window.row) else spans[-1][1] if spans else end - usual
        spans.append((min(start, end), end))
    return spans


def has_beginning(window: ScoredWindow) -> bool:
    """Whether a window begins where another ended, and not with the beginning of time."""
    return window.after_time.year >= EARLIEST


def interval_of(gate: GateRecord | None) -> Interval | None:
    """The improvement that the gate measured; None where it had nothing to measure."""
    if gate is None:
        return None
    numbers = [gate.numbers.get(name) for name in ("difference", "lower", "upper", "margin")]
    values = [float(each) for each in numbers if isinstance(each, int | float) and abs(each) < FAR]
    if len(values) != len(numbers):
        return None
    difference, low, high, margin = values
    return Interval(difference, low, high, margin, gate.passed)


def reason_words(name: str) -> str:
    """A stored reason in words; one that this code does not know as it stands.

    >>> reason_words("WAIT_COOLDOWN"), reason_words("PASS_FIRST"), reason_words("SOMETHING_NEW")
    ('cooling down', 'better than the constant answer, there is no champion', 'something new')
    """
    for reasons in (Reason, GateReason, StepReason, Rejection):
        if name in reasons.__members__:
            return str(reasons[name].value)
    return name.replace("_", " ").lower() if name.isupper() else name


def decision_words(decision: DecisionRecord) -> str:
    """A decision as half a sentence: who decided what, and why."""
    return f"{decision.rule} {outcome_of(decision)}: {reason_words(decision.reason)}"


#: the condition held, and something kept the rule back
HELD_BACK: Final = frozenset(
    {
        "WAIT_ACTIVE_RUN", "WAIT_COOLDOWN", "WAIT_PAUSED", "WAIT_INACTIVE_HOURS", "WAIT_BUDGET", "WAIT_DRY_RUN",
        "WAIT_NOT_TRAINED_HERE",
    }
)  # fmt: skip


def outcome_of(decision: DecisionRecord) -> str:
    """Whether a rule fired, would have if nothing had kept it back, or had no reason to: in words."""
    if decision.outcome == "fire":
        return "fired"
    return "held back" if decision.reason in HELD_BACK else "waits"


@dataclass(frozen=True)
class Turn:
    """A decision, or several in a row in which a rule gave the same reason to wait."""

    newest: DecisionRecord
    since: datetime
    times: int


def turns_of(decisions: Iterable[DecisionRecord]) -> list[Turn]:
    """The decisions, newest first, with a rule's repeated reason to wait as one; what fired stands alone."""
    turns: list[Turn] = []
    #: rule to the place of its latest turn
    open_at: dict[str, int] = {}
    for decision in decisions:
        place = open_at.get(decision.rule)
        last = turns[place].newest if place is not None else None
        if place is not None and last is not None and _repeats(decision, last):
            turns[place] = Turn(last, decision.decided_at, turns[place].times + 1)
        else:
            open_at[decision.rule] = len(turns)
            turns.append(Turn(decision, decision.decided_at, 1))
    return turns


def _repeats(decision: DecisionRecord, last: DecisionRecord) -> bool:
    return decision.outcome == last.outcome == "wait" and decision.reason == last.reason


def drift_words(window: Seen) -> str:
    """How much of a window drifted."""
    if window.verdict.drifted_share is None:
        return window.verdict.reference.reason or "no feature could be compared"
    total, drifted = len(window.verdict.features), len(window.verdict.drifted)
    return f"{drifted} of {total} features drifted"


def status_of(version: Version | None, last: Seen | None, error: float | None, limit: Bounds) -> Status:
    """How a model is: from its version in production and its newest windows."""
    if version is None:
        return Status("idle", "no version", "No version is in production yet.")
    if last is None:
        return Status("idle", "warming up", f"Version {version.number} is in production; no window was cut yet.")
    name = words.metric(limit.metric or "")
    told = last.verdict.diagnosis
    if told is not None and told.cause == "bug":
        return Status("bad", "data broken", told.explanation)
    if limit.breached(error):
        return Status("bad", "degraded", f"The {name} of the newest labelled window is beyond its bound.")
    share = last.verdict.drifted_share
    if share is not None and limit.drifted_share is not None and share >= limit.drifted_share:
        return Status("warn", "drifting", f"In the newest window {drift_words(last)}.")
    if share is None:
        return Status("idle", "cannot tell", f"Of the newest window: {drift_words(last)}.")
    return Status("ok", "steady", f"In the newest window {drift_words(last)}; no bound is crossed.")
