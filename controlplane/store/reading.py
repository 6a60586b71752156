"""Reading for people and programs: pages of lists, and what a waiting client looks at.

A page reads the key first, which stands in an index, and then only the columns that are shown of its own rows: it costs
the same wherever it begins, and however much is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Column, Select, String, Table, cast, func, select, tuple_

from controlplane.errors import NotFound
from controlplane.lifecycle import ACTIVE
from controlplane.store.database import Database
from controlplane.tables import (
    Alert,
    DecisionRecord,
    Firing,
    GateRecord,
    Model,
    Notification,
    Rollout,
    ScoredWindow,
    TrainingRun,
    Version,
)

Noun = Literal["versions", "windows", "decisions", "firings", "runs", "rollouts", "alerts", "notifications"]
Row = Mapping[str, Any]


def table_of(table: type[Any]) -> Table:
    """The table of a class, for statements that read some of its columns."""
    found: Table = table.__table__
    return found


@dataclass(frozen=True)
class Kind:
    """How the rows of a noun are listed."""

    table: Table
    #: newest first by these, which together are unique among the rows of a list; column to what it holds
    order: Mapping[str, type]
    #: what `since` and `until` look at
    time: str
    #: columns that are not shown, and may be long
    hidden: frozenset[str] = frozenset()

    @property
    def keys(self) -> list[Column[Any]]:
        return [self.table.c[name] for name in self.order]

    @property
    def primary(self) -> Column[Any]:
        return next(iter(self.table.primary_key))


KINDS: Final[dict[Noun, Kind]] = {
    "versions": Kind(table_of(Version), {"number": int}, "made_at", frozenset({"gate_rows"})),
    "windows": Kind(table_of(ScoredWindow), {"until_time": datetime, "until_id": str, "id": str}, "until_time"),
    "decisions": Kind(table_of(DecisionRecord), {"id": str}, "decided_at"),
    "firings": Kind(table_of(Firing), {"id": str}, "fired_at"),
    "runs": Kind(table_of(TrainingRun), {"key": str}, "asked_at", frozenset({"request"})),
    "rollouts": Kind(table_of(Rollout), {"id": str}, "began_at"),
    "alerts": Kind(table_of(Alert), {"id": str}, "began_at"),
    "notifications": Kind(table_of(Notification), {"id": str}, "recorded_at", frozenset({"body"})),
}


class Reading(Database):
    """Verbs that read for the API."""

    def page(self, noun: Noun, filters: Mapping[str, Any], after: Sequence[Any] | None, limit: int) -> Sequence[Row]:
        """The rows behind a key, newest first. A filter that is None filters nothing.

        `since` is the first instant that counts, `until` the first that does not any more.
        """
        kind = KINDS[noun]
        found = _filtered(select(*{each.name: each for each in (kind.primary, *kind.keys)}.values()), kind, filters)
        if after is not None:
            found = _behind(found, kind, after)
        page = found.order_by(*(key.desc() for key in kind.keys)).limit(limit).subquery()
        shown = select(*(each for each in kind.table.c if each.name not in kind.hidden))
        shown = shown.join(page, kind.primary == page.c[kind.primary.name])
        return self._rows(shown.order_by(*(key.desc() for key in kind.keys)))

    def demand_model(self, model_id: str) -> None:
        """Raises NotFound where there is no such model. Its declaration is not read."""
        models = table_of(Model)
        if not self._rows(select(models.c.id).where(models.c.id == model_id)):
            raise NotFound(f"there is no model {model_id}: apply its spec first", model=model_id)

    def one(self, noun: Noun, model_id: str, **key: Any) -> Row:  # noqa: ANN401 - a column's value
        """One row of a model as its list shows it. Raises NotFound."""
        found = self.page(noun, {"model": model_id, **key}, None, 1)
        if not found:
            ((name, value),) = key.items()
            raise NotFound(f"{model_id} has no {noun[:-1]} {value}", model=model_id, **{name: value})
        return found[0]

    def gates_of(self, runs: Sequence[str]) -> dict[str, GateRecord]:
        """What the gate said of the versions that these runs made, by the run's key."""
        gates = table_of(GateRecord)
        with self._reading() as session:
            found = session.connection().execute(select(gates).where(gates.c.run_key.in_(runs))).mappings()
            return {row["run_key"]: GateRecord(**row) for row in found}

    def pulse(self, model_id: str) -> tuple[Any, ...] | None:
        """What moves when something of a model changes: looked at again and again by those who wait. None where there
        is no such model.
        """
        models, runs, decisions = table_of(Model), table_of(TrainingRun), table_of(DecisionRecord)
        active = (runs.c.model == models.c.id) & runs.c.state.in_(ACTIVE)
        newest = select(func.max(decisions.c.id)).where(decisions.c.model == model_id).scalar_subquery()
        query = (
            select(models.c.changes, newest, runs.c.key, runs.c.state, cast(runs.c.progress, String), runs.c.cancel_by)
            .select_from(models.outerjoin(runs, active))
            .where(models.c.id == model_id)
        )
        with self._reading() as session:
            row = session.connection().execute(query).first()
        return tuple(row) if row is not None else None

    def _rows(self, query: Select[Any]) -> Sequence[Row]:
        with self._reading() as session:
            return [dict(row) for row in session.connection().execute(query).mappings()]


#: as a filter: the column holds nothing
UNSET: Final = object()


def _filtered(query: Select[Any], kind: Kind, filters: Mapping[str, Any]) -> Select[Any]:
    for name, value in filters.items():
        if value is None:
            continue
        if name == "since":
            query = query.where(kind.table.c[kind.time] >= value)
        elif name == "until":
            query = query.where(kind.table.c[kind.time] < value)
        elif value is UNSET:
            query = query.where(kind.table.c[name].is_(None))
        else:
            query = query.where(kind.table.c[name] == value)
    return query


def _behind(query: Select[Any], kind: Kind, after: Sequence[Any]) -> Select[Any]:
    if len(kind.keys) == 1:
        return query.where(kind.keys[0] < after[0])
    return query.where(tuple_(*kind.keys) < tuple_(*after, types=[key.type for key in kind.keys]))
