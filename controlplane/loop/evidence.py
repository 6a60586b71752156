"""Gathers what is known of a model into the facts that its rules judge."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row

from controlplane.lifecycle import VersionState
from controlplane.loop.lives import lives_of
from controlplane.rules.budget import Spent
from controlplane.rules.conditions import causes
from controlplane.rules.facts import NO_VERSION, Facts, Held, Rising, WindowFacts, WindowRule
from controlplane.rules.worth import Life
from controlplane.store import Store
from controlplane.store.levels import SPARE, Look, Said, SaidLast, Track, WindowRow, question_of, track_of
from controlplane.store.questions import AT_ONCE
from controlplane.tables import Json, ScoredWindow
from observability.monitors.stored import bug_of
from pipeline.contract.rulespec import Budget, Rule, ScheduleRule, WorthRule

#: what a version that is on its way is going through, in words
DOING: Final[Mapping[VersionState, str]] = {
    VersionState.CANDIDATE: "is being judged by the gate",
    VersionState.AWAITING_APPROVAL: "awaits approval",
    VersionState.STAGING: "is being loaded by serving",
    VersionState.SHADOW: "is in shadow",
    VersionState.CANARY: "is in canary",
}


@dataclass(frozen=True)
class Evidence:
    """The facts, and what a tick needs beside them to store as little as possible."""

    facts: Facts
    #: by rule and cause, what was last decided about what the rules could present
    said: Mapping[tuple[str, str], SaidLast] = field(default_factory=dict)
    #: what the rules about windows were asked, as a digest
    question: str = ""
    #: something happened while the clock was ahead of where it is now
    ahead: bool = False


def gather(
    store: Store, model_id: str, now: datetime, rules: Sequence[Rule] = (), budget: Budget | None = None
) -> Evidence:
    """The model's level at this instant: what these rules judge, and what could keep them from firing."""
    with store.looking(model_id, now) as look:
        evidence = _look(look, rules, budget or Budget())
    if not evidence.ahead:
        return evidence
    store.bring_back(model_id, now)
    with store.looking(model_id, now) as look:
        return _look(look, rules, budget or Budget())


def _look(look: Look, rules: Sequence[Rule], budget: Budget) -> Evidence:
    scheduled = any(isinstance(rule, ScheduleRule) for rule in rules)
    standing = look.standing(scheduled)
    if standing is None:
        return Evidence(Facts(look.now, None, None, {}, None, None, None))
    facts = Facts(
        now=look.now,
        version=standing.number,
        in_service_since=standing.in_service_since if scheduled else None,
        windows={},
        labelled_new=standing.labelled_new,
        busy=busy(standing),
        last_asked_at=standing.last_asked_at if rules else None,
        schedule_starts=look.schedule_starts() if scheduled else {},
        holds={hold.what: Held(hold.by, hold.why, hold.until) for hold in look.holds()} if rules else {},
        broken=broken(standing.diagnosis),
        budget=budget,
        spent=look.spent() if budget != Budget() else Spent(),
    )
    ended = (at for at, _ in facts.spent.ended)
    instants = (
        facts.in_service_since, facts.last_asked_at, standing.promoted_at, *facts.schedule_starts.values(), *ended,
    )  # fmt: skip
    ahead = any(each is not None and each > look.now for each in instants)
    return replace(_with_windows(look, standing, facts, rules), ahead=ahead)


def busy(standing: Row[Any]) -> str | None:
    """What is under way, in words; None where nothing is."""
    if standing.run is not None:
        return f"run {standing.run} is {standing.run_state}"
    if standing.moving is not None:
        return f"version {standing.moving} {DOING[standing.moving_state]}"
    return None


def _with_windows(look: Look, standing: Row[Any], facts: Facts, rules: Sequence[Rule]) -> Evidence:
    """The windows to judge, and what was decided about them and about every other cause that could come up."""
    about = [rule for rule in rules if isinstance(rule, WindowRule)]
    since, question, rows = standing.promoted_at or look.now, "", list[WindowRow]()
    if about and facts.version is not None:
        question = question_of(facts.version, since, about)
        rows = list(look.windows(standing, since, about, question == standing.judged_by))
    tracks = {track: _on(rows, track) for track in {track_of(rule) for rule in about}}
    presentable = {cause for rule in rules for cause in causes(rule, facts)} | {row.id for row in rows}
    said = look.said([rule.name for rule in rules], presentable | {f"v{facts.version}", NO_VERSION} if rules else ())
    judged = {rule.name: _to_judge(rule, tracks[track_of(rule)], said) for rule in about}
    rows = _behind(look, since, about, judged, tracks)
    known = {row.id: window_facts(row) for row in rows}
    windows = {rule.name: _in_order(rule, rows, judged[rule.name], known) for rule in about}
    fired = {each for rule in rules for each in (said.would if rule.dry_run else said.fired) if each[0] == rule.name}
    lives = _lives(look, about)
    more = any(len(each) >= AT_ONCE for each in judged.values())
    facts = replace(facts, windows=windows, lives=lives, fired=frozenset(fired), more=more)
    return Evidence(facts, said.last, question)


