"""Texts that would run if a page did not escape them, and what holds one in every text that a page shows."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, select

from controlplane.access.acts import Act
from controlplane.lifecycle import AlertState, RolloutState, VersionState
from controlplane.rules.decide import Decision, Reason
from controlplane.tables import (
    Comparison,
    Firing,
    Hold,
    Instance,
    Model,
    Notification,
    ScoredWindow,
    SignIn,
    Token,
    TrainingRun,
    Version,
)
from observability.clock import SystemClock
from tests.admin_ui_story import MEASURED, PLAN, SPAN, START, Story, digest, drift

PAYLOADS = (
    "<script>window.PWNED=1</script>",
    "<img src=x onerror=window.PWNED=1>",
    "<svg onload=window.PWNED=1>",
    "<svg><script>window.PWNED=1</script></svg>",
    "</title><script>window.PWNED=1</script>",
    "</text></svg><script>window.PWNED=1</script>",
    "\"><script>window.PWNED=1</script>",
    "'><img src=x onerror='window.PWNED=1'>",
    "\" onmouseover=\"window.PWNED=1\" autofocus onfocus=\"window.PWNED=1\" x=\"",
    "' onfocus='window.PWNED=1' autofocus x='",
    "javascript:window.PWNED=1",
    "\"><a href=\"javascript:window.PWNED=1\" id=main>x</a>",
    "<iframe srcdoc=\"<script>parent.PWNED=1</script>\"></iframe>",
    "<details open ontoggle=window.PWNED=1><summary>x</summary></details>",
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=window.PWNED=1&gt;\">",
    "<noscript><p title=\"</noscript><img src=x onerror=window.PWNED=1>\">",
    "{{ ''.__class__.__mro__ }}{% for x in ().__class__.__base__.__subclasses__() %}{% endfor %}",
    "${window.PWNED=1}`${window.PWNED=1}`",
    "]]><script>window.PWNED=1</script><![CDATA[",
    "<base href=//evil.example/><form action=//evil.example><button autofocus>x",
    "<meta http-equiv=refresh content='0;url=javascript:window.PWNED=1'>",
    "<link rel=stylesheet href=//evil.example/x.css><style>*{display:none}</style>",
    "<template><script>window.PWNED=1</script></template><object data=javascript:window.PWNED=1>",
    "\u2028</script\u2028><\u017fcript>window.PWNED=1</\u017fcript>",
    "\uff1cscript\uff1ewindow.PWNED=1\uff1c/script\uff1e",
    "<!--><script>window.PWNED=1</script-->",
    "<x contenteditable onbeforeinput=window.PWNED=1 onfocus=window.PWNED=1 tabindex=1 autofocus>",
    "<video><source onerror=window.PWNED=1></video><audio src=x onerror=window.PWNED=1>",
    "\x00<scr\x00ipt>window.PWNED=1</scr\x00ipt>",
    "<a href=\"data:text/html,<script>window.PWNED=1</script>\">x</a>",
)  # fmt: skip


def poison(story: Story, number: int, payload: str) -> str:
    """A model in which every text that a page shows is the payload. Returns its id."""
    said = {"description": payload, "team": payload, "data_owner": payload}
    spec = story.apply("flights", START, model=f"labs/x{number}", rollout=PLAN, **said)
    name = spec.model
    asked = Decision(payload, "manual", payload, "fire", Reason.RETRAIN_ASKED, payload)
    version = story.make(story.fire(spec, asked, None, START), 1, VersionState.PRODUCTION, {"auc": 0.7}, note=payload)
    verdict: dict[str, Any] = drift(spec, story.dice, {"carrier": 1.4}, 0.7)
    flagged = zip(verdict["features"].values(), (True, None, False) * 2, strict=True)
    verdict["features"] = {
        f"{payload}{n}": {**each, "method": payload, "reason": payload, "drifted": flag}
        for n, (each, flag) in enumerate(flagged)
    }
    verdict["quality"] |= {"reason": payload, payload: 4}
    verdict["error"], verdict["error_reason"] = {**verdict["error"], payload: 0.5}, payload
    window = story.window(spec, 1, START + SPAN, verdict, settled=True)
    window.id, window.monitor = f"w-x{number}", spec.monitors[0].name
    wait = Decision(payload, payload, window.id, "wait", Reason.WAIT_STABLE, payload)
    story.decide(spec, wait, 1, START + SPAN)
    run = story.fire(
        spec, Decision(payload, "drift", f"{payload} 2", "fire", Reason.RETRAIN_DRIFT, payload), 1, START + SPAN
    )
    story.fail(run, payload, payload)
    now = story.fire(
        spec, Decision(payload, "metric", f"{payload} 3", "fire", Reason.RETRAIN_METRIC, payload), 1, START + SPAN
    )
    story.progress(now, payload, 0.5, payload)
    failed = [{"model": name, "version": payload, "manifest": payload, "reason": payload}]
    story.add(Instance(id=f"{number}{payload}"[:64], loaded=[], failed=failed, reported_at=SystemClock().now()))
    with Session(story.store._writing_engine) as session, session.begin():
        stored = session.get_one(Version, version.id)
        stored.dataset = {
            **stored.dataset,
            "fingerprint": payload,
            "code_version": payload,
            "period": [payload, payload],
        }
        stored.metrics = {**stored.metrics, payload: 0.5}
        stored.onnx_sha256 = stored.manifest = stored.bento_tag = stored.mlflow_run_id = stored.mlflow_version = payload
        session.exec(select(TrainingRun).where(TrainingRun.key == now.key)).one().lease_owner = payload
        session.get_one(TrainingRun, now.key).cancel_by = session.get_one(TrainingRun, now.key).cancel_why = payload
        for firing in session.exec(select(Firing).where(Firing.model == name)):
            firing.reason, firing.trigger = payload, payload if firing.kind != "manual" else "manual"
        scored = session.exec(select(ScoredWindow).where(ScoredWindow.model == name)).one()
        scored.until_id = scored.after_id = scored.spec_digest = payload
        session.get_one(Model, name).spec = {**session.get_one(Model, name).spec, "description": payload}
    poison_what_people_do(story, name, version, payload)
    return name


def poison_what_people_do(story: Story, name: str, version: Version, payload: str) -> None:
    """Alerts, holds, a rollout, a version that waits for a person, tokens and audit: all they say is the payload."""
    checks = [
        {"check": f"{kind}:{payload}", "passed": kind == "slice", "detail": payload,
         "numbers": {payload: payload, "other": 0.5, "values": [
             {"value": payload, "rows": 9, "difference": 0.1, "lower": 0.0, "upper": 0.2}]}}
        for kind in ("slice", payload)
    ]  # fmt: skip
    asked = Decision("manual", "manual", f"{payload} 4", "fire", Reason.RETRAIN_ASKED, payload)
    run = story.fire_ended(story.store.model(name), asked)
    waits = story.make(run, 2, VersionState.AWAITING_APPROVAL, {"auc": 0.71}, note=payload, checks=checks)
    rollout = story.roll_out(waits, 1, RolloutState.CANARY, step=1, share=0.25, note=payload, reason=payload)
    numbers = {**MEASURED, "improvement": {**MEASURED["improvement"], "metric": payload}}
    story.add(Comparison(rollout=rollout.id, since=rollout.recorded_at, numbers=numbers, compared_at=START))
    for what in ("rules", "rollout", f"rule:{payload}"[:80]):
        story.add(Hold(model=name, what=what, since=START, by=payload, why=payload))
    says = {"labels": {payload: payload}, "by": payload, "why": payload}
    for state, more in (
        (AlertState.FIRING, {}),
        (AlertState.FIRING, {"inhibited_by": payload}),
        (AlertState.ACKNOWLEDGED, {}),
        (AlertState.SILENCED, {"silenced_until": START}),
        (AlertState.RESOLVED, {"resolved_at": START, "resolved_recorded_at": START}),
    ):
        alert = story.alert(name, payload, payload, payload, payload, state=state, **says, **more)
    story.add(
        Notification(
            id=story.next_id(), channel=payload, alert_id=alert.id, revision=1, body={}, recorded_at=START,
            due_at=START, attempts=3, last_error=payload, given_up_at=START,
        )
    )  # fmt: skip
    token = Token(
        id=story.next_id(), name=payload, sha256=digest(name), scopes=[payload], role=payload, created_at=START,
        created_by=payload,
    )  # fmt: skip
    seen = {"csrf_sha256": digest(1), "began_at": START, "seen_at": START, "expires_at": START}
    story.add(token, SignIn(sha256=digest(name), token_id=token.id, **seen))
    act = Act(payload, token.id, "api", payload, payload)
    with story.store._writing() as session:
        before, after = {payload: payload, "state": "old"}, {payload: f"{payload}!", "state": payload, "new": [payload]}
        story.store._audit(session, act, payload, payload, before, after)
        told = {"name": payload, "model": payload}
        story.store._audit(session, act, "alert.acknowledge", payload, told, {**told, "why": payload})
    with Session(story.store._writing_engine) as session, session.begin():
        stored = session.get_one(Version, version.id)
        stored.approved_by = stored.approved_why = stored.rejected_for = payload
