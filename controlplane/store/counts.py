"""How much has happened to a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import case
from sqlmodel import col, func, select

from controlplane.lifecycle import RunState, VersionState
from controlplane.store.database import Database
from controlplane.tables import Firing, TrainingRun, Version
from pipeline.contract.rulespec import TRIGGERS


@dataclass(frozen=True)
class Counts:
    """Totals since the model was first applied."""

    #: by trigger: data, schedule, metric, manual
    firings: dict[str, int] = field(default_factory=dict)
    #: by state
    runs: dict[str, int] = field(default_factory=dict)
    #: versions that went into production, the first one included
    promotions: int = 0
    rejections: int = 0


class Counting(Database):
    """Verbs that count. Every count is taken from an index by model: none reads another model's rows."""

    def counts(self, model_id: str) -> Counts:
        """The model's totals."""
        return self.counts_of([model_id])[model_id]

    def counts_of(self, models: Sequence[str]) -> dict[str, Counts]:
        """The totals of each of these models, in three queries."""
        found = {model: Counts(_none_of(TRIGGERS.values()), _none_of(RunState), 0, 0) for model in models}
        fired = select(Firing.model, Firing.trigger, func.count()).where(col(Firing.model).in_(models))
        ran = select(TrainingRun.model, TrainingRun.state, func.count()).where(col(TrainingRun.model).in_(models))
        rejected = case((col(Version.state) == VersionState.REJECTED, 1))
        made = select(Version.model, func.count(col(Version.first_promoted_at)), func.count(rejected))
        made = made.where(col(Version.model).in_(models)).group_by(col(Version.model))
        with self._reading() as session:
            for model, trigger, count in session.exec(fired.group_by(col(Firing.model), col(Firing.trigger))):
                found[model].firings[trigger] = count
            for model, state, count in session.exec(ran.group_by(col(TrainingRun.model), col(TrainingRun.state))):
                found[model].runs[str(state)] = count
            for model, promoted, refused in session.exec(made):
                found[model] = replace(found[model], promotions=promoted, rejections=refused)
        return found


def _none_of(kinds: Iterable[str]) -> dict[str, int]:
    return {str(kind): 0 for kind in dict.fromkeys(kinds)}