def _lives(look: Look, rules: Sequence[WindowRule]) -> dict[str, tuple[Life, ...]]:
    """What the rules that weigh worth are asked about, read once for each track."""
    tracks = {rule.name: (rule.monitor, rule.segment or "") for rule in rules if isinstance(rule, WorthRule)}
    if not tracks:
        return {}
    gates = look.gates()
    known = {track: lives_of(look.past_losses(*track), gates) for track in set(tracks.values())}
    return {name: known[track] for name, track in tracks.items()}


def _on(rows: Iterable[WindowRow], track: Track) -> list[WindowRow]:
    """The track's windows among these, in order: where its monitor was changed, those that are cut as the newest is."""
    monitor, segment, settled = track
    mine = [row for row in rows if row.monitor == monitor and row.segment == segment]
    seen = [row for row in mine if row.error_at is not None or not settled]
    return [row for row in seen if row.spec_digest == seen[-1].spec_digest]


def _to_judge(rule: WindowRule, track: Sequence[WindowRow], said: Said) -> list[WindowRow]:
    """The oldest that the rule has not decided on, so many as it judges at once, then the newest one."""
    waiting = [row for row in track[:-1] if (rule.name, row.id) not in said.last]
    return [*waiting[:AT_ONCE], *track[-1:]]


def _behind(
    look: Look,
    since: datetime,
    rules: Sequence[WindowRule],
    judged: Mapping[str, Sequence[WindowRow]],
    tracks: Mapping[Track, Sequence[WindowRow]],
) -> list[WindowRow]:
    """Every window to judge, and those before each that its rule's hysteresis looks at."""
    late: list[tuple[WindowRow, bool, int]] = []
    for rule in rules:
        track, of = tracks[track_of(rule)], rule.hold.of
        if of == 1 or len(track) < of + SPARE:
            continue
        without_gap = {row.id for row in track[-1 - SPARE :]}  # so many of the newest were read with those before them
        late += [(row, track_of(rule).settled, of - 1) for row in judged[rule.name] if row.id not in without_gap]
    found = [row for track in tracks.values() for row in track] + list(look.windows_before(late, since))
    rows = {row.id: row for row in found}
    return sorted(rows.values(), key=lambda row: (row.until_time, row.until_id))


def _in_order(
    rule: WindowRule, rows: Sequence[WindowRow], judged: Sequence[WindowRow], known: Mapping[str, WindowFacts]
) -> tuple[WindowFacts, ...]:
    """The windows to judge, and where there is hysteresis, not to judge, those before them."""
    ids = {row.id for row in judged}
    wanted = [row for row in _on(rows, track_of(rule)) if rule.hold.of > 1 or row.id in ids]
    return tuple(replace(known[row.id], judge=row.id in ids) for row in wanted)


def window_facts(window: ScoredWindow | WindowRow) -> WindowFacts:
    """A stored verdict as facts. What is not a finite number counts as not known."""
    verdict = window.verdict
    features: Mapping[str, Json] = verdict.get("features") or {}
    return WindowFacts(
        id=window.id,
        rows=window.rows,
        labelled=window.labelled,
        drifted_share=_number(verdict.get("drifted_share")),
        drifted=tuple(name for name, feature in features.items() if feature.get("drifted")),
        drifted_else=_drifted_else(verdict),
        unseen=_numbers({name: feature.get("unseen_share") for name, feature in features.items()}),
        error=_numbers(verdict.get("error") or {}),
        settled=window.error_at is not None,
        rising=_rising(verdict.get("stream")),
        broken=broken(verdict.get("diagnosis")),
    )


def _drifted_else(verdict: Json) -> tuple[str, ...]:
    texts: Mapping[str, Json] = verdict.get("texts") or {}
    parts = {"the scores": verdict.get("prediction"), "all columns together": verdict.get("joint")}
    found = [name for name, part in parts.items() if part and part.get("drifted")]
    return (*found, *(f"the text {name}" for name, text in texts.items() if text.get("drifted")))


def _rising(stream: Json | None) -> Rising | None:
    """What the detector of rising errors said; None where it could not say anything."""
    if not stream or stream.get("reason"):
        return None
    numbers = {name: stream.get(name) for name in ("evidence", "threshold", "baseline", "current", "since_rows")}
    return Rising(bool(stream.get("alarm")), numbers)


def broken(diagnosis: Json | None) -> str | None:
    """What looks broken in the data, in words; None where nothing does."""
    found = bug_of(diagnosis)
    return found.explanation if found is not None else None


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    found = {name: _number(value) for name, value in values.items()}
    return {name: value for name, value in found.items() if value is not None}


def _number(value: Any) -> float | None:  # noqa: ANN401 - JSON
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
