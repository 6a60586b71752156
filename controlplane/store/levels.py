"""What a tick reads of a model: in as many statements for ten rules as for one, and nothing that was judged before.

The statements are made once for each shape of a question, so that a tick does not build them again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, bindparam, case, exists, func, or_, select, union_all, update
from sqlmodel import Session

from controlplane.budget import DAY, MONTH, Spent
from controlplane.facts import Reason, WindowRule
from controlplane.lifecycle import ACTIVE, ON_ITS_WAY, VersionState
from controlplane.store.database import Database
from controlplane.store.reading import table_of
from controlplane.tables import (
    DecisionRecord,
    Hold,
    Model,
    Observation,
    ScheduleStart,
    ScoredWindow,
    TrainingRun,
    Version,
)
from pipeline.contract.rulespec import MetricRule

MODELS, VERSIONS, WINDOWS = table_of(Model), table_of(Version), table_of(ScoredWindow)
DECISIONS, RUNS, SEEN = table_of(DecisionRecord), table_of(TrainingRun), table_of(Observation)
HOLDS, STARTS = table_of(Hold), table_of(ScheduleStart)
#: windows that a rule judges at one tick
AT_ONCE: Final = 50
#: when more windows than this have changed since all were judged, those that no rule has decided on are looked for
CHANGED_AT_MOST: Final = 200
#: windows behind the newest that are read with it, so that two that were cut at once need no other question
SPARE: Final = 1
ORDER: Final = (WINDOWS.c.until_time, WINDOWS.c.until_id)
NEWEST: Final = tuple(each.desc() for each in ORDER)
_ROW: Final = ("id", "model", "version", "monitor", "until_time", "until_id", "rows", "labelled", "verdict", "error_at")

#: a monitor, and whether only windows whose error metrics are settled count
Track = tuple[str, bool]
WindowRow = Row[Any]


@dataclass(frozen=True)
class Asleep:
    """A model that was decided on."""

    model: str
    #: up to this change
    changes: int
    until: datetime
    #: what its rules about windows were asked, where none of the windows is left to judge
    question: str | None


@dataclass(frozen=True)
class SaidLast:
    """What was last decided about a cause."""

    turn: int
    reason: str


@dataclass(frozen=True)
class Said:
    """What was decided about causes, by rule and cause."""

    last: Mapping[tuple[str, str], SaidLast]
    fired: frozenset[tuple[str, str]]
    #: what has fired, or would have if the rule were no dry run
    would: frozenset[tuple[str, str]]


def said(connection: Connection | Session, model_id: str, rules: Collection[str], causes: Collection[str]) -> Said:
    """What the rules have decided about these causes, in the caller's transaction."""
    asked = {"model": model_id, "rules": sorted(rules), "causes": sorted(causes)}
    last: dict[tuple[str, str], SaidLast] = {}
    fired, would = set(), set()
    for rule, cause, turn, outcome, reason in connection.execute(_SAID, asked) if rules and causes else ():
        before = last.get((rule, cause))
        if before is None or before.turn < turn:
            last[rule, cause] = SaidLast(turn, reason)
        if outcome == "fire":
            fired.add((rule, cause))
        if outcome == "fire" or reason == Reason.WAIT_DRY_RUN.name:
            would.add((rule, cause))
    return Said(last, frozenset(fired), frozenset(would))


def track_of(rule: WindowRule) -> Track:
    """Which windows the rule looks at."""
    return rule.monitor, isinstance(rule, MetricRule)


def question_of(version: int, since: datetime, rules: Collection[WindowRule]) -> str:
    """A digest of what these rules are asked: while it stays, what was judged is judged."""
    asked = sorted((rule.name, *track_of(rule)) for rule in rules)
    return hashlib.sha256(repr((version, since.isoformat(), asked)).encode()).hexdigest()


class Levels(Database):
    """Verbs of a tick that decides about a model."""

    @contextmanager
    def looking(self, model_id: str, now: datetime) -> Iterator[Look]:
        """Look at a model, in one transaction that only reads."""
        with self._reading() as session:
            yield Look(session.connection(), model_id, now)

    def fall_asleep(self, slept: Sequence[Asleep], now: datetime) -> None:
        """A tick decided on everything of these models up to a change: each sleeps until its time, unless it changed
        meanwhile. By id, so that replicas which say the same wait for each other in one order.
        """
        rows = [
            {"key": each.model, "now": now, "seen": each.changes, "next": each.until,
             "judged": each.changes if each.question is not None else None, "question": each.question}
            for each in sorted(slept, key=lambda each: each.model)
        ]  # fmt: skip
        with self._writing() as session:
            session.connection().execute(_SLEEP, rows)


