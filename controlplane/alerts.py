"""Which alerts hold: pure functions of what is known of a model. Each says what happened and what was done about it.

An alert is a level, not an event: it is there while its facts are, and gone when they are. Its fingerprint is made of
its name, its model and its identifying labels, so that the same thing is one alert however often it is looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from controlplane.alertfacts import AlertFacts, AlertName, Patience, RuleSaid, Ticking, is_late
from controlplane.lifecycle import RolloutState
from controlplane.promotion.rejection import Rejection
from controlplane.promotion.rollout import StepReason
from observability.durations import format_duration

#: a rule's condition holds, though something keeps the rule from firing; or it has fired
HOLDS: Final = frozenset(
    {
        "RETRAIN_DRIFT", "RETRAIN_NOVELTY", "RETRAIN_METRIC", "RETRAIN_WORTH", "WAIT_ACTIVE_RUN", "WAIT_COOLDOWN",
        "WAIT_PAUSED", "WAIT_INACTIVE_HOURS", "WAIT_BUDGET", "WAIT_DRY_RUN", "WAIT_NOT_TRAINED_HERE",
    }
)  # fmt: skip
DATA_KINDS: Final = ("drift", "novelty")
ERROR_KINDS: Final = ("metric", "worth")
#: labels that say which alert it is: a model's own labels cannot take their place
OWN_LABELS: Final = ("alertname", "severity", "model", "team", "data_owner", "fingerprint")


@dataclass(frozen=True)
class Holding:
    """An alert that holds."""

    name: AlertName
    summary: str
    #: what the system already did
    description: str
    #: what tells it from another alert of the same name and model
    labels: Mapping[str, str] = field(default_factory=dict)
    #: a retraining that answers it and is in progress
    inhibited_by: str | None = None

    def fingerprint(self, model: str | None) -> str:
        """The same for the same thing."""
        said = [self.name, model, sorted(self.labels.items())]
        return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()


def holding(facts: AlertFacts) -> list[Holding]:
    """Every alert that holds of a model."""
    return [found for check in CHECKS for found in check(facts)]


def outbox_holding(
    oldest: datetime | None, wall: datetime, patience: Patience, ticking: Ticking | None = None, told: bool = False
) -> list[Holding]:
    """The alerts of the installation: events have waited for too long for the spool to take them."""
    if oldest is None or not is_late(oldest, wall, patience.outbox, None if ticking is None else ticking.wall, told):
        return []
    return [
        Holding(
            AlertName.OUTBOX_STUCK, "Events of the control plane do not reach the spool",
            f"The oldest has waited since {oldest.isoformat(timespec='seconds')}. Nothing is lost: they are kept in the"
            " database and tried again at every tick.",
        )
    ]  # fmt: skip


def labels_of(
    found: Holding, model: str | None, team: str, data_owner: str, declared: Mapping[str, str]
) -> dict[str, str]:
    """Everything that routes may look at. What a spec declares comes first, so that it replaces nothing of ours."""
    own = {"alertname": found.name.value, "severity": found.name.severity, "fingerprint": found.fingerprint(model)}
    if model is not None:
        own |= {"model": model, "team": team, "data_owner": data_owner}
    free = {name: value for name, value in declared.items() if name not in OWN_LABELS}
    return free | dict(found.labels) | own


def _drift(facts: AlertFacts) -> Iterator[Holding]:
    for said in facts.windows:
        if said.kind in DATA_KINDS and said.reason in HOLDS:
            summary = f"{facts.model}: the data of version {facts.version} drifted, says rule {said.rule}"
            yield Holding(
                AlertName.DRIFT_DETECTED, summary, _answered(facts, said), {"rule": said.rule},
                facts.answered_by,
            )  # fmt: skip


def _broken_data(facts: AlertFacts) -> Iterator[Holding]:
    """For the owner of the data: the label `data_owner` says who that is, and routes can look at it."""
    found = facts.broken
    if found is not None:
        where = ", ".join(found.columns) or "the source as a whole"
        yield Holding(
            AlertName.DATA_BROKEN, f"{facts.model}: the data look broken ({found.bug}): {where}",
            f"{found.explanation} Nothing is retrained on them until they are well.", {"bug": found.bug},
        )  # fmt: skip


def _error(facts: AlertFacts) -> Iterator[Holding]:
    for said in facts.windows:
        if said.kind in ERROR_KINDS and said.reason in HOLDS:
            what = "an error metric" if said.kind == "metric" else "the expected loss"
            summary = f"{facts.model}: {what} of version {facts.version} is beyond its bound, says {said.rule}"
            yield Holding(
                AlertName.ERROR_METRIC_BEYOND_BOUND, summary, _answered(facts, said), {"rule": said.rule},
                facts.answered_by,
            )  # fmt: skip


def _answered(facts: AlertFacts, said: RuleSaid) -> str:
    if facts.answered_by is not None:
        return f"{said.detail}. A retraining is in progress: {facts.answered_by}."
    if facts.frozen is not None:
        return f"{said.detail}. A version that was made since goes no further: {facts.frozen}."
    if said.reason.startswith("RETRAIN"):
        return f"{said.detail}. A retraining was asked for, and no better version came of it."
    return f"{said.detail}. Nothing was retrained."


def _failed(facts: AlertFacts) -> Iterator[Holding]:
    run = facts.last_run
    if run is not None and run.failed:
        yield Holding(
            AlertName.RETRAINING_FAILED, f"{facts.model}: the last training run failed ({run.code})",
            f"Run {run.key}: {run.message}. The version in production goes on answering.",
        )  # fmt: skip


def _rejected(facts: AlertFacts) -> Iterator[Holding]:
    challenger = facts.challenger
    if challenger is not None and challenger.turned_down is not None:
        named = f"version {challenger.version}"
        known = Rejection.__members__.get(challenger.rejected_for or "")
        by_itself = known.value if known else challenger.rejected_for  # a name that another release wrote
        said = f"the gate turned {named} down" if by_itself is None else f"{named} was rejected: {by_itself}"
        yield Holding(
            AlertName.RETRAINING_REJECTED, f"{facts.model}: {said}", f"{challenger.turned_down}. {_goes_on(facts)}.",
            {"version": str(challenger.version)},
        )  # fmt: skip


def _unjudged(facts: AlertFacts) -> Iterator[Holding]:
    waits = facts.unjudged
    if waits is not None and facts.gate_is_stuck:
        yield Holding(
            AlertName.GATE_STUCK, f"{facts.model}: the gate does not judge version {waits.version}",
            f"It has waited since {waits.since.isoformat(timespec='seconds')}, and is tried at every tick: the log of"
            f" the control plane says what fails. No rule of the model fires meanwhile. {_goes_on(facts)}.",
            {"version": str(waits.version)},
        )  # fmt: skip


def _goes_on(facts: AlertFacts) -> str:
    return "No version is in production" if facts.version is None else "The version in production goes on answering"


def _approval(facts: AlertFacts) -> Iterator[Holding]:
    challenger = facts.challenger
    if challenger is not None and challenger.awaits_approval:
        yield Holding(
            AlertName.APPROVAL_WAITING, f"{facts.model}: version {challenger.version} waits for approval",
            "It passed every other check of the gate. It goes no further, and no rule of the model fires, until"
            " somebody approves or rejects it.",
            {"version": str(challenger.version)},
        )  # fmt: skip


def _aborted(facts: AlertFacts) -> Iterator[Holding]:
    rollout = facts.rollout
    if rollout is not None and rollout.state is RolloutState.ABORTED and rollout.stopped:
        goes_on = f"Version {rollout.champion} goes on answering" if rollout.champion else "No version is in production"
        yield Holding(
            AlertName.ROLLOUT_ABORTED,
            f"{facts.model}: the rollout of version {rollout.version} was stopped: {rollout.stopped}",
            f"{rollout.note}. {goes_on}.", {"version": str(rollout.version)},
        )  # fmt: skip


def _rolled_back(facts: AlertFacts) -> Iterator[Holding]:
    rollout = facts.rollout
    if rollout is not None and rollout.state is RolloutState.ROLLED_BACK and rollout.stopped:
        yield Holding(
            AlertName.ROLLED_BACK,
            f"{facts.model}: version {rollout.version} was taken out of production: {rollout.stopped}",
            f"{rollout.note}. Version {rollout.champion} is back in production.", {"version": str(rollout.version)},
        )  # fmt: skip


def _stuck(facts: AlertFacts) -> Iterator[Holding]:
    rollout = facts.rollout
    if rollout is None or rollout.state is not RolloutState.LOADING or rollout.reason != StepReason.STAY_LOADING.name:
        return  # it waits for something else, such as the end of a freeze
    if facts.late(AlertName.ROLLOUT_STUCK, rollout.since, facts.patience.rollout_stuck):
        yield Holding(
            AlertName.ROLLOUT_STUCK, f"{facts.model}: no instance has loaded version {rollout.version}",
            f"The rollout has waited since {rollout.since.isoformat(timespec='seconds')} for every serving instance to"
            " report it. It goes on by itself when they do.",
            {"version": str(rollout.version)},
        )  # fmt: skip


def _not_started(facts: AlertFacts) -> Iterator[Holding]:
    run = facts.unstarted
    if run is not None and facts.late(AlertName.RUN_STUCK, run.since, facts.patience.run_stuck):
        yield Holding(
            AlertName.RUN_STUCK, f"{facts.model}: a training run does not start",
            f"Run {run.key} was asked for at {run.since.isoformat(timespec='seconds')} and claimed {run.attempts} times"
            ". It is tried again, and fails when that has gone on for too long. The version in production goes on"
            " answering.",
        )  # fmt: skip


def _unserved(facts: AlertFacts) -> Iterator[Holding]:
    since = facts.unserved_since
    if facts.version is not None and since is not None and facts.wall - since >= facts.patience.no_instance:
        yield Holding(
            AlertName.NO_SERVING_INSTANCE, f"{facts.model}: nobody serves version {facts.version}",
            f"Since {since.isoformat(timespec='seconds')} no serving instance that reports has it loaded. Instances"
            " that cannot reach the control plane go on answering with what they have.",
        )  # fmt: skip


def _budget(facts: AlertFacts) -> Iterator[Holding]:
    if facts.without_budget:
        said = facts.without_budget[0]
        names = ", ".join(sorted({each.rule for each in facts.without_budget}))
        yield Holding(
            AlertName.BUDGET_EXHAUSTED, f"{facts.model}: its budget keeps {names} from retraining",
            f"{said.detail}. Rules fire again by themselves when the budget allows it.",
        )  # fmt: skip


def _behind(facts: AlertFacts) -> Iterator[Holding]:
    seen, allowed = facts.monitored_at, facts.patience.monitor
    told, ticking = AlertName.MONITOR_BEHIND in facts.told, facts.ticking.now if facts.ticking is not None else None
    if seen is not None and allowed is not None and is_late(seen, facts.now, allowed, ticking, told):
        yield Holding(
            AlertName.MONITOR_BEHIND, f"{facts.model}: the monitor has not looked at it lately",
            f"Its last pass ended at {seen.isoformat(timespec='seconds')}, more than {format_duration(allowed)} ago."
            " Windows are cut when it goes on; until then drift is not seen.",
        )  # fmt: skip


CHECKS: Final[tuple[Callable[[AlertFacts], Iterator[Holding]], ...]] = (
    _drift, _broken_data, _error, _failed, _rejected, _unjudged, _approval, _aborted, _rolled_back, _stuck, _unserved,
    _budget, _not_started, _behind,
)  # fmt: skip
