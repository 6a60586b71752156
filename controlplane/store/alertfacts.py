"""What alerts look at, read in a handful of narrow queries for one model, however long its history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, union_all
from sqlalchemy import select as columns
from sqlmodel import Session, col, select

from controlplane.alertfacts import (
    AlertFacts,
    BrokenData,
    Challenger,
    LastRun,
    Patience,
    RolloutStands,
    RuleSaid,
    Ticking,
    Unjudged,
    Unstarted,
)
from controlplane.lifecycle import ACTIVE, ON_ITS_WAY, ROLLOUT_TRANSITIONS, RolloutState, RunState, VersionState
from controlplane.store.questions import part
from controlplane.store.reading import table_of
from controlplane.store.rollouts import PRODUCTION, frozen_by
from controlplane.store.runs import UNDER_WAY
from controlplane.tables import (
    DecisionRecord,
    GateRecord,
    Model,
    Observation,
    Rollout,
    ScoredWindow,
    TrainingRun,
    Version,
)
from controlplane.tables.columns import EPOCH
from observability.monitors.stored import bug_of

#: the newest window may not be decided on yet: then the one before it speaks
WINDOWS: Final = 3
DECISION: Final = table_of(DecisionRecord)
WINDOW_KINDS: Final = ("drift", "novelty", "metric", "worth")


def read_alert_facts(
    session: Session,
    model: Model,
    wall: datetime,
    now: datetime,
    patience: Patience,
    unserved_since: datetime | None,
    ticking: Ticking | None = None,
    told: frozenset[str] = frozenset(),
) -> AlertFacts:
    """What is known of a model, in the caller's transaction."""
    in_production = select(Version.number, Version.promoted_at).where(Version.model == model.id, PRODUCTION)
    version, since = session.exec(in_production).first() or (None, None)
    newest = select(Version).where(Version.model == model.id).order_by(col(Version.number).desc())
    last = session.exec(newest.limit(1)).first()
    frozen, rollout = _frozen(session, last, now), _rollout(session, model.id)
    return AlertFacts(
        model=model.id,
        wall=wall,
        now=now,
        version=version,
        windows=_windows(session, model, version, since) if version is not None else (),
        broken=_broken_data(session, model.id, version, since) if version is not None else None,
        without_budget=_without_budget(session, model, version) if version is not None else (),
        retraining=_retraining(session, model.id, last if frozen is None else None),
        frozen=frozen,
        last_run=_last_run(session, model.id),
        unstarted=_unstarted(session, model.id),
        unjudged=_unjudged(last, rollout),
        challenger=_challenger(session, last),
        rollout=rollout,
        unserved_since=unserved_since if version is not None else None,
        monitored_at=_monitored_at(session, model.id, version, since),
        patience=patience,
        ticking=ticking,
        told=told,
    )


def _windows(session: Session, model: Model, version: int, since: datetime | None) -> tuple[RuleSaid, ...]:
    """What each data and metric rule decided on the newest window since the version went into production."""
    rules = [rule for rule in model.spec.get("rules", ()) if rule["kind"] in WINDOW_KINDS]
    tracks = {rule["name"]: (rule["monitor"], rule.get("segment") or "", rule["kind"] == "metric") for rule in rules}
    looked = sorted(set(tracks.values()))
    ids = {track: _newest_windows(session, model.id, version, since, *track) for track in looked}
    said = _said_of(session, model.id, {rule["name"] for rule in rules}, {each for few in ids.values() for each in few})
    found = []
    for rule in rules:
        windows = ids[tracks[rule["name"]]]
        known = (said.get((rule["name"], window)) for window in windows)
        found.append(next((each for each in known if each is not None), None))
    return tuple(each for each in found if each is not None)


def _broken_data(session: Session, model: str, version: int, since: datetime | None) -> BrokenData | None:
    query = select(ScoredWindow.verdict["diagnosis"]).where(
        ScoredWindow.model == model, ScoredWindow.version == version, ScoredWindow.segment == "",
        ScoredWindow.cut_at >= (since or EPOCH),
    )  # fmt: skip
    newest = (col(ScoredWindow.until_time).desc(), col(ScoredWindow.until_id).desc())
    found = bug_of(session.exec(query.order_by(*newest).limit(1)).first())
    return BrokenData(found.bug or "of a kind unknown", found.columns, found.explanation) if found is not None else None


def _newest_windows(
    session: Session, model: str, version: int, since: datetime | None, monitor: str, segment: str, settled: bool
) -> list[str]:
    query = select(ScoredWindow.id).where(
        ScoredWindow.model == model, ScoredWindow.version == version, ScoredWindow.monitor == monitor,
        ScoredWindow.segment == segment, ScoredWindow.cut_at >= (since or EPOCH),
    )  # fmt: skip
    if settled:
        query = query.where(col(ScoredWindow.error_at).is_not(None))
    newest = (col(ScoredWindow.until_time).desc(), col(ScoredWindow.until_id).desc())
    return list(session.exec(query.order_by(*newest).limit(WINDOWS)).all())