@dataclass(frozen=True)
class Look:
    """One look at a model."""

    connection: Connection
    model: str
    now: datetime

    def standing(self, scheduled: bool) -> Row[Any] | None:
        """Where it stands: its version in production, what is under way, what was counted; None without the model."""
        return self.connection.execute(_standing(scheduled), {"model": self.model}).first()

    def holds(self) -> Sequence[Row[str, str, str, datetime | None]]:
        """What is held at this instant: `what`, `by`, `why`, `until`."""
        return self.connection.execute(_HOLDS, {"model": self.model, "now": self.now}).all()

    def schedule_starts(self) -> dict[str, datetime]:
        """Since when the schedule rules are as they are, where the model was applied without them before."""
        return {rule: since for rule, since in self.connection.execute(_STARTS, {"model": self.model})}

    def spent(self) -> Spent:
        """What the model's runs have cost lately, whoever asked for them."""
        since = {"model": self.model, "day": self.now - DAY, "month": self.now - MONTH}
        rows = self.connection.execute(_SPENT, since).all()
        return Spent(
            asked=tuple(asked_at for asked_at, _, _ in rows),
            ended=tuple((at, (seconds or 0.0) / 3600) for _, at, seconds in rows if at is not None),
        )

    def windows(
        self, standing: Row[Any], since: datetime, rules: Sequence[WindowRule], judged: bool
    ) -> Sequence[WindowRow]:
        """The windows of the version in production, cut since then, that the rules could have to judge, in order.

        These are the newest of each track, as many as the rules' hysteresis looks at, and those that have changed since
        all were judged; unless `judged`, the oldest that the rules have not decided on.
        """
        asked: dict[str, Any] = {"model": self.model, "version": standing.number, "since": since}
        reach: dict[Track, int] = {}
        for rule in rules:
            of = rule.hold.of
            reach[track_of(rule)] = max(reach.get(track_of(rule), 1), of + SPARE if of > 1 else 1)
        for place, (track, count) in enumerate(sorted(reach.items())):
            asked |= {f"monitor_{place}": track[0], f"reach_{place}": count}
        settled = tuple(settled for _, settled in sorted(reach))
        if judged:
            most = CHANGED_AT_MOST + sum(reach.values())
            asked |= {"change": standing.judged_changes, "most": most}
            changed = self.connection.execute(_changed(settled), asked).all()
            if len(changed) < most:
                return changed
        for place, rule in enumerate(rules):
            asked |= {f"rule_{place}": rule.name, f"of_{place}": rule.monitor}
        kinds = tuple(isinstance(rule, MetricRule) for rule in rules)
        return self.connection.execute(_undecided(settled, kinds), asked).all()

    def said(self, rules: Collection[str], causes: Collection[str]) -> Said:
        """What was decided about these causes."""
        return said(self.connection, self.model, rules, causes)

    def windows_before(self, windows: Sequence[tuple[WindowRow, bool, int]], since: datetime) -> Sequence[WindowRow]:
        """So many windows that come right before each of these, whether only settled ones count, cut since then."""
        before = []
        for window, settled, count in windows:
            earlier = or_(ORDER[0] < window.until_time, and_(ORDER[0] == window.until_time, ORDER[1] < window.until_id))
            query = select(WINDOWS.c.id).where(
                WINDOWS.c.model == window.model, WINDOWS.c.version == window.version,
                WINDOWS.c.monitor == window.monitor, WINDOWS.c.cut_at >= since, earlier,
            )  # fmt: skip
            query = query.where(WINDOWS.c.error_at.is_not(None)) if settled else query
            before.append(_part(query.order_by(*NEWEST).limit(count)))
        return self.connection.execute(_rows(before)).all() if before else []


