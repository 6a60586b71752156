"""The statements by which a tick asks about a model: made once for each shape of a question, not at each tick."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    union_all,
    update,
)

from controlplane.lifecycle import ACTIVE, ON_ITS_WAY, VersionState
from controlplane.rules.facts import Reason
from controlplane.store.reading import table_of
from controlplane.tables import (
    DecisionRecord,
    GateRecord,
    Hold,
    Model,
    Observation,
    ScheduleStart,
    ScoredWindow,
    TrainingRun,
    Version,
)

MODELS, VERSIONS, WINDOWS = table_of(Model), table_of(Version), table_of(ScoredWindow)
DECISIONS, RUNS, SEEN = table_of(DecisionRecord), table_of(TrainingRun), table_of(Observation)
HOLDS, STARTS = table_of(Hold), table_of(ScheduleStart)
#: windows that a rule judges at one tick
AT_ONCE: Final = 50
ORDER: Final = (WINDOWS.c.until_time, WINDOWS.c.until_id)
NEWEST: Final = tuple(each.desc() for each in ORDER)
SHOWN: Final = (
    "id",
    "model",
    "version",
    "monitor",
    "segment",
    "spec_digest",
    "until_time",
    "until_id",
    "rows",
    "labelled",
    "verdict",
    "error_at",
)


@lru_cache
def standing(scheduled: bool) -> Select[Any]:
    """With what was made of the newest whole window; also when the first version went into production, where a schedule
    counts from then.
    """
    live, seen, moving = VERSIONS.alias("live"), SEEN, VERSIONS.alias("moving")
    first = select(func.min(VERSIONS.c.first_promoted_at)).where(VERSIONS.c.model == MODELS.c.id).scalar_subquery()
    runs = RUNS.alias("runs")
    asked = select(func.max(runs.c.asked_at)).where(runs.c.model == MODELS.c.id).scalar_subquery()
    ahead = select(func.min(VERSIONS.c.id)).where(
        VERSIONS.c.model == MODELS.c.id, VERSIONS.c.state.in_(ON_ITS_WAY)
    ).scalar_subquery()  # fmt: skip
    said = (
        select(WINDOWS.c.verdict["diagnosis"])
        .where(
            WINDOWS.c.model == MODELS.c.id,
            WINDOWS.c.version == live.c.number,
            WINDOWS.c.segment == "",
            or_(live.c.promoted_at.is_(None), WINDOWS.c.cut_at >= live.c.promoted_at),
        )
        .order_by(*NEWEST, WINDOWS.c.id)
        .limit(1)
        .scalar_subquery()
    )
    shown = [
        MODELS.c.judged_changes, MODELS.c.judged_by, live.c.number, live.c.promoted_at, seen.c.labelled_new,
        RUNS.c.key.label("run"), RUNS.c.state.label("run_state"), moving.c.number.label("moving"),
        moving.c.state.label("moving_state"), asked.label("last_asked_at"),
        said.label("diagnosis"),
    ]  # fmt: skip
    tables = (
        MODELS.outerjoin(live, and_(live.c.model == MODELS.c.id, live.c.state == VersionState.PRODUCTION))
        .outerjoin(seen, and_(seen.c.model == MODELS.c.id, seen.c.version == live.c.number))
        .outerjoin(RUNS, and_(RUNS.c.model == MODELS.c.id, RUNS.c.state.in_(ACTIVE)))
        .outerjoin(moving, moving.c.id == ahead)
    )
    found = select(*shown, *([first.label("in_service_since")] if scheduled else []))
    return found.select_from(tables).where(MODELS.c.id == bindparam("model"))


SLEEP: Final = (
    update(MODELS)
    .where(MODELS.c.id == bindparam("key"))
    .values(
        decided_until=bindparam("now"),
        due_at=case((MODELS.c.changes == bindparam("seen"), bindparam("next")), else_=MODELS.c.due_at),
        judged_changes=func.coalesce(bindparam("judged"), MODELS.c.judged_changes),
        judged_by=func.coalesce(bindparam("question"), MODELS.c.judged_by),
    )
)
HELD: Final = select(HOLDS.c.what, HOLDS.c.by, HOLDS.c.why, HOLDS.c.until).where(
    HOLDS.c.model == bindparam("model"), or_(HOLDS.c.until.is_(None), HOLDS.c.until > bindparam("now"))
)
#: windows and gate verdicts that a worth is weighed from
LOSSES_KEPT: Final = 120
GATES_KEPT: Final = 24
LOSS_PARTS: Final = ("sampled", "error", "error_intervals", "error_reference", "estimate", "diagnosis", "confidence")
LOSSES: Final = (
    select(
        *(WINDOWS.c[name] for name in ("id", "version", "rows", "labelled", "cut_at")),
        *(WINDOWS.c.verdict[name].label(name) for name in LOSS_PARTS),
    )
    .where(
        WINDOWS.c.model == bindparam("model"),
        WINDOWS.c.monitor == bindparam("monitor"),
        WINDOWS.c.segment == bindparam("segment"),
    )
    .order_by(*NEWEST)
    .limit(LOSSES_KEPT)
)
GATE_VERDICTS: Final = table_of(GateRecord)
GATES: Final = (
    select(GATE_VERDICTS.c.numbers, GATE_VERDICTS.c.decided_at)
    .where(GATE_VERDICTS.c.model == bindparam("model"))
    .order_by(GATE_VERDICTS.c.decided_at.desc())
    .limit(GATES_KEPT)
)
SCHEDULED_SINCE: Final = select(STARTS.c.rule, STARTS.c.since).where(STARTS.c.model == bindparam("model"))
SPENT: Final = select(RUNS.c.asked_at, RUNS.c.ended_at, RUNS.c.cpu_seconds).where(
    RUNS.c.model == bindparam("model"),
    or_(RUNS.c.asked_at > bindparam("day"), RUNS.c.ended_at > bindparam("month")),
)  # fmt: skip


def _newest_turn() -> Select[Any]:
    """Of each cause its newest decision, and those that can be no other's: it fired, or would have."""
    later = DECISIONS.alias("later")
    same = (later.c[name] == DECISIONS.c[name] for name in ("model", "rule", "cause"))
    newest = select(func.max(later.c.turn)).where(*same).scalar_subquery()
    named = ("rule", "cause", "turn", "outcome", "reason")
    return select(*(DECISIONS.c[name] for name in named)).where(
        DECISIONS.c.model == bindparam("model"),
        DECISIONS.c.rule.in_(bindparam("rules", expanding=True)),
        DECISIONS.c.cause.in_(bindparam("causes", expanding=True)),
        or_(
            DECISIONS.c.turn == newest,
            DECISIONS.c.outcome == "fire",
            DECISIONS.c.reason == Reason.WAIT_DRY_RUN.name,
        ),
    )