def _said_of(session: Session, model: str, rules: set[str], windows: set[str]) -> Mapping[tuple[str, str], RuleSaid]:
    if not windows:
        return {}
    # The rules are named though the causes would do: the unique index begins with them.
    of_rules, of_windows = DECISION.c.rule.in_(sorted(rules)), DECISION.c.cause.in_(sorted(windows))
    query = _decisions(model).where(of_rules, of_windows).order_by(DECISION.c.turn)
    said = session.connection().execute(query)
    return {(row.rule, row.cause): RuleSaid(row.rule, row.kind, row.reason, row.detail) for row in said}


def _decisions(model: str) -> Select[Any]:
    names = ("rule", "cause", "kind", "reason", "detail", "version")
    return columns(*(DECISION.c[name] for name in names)).where(DECISION.c.model == model)


def _without_budget(session: Session, model: Model, version: int) -> tuple[RuleSaid, ...]:
    if not any((model.spec.get("budget") or {}).values()):
        return ()
    names = sorted({rule["name"] for rule in model.spec.get("rules", ())})
    newest = [
        part(columns(DECISION.c.id).where(DECISION.c.model == model.id, DECISION.c.rule == name)
             .order_by(DECISION.c.id.desc()).limit(1))
        for name in names
    ]  # fmt: skip
    if not newest:
        return ()
    waits = _decisions(model.id).where(DECISION.c.reason == "WAIT_BUDGET", DECISION.c.version == version)
    found = session.connection().execute(waits.where(DECISION.c.id.in_(union_all(*newest))))
    return tuple(RuleSaid(row.rule, row.kind, row.reason, row.detail) for row in found)


def _retraining(session: Session, model: str, last: Version | None) -> str | None:
    active = select(TrainingRun.key, TrainingRun.state).where(
        TrainingRun.model == model, col(TrainingRun.state).in_(ACTIVE)
    )
    run = session.exec(active).first()
    if run is not None:
        return f"run {run[0]} is {run[1]}"
    if last is not None and last.state in ON_ITS_WAY:
        return f"version {last.number} is {last.state}"
    return None


def _frozen(session: Session, last: Version | None, now: datetime) -> str | None:
    """A version on its way that somebody stopped mends nothing for as long as that lasts."""
    if last is None or last.state not in ON_ITS_WAY:
        return None
    hold = frozen_by(session, last.model, now)
    return f"version {last.number} is {last.state}, frozen by {hold.by}: {hold.why}" if hold is not None else None


def _unstarted(session: Session, model: str) -> Unstarted | None:
    columns = (TrainingRun.key, TrainingRun.recorded_at, TrainingRun.attempts)
    query = select(*columns).where(TrainingRun.model == model, UNDER_WAY, TrainingRun.state == RunState.ASKED)
    run = session.exec(query).first()
    return Unstarted(*run) if run is not None else None


def _last_run(session: Session, model: str) -> LastRun | None:
    ended = (RunState.SUCCEEDED, RunState.FAILED)
    row = TrainingRun
    query = select(row.key, row.state, row.failure_code, row.failure_message).where(
        row.model == model, col(row.state).in_(ended)
    )
    run = session.exec(query.order_by(col(row.key).desc()).limit(1)).first()
    if run is None:
        return None
    key, state, code, message = run
    return LastRun(key, state is RunState.FAILED, code or "", message or "")


def _unjudged(last: Version | None, rollout: RolloutStands | None) -> Unjudged | None:
    """A candidate waits while another version is on its way, and for nothing else."""
    waits = rollout is not None and ROLLOUT_TRANSITIONS[rollout.state] and rollout.state is not RolloutState.WATCHING
    if last is None or last.state is not VersionState.CANDIDATE or waits:
        return None
    return Unjudged(last.number, last.recorded_at)


def _challenger(session: Session, last: Version | None) -> Challenger | None:
    if last is None:
        return None
    if last.state is VersionState.AWAITING_APPROVAL:
        return Challenger(last.number, awaits_approval=True)
    if last.state is VersionState.REJECTED and last.rejected_for:
        return Challenger(last.number, turned_down=last.note, rejected_for=last.rejected_for)
    if last.state is VersionState.REJECTED:
        query = select(GateRecord.passed, GateRecord.detail).where(GateRecord.run_key == last.run_key)
        verdict = session.exec(query).first()
        if verdict is not None and not verdict[0]:
            return Challenger(last.number, turned_down=verdict[1])
    return None


def _rollout(session: Session, model: str) -> RolloutStands | None:
    query = select(Rollout).where(Rollout.model == model).order_by(col(Rollout.id).desc())
    row = session.exec(query.limit(1)).first()
    if row is None:
        return None
    return RolloutStands(row.version, row.champion, row.state, row.note, row.recorded_at, row.reason)


def _monitored_at(session: Session, model: str, version: int | None, since: datetime | None) -> datetime | None:
    """A version that came back was not looked at while it was retired, and nobody should have."""
    if version is None:
        return None
    query = select(Observation.observed_at).where(Observation.model == model, Observation.version == version)
    seen = session.exec(query).first()
    return seen if seen is None else max(seen, since or seen)
