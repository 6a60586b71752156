"""Models: applied, listed, and how far their rules were asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import union
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, SQLModel, col, select, update
from sqlmodel.sql.expression import SelectOfScalar

from controlplane.access.acts import Act
from controlplane.errors import NotFound
from controlplane.store.database import Database
from controlplane.store.reading import table_of
from controlplane.store.rollouts import lock
from controlplane.tables import (
    AuditEntry,
    Json,
    Model,
    ReplayTime,
    Rollout,
    ScheduleStart,
    Ticked,
    TrainingRun,
    Version,
)
from pipeline.contract.rulespec import ScheduleRule
from pipeline.contract.spec import ModelSpec

#: models that are read at once
DUE_AT_ONCE: Final = 500
#: the action of the audit chain that begins a new secret of a model's webhook
RENEW_HOOK: Final = "hook.renew"


def recipe_digest(recipe: Mapping[str, str]) -> str:
    """SHA-256 over the names and sources of a recipe's files."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


class Models(Database):
    """Verbs about models and about the clock of a replay."""

    def apply_model(self, spec: ModelSpec, recipe: Mapping[str, str], now: datetime, act: Act | None = None) -> bool:
        """Make this the model's declaration. False where it was already: nothing is changed."""
        try:
            return self._apply(spec, recipe, now, act)
        except IntegrityError:  # somebody else declared a new model of this name just now: this one comes after
            return self._apply(spec, recipe, now, act)

    def _apply(self, spec: ModelSpec, recipe: Mapping[str, str], now: datetime, act: Act | None) -> bool:
        digest = recipe_digest(recipe)
        with self._writing() as session:
            model = session.exec(select(Model).where(Model.id == spec.model).with_for_update(key_share=True)).first()
            if model is not None and (model.spec_digest, model.recipe_digest) == (spec.digest, digest):
                return False
            declared: dict[str, Any] = {
                "spec": spec.model_dump(mode="json", by_alias=True),
                "spec_digest": spec.digest,
                "recipe": dict(recipe),
                "recipe_digest": digest,
                "applied_at": now,
            }
            before = _declared(model) if model else None
            if model is None:
                model = Model(id=spec.model, **declared)
            else:
                for rule in _new_schedules(model, spec):
                    self._put(session, ScheduleStart(model=model.id, rule=rule, since=now))
                model.sqlmodel_update(declared)
            session.add(model)
            session.flush()
            self._touch(session, model.id)
            self._audit(session, act, "model.apply", model.id, before, _declared(model))
            return True

    def models(self) -> Sequence[Model]:
        """All models by id."""
        with self._reading() as session:
            return session.exec(select(Model).order_by(col(Model.id))).all()

    def model(self, model_id: str) -> Model:
        """One model. Raises NotFound."""
        with self._reading() as session:
            model = session.get(Model, model_id)
        if model is None:
            raise NotFound(f"there is no model {model_id}: apply its spec first", model=model_id)
        return model

    def due_models(self, now: datetime, after: str = "", limit: int = DUE_AT_ONCE) -> Sequence[Model]:
        """The models behind this one whose rules have to be asked: their time has come, or the clock went back behind
        the last time. By id, so that a page of models that fail again and again keeps no other from its turn.
        """
        with self._reading() as session:
            return session.exec(_due(now).where(Model.id > after).order_by(col(Model.id)).limit(limit)).all()

    def mark_ticked(self, now: datetime) -> None:
        """A tick ended: what was not due is decided until now. Nothing is written where it says so already."""
        with self._writing() as session:
            sqlite = session.get_bind().dialect.name == "sqlite"
            ticked = (sqlite_insert if sqlite else postgresql_insert)(Ticked).values(id=1, until=now)
            moved = ticked.on_conflict_do_update(
                index_elements=["id"], set_={"until": now}, where=col(Ticked.until) != now
            )
            session.execute(moved)

    def ticked_until(self) -> datetime | None:
        """The clock at the last finished tick."""
        with self._reading() as session:
            row = session.get(Ticked, 1)
            return row.until if row else None

    def mark_monitored(self, model_id: str, watermark: datetime) -> None:
        """The monitor finished a pass over everything up to the watermark."""
        with self._writing() as session:
            session.exec(update(Model).where(col(Model.id) == model_id).values(monitored_until=watermark))

    def bring_back(self, model_id: str, now: datetime) -> None:
        """The clock was ahead, and has gone back: what happened in the future happened now.

        Cooldowns, schedules, deadlines and budgets then last once, not until the clock has come there again. So it is
        with the machine's clock, from which on a step of a rollout looks for evidence.
        """
        wall = self._wall.now()
        ahead: tuple[tuple[type[SQLModel], str, datetime], ...] = (
            (Version, "promoted_at", now), (Version, "first_promoted_at", now), (Version, "state_at", now),
            (Rollout, "began_at", now), (Rollout, "state_at", now), (ScheduleStart, "since", now),
            (TrainingRun, "asked_at", now), (TrainingRun, "ended_at", now),
            (Rollout, "recorded_at", wall), (Version, "recorded_at", wall),
        )  # fmt: skip
        with self._writing() as session:
            lock(session, model_id)
            for table, name, until in ahead:
                columns = table_of(table).c
                later = update(table).where(columns.model == model_id, columns[name] > until)
                session.execute(later.values({name: until}))

    def replay_time(self) -> datetime | None:
        """The replay clock; None before it was set."""
        with self._reading() as session:
            row = session.get(ReplayTime, 1)
            return row.now if row else None

    def move_replay_time(self, to: datetime) -> datetime:
        """Move the replay clock forward and return it; a time in the past leaves it where it is."""
        try:
            return self._move_replay_time(to)
        except IntegrityError:  # somebody else set it for the first time just now: this one comes after
            return self._move_replay_time(to)

    def _move_replay_time(self, to: datetime) -> datetime:
        with self._writing() as session:
            row = session.exec(select(ReplayTime).where(ReplayTime.id == 1).with_for_update()).first()
            row = row or ReplayTime(now=to)
            row.now = max(row.now, to)
            session.add(row)
            return row.now

    def renew_hook(self, model_id: str, act: Act) -> int:
        """Begin a new generation of the model's webhook secret and return it; the secret before is worth nothing now.

        The entry of the audit chain is the generation: no secret, and nothing that one could be made of, is stored.
        Raises NotFound.
        """
        self.model(model_id)
        with self._writing() as session:
            self._audit(session, act, RENEW_HOOK, model_id, None, None)
            session.flush()
            return _hook_generation(session, model_id)

    def hook_generation(self, model_id: str) -> int:
        """Which secret signs the model's webhook; 0 where none was given out, and so nothing can be signed."""
        with self._reading() as session:
            return _hook_generation(session, model_id)


