"""A database that tells a story, for the tests of the admin UI: what changed, what was noticed, what was done."""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlmodel import Session

from controlplane.lifecycle import AlertState, RolloutState, RunState, VersionState
from controlplane.rules.decide import Decision, Reason
from controlplane.store import Store
from controlplane.tables import (
    Alert,
    Comparison,
    DecisionRecord,
    Firing,
    GateRecord,
    Hold,
    Instance,
    Model,
    Notification,
    Observation,
    Rollout,
    ScoredWindow,
    TrainingRun,
    Version,
)
from observability.clock import SystemClock
from observability.windows import EPOCH
from pipeline.contract.rulespec import TRIGGERS
from pipeline.contract.spec import ModelSpec
from pipeline.contract.specfile import read_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
TWEETS = "default/tweets"
#: a canary that is measured, and a version that waits for a person
RETURNS, FRAUD = "shop/returns", "shop/fraud"
PLAN = {
    "shadow": {"rows": 500}, "canary": [{"share": 0.05, "rows": 500}, {"share": 0.25, "rows": 2000, "at_least": "6h"}],
    "guards": {"metric": "roc_auc", "margin": 0.01, "latency_ratio": 2.0}, "watch": "1d",
}  # fmt: skip
MEASURED = {
    "rows": 1342, "failed": 2, "labelled": 611, "error_share": 2 / 1342, "champion_ms_p99": 6.1,
    "challenger_ms_p99": 7.4,
    "improvement": {
        "metric": "roc_auc", "confidence": 0.99, "champion": 0.7612, "challenger": 0.7741, "difference": 0.0129,
        "lower": -0.0031, "upper": 0.0284,
    },
}  # fmt: skip
CHECKS = [
    {"check": "parity", "passed": True, "detail": "0 labels differ from the original, scores by up to 3.1e-07",
     "numbers": {"label_mismatches": 0, "max_score_difference": 3.1e-7}},
    {"check": "rows", "passed": True, "detail": "1200 rows, 100 are needed", "numbers": {"rows": 1200}},
    {"check": "improvement", "passed": True,
     "detail": "roc_auc 0.8020 against 0.7640 of the champion: better by +0.0380, at least +0.0160 at 95% confidence",
     "numbers": {"challenger": 0.802, "champion": 0.764, "difference": 0.038, "lower": 0.016, "upper": 0.06}},
    {"check": "slice:carrier", "passed": True, "detail": "roc_auc by carrier: worse on none of 2 values",
     "numbers": {"metric": "roc_auc", "margin": 0.02, "min_rows": 100, "values": [
         {"value": "AA", "rows": 412, "difference": 0.021, "lower": -0.004, "upper": 0.047},
         {"value": "DL", "rows": 388, "difference": 0.044, "lower": 0.012, "upper": 0.075}]}},
    {"check": "calibration", "passed": False, "detail": "calibration error 0.0610, allowed 0.05",
     "numbers": {"calibration_error": 0.061, "max": 0.05}},
]  # fmt: skip
START = datetime(2020, 12, 12, 9, tzinfo=UTC)
SPAN = timedelta(hours=37)
#: in the window with this number the world changes, and the new version comes a little later
ONSET = 34


