"""A model's past, read for a replay: which windows, versions and runs there were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final

from controlplane.lifecycle import ON_ITS_WAY
from controlplane.loop.evidence import window_facts
from controlplane.loop.lives import lives_of
from controlplane.loop.triggers import AGAIN
from controlplane.rules.facts import MANUAL, WEBHOOK
from controlplane.rules.pastruns import PastRun
from controlplane.rules.pastwindows import PastWindow
from controlplane.rules.trying import History, Part
from controlplane.rules.worth import Life
from controlplane.store import Store
from controlplane.store.questions import GATES_KEPT, LOSS_PARTS, LOSSES_KEPT
from controlplane.tables import DecisionRecord, Firing, GateRecord, Json, ScoredWindow, TrainingRun, Version
from pipeline.contract.rulespec import Rule, ScheduleRule, VolumeRule, WorthRule
from pipeline.contract.spec import ModelSpec

#: nothing that is stored is older
EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)
#: of versions and firings, the newest are read
MOST: Final = 10_000
Runs = Sequence[tuple[TrainingRun, Firing]]
#: makes another verdict of a stored one
Rejudge = Callable[[ScoredWindow], Json]


@dataclass(frozen=True)
class Span:
    """What is replayed: these rules, between these instants."""

    rules: Sequence[Rule]
    since: datetime
    until: datetime
    #: rules that were not there before, or not as they are now
    new: Set[str] = frozenset()


def read_history(store: Store, spec: ModelSpec, span: Span, runs: Runs, rejudge: Rejudge | None = None) -> History:
    """The past that these rules look at; `runs` are those of a month before the span and of the span."""
    promotions = store.promotions(spec.model)
    versions = store.versions(spec.model, MOST)
    weighed = any(isinstance(rule, WorthRule) for rule in span.rules)
    numbers = {each.number for each in versions} if weighed else _served(promotions, span.since)
    rows = {part: _rows(store, spec.model, sorted(numbers), part, rejudge) for part in _parts(spec, span.rules)}
    past = {run.key: _past_run(run, versions) for run, _ in runs}
    own = {rule.name for rule in span.rules}
    mine = {run.key for run, firing in runs if firing.rule in own and is_of_rule(firing) and run.asked_at >= span.since}
    ended = [run.ended_at - run.asked_at for run, _ in runs if run.ended_at is not None]
    took = [run.cpu_seconds for run, _ in runs if run.ended_at is not None and run.cpu_seconds is not None]
    return History(
        promotions=promotions,
        windows={part: [_past(row) for row in found] for part, found in rows.items()},
        runs=[run for key, run in past.items() if key not in mine],
        budget=spec.budget,
        run_length=max(sum(ended, timedelta(0)) / len(ended), timedelta(0)) if ended else timedelta(0),
        run_cpu_hours=sum(took) / len(took) / 3600 if took else 0.0,
        known_runs={_key(firing): past[run.key] for run, firing in runs if run.key in mine},
        first_monitor=spec.monitors[0].name if spec.monitors else "",
        trainable=not spec.watched,
        schedule_starts=_schedule_starts(store, spec.model, span),
        fired={_key(each) for each in store.firings(spec.model, MOST) if each.fired_at < span.since},
        lives=_lives(rows, store.gate_verdicts(spec.model).values()) if weighed else _nothing,
    )


def _key(firing: Firing) -> tuple[str, str]:
    return firing.rule, firing.cause


def is_of_rule(firing: Firing | DecisionRecord) -> bool:
    """Whether a rule asked for it; not a person, and not in the place of a run that was overtaken."""
    return firing.rule not in (MANUAL, WEBHOOK) and not firing.cause.endswith(AGAIN)


def _schedule_starts(store: Store, model: str, span: Span) -> Mapping[str, datetime]:
    if not any(isinstance(rule, ScheduleRule) for rule in span.rules):
        return {}
    with store.looking(model, span.until) as look:
        return look.schedule_starts()


def _served(promotions: Sequence[tuple[datetime, int]], since: datetime) -> set[int]:
    """The versions that were in production at an instant or later."""
    before = [number for at, number in promotions if at <= since][-1:]
    return {*before, *(number for at, number in promotions if at > since)}


def _parts(spec: ModelSpec, rules: Iterable[Rule]) -> set[Part]:
    """The whole windows of every monitor, for the newest of them tells of broken data; and the segments of rules."""
    looked = {(rule.monitor, rule.segment or "") for rule in rules if not isinstance(rule, ScheduleRule | VolumeRule)}
    return {(monitor.name, "") for monitor in spec.monitors} | looked


def _rows(store: Store, model: str, versions: Iterable[int], part: Part, rejudge: Rejudge | None) -> list[ScoredWindow]:
    rows = [row for version in versions for row in store.windows_of(model, version, *part, EARLIEST)]
    if rejudge is not None:
        for row in rows:
            row.verdict = rejudge(row)  # the row is apart from the database
    return rows


def _past(window: ScoredWindow) -> PastWindow:
    place = (window.until_time, window.until_id)
    return PastWindow(window.version, place, window_facts(window), window.cut_at, window.error_at, window.spec_digest)


def _past_run(run: TrainingRun, versions: Iterable[Version]) -> PastRun:
    made = next((each for each in versions if each.run_key == run.key), None)
    return PastRun(run.asked_at, run.ended_at, (run.cpu_seconds or 0) / 3600, _free_at(made) if made else None)


def _free_at(version: Version) -> datetime:
    """When it was on its way no more: in production for the first time, or at its end."""
    if version.first_promoted_at is not None:
        return version.first_promoted_at
    return _LATEST if version.state in ON_ITS_WAY else version.state_at


def _nothing(_part: Part, _at: datetime) -> tuple[Life, ...]:
    return ()


def _lives(
    rows: Mapping[Part, Sequence[ScoredWindow]], gates: Iterable[GateRecord]
) -> Callable[[Part, datetime], tuple[Life, ...]]:
    """What is read at a tick of what the versions lost, as it was at an instant."""
    judged = sorted(gates, key=lambda gate: gate.decided_at)
    ordered = {part: sorted(found, key=lambda row: (row.until_time, row.until_id)) for part, found in rows.items()}

    def at_instant(part: Part, at: datetime) -> tuple[Life, ...]:
        known = [row for row in ordered.get(part, ()) if row.cut_at <= at][-LOSSES_KEPT:]
        return lives_of(
            [_loss(row, at) for row in known], [each for each in judged if each.decided_at <= at][-GATES_KEPT:]
        )

    return at_instant


def _loss(row: ScoredWindow, at: datetime) -> Any:  # noqa: ANN401 - a row as `lives_of` reads it
    """The window as it was at an instant: before its labels were due it had no errors."""
    told = {name: row.verdict.get(name) for name in LOSS_PARTS}
    if row.error_at is None or row.error_at > at:
        told |= {"error": None, "error_intervals": None, "error_reference": None}
    return SimpleNamespace(
        id=row.id, version=row.version, rows=row.rows, labelled=row.labelled, cut_at=row.cut_at, **told
    )
