"""What the fleet's page reads: one page of models in a constant number of queries, each by an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, get_args

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    ScalarSelect,
    Select,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    union_all,
)

from controlplane.lifecycle import ACTIVE, ON_ITS_WAY, AlertState, VersionState
from controlplane.store import Store
from controlplane.store.reading import Row, table_of
from controlplane.tables import Alert, DecisionRecord, Firing, Hold, Model, Rollout, ScoredWindow, TrainingRun, Version

Show: TypeAlias = Literal["alerts", "rollout", "training", "held", "new", "serving"]
SHOWS: Final[tuple[Show, ...]] = get_args(Show)
MODELS, VERSIONS, RUNS, ALERTS = table_of(Model), table_of(Version), table_of(TrainingRun), table_of(Alert)
HOLDS, ROLLOUTS, WINDOWS = table_of(Hold), table_of(Rollout), table_of(ScoredWindow)
DECISIONS, FIRINGS = table_of(DecisionRecord), table_of(Firing)
#: windows of a small line
RECENT: Final = 24
SEVERITIES: Final = ("critical", "warning", "info")


@dataclass(frozen=True)
class Wanted:
    """Which models somebody wants to see."""

    text: str = ""
    show: Show | None = None


@dataclass
class Found:
    """The rows behind one model's line."""

    model: Row
    production: Row | None = None
    #: the oldest version that is on its way
    on_its_way: Row | None = None
    rollout: Row | None = None
    run: Row | None = None
    decision: DecisionRecord | None = None
    alerts: list[Row] = field(default_factory=list)
    holds: list[Row] = field(default_factory=list)
    #: (share of drifted features, error metric) of the newest windows of the version in production, oldest first
    windows: list[tuple[float | None, float | None]] = field(default_factory=list)


#: (model, version, monitor, error metric)
Watched: TypeAlias = tuple[str, int, str, str]


class FleetQueries(Store):
    """Reading verbs of the fleet's page."""

    def fleet_counts(self, text: str, now: datetime) -> dict[str, int]:
        """How many models there are of each kind, among those that the text matches."""
        kinds = [func.coalesce(func.sum(case((_is(show, now), 1), else_=0)), 0).label(show) for show in SHOWS]
        query = select(func.count().label("all"), *kinds).where(_says(text))
        with self._reading() as session:
            return dict(session.connection().execute(query).mappings().one())

    def fleet_page(self, wanted: Wanted, now: datetime, offset: int, limit: int) -> list[Found]:
        """A page of models: those with the worst alerts first, then by name."""
        worst = select(func.max(_weight())).where(ALERTS.c.model == MODELS.c.id, _open()).scalar_subquery()
        query = select(MODELS.c.id, MODELS.c.spec).where(_says(wanted.text))
        if wanted.show is not None:
            query = query.where(_is(wanted.show, now))
        query = query.order_by(func.coalesce(worst, 0).desc(), MODELS.c.id).offset(offset).limit(limit)
        with self._reading() as session:
            connection = session.connection()
            found = {row["id"]: Found(dict(row)) for row in connection.execute(query).mappings()}
            if found:
                for add in (_add_versions, _add_runs, _add_decisions):
                    add(connection, found)
                _add_what_people_see(connection, found, now)
        return list(found.values())

    def recent_windows(self, watched: Sequence[Watched]) -> dict[str, list[tuple[float | None, float | None]]]:
        """Of each (model, version, monitor, metric): drift and error of its newest windows, oldest first.

        One statement for a page of models; of each it reads as many rows as its small line shows.
        """
        if not watched:
            return {}
        found: dict[str, list[tuple[float | None, float | None]]] = {each[0]: [] for each in watched}
        with self._reading() as session:
            rows = session.connection().execute(union_all(*(_newest(each) for each in watched))).all()
        for model, _, drifted, error in sorted(rows, key=lambda row: (row[0], row[1])):
            found[model].append((drifted, error))
        return found

    def open_counts(self) -> dict[str, int]:
        """How many alerts are open, by severity."""
        query = select(ALERTS.c.severity, func.count()).where(_open()).group_by(ALERTS.c.severity)
        with self._reading() as session:
            return {str(severity): int(count) for severity, count in session.connection().execute(query)}


def _newest(watched: Watched) -> Select[Any]:
    model, version, monitor, metric = watched
    newest = (
        select(WINDOWS.c.id, WINDOWS.c.until_time, WINDOWS.c.verdict)
        .where(WINDOWS.c.model == model, WINDOWS.c.version == version, WINDOWS.c.monitor == monitor)
        .where(WINDOWS.c.segment == "")
        .order_by(WINDOWS.c.until_time.desc(), WINDOWS.c.until_id.desc())
        .limit(RECENT)
        .subquery()
    )
    drifted = newest.c.verdict["drifted_share"].as_string().cast(Float)
    error = newest.c.verdict[("error", metric)].as_string().cast(Float)
    return select(literal(model), newest.c.until_time, drifted, error)


