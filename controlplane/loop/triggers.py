"""From a decision to a firing: what the run is asked is fixed here, in the transaction of the decision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from controlplane.access.acts import Act
from controlplane.errors import NotTrainedHere, RunActive
from controlplane.loop.evidence import gather
from controlplane.rules.decide import MANUAL, WEBHOOK, Decision, Reason, decide_all, decide_manual, wakes_at
from controlplane.store import Store, spec_of
from controlplane.store.decisions import Asking
from controlplane.tables import Model, TrainingRun, Version
from observability.ids import new_id
from pipeline.contract.rulespec import ScheduleRule
from pipeline.contract.spec import ModelSpec
from pipeline.contract.training import TrainingRequest

#: how often a model that changed while it was looked at is looked at again in the same tick
ATTEMPTS: Final = 3
#: of a run that was made to replace a version that is not in production any more
OVERTAKEN: Final = "overtaken"
#: behind the cause of a run that was overtaken: the cause of the one in its place
AGAIN: Final = ":again"
#: specs that are kept as they were read
SPECS_KEPT: Final = 5_000
_SPECS: Final[dict[str, ModelSpec]] = {}


@dataclass(frozen=True)
class Applied:
    """What came of asking a model's rules."""

    #: the run of the one that fired
    run: TrainingRun | None
    #: when time alone changes what any of them says
    wakes_at: datetime
    #: what the rules about windows were asked, where nothing of it is left to judge
    question: str | None = None


def apply_rules(store: Store, model: Model, now: datetime, attempts: int = ATTEMPTS) -> Applied:
    """Ask every rule of the model; store what is new. At most one of them fires, and only while the model is as it was
    when it was asked: what changed meanwhile, such as a pause, is looked at first.
    """
    spec = _spec(model)
    evidence = gather(store, model.id, now, spec.rules, spec.budget)
    facts, said = replace(evidence.facts, trainable=not spec.watched), evidence.said
    decisions = list(decide_all(spec.rules, facts))
    place = next((place for place, each in enumerate(decisions) if each.outcome == "fire"), len(decisions))
    before, firing, after = decisions[:place], decisions[place : place + 1], decisions[place + 1 :]
    store.record_waits(model.id, before, facts.version, now, said)
    run = fire(store, model, firing[0], now, seen=model.changes) if firing else None
    if firing and run is None and attempts > 1:
        fresh = store.model(model.id)
        if fresh.changes != model.changes:
            return apply_rules(store, fresh, now, attempts - 1)
    store.record_waits(model.id, after, facts.version, now, said)
    unsaid = facts.more or (firing and run is None)
    return Applied(run, wakes_at(spec.rules, facts, decisions), None if unsaid else evidence.question)


def _spec(model: Model) -> ModelSpec:
    """The model's spec, read once for each digest of it."""
    found = _SPECS.get(model.spec_digest)
    if found is None:
        if len(_SPECS) >= SPECS_KEPT:
            _SPECS.clear()
        found = _SPECS[model.spec_digest] = spec_of(model)
    return found


def ask(
    store: Store,
    model_id: str,
    request_id: str,
    reason: str,
    now: datetime,
    act: Act | None = None,
    rule: str = MANUAL,
) -> TrainingRun:
    """The run that this request asks for; asking again with the same id gives the same run.

    Raises NotFound, NotTrainedHere where the model is only watched, or RunActive where it is busy: the request may then
    be repeated later.
    """
    model = store.model(model_id)
    if (known := _run_of(store, model_id, rule, request_id)) is not None:
        return known
    if _spec(model).watched:
        raise NotTrainedHere(model=model_id)
    facts = gather(store, model_id, now).facts
    decision = decide_manual(request_id, reason, facts, rule)
    run = fire(store, model, decision, now, act) if decision.outcome == "fire" else None
    run = run or _run_of(store, model_id, rule, request_id)
    if run is None:
        if decision.outcome == "wait":
            store.record_wait(model_id, decision, facts.version, now)
        raise RunActive(f"{facts.busy or 'another rule fired just now'}: ask again when it has ended")
    return run


def _run_of(store: Store, model_id: str, rule: str, request_id: str) -> TrainingRun | None:
    """The run of this request; the one that was asked for in its place, where production overtook it."""
    run = store.run_of_cause(model_id, rule, request_id)
    if run is None or run.failure_code != OVERTAKEN:
        return run
    return store.run_of_cause(model_id, rule, request_id + AGAIN) or run


def fire(
    store: Store, model: Model, decision: Decision, now: datetime, act: Act | None = None, seen: int | None = None
) -> TrainingRun | None:
    """Store the firing and the run it asks for. None where the cause has fired, the model is busy, or has changed since
    it was `seen`. Where another version came into production meanwhile the run is to replace that one.
    """
    champion = store.production(model.id)
    for _ in range(ATTEMPTS):
        asking = _asking(model, champion, decision, now)
        run = store.record_firing(model.id, decision, asking.request, asking.parent, now, act, seen)
        if run is not None:
            return run
        before, champion = champion, store.production(model.id)
        if _manifest(champion) == _manifest(before):
            return None
    return None


def _manifest(version: Version | None) -> str | None:
    return version.manifest if version else None


def _asking(model: Model, champion: Version | None, decision: Decision, now: datetime) -> Asking:
    request = training_request(model, champion, decision, now)
    return Asking(decision, request, champion.number if champion else None)


def asked_again(store: Store, run: TrainingRun, why: str, now: datetime) -> Asking | None:
    """What is asked in the place of a run that was overtaken, once: its cause does not come again. None where it does:
    rules about windows and rows judge the version that came back by themselves.
    """
    firing, model = store.firings_of([run.firing_id])[run.firing_id], store.model(run.model)
    live = {rule.name for rule in _spec(model).rules if isinstance(rule, ScheduleRule) and not rule.dry_run}
    if firing.rule not in live | {MANUAL, WEBHOOK} or firing.cause.endswith(AGAIN):
        return None
    detail = f"asked again, because its run was {why}; {firing.detail}"
    cause, reason = firing.cause + AGAIN, Reason[firing.reason]
    decision = Decision(firing.rule, firing.kind, cause, "fire", reason, detail)
    return _asking(model, store.production(run.model), decision, now)


def training_request(model: Model, champion: Version | None, decision: Decision, now: datetime) -> TrainingRequest:
    """What a run is asked: everything it needs, so that it can be repeated whatever happens to the model."""
    return TrainingRequest(
        key=new_id(),
        spec=spec_of(model),
        recipe=model.recipe,
        cutoff=now,
        champion=champion.manifest if champion else None,
        champion_cutoff=champion.train_until if champion else None,
        why=f"{decision.reason}: {decision.detail}",
    )