SAID: Final = _newest_turn()


def _track(monitor: str, segment: str, settled: bool, windows: FromClause = WINDOWS, shown: str = "id") -> Select[Any]:
    query = select(windows.c[shown]).where(
        windows.c.model == bindparam("model"), windows.c.version == bindparam("version"),
        windows.c.monitor == bindparam(monitor), windows.c.segment == bindparam(segment),
        windows.c.cut_at >= bindparam("since"),
    )  # fmt: skip
    return query.where(windows.c.error_at.is_not(None)) if settled else query


def _declared_as_the_newest(monitor: str, segment: str, settled: bool) -> ColumnElement[bool]:
    """Windows of a declaration that was changed since do not count any more: they hold more, or fewer, predictions."""
    newest = WINDOWS.alias("newest")
    order = (newest.c[each.name].desc() for each in ORDER)
    digest = _track(monitor, segment, settled, newest, "spec_digest").order_by(*order).limit(1)
    return WINDOWS.c.spec_digest == digest.scalar_subquery()


def _newest_windows(settled: Sequence[bool]) -> list[Select[Any]]:
    tracks = enumerate(settled)
    return [
        part(_track(f"monitor_{place}", f"segment_{place}", only).order_by(*NEWEST).limit(bindparam(f"reach_{place}")))
        for place, only in tracks
    ]


@lru_cache
def changed(settled: tuple[bool, ...]) -> Select[Any]:
    """The newest of each track, and those that have changed, also where an older release did not say so."""
    of_version = select(WINDOWS.c.id).where(
        WINDOWS.c.model == bindparam("model"), WINDOWS.c.version == bindparam("version"),
        WINDOWS.c.cut_at >= bindparam("since"),
        WINDOWS.c.segment.in_([bindparam(f"segment_{place}") for place in range(len(settled))]),
    )  # fmt: skip
    changed = [WINDOWS.c.change > bindparam("change"), WINDOWS.c.change.is_(None)]
    parts = [part(of_version.where(each).limit(bindparam("most"))) for each in changed]
    return rows_of([*parts, *_newest_windows(settled)])


@lru_cache
def undecided(settled: tuple[bool, ...], kinds: tuple[bool, ...]) -> Select[Any]:
    """The newest of each track, and of each rule the oldest, declared as that, that it has not decided on."""
    parts = _newest_windows(settled)
    for place, only in enumerate(kinds):
        decided = exists().where(
            DECISIONS.c.model == bindparam("model"), DECISIONS.c.rule == bindparam(f"rule_{place}"),
            DECISIONS.c.cause == WINDOWS.c.id,
        )  # fmt: skip
        track = (f"of_{place}", f"part_{place}", only)
        waiting = _track(*track).where(~decided, _declared_as_the_newest(*track))
        parts.append(part(waiting.order_by(*ORDER).limit(AT_ONCE)))
    return rows_of(parts)


def part(query: Select[Any]) -> Select[Any]:
    """A part of a union that has its own order and limit."""
    return select(query.subquery().c.id)


def rows_of(parts: Sequence[Select[Any]]) -> Select[Any]:
    found = WINDOWS.c.id.in_(union_all(*parts))
    return select(*(WINDOWS.c[name] for name in SHOWN)).where(found).order_by(*ORDER)