def _due(now: datetime) -> SelectOfScalar[Model]:
    """Found by two indexes first, so that the models that sleep are not read."""
    late = select(Model.id).where(Model.due_at <= now)
    ahead = select(Model.id).where(col(Model.decided_until) > now)
    return select(Model).where(col(Model.id).in_(union(late, ahead)))


def _hook_generation(session: Session, model_id: str) -> int:
    query = select(AuditEntry.sequence).where(AuditEntry.subject == model_id, AuditEntry.action == RENEW_HOOK)
    return session.exec(query.order_by(col(AuditEntry.sequence).desc()).limit(1)).first() or 0


def _declared(model: Model) -> Json:
    """The declaration as the audit chain keeps it: what was declared can be compared, code is kept by its digest."""
    return {"spec": model.spec, "spec_digest": model.spec_digest, "recipe_digest": model.recipe_digest}


def _new_schedules(model: Model, spec: ModelSpec) -> list[str]:
    """The schedule rules that the model does not have yet, or has with another plan, or had as a dry run only: what was
    due while a rule did nothing is not made up for.
    """
    known = {_plan(rule): rule.get("dry_run", False) for rule in model.spec.get("rules", ())}
    declared = [rule.model_dump(mode="json") for rule in spec.rules if isinstance(rule, ScheduleRule)]
    return [
        rule["name"] for rule in declared
        if _plan(rule) not in known or (known[_plan(rule)] and not rule["dry_run"])
    ]  # fmt: skip


def _plan(rule: Json) -> tuple[str | None, ...]:
    return rule.get("name"), rule.get("cron"), rule.get("timezone", "UTC"), rule.get("every")


def spec_of(model: Model) -> ModelSpec:
    """The model's spec as it was applied."""
    return ModelSpec.model_validate(model.spec)
