"""What a tick reads of a model: in as many statements for ten rules as for one, and nothing that was judged before."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, and_, or_, select
from sqlmodel import Session

from controlplane.rules.budget import DAY, MONTH, Spent
from controlplane.rules.facts import Reason, WindowRule
from controlplane.store import questions
from controlplane.store.database import Database
from controlplane.store.questions import NEWEST, ORDER, WINDOWS
from pipeline.contract.rulespec import MetricRule

#: when more windows than this have changed since all were judged, those that no rule has decided on are looked for
CHANGED_AT_MOST: Final = 200
#: windows behind the newest that are read with it, so that two that were cut at once need no other question
SPARE: Final = 1

WindowRow = Row[Any]


class Track(NamedTuple):
    """Which windows are looked at."""

    monitor: str
    #: empty for whole windows
    segment: str
    #: whether only those count whose error metrics are settled
    settled: bool


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
    for rule, cause, turn, outcome, reason in connection.execute(questions.SAID, asked) if rules and causes else ():
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
    return Track(rule.monitor, rule.segment or "", isinstance(rule, MetricRule))


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
            session.connection().execute(questions.SLEEP, rows)


@dataclass(frozen=True)
class Look:
    """One look at a model."""

    connection: Connection
    model: str
    now: datetime

    def standing(self, scheduled: bool) -> Row[Any] | None:
        """Where it stands: its version in production, what is under way, what was counted; None without the model."""
        return self.connection.execute(questions.standing(scheduled), {"model": self.model}).first()

    def holds(self) -> Sequence[Row[str, str, str, datetime | None]]:
        """What is held at this instant: `what`, `by`, `why`, `until`."""
        return self.connection.execute(questions.HELD, {"model": self.model, "now": self.now}).all()

    def past_losses(self, monitor: str, segment: str) -> Sequence[Row[Any]]:
        """What the newest windows of a track lost, of whatever version, in order."""
        asked = {"model": self.model, "monitor": monitor, "segment": segment}
        return self.connection.execute(questions.LOSSES, asked).all()[::-1]

    def gates(self) -> Sequence[Row[Any, datetime]]:
        """What the model's newest gate verdicts said, and when, in order."""
        return self.connection.execute(questions.GATES, {"model": self.model}).all()[::-1]

    def schedule_starts(self) -> dict[str, datetime]:
        """Since when the schedule rules are as they are, where the model was applied without them before."""
        return {
            rule: since for rule, since in self.connection.execute(questions.SCHEDULED_SINCE, {"model": self.model})
        }

    def spent(self) -> Spent:
        """What the model's runs have cost lately, whoever asked for them."""
        since = {"model": self.model, "day": self.now - DAY, "month": self.now - MONTH}
        rows = self.connection.execute(questions.SPENT, since).all()
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
            asked |= {f"monitor_{place}": track.monitor, f"segment_{place}": track.segment, f"reach_{place}": count}
        settled = tuple(track.settled for track in sorted(reach))
        if judged:
            most = CHANGED_AT_MOST + sum(reach.values())
            asked |= {"change": standing.judged_changes, "most": most}
            changed = self.connection.execute(questions.changed(settled), asked).all()
            if len(changed) < most:
                return changed
        for place, rule in enumerate(rules):
            asked |= {f"rule_{place}": rule.name, f"of_{place}": rule.monitor, f"part_{place}": rule.segment or ""}
        kinds = tuple(isinstance(rule, MetricRule) for rule in rules)
        return self.connection.execute(questions.undecided(settled, kinds), asked).all()

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
                WINDOWS.c.monitor == window.monitor, WINDOWS.c.segment == window.segment, WINDOWS.c.cut_at >= since,
                earlier,
            )  # fmt: skip
            query = query.where(WINDOWS.c.error_at.is_not(None)) if settled else query
            before.append(questions.part(query.order_by(*NEWEST).limit(count)))
        return self.connection.execute(questions.rows_of(before)).all() if before else []
