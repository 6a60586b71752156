"""What came of it: read from the database, the ledger and the starts, after every replica is dead."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from pydantic import ValidationError
from sqlmodel import Session, select

from bench.crash_stage.ledger import Entry
from bench.crash_stage.plan import RULE, Plan
from controlplane.lifecycle import ACTIVE, ON_ITS_WAY, RunState
from controlplane.store import open_engine
from controlplane.tables import Firing, GateRecord, OutboxEntry, TrainingRun, Version
from pipeline.contract.training import REPORT_FILE, TrainingReport


@dataclass(frozen=True)
class Seen:
    """All that is left. Only what the schedule asked for; how the models came into production is not looked at."""

    firings: Sequence[Firing]
    runs: Sequence[TrainingRun]
    versions: Sequence[Version]
    gates: Sequence[GateRecord]
    #: ids of the firings' events that are said to be on the disk, and of those that are
    published: frozenset[str]
    told: frozenset[str]
    entries: Sequence[Entry]
    #: how often each key was started
    starts: Counter[str]
    rounds: int


def look(plan: Plan) -> Seen:
    """Read everything once."""
    engine = open_engine(plan.url)
    with Session(engine) as session:
        firings = session.exec(select(Firing).where(Firing.rule == RULE)).all()
        asked = {firing.id for firing in firings}
        runs = [run for run in session.exec(select(TrainingRun)) if run.firing_id in asked]
        versions = session.exec(select(Version).where(Version.number > 1)).all()
        gates = session.exec(select(GateRecord).where(GateRecord.version > 1)).all()
        events = session.exec(select(OutboxEntry).where(OutboxEntry.kind == "firing")).all()
    engine.dispose()
    return Seen(
        firings=firings, runs=runs, versions=versions, gates=gates,
        published=frozenset(each.event_id for each in events if each.published_at and each.body["rule"] == RULE),
        told=frozenset(_told(plan)), starts=Counter(plan.starts.read_text().split()),
        entries=sorted(map(json.loads, plan.ledger.read_text().splitlines()), key=lambda each: each["at"]),
        rounds=int((plan.folder / "rounds").read_text()),
    )  # fmt: skip


def _told(plan: Plan) -> Iterator[str]:
    for line in plan.told.read_bytes().splitlines():
        try:
            yield json.loads(line)["event"]["id"]
        except ValueError:  # torn by a SIGKILL: its batch was not marked, and came again
            continue


def judge(plan: Plan, seen: Seen) -> dict[str, Any]:
    """The figures of one database."""
    ended = Counter(entry["point"] for entry in seen.entries if entry["what"] == "killed" and "point" in entry)
    outside = sum(entry["what"] == "killed" and "name" in entry for entry in seen.entries)
    took = list(take_overs(seen.entries)) or [0.0]
    failed = [entry["error"] for entry in seen.entries if entry["what"] == "failed"]
    return {
        "firings": len(seen.firings),
        "kills": ended.total() + outside,
        "kills_named": ended.total(),
        "kills_outside": outside,
        "kills_by_point": dict(sorted(ended.items())),
        "lost": lost(plan, seen),
        "doubled": doubled(plan, seen),
        "misjudged": misjudged(plan, seen),
        "events_lost": len(seen.published - seen.told),
        "promotions": sum(version.first_promoted_at is not None for version in seen.versions),
        "starts_absorbed": sum(entry["what"] == "absorbed" for entry in seen.entries),
        "stops": sum(entry["what"] == "continued" for entry in seen.entries),
        "stale_writes": sum(stale(seen.entries)),
        "refused_writes": sum(entry["what"] == "refused" for entry in seen.entries),
        "take_over_p50_s": round(float(np.percentile(took, 50)), 3),
        "take_over_p99_s": round(float(np.percentile(took, 99)), 3),
        "take_over_max_s": round(max(took), 3),
        "failed_ticks": len(failed),
        "first_failure": failed[0] if failed else None,
    }


def lost(plan: Plan, seen: Seen) -> int:
    """Causes without a firing, firings without a run, and runs that never began or never ended."""
    fired = {(firing.model, firing.cause) for firing in seen.firings}
    began = {run.firing_id for run in seen.runs}
    return (
        sum(cause not in fired for cause in causes(plan, seen.rounds))
        + sum(firing.id not in began for firing in seen.firings)
        + sum(run.state in ACTIVE or not seen.starts[run.key] for run in seen.runs)
        + sum(version.state in ON_ITS_WAY for version in seen.versions)
    )


def causes(plan: Plan, rounds: int) -> set[tuple[str, str]]:
    """All (model, cause) that came due."""
    due = [plan.due(number).isoformat() for number in range(1, rounds + 1)]
    return {(plan.name(number), cause) for number in range(plan.models) for cause in due}


def doubled(plan: Plan, seen: Seen) -> int:
    """Causes that fired again, causes that nobody knows, keys started twice, and what one run may have only one of."""
    fired = Counter((firing.model, firing.cause) for firing in seen.firings)
    once = [
        fired,
        Counter(run.firing_id for run in seen.runs),
        Counter({run.key: seen.starts[run.key] for run in seen.runs}),
        Counter(version.run_key for version in seen.versions),
        Counter(gate.run_key for gate in seen.gates),
    ]
    again = sum(count - 1 for counted in once for count in counted.values() if count > 1)
    return again + len(fired.keys() - causes(plan, seen.rounds)) + sum(_overlapping(seen.runs))


def _overlapping(runs: Sequence[TrainingRun]) -> Iterator[bool]:
    """Whether a run of a model was asked for before the one before it had ended."""
    of_model: dict[str, list[TrainingRun]] = defaultdict(list)
    for run in sorted(runs, key=lambda each: each.recorded_at):
        of_model[run.model].append(run)
    for of_one in of_model.values():
        for before, after in pairwise(of_one):
            yield before.ended_recorded_at is not None and after.recorded_at < before.ended_recorded_at


def misjudged(plan: Plan, seen: Seen) -> int:
    """Runs whose state is not what their process wrote into its report."""
    wrong = 0
    for run in seen.runs:
        try:
            report = TrainingReport.model_validate_json((plan.folder / "runs" / run.key / REPORT_FILE).read_bytes())
            code = report.failure.code if report.failure else None
        except (FileNotFoundError, ValidationError):
            code = "crashed"
        wrong += (run.state, run.failure_code) != (RunState.FAILED if code else RunState.SUCCEEDED, code)
    return wrong


def stale(entries: Sequence[Entry]) -> Iterator[bool]:
    """For each accepted write, whether a later epoch of its run had been claimed before it was made."""
    claims: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for entry in entries:
        if entry["what"] == "claimed":
            claims[entry["key"]].append((entry["epoch"], entry["at"]))
    for entry in entries:
        if entry["what"] == "wrote":
            yield any(epoch > entry["epoch"] and at < entry["updated_at"] for epoch, at in claims.get(entry["key"], ()))


def take_overs(entries: Sequence[Entry]) -> Iterator[float]:
    """For each run that a dead or stopped process held, the seconds until another claimed it."""
    holder: dict[str, str] = {}
    gone: dict[str, float] = {}
    for entry in entries:
        match entry["what"]:
            case "claimed":
                key, who = entry["key"], entry["who"]
                if (before := holder.get(key)) in gone and before != who:
                    yield entry["at"] - gone[before]
                holder[key] = who
            case "wrote" if entry["verb"] == "finish_run":
                holder.pop(entry["key"], None)
            case "killed" | "stopped":
                gone.setdefault(entry.get("name", entry["who"]), entry["at"])
