"""Where models stand: everything that their status shows, in as many queries for a thousand models as for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, RowMapping, exists, func, or_, select

from controlplane.errors import NotFound
from controlplane.lifecycle import ACTIVE, ON_ITS_WAY, AlertState, VersionState
from controlplane.store.counts import Counting, Counts
from controlplane.store.reading import table_of
from controlplane.tables import Alert, Firing, GateRecord, Hold, Model, Observation, TrainingRun, Version

#: what a list of models may be filtered by: nothing yet, a run is active, a version is on its way, or neither
Stands = Literal["new", "training", "rollout", "serving"]
MODELS, VERSIONS, RUNS = table_of(Model), table_of(Version), table_of(TrainingRun)
#: the declaration itself is long and is not shown
_SHOWN: Final = ("id", "spec_digest", "recipe_digest", "applied_at", "decided_until", "due_at", "monitored_until")


@dataclass
class Standing:
    """The rows behind one model's status."""

    model: RowMapping
    counts: Counts
    production: RowMapping | None = None
    gate: RowMapping | None = None
    #: the oldest version that is on its way
    on_its_way: RowMapping | None = None
    observation: RowMapping | None = None
    #: the run that has not ended, with `rule`, `reason` and `detail` of its firing
    run: RowMapping | None = None
    holds: list[RowMapping] = field(default_factory=list)
    open_alerts: int = 0


class Standings(Counting):
    """Verbs that read where models stand."""

    def standing(self, model_id: str) -> Standing:
        """Where one model stands. Raises NotFound."""
        found = self._standings(MODELS.c.id == model_id, 1)
        if not found:
            raise NotFound(f"there is no model {model_id}: apply its spec first", model=model_id)
        return found[0]

    def standings(
        self, after: str, limit: int, team: str | None = None, state: Stands | None = None
    ) -> Sequence[Standing]:
        """Where the models behind an id stand, by id."""
        wanted: ColumnElement[bool] = MODELS.c.id > after
        if team is not None:
            wanted &= MODELS.c.spec["team"].as_string() == team
        if state is not None:
            wanted &= _stands(state)
        return self._standings(wanted, limit)

    def _standings(self, wanted: ColumnElement[bool], limit: int) -> list[Standing]:
        said = [MODELS.c.spec[name].as_string().label(name) for name in ("description", "team")]
        query = select(*(MODELS.c[name] for name in _SHOWN), *said).where(wanted)
        with self._reading() as session:
            rows = session.connection().execute(query.order_by(MODELS.c.id).limit(limit)).mappings().all()
        if not rows:
            return []
        counts = self.counts_of([row["id"] for row in rows])
        found = {row["id"]: Standing(row, counts[row["id"]]) for row in rows}
        with self._reading() as session:
            for add in (_add_versions, _add_runs, _add_what_people_see):
                add(session.connection(), found)
        return list(found.values())


def _stands(state: Stands) -> ColumnElement[bool]:
    def has(table: Any, states: Any) -> ColumnElement[bool]:  # noqa: ANN401 - a table's rows in some states
        return exists().where(table.c.model == MODELS.c.id, table.c.state.in_(states))

    training, moving = has(RUNS, ACTIVE), has(VERSIONS, ON_ITS_WAY)
    if state == "training":
        return training
    if state == "rollout":
        return moving
    serving = has(VERSIONS, (VersionState.PRODUCTION,))
    return ~or_(training, moving) & (serving if state == "serving" else ~serving)


def _add_versions(connection: Connection, found: Mapping[str, Standing]) -> None:
    states = [*ON_ITS_WAY, VersionState.PRODUCTION]
    query = select(VERSIONS).where(VERSIONS.c.model.in_(found), VERSIONS.c.state.in_(states))
    for row in connection.execute(query.order_by(VERSIONS.c.number)).mappings():
        standing = found[row["model"]]
        if row["state"] is VersionState.PRODUCTION:
            standing.production = row
        else:
            standing.on_its_way = standing.on_its_way or row
    live = {each.production["run_key"]: each for each in found.values() if each.production}
    gates, seen = table_of(GateRecord), table_of(Observation)
    for row in connection.execute(select(gates).where(gates.c.run_key.in_(live))).mappings():
        live[row["run_key"]].gate = row
    for row in connection.execute(select(seen).where(seen.c.model.in_(found))).mappings():
        standing = found[row["model"]]
        if standing.production and standing.production["number"] == row["version"]:
            standing.observation = row


def _add_runs(connection: Connection, found: Mapping[str, Standing]) -> None:
    firings = table_of(Firing)
    shown = [RUNS.c[name] for name in ("key", "model", "state", "progress", "asked_at", "recorded_at")]
    query = select(*shown, firings.c.rule, firings.c.reason, firings.c.detail)
    query = query.join(firings, firings.c.id == RUNS.c.firing_id)
    for row in connection.execute(query.where(RUNS.c.model.in_(found), RUNS.c.state.in_(ACTIVE))).mappings():
        found[row["model"]].run = row


def _add_what_people_see(connection: Connection, found: Mapping[str, Standing]) -> None:
    holds, alerts = table_of(Hold), table_of(Alert)
    for row in connection.execute(select(holds).where(holds.c.model.in_(found)).order_by(holds.c.what)).mappings():
        found[row["model"]].holds.append(row)
    opened = select(alerts.c.model, func.count().label("open")).where(
        alerts.c.model.in_(found), alerts.c.state != AlertState.RESOLVED
    )
    for row in connection.execute(opened.group_by(alerts.c.model)).mappings():
        found[row["model"]].open_alerts = row["open"]