@lru_cache
def _standing(scheduled: bool) -> Select[Any]:
    """Also when the first version went into production, where a schedule counts from then."""
    live, seen, moving = VERSIONS.alias("live"), SEEN, VERSIONS.alias("moving")
    first = select(func.min(VERSIONS.c.first_promoted_at)).where(VERSIONS.c.model == MODELS.c.id).scalar_subquery()
    runs = RUNS.alias("runs")
    asked = select(func.max(runs.c.asked_at)).where(runs.c.model == MODELS.c.id).scalar_subquery()
    ahead = select(func.min(VERSIONS.c.id)).where(
        VERSIONS.c.model == MODELS.c.id, VERSIONS.c.state.in_(ON_ITS_WAY)
    ).scalar_subquery()  # fmt: skip
    shown = [
        MODELS.c.judged_changes, MODELS.c.judged_by, live.c.number, live.c.promoted_at, seen.c.labelled_new,
        RUNS.c.key.label("run"), RUNS.c.state.label("run_state"), moving.c.number.label("moving"),
        moving.c.state.label("moving_state"), asked.label("last_asked_at"),
    ]  # fmt: skip
    tables = (
        MODELS.outerjoin(live, and_(live.c.model == MODELS.c.id, live.c.state == VersionState.PRODUCTION))
        .outerjoin(seen, and_(seen.c.model == MODELS.c.id, seen.c.version == live.c.number))
        .outerjoin(RUNS, and_(RUNS.c.model == MODELS.c.id, RUNS.c.state.in_(ACTIVE)))
        .outerjoin(moving, moving.c.id == ahead)
    )
    found = select(*shown, *([first.label("in_service_since")] if scheduled else []))
    return found.select_from(tables).where(MODELS.c.id == bindparam("model"))


_SLEEP: Final = (
    update(MODELS)
    .where(MODELS.c.id == bindparam("key"))
    .values(
        decided_until=bindparam("now"),
        due_at=case((MODELS.c.changes == bindparam("seen"), bindparam("next")), else_=MODELS.c.due_at),
        judged_changes=func.coalesce(bindparam("judged"), MODELS.c.judged_changes),
        judged_by=func.coalesce(bindparam("question"), MODELS.c.judged_by),
    )
)
_HOLDS: Final = select(HOLDS.c.what, HOLDS.c.by, HOLDS.c.why, HOLDS.c.until).where(
    HOLDS.c.model == bindparam("model"), or_(HOLDS.c.until.is_(None), HOLDS.c.until > bindparam("now"))
)
_STARTS: Final = select(STARTS.c.rule, STARTS.c.since).where(STARTS.c.model == bindparam("model"))
_SPENT: Final = select(RUNS.c.asked_at, RUNS.c.ended_at, RUNS.c.cpu_seconds).where(
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


_SAID: Final = _newest_turn()


def _track(monitor: str, settled: bool) -> Select[Any]:
    query = select(WINDOWS.c.id).where(
        WINDOWS.c.model == bindparam("model"), WINDOWS.c.version == bindparam("version"),
        WINDOWS.c.monitor == bindparam(monitor), WINDOWS.c.cut_at >= bindparam("since"),
    )  # fmt: skip
    return query.where(WINDOWS.c.error_at.is_not(None)) if settled else query


def _newest_windows(settled: Sequence[bool]) -> list[Select[Any]]:
    tracks = enumerate(settled)
    return [
        _part(_track(f"monitor_{place}", only).order_by(*NEWEST).limit(bindparam(f"reach_{place}")))
        for place, only in tracks
    ]


@lru_cache
def _changed(settled: tuple[bool, ...]) -> Select[Any]:
    """The newest of each track, and those that have changed, also where an older release did not say so."""
    of_version = select(WINDOWS.c.id).where(
        WINDOWS.c.model == bindparam("model"), WINDOWS.c.version == bindparam("version"),
        WINDOWS.c.cut_at >= bindparam("since"),
    )  # fmt: skip
    changed = [WINDOWS.c.change > bindparam("change"), WINDOWS.c.change.is_(None)]
    parts = [_part(of_version.where(each).limit(bindparam("most"))) for each in changed]
    return _rows([*parts, *_newest_windows(settled)])


@lru_cache
def _undecided(settled: tuple[bool, ...], kinds: tuple[bool, ...]) -> Select[Any]:
    """The newest of each track, and of each rule the oldest that it has not decided on."""
    parts = _newest_windows(settled)
    for place, only in enumerate(kinds):
        decided = exists().where(
            DECISIONS.c.model == bindparam("model"), DECISIONS.c.rule == bindparam(f"rule_{place}"),
            DECISIONS.c.cause == WINDOWS.c.id,
        )  # fmt: skip
        parts.append(_part(_track(f"of_{place}", only).where(~decided).order_by(*ORDER).limit(AT_ONCE)))
    return _rows(parts)


def _part(query: Select[Any]) -> Select[Any]:
    """A part of a union that has its own order and limit."""
    return select(query.subquery().c.id)


def _rows(parts: Sequence[Select[Any]]) -> Select[Any]:
    found = WINDOWS.c.id.in_(union_all(*parts))
    return select(*(WINDOWS.c[name] for name in _ROW)).where(found).order_by(*ORDER)
