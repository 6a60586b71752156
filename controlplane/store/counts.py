"""How much has happened to a model."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    """Verbs that count."""

    def counts(self, model_id: str) -> Counts:
        """The model's totals."""
        with self._reading() as session:
            fired = session.exec(
                select(Firing.trigger, func.count()).where(Firing.model == model_id).group_by(col(Firing.trigger))
            ).all()
            ran = session.exec(
                select(TrainingRun.state, func.count())
                .where(TrainingRun.model == model_id)
                .group_by(col(TrainingRun.state))
            ).all()
            versions = select(func.count()).select_from(Version).where(Version.model == model_id)
            promoted = session.exec(versions.where(col(Version.first_promoted_at).is_not(None))).one()
            rejected = session.exec(versions.where(Version.state == VersionState.REJECTED)).one()
        return Counts(
            firings={trigger: 0 for trigger in dict.fromkeys(TRIGGERS.values())} | dict(fired),
            runs={state.value: 0 for state in RunState} | {str(state): count for state, count in ran},
            promotions=promoted,
            rejections=rejected,
        )
