"""From a decision to a firing: what the run is asked is fixed here, in the transaction of the decision."""

from __future__ import annotations

from datetime import datetime

from controlplane.errors import RunActive
from controlplane.evidence import gather
from controlplane.rules import MANUAL, Decision, decide, decide_manual
from controlplane.store import Store, spec_of
from controlplane.tables import Model, TrainingRun, Version
from observability.ids import new_id
from pipeline.contract.training import TrainingRequest


def apply_rules(store: Store, model: Model, now: datetime) -> TrainingRun | None:
    """Ask every rule of the model; store what is new. At most one of them fires, and its run is returned."""
    rules = spec_of(model).rules
    facts = gather(store, model.id, now, rules)
    for rule in rules:
        for decision in decide(rule, facts):
            if decision.outcome == "fire":
                run = fire(store, model, decision, now)
                if run is not None:
                    return run
            else:
                store.record_wait(model.id, decision, facts.version, now)
    return None


def ask(store: Store, model_id: str, request_id: str, reason: str, now: datetime) -> TrainingRun:
    """The run that this request asks for; asking again with the same id gives the same run.

    Raises NotFound, or RunActive where the model is busy: the request may then be repeated later.
    """
    model = store.model(model_id)
    known = store.run_of_cause(model_id, MANUAL, request_id)
    if known is not None:
        return known
    facts = gather(store, model_id, now)
    decision = decide_manual(request_id, reason, facts)
    run = fire(store, model, decision, now) if decision.outcome == "fire" else None
    run = run or store.run_of_cause(model_id, MANUAL, request_id)
    if run is None:
        if decision.outcome == "wait":
            store.record_wait(model_id, decision, facts.version, now)
        raise RunActive(f"{facts.busy or 'another rule fired just now'}: ask again when it has ended")
    return run


def fire(store: Store, model: Model, decision: Decision, now: datetime) -> TrainingRun | None:
    """Store the firing and the run it asks for. None where the cause has fired, or the model is busy."""
    champion = store.production(model.id)
    request = training_request(model, champion, decision, now)
    return store.record_firing(model.id, decision, request, champion.number if champion else None, now)


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