def digest(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def ordered_id(number: int) -> str:
    return f"0192b3c4-{number:04x}-7000-8000-{digest(number)[:12]}"


@dataclass
class Story:
    """Writes rows as the control plane would have, straight into the tables."""

    store: Store
    dice: random.Random = field(default_factory=lambda: random.Random(20_201_212))
    number: int = 0

    def add(self, *rows: Any) -> None:
        with Session(self.store._writing_engine, expire_on_commit=False) as session, session.begin():
            for row in rows:
                session.add(row)
                session.flush()

    def next_id(self) -> str:
        self.number += 1
        return ordered_id(self.number)

    def apply(self, recipe: str, at: datetime, **changes: Any) -> ModelSpec:
        spec, sources = read_recipe(RECIPES / recipe)
        spec = ModelSpec.model_validate({**spec.model_dump(mode="json", by_alias=True), **changes})
        self.store.apply_model(spec, sources, at)
        return spec

    def decide(self, spec: ModelSpec, decision: Decision, version: int | None, at: datetime) -> DecisionRecord:
        return self.decide_for(spec.model, decision, version, at)

    def decide_for(self, model: str, decision: Decision, version: int | None, at: datetime) -> DecisionRecord:
        record = DecisionRecord(
            id=self.next_id(), model=model, rule=decision.rule, kind=decision.kind, cause=decision.cause, turn=1,
            outcome=decision.outcome, reason=decision.reason.name, detail=decision.detail, numbers={}, version=version,
            decided_at=at, recorded_at=SystemClock().now(),
        )  # fmt: skip
        self.add(record)
        return record

    def fire(self, spec: ModelSpec, decision: Decision, parent: int | None, at: datetime) -> TrainingRun:
        record = self.decide(spec, decision, parent, at)
        firing = Firing(
            id=self.next_id(), model=spec.model, rule=decision.rule, kind=decision.kind,
            trigger=TRIGGERS[decision.kind], cause=decision.cause, decision_id=record.id, reason=decision.reason.name,
            detail=decision.detail, fired_at=at, recorded_at=SystemClock().now(),
        )  # fmt: skip
        run = TrainingRun(
            key=self.next_id(), firing_id=firing.id, model=spec.model, state=RunState.RUNNING, request={},
            parent=parent, asked_at=at, started_at=at, recorded_at=SystemClock().now() - timedelta(seconds=21),
            attempts=1, epoch=1, lease_owner="control-1",
        )  # fmt: skip
        self.add(firing, run)
        return run

    def fire_ended(self, model: Model, decision: Decision) -> TrainingRun:
        """The run of a firing that is over, so that another may be active."""
        firing = Firing(
            id=self.next_id(), model=model.id, rule=decision.rule, kind=decision.kind, trigger="manual",
            cause=decision.cause, reason=decision.reason.name, detail=decision.detail, fired_at=START,
            decision_id=self.decide_for(model.id, decision, 1, START).id, recorded_at=SystemClock().now(),
        )  # fmt: skip
        run = TrainingRun(
            key=self.next_id(), firing_id=firing.id, model=model.id, state=RunState.SUCCEEDED, request={}, parent=1,
            asked_at=START + SPAN, recorded_at=SystemClock().now(),
        )  # fmt: skip
        self.add(firing, run)
        return run

    def progress(self, run: TrainingRun, phase: str, fraction: float, message: str) -> None:
        run.progress = {"phase": phase, "fraction": fraction, "message": message, "at": "2021-03-09T10:00:00Z"}
        self.add(run)

    def fail(self, run: TrainingRun, code: str, message: str, seconds: float = 8.4) -> None:
        run.state, run.failure_code, run.failure_message = RunState.FAILED, code, message
        run.progress = {"phase": "ingest", "fraction": 0.1, "message": "reading", "at": "2021-03-09T10:00:00Z"}
        run.report, run.ended_at = {"seconds": seconds}, run.asked_at + timedelta(minutes=3)
        self.add(run)

    def make(
        self, run: TrainingRun, number: int, state: VersionState, scores: dict[str, float], **gate: Any
    ) -> Version:
        run.state, run.ended_at = RunState.SUCCEEDED, run.asked_at + timedelta(hours=2)
        run.report = {"seconds": 31.7 + number}
        run.progress = {"phase": "done", "fraction": 1.0, "message": "", "at": "2021-03-09T10:00:00Z"}
        at = run.asked_at + timedelta(hours=3)
        version = Version(
            model=run.model, number=number, state=state, note=str(gate.get("note", "passed the gate and was loaded")),
            manifest=digest("manifest", run.key), onnx_sha256=digest("onnx", run.key), parent=run.parent,
            run_key=run.key, firing_id=run.firing_id, metrics=metrics(scores["auc"]),
            dataset={
                "fingerprint": digest("rows", run.key), "period": ["2020-11-02T00:00:00Z", run.asked_at.isoformat()],
                "train_rows": 4_800 + 120 * number, "holdout_rows": 1_200, "code_version": "0.1.0+g3745add",
                "cutoff": run.asked_at.isoformat(),
            },
            constant_metrics=metrics(0.5), champion_metrics=metrics(scores["champion"]) if "champion" in scores else {},
            parity={"rows": 1_250, "label_mismatches": 0, "max_score_difference": 3.1e-7}, gate_rows=digest("gate"),
            mlflow_run_id=digest("mlflow", run.key)[:32], mlflow_version=str(number),
            bento_tag=f"tweets:{digest(run.key)[:16]}", train_until=run.asked_at - timedelta(days=2), made_at=at,
            state_at=at, recorded_at=SystemClock().now(),
        )  # fmt: skip
        if state in (VersionState.PRODUCTION, VersionState.RETIRED, VersionState.ROLLED_BACK):
            version.promoted_at = version.first_promoted_at = at
        self.add(run, version, self.verdict(version, scores, gate))
        return version

    def verdict(self, version: Version, scores: dict[str, float], gate: dict[str, Any]) -> GateRecord:
        other = scores.get("champion", 0.5)
        difference = scores["auc"] - other
        width = gate.get("width", 0.022)
        passed = difference - width > 0
        numbers = {
            "metric": "roc_auc", "rows": 1_200, "margin": 0.0, "challenger": scores["auc"],
            "champion": scores.get("champion"), "difference": difference, "lower": difference - width,
            "upper": difference + width, "confidence": 0.95,
        }  # fmt: skip
        first = "champion" not in scores
        reason = "PASS_FIRST" if first else "PASS_BETTER" if passed else "FAIL_NOT_BETTER"
        return GateRecord(
            id=self.next_id(), model=version.model, version=version.number, run_key=version.run_key, passed=passed,
            reason=reason, numbers=numbers, decided_at=version.made_at, checks=gate.get("checks", []),
            detail=f"roc_auc {scores['auc']:.4f} against {other:.4f}: better by {difference:+.4f}, "
            f"at least {difference - width:+.4f} at 95% confidence, margin 0",
        )  # fmt: skip

    def alert(self, model: str | None, name: str, severity: str, summary: str, description: str, **more: Any) -> Alert:
        began = more.pop("began", START + SPAN * 57)
        told = SystemClock().now() - more.pop("told", timedelta(minutes=14))
        fields = {"state": AlertState.FIRING, "labels": {"alertname": name}, **more}
        row = Alert(
            id=self.next_id(), fingerprint=digest(model, name, self.number), model=model, name=name, severity=severity,
            summary=summary, description=description, began_at=began, state_at=began, recorded_at=told, **fields,
        )  # fmt: skip
        self.add(row)
        return row

    def unheard(self, alert: Alert, channel: str, error: str | None, attempts: int = 4) -> None:
        now = SystemClock().now()
        self.add(
            Notification(
                id=self.next_id(), channel=channel, alert_id=alert.id, revision=1, body={}, due_at=now,
                recorded_at=now - timedelta(minutes=9), attempts=attempts, last_error=error,
            )
        )  # fmt: skip

    def roll_out(self, version: Version, champion: int | None, state: RolloutState, **more: Any) -> Rollout:
        at = START + SPAN * 56
        row = Rollout(
            id=self.next_id(), model=version.model, version=version.number, champion=champion, state=state, began_at=at,
            state_at=at + timedelta(hours=9), recorded_at=SystemClock().now() - timedelta(minutes=50), **more,
        )  # fmt: skip
        self.add(row)
        return row

    def window(
        self, spec: ModelSpec, version: int, end: datetime, verdict: dict[str, Any], settled: bool, first: bool = False
    ) -> ScoredWindow:
        after = EPOCH if first else end - (SPAN if spec.model == TWEETS else timedelta(days=14))
        row = ScoredWindow(
            id="w-" + digest(spec.model, version, end)[:24], model=spec.model, version=version,
            monitor=spec.monitors[0].name, spec_digest="0f5e1c2a9b7d4e68", after_time=after, after_id="",
            until_time=end, until_id=ordered_id(9), rows=500, labelled=500 if settled else 41, verdict=verdict,
            revision=2 if settled else 1, cut_at=end, scored_at=end, labels_due_at=end + timedelta(days=1),
            error_at=end + timedelta(days=1) if settled else None,
        )  # fmt: skip
        self.add(row)
        return row


def metrics(auc: float) -> dict[str, float]:
    return {
        "roc_auc": auc, "pr_auc": max(0.31, auc - 0.17), "log_loss": 0.62 - (auc - 0.5) * 0.5,
        "error": 0.31 - (auc - 0.5) * 0.3, "brier": 0.214 - (auc - 0.5) * 0.2, "calibration_error": 0.021,
    }  # fmt: skip


def drift(
    spec: ModelSpec, dice: random.Random, hit: dict[str, float], auc: float | None, weak: float = 1.0
) -> dict[str, Any]:
    """A verdict as the monitor stores it; `hit` names the features that drifted, and how far."""
    features: dict[str, Any] = {}
    for feature in spec.features:
        numeric = feature.type == "numeric"
        threshold = 0.001 if numeric else 0.1
        severity = hit.get(feature.name, min(0.95, abs(dice.gauss(0.22, 0.2)) * weak))
        score = threshold**severity if numeric else threshold * severity
        features[feature.name] = {
            "method": "ks" if numeric else "jensenshannon", "score": score, "threshold": threshold,
            "drifted": severity >= 1, "missing_share": 0.021 if feature.name == "location" else 0.0,
            "reference_missing_share": 0.019 if feature.name == "location" else 0.0,
            "unseen_share": None if numeric else 0.08 + 0.05 * severity, "reason": None,
        }  # fmt: skip
    moved = min(2.5, sum(hit.values()) / 6)
    prediction = {"feature": "score", "method": "ks", "score": 0.001**moved, "threshold": 0.001, "drifted": moved >= 1}
    verdict = {
        "sampled": 500, "features": features, "prediction": {**prediction, "missing_share": 0.0},
        "drifted_share": sum(each["drifted"] for each in features.values()) / len(features),
        "quality": {
            "out_of_range_share": {name: 0.004 for name in features}, "duplicated_rows": 3, "duplicated_columns": 0,
            "constant_columns": 0, "empty_columns": 0, "missing_share": {}, "unseen_share": {}, "reason": None,
        },
        "error": None,
    }  # fmt: skip
    if auc is not None:
        told = {name: value for name, value in metrics(auc).items() if name != "calibration_error"}
        verdict |= {"error": told, "error_reference": metrics(0.79), "error_reason": None}
    return verdict


HIT = {"hashtags": 4.6, "location": 1.7, "followers": 2.3, "text_length": 1.4, "link": 3.2, "hashtag_count": 2.1}


def fill(store: Store) -> None:
    """Tweets with a long story, flights that are steady, and a model that was declared just now."""
    story = Story(store)
    tweets(story)
    flights(story)
    story.apply(
        "flights", START, model="labs/nowcast", description="Weekly illness rate from messages with flu keywords"
    )
    returns(story)
    fraud(story)
    loaded = [{"model": TWEETS, "version": 3, "manifest": digest("manifest", "x")}]
    loaded += [{"model": FRAUD, "version": n, "manifest": story.store.version(FRAUD, n).manifest} for n in (1, 2)]
    story.add(Instance(id="serving-1", loaded=loaded, failed=[], reported_at=SystemClock().now()))


def tweets(story: Story) -> None:
    spec = story.apply("tweets", START - timedelta(days=1))
    asked = Decision("manual", "manual", digest("request")[:36], "fire", Reason.RETRAIN_ASKED, "first training")
    story.make(
        story.fire(spec, asked, None, START - timedelta(hours=4)),
        1,
        VersionState.RETIRED,
        {"auc": 0.781},
        note="replaced by version 3",
    )
    due = START + timedelta(days=28)
    plan = Decision(
        "monthly", "schedule", due.isoformat(), "fire", Reason.RETRAIN_DUE, f"due at {due.isoformat()} (every 4w)"
    )
    story.make(
        story.fire(spec, plan, 1, due), 2, VersionState.REJECTED, {"auc": 0.784, "champion": 0.779},
        note="roc_auc 0.7840 against 0.7790 of the champion: not shown to be better", checks=CHECKS,
    )  # fmt: skip
    promoted = START + SPAN * (ONSET + 4)
    last = START
    for n in range(58):
        end = START + SPAN * (n + 1)
        version = 1 if end <= promoted else 3
        last = end
        window = story.window(spec, version, end, verdict_of(spec, story.dice, n, version), n < 56, first=n == 0)
        told(story, spec, window, n, version)
        if n == ONSET + 1:
            run = story.fire(spec, drifted(window), 1, end)
            story.make(run, 3, VersionState.PRODUCTION, {"auc": 0.802, "champion": 0.664})
        if n == 50:
            broken = Decision(
                "auc-fell",
                "metric",
                window.id,
                "fire",
                Reason.RETRAIN_METRIC,
                "roc_auc is 0.5921 on 500 labelled rows, bound: below 0.6",
            )
            story.fail(
                story.fire(spec, broken, 3, end),
                "bad_source",
                "tweets.csv:10412: a quote is never closed; mend the line or leave the file out",
            )
    enough = Decision(
        "enough-new-rows",
        "volume",
        "v3",
        "fire",
        Reason.RETRAIN_VOLUME,
        "5040 labelled rows that v3 has not learned from, 5000 needed",
    )
    story.progress(story.fire(spec, enough, 3, last), "fit", 0.46, "Spark fits 5,280 rows: stage 14 of 31")
    story.add(Observation(model=TWEETS, version=3, watermark=last, labelled_new=5_040, observed_at=last))


def verdict_of(spec: ModelSpec, dice: random.Random, n: int, version: int) -> dict[str, Any]:
    wave = 0.012 * math.sin(n / 3) + dice.gauss(0, 0.012)
    if version == 3:
        auc, hit = 0.797 + wave, {"hashtags": 1.1} if n in (48, 49) else {}
        return drift(spec, dice, hit, 0.592 if n == 50 else auc if n < 56 else None)
    if n < ONSET:
        hit = {"hashtags": 1.2} if n in (17, 25, 26) else {}
        return drift(spec, dice, hit, 0.776 + wave - n * 0.0006)
    scale = min(1.0, 0.55 + 0.2 * (n - ONSET))
    return drift(spec, dice, {name: far * scale for name, far in HIT.items()}, 0.668 + wave, weak=2.0)


def told(story: Story, spec: ModelSpec, window: ScoredWindow, n: int, version: int) -> None:
    share = window.verdict["drifted_share"]
    names = ", ".join(name for name, each in window.verdict["features"].items() if each["drifted"]) or "none"
    detail = f"{share:.0%} of the features drifted ({names}), threshold 40%"
    reason = Reason.WAIT_STABLE
    if share >= 0.4:
        reason, detail = Reason.WAIT_ACTIVE_RUN, f"run {ordered_id(77)} is running; {detail}"
    if n != ONSET + 1:
        story.decide(
            spec, Decision("features-drifted", "drift", window.id, "wait", reason, detail), version, window.until_time
        )
    if n in (30, 44):
        cooling = Decision(
            "auc-fell",
            "metric",
            window.id,
            "wait",
            Reason.WAIT_COOLDOWN,
            f"cooling down for 1d until {window.until_time.isoformat()}",
        )
        story.decide(spec, cooling, version, window.until_time)


def drifted(window: ScoredWindow) -> Decision:
    names = ", ".join(name for name, each in window.verdict["features"].items() if each["drifted"])
    detail = f"{window.verdict['drifted_share']:.0%} of the features drifted ({names}), threshold 40%"
    return Decision("features-drifted", "drift", window.id, "fire", Reason.RETRAIN_DRIFT, detail)


def flights(story: Story) -> None:
    spec = story.apply("flights", START)
    asked = Decision("manual", "manual", digest("flights")[:36], "fire", Reason.RETRAIN_ASKED, "first training")
    story.make(story.fire(spec, asked, None, START), 1, VersionState.PRODUCTION, {"auc": 0.735})
    for n in range(9):
        end = START + timedelta(days=14 * (n + 1))
        hit = {"carrier": 1.2} if n == 4 else {}
        window = story.window(spec, 1, end, drift(spec, story.dice, hit, 0.731 + story.dice.gauss(0, 0.01)), True)
        wait = Decision(
            "features-drifted",
            "drift",
            window.id,
            "wait",
            Reason.WAIT_STABLE,
            "0% of the features drifted (none), threshold 50%",
        )
        story.decide(spec, wait, 1, end)


def returns(story: Story) -> None:
    """Version 2 is a canary: what was measured of it is not enough yet. Two rules are paused, one by night."""
    spec = story.apply(
        "flights", START, model=RETURNS, team="shop", rollout=PLAN, description="Returned within 30 days"
    )
    version = trained(story, spec, VersionState.CANARY)
    note = "waits for 2000 rows that both have scored"
    canary = story.roll_out(version, 1, RolloutState.CANARY, step=1, share=0.25, note=note, reason="STAY_FEW_ROWS")
    story.add(
        Comparison(rollout=canary.id, since=canary.recorded_at, numbers=MEASURED, compared_at=START + SPAN * 58),
        Hold(model=RETURNS, what=f"rule:{spec.rules[0].name}", since=START + SPAN * 50, by="alice",
             why="the summer sale: drift is expected until it ends"),
    )  # fmt: skip
    kept = Decision(
        spec.rules[0].name, "drift", "w-none", "wait", Reason.WAIT_PAUSED,
        "alice paused it: the summer sale; 61% of the features drifted",
    )  # fmt: skip
    story.decide(spec, kept, 1, START + SPAN * 57)
    story.alert(
        RETURNS, "DriftDetected", "warning", f"{RETURNS}: the data of version 1 drifted, says rule features-drifted",
        "61% of the features drifted (carrier, distance), threshold 50%. Nothing was retrained.",
        state=AlertState.ACKNOWLEDGED, by="alice", why="the summer sale, expected", told=timedelta(hours=5),
    )  # fmt: skip


def fraud(story: Story) -> None:
    """Version 2 is in production and hurts; version 3 waits for a person."""
    spec = story.apply("flights", START, model=FRAUD, team="shop", gate={"approval": True}, description="Card fraud")
    trained(story, spec, VersionState.PRODUCTION)
    awaiting(story, spec)
    bad = story.alert(
        FRAUD, "ErrorMetricBeyondBound", "critical",
        f"{FRAUD}: an error metric of version 2 is beyond its bound, says auc-fell",
        "roc_auc is 0.5921 on 500 labelled rows, bound: below 0.6. Nothing was retrained.",
    )  # fmt: skip
    story.alert(
        FRAUD, "ApprovalWaiting", "info", f"{FRAUD}: version 3 waits for approval",
        "It passed every other check of the gate. It goes no further, and no rule of the model fires, until somebody"
        " approves or rejects it.",
    )  # fmt: skip
    story.unheard(bad, "oncall-webhook", "it answered 503: upstream connect error")


def awaiting(story: Story, spec: ModelSpec) -> None:
    """Version 3 passed its gate and waits for a person."""
    again = Decision("manual", "manual", digest(spec.model)[:36], "fire", Reason.RETRAIN_ASKED, "version 2 is bad")
    story.make(
        story.fire(spec, again, 2, START + SPAN * 55), 3, VersionState.AWAITING_APPROVAL,
        {"auc": 0.802, "champion": 0.764}, note="waits for a person", checks=CHECKS[:4],
    )  # fmt: skip


def trained(story: Story, spec: ModelSpec, state: VersionState) -> Version:
    """Version 1 went into production, version 2 came after it."""
    asked = Decision("manual", "manual", digest(spec.model, 1)[:36], "fire", Reason.RETRAIN_ASKED, "first training")
    first = VersionState.RETIRED if state is VersionState.PRODUCTION else VersionState.PRODUCTION
    story.make(story.fire(spec, asked, None, START), 1, first, {"auc": 0.741})
    for n in range(12):
        verdict = drift(spec, story.dice, {"carrier": 1.3} if n > 8 else {}, 0.735 + story.dice.gauss(0, 0.01))
        number = 2 if state is VersionState.PRODUCTION else 1
        story.window(spec, number, START + SPAN * (n + 40), verdict, True)
    due = Decision("weekly", "schedule", START.isoformat(), "fire", Reason.RETRAIN_DUE, "due by schedule")
    scores = {"auc": 0.774, "champion": 0.741}
    return story.make(story.fire(spec, due, 1, START + SPAN * 52), 2, state, scores, checks=CHECKS[:4])