def _open() -> ColumnElement[bool]:
    return ALERTS.c.state != AlertState.RESOLVED


def _weight() -> ColumnElement[int]:
    weights = {name: 1 + len(SEVERITIES) - place for place, name in enumerate(SEVERITIES)}
    return case(*((ALERTS.c.severity == name, weight) for name, weight in weights.items()), else_=1)


def _says(text: str) -> ColumnElement[bool]:
    """Whether id, team or description hold the text, whatever the case of its letters."""
    said = (MODELS.c.id, *(MODELS.c.spec[name].as_string() for name in ("team", "description")))
    return (
        or_(*(func.lower(each).contains(text.lower(), autoescape=True) for each in said)) if text else MODELS.c.id != ""
    )


def _is(show: Show, now: datetime) -> ColumnElement[bool]:
    """Whether a model is one that this filter shows."""
    serving = _has(VERSIONS, VERSIONS.c.state == VersionState.PRODUCTION)
    ahead = or_(HOLDS.c.until.is_(None), HOLDS.c.until > now)
    filters: Mapping[Show, ColumnElement[bool]] = {
        "alerts": _has(ALERTS, _open()),
        "rollout": _has(VERSIONS, VERSIONS.c.state.in_(ON_ITS_WAY)) | _has(ROLLOUTS, ROLLOUTS.c.ended_at.is_(None)),
        "training": _has(RUNS, RUNS.c.state.in_(ACTIVE)),
        "held": _has(HOLDS, ahead),
        "new": ~serving,
        "serving": serving,
    }
    return filters[show]


def _has(table: Any, wanted: ColumnElement[bool]) -> ColumnElement[bool]:  # noqa: ANN401 - a table
    return exists().where(table.c.model == MODELS.c.id, wanted)


def _add_versions(connection: Connection, found: Mapping[str, Found]) -> None:
    shown = [VERSIONS.c[name] for name in ("model", "number", "state", "promoted_at", "metrics", "constant_metrics")]
    states = [*ON_ITS_WAY, VersionState.PRODUCTION]
    query = select(*shown).where(VERSIONS.c.model.in_(found), VERSIONS.c.state.in_(states))
    for row in connection.execute(query.order_by(VERSIONS.c.number)).mappings():
        line = found[row["model"]]
        if row["state"] is VersionState.PRODUCTION:
            line.production = dict(row)
        else:
            line.on_its_way = line.on_its_way or dict(row)
    under_way = select(ROLLOUTS).where(ROLLOUTS.c.model.in_(found), ROLLOUTS.c.ended_at.is_(None))
    for row in connection.execute(under_way).mappings():
        found[row["model"]].rollout = dict(row)


def _add_runs(connection: Connection, found: Mapping[str, Found]) -> None:
    shown = [RUNS.c[name] for name in ("key", "model", "state", "progress", "cancel_by")]
    query = select(*shown, FIRINGS.c.rule, FIRINGS.c.reason).join(FIRINGS, FIRINGS.c.id == RUNS.c.firing_id)
    for row in connection.execute(query.where(RUNS.c.model.in_(found), RUNS.c.state.in_(ACTIVE))).mappings():
        found[row["model"]].run = dict(row)


def _newest_decision() -> ScalarSelect[Any]:
    return select(func.max(DECISIONS.c.id)).where(DECISIONS.c.model == MODELS.c.id).scalar_subquery()


def _add_decisions(connection: Connection, found: Mapping[str, Found]) -> None:
    newest = select(_newest_decision().label("id")).where(MODELS.c.id.in_(found)).subquery()
    shown = [DECISIONS.c[name] for name in ("model", "rule", "outcome", "reason", "detail", "decided_at")]
    for row in connection.execute(select(*shown).join(newest, newest.c.id == DECISIONS.c.id)).mappings():
        found[row["model"]].decision = DecisionRecord(**row)


def _add_what_people_see(connection: Connection, found: Mapping[str, Found], now: datetime) -> None:
    ahead = or_(HOLDS.c.until.is_(None), HOLDS.c.until > now)
    query = select(HOLDS).where(HOLDS.c.model.in_(found), ahead).order_by(HOLDS.c.what)
    for row in connection.execute(query).mappings():
        found[row["model"]].holds.append(dict(row))
    shown = [ALERTS.c[name] for name in ("id", "model", "name", "severity", "state", "summary", "began_at")]
    opened = select(*shown).where(ALERTS.c.model.in_(found), _open()).order_by(_weight().desc(), ALERTS.c.id.desc())
    for row in connection.execute(opened).mappings():
        found[row["model"]].alerts.append(dict(row))
