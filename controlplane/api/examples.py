"""One example of each thing that the API answers or is asked, by the name of its schema. A test validates them."""

from __future__ import annotations

from typing import Any, Final

_AT: Final = "2026-03-01T12:00:00Z"
_ID: Final = "0195510a-6d5e-7c3e-9a53-8f2b7d0f1c11"
_DIGEST: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_GATE: Final[dict[str, Any]] = {
    "passed": True, "reason": "PASS_BETTER", "detail": "roc_auc +0.031 (at least +0.012)",
    "numbers": {"rows": 400}, "checks": [], "decided_at": _AT,
}  # fmt: skip
_VERSION: Final[dict[str, Any]] = {
    "number": 3, "state": "production", "note": "passed the gate and was loaded", "manifest": _DIGEST,
    "onnx_sha256": _DIGEST, "parent": 2, "firing_id": _ID, "run_key": _ID, "dataset": {"rows": 5000},
    "metrics": {"roc_auc": 0.84}, "constant_metrics": {"roc_auc": 0.5}, "champion_metrics": {"roc_auc": 0.81},
    "parity": {"rows": 1000, "label_mismatches": 0, "max_score_difference": 1e-7},
    "cost": {"bytes": 81920, "row_ms_p50": 0.2, "row_ms_p99": 0.6}, "mlflow_run_id": "5d1f", "mlflow_version": "3",
    "bento_tag": "tweets:3", "train_until": _AT, "made_at": _AT, "state_at": _AT, "promoted_at": _AT,
    "recorded_at": _AT, "promoted_recorded_at": _AT, "approved_by": None, "approved_why": None,
    "rejected_for": "", "gate": _GATE,
}  # fmt: skip
_ACTIVE: Final[dict[str, Any]] = {
    "key": _ID, "state": "running", "phase": "fit", "fraction": 0.4, "message": "fitting", "rule": "drifted",
    "reason": "RETRAIN_DRIFT", "detail": "2 of 3 features drifted", "asked_at": _AT, "recorded_at": _AT,
}  # fmt: skip
_HOLD: Final[dict[str, Any]] = {
    "model": "default/tweets", "what": "rules", "since": _AT, "until": None, "by": "ana", "why": "labels are wrong",
}  # fmt: skip
_TOKEN: Final[dict[str, Any]] = {
    "id": _ID, "name": "nightly-report", "role": "viewer", "scopes": ["read"], "created_at": _AT, "created_by": "ana",
    "expires_at": "2026-09-01T00:00:00Z", "revoked_at": None,
}  # fmt: skip
_ENTRY: Final[dict[str, Any]] = {
    "sequence": 41, "at": _AT, "actor": "ana", "token_id": _ID, "via": "api", "action": "token.create", "subject": _ID,
    "why": "for the nightly report", "before": None, "after": {"name": "nightly-report"}, "request_id": _ID,
    "previous": _DIGEST, "hash": _DIGEST,
}  # fmt: skip
_COUNTS: Final[dict[str, Any]] = {
    "firings": {"data": 2, "schedule": 0, "metric": 1, "manual": 1, "webhook": 0},
    "runs": {"asked": 0, "running": 1, "succeeded": 3, "failed": 0, "cancelled": 0}, "promotions": 3, "rejections": 0,
}  # fmt: skip
_STATUS: Final[dict[str, Any]] = {
    "model": "default/tweets", "description": "whether a tweet is retweeted", "team": "growth", "spec_digest": _DIGEST,
    "recipe_digest": _DIGEST, "applied_at": _AT, "now": _AT, "production": _VERSION, "rollout": None,
    "active_run": _ACTIVE, "holds": [_HOLD], "open_alerts": 0, "watermark": _AT, "labelled_new": 120,
    "decided_until": _AT, "monitored_until": _AT, "counts": _COUNTS, "instances": [],
}  # fmt: skip
_WINDOW: Final[dict[str, Any]] = {
    "id": "default/tweets-3-weekly-1", "version": 3, "monitor": "weekly", "segment": "", "after_time": _AT,
    "until_time": _AT, "rows": 1000, "late_rows": 0, "labelled": 940, "late_labels": 12, "revision": 2,
    "verdict": {"drifted_share": 0.5, "features": {}, "reference": {"kind": "training", "rows": 5000}},
    "cut_at": _AT, "scored_at": _AT, "labels_due_at": _AT, "error_at": _AT,
}  # fmt: skip
_DECISION: Final[dict[str, Any]] = {
    "id": _ID, "rule": "drifted", "kind": "drift", "cause": "window-17", "turn": 1, "outcome": "fire",
    "reason": "RETRAIN_DRIFT", "detail": "2 of 3 features drifted", "numbers": {"drifted_share": 0.67}, "version": 3,
    "decided_at": _AT, "recorded_at": _AT,
}  # fmt: skip
_FIRING: Final[dict[str, Any]] = {
    "id": _ID, "rule": "drifted", "kind": "drift", "trigger": "data", "cause": "window-17", "reason": "RETRAIN_DRIFT",
    "detail": "2 of 3 features drifted", "decision_id": _ID, "fired_at": _AT, "recorded_at": _AT,
}  # fmt: skip
_RUN: Final[dict[str, Any]] = {
    "key": _ID, "firing_id": _ID, "model": "default/tweets", "state": "running", "parent": 3, "attempts": 1, "epoch": 1,
    "progress": {"phase": "fit", "fraction": 0.4, "message": "fitting", "at": _AT}, "report": None,
    "failure_code": None, "failure_message": None, "cpu_seconds": None, "cancel_by": None, "cancel_why": None,
    "asked_at": _AT, "started_at": _AT, "ended_at": None, "recorded_at": _AT, "ended_recorded_at": None,
}  # fmt: skip
_ROLLOUT: Final[dict[str, Any]] = {
    "id": _ID, "version": 4, "champion": 3, "state": "canary", "step": 0, "share": 0.05, "note": "scored 500 rows",
    "began_at": _AT, "state_at": _AT, "recorded_at": _AT, "ended_at": None,
}  # fmt: skip
_ALERT: Final[dict[str, Any]] = {
    "id": _ID, "model": "default/tweets", "name": "RunFailed", "severity": "critical", "labels": {"team": "growth"},
    "summary": "a training run failed", "description": "crashed: the process ended without a report",
    "state": "firing", "began_at": _AT, "state_at": _AT, "resolved_at": None, "inhibited_by": None, "by": None,
    "why": None, "silenced_until": None, "revision": 1,
}  # fmt: skip
_NOTIFICATION: Final[dict[str, Any]] = {
    "id": _ID, "channel": "alertmanager", "alert_id": _ID, "revision": 1, "recorded_at": _AT, "due_at": _AT,
    "attempts": 3, "last_error": "connection refused", "given_up_at": None,
}  # fmt: skip

_FIRED: Final[dict[str, Any]] = {
    "rule": "drifted", "at": _AT, "cause": "window-17", "reason": "RETRAIN_DRIFT", "detail": "2 of 3 features drifted",
}  # fmt: skip
_WAITED: Final[dict[str, Any]] = {
    "reason": "WAIT_COOLDOWN", "times": 3, "first_at": _AT, "last_at": _AT, "detail": "until 2026-03-02",
}  # fmt: skip
_COST: Final[dict[str, Any]] = {
    "runs": 1, "known_runs": 4, "seconds_each": 81.0, "cpu_hours_each": 0.04, "seconds": 81.0, "cpu_hours": 0.04,
}  # fmt: skip
_TRIAL: Final[dict[str, Any]] = {
    "model": "default/tweets", "rule": "drifted", "kind": "drift", "since": _AT, "until": _AT, "windows": 12,
    "would_fire": [_FIRED], "waited": [_WAITED], "cost": _COST, "fired": [], "complete": True, "assumptions": [],
}  # fmt: skip

_PREDICTION: Final[dict[str, Any]] = {
    "id": "order-1741", "event_time": _AT, "features": {"followers": 120, "place": "London"}, "score": 0.82,
    "prediction": 1, "version": 3, "latency_ms": 4.2,
}  # fmt: skip
_LABEL: Final[dict[str, Any]] = {"prediction_id": "order-1741", "label": 1, "label_time": "2026-03-02T12:00:00Z"}
_OF_RULE: Final[dict[str, Any]] = {"rule": "drifted", "fired": 0, "would_fire": 1, "alike": 0, "cpu_hours_more": 0.4}
_DIFFERS: Final[dict[str, Any]] = {
    "where": "replay", "at": _AT, "rule": "drifted", "cause": "w-1", "reason": "RETRAIN_DRIFT",
}  # fmt: skip
_DECIDED: Final[dict[str, Any]] = {
    "in_truth": 40, "in_replay": 41, "alike": 40, "differing": [_DIFFERS], "truncated_before": None,
}  # fmt: skip
_REJUDGED: Final[dict[str, Any]] = {"windows": 12, "left": 0, "changed": 1, "changed_windows": ["w-1"]}
_REPLAYED: Final[dict[str, Any]] = {
    "model": "default/tweets", "since": _AT, "until": _AT, "changed_rules": ["drifted"], "fired": [],
    "would_fire": [_FIRED],
    "rules": [_OF_RULE],
    "cost_in_truth": _COST, "cost": _COST, "decisions": _DECIDED,
    "verdicts": _REJUDGED, "seconds": 0.25,
    "times_faster": 10_368_000.0, "complete": True, "assumptions": [],
}  # fmt: skip

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "PostedPrediction": _PREDICTION,
    "PostedLabel": _LABEL,
    "PostedEvents": {"predictions": [_PREDICTION], "labels": [_LABEL]},
    "EventsTaken": {"predictions": 1, "labels": 1},
    "Declared": {
        "features": {"followers": [120, 88, None] * 10, "place": ["London", "Paris", None] * 10},
        "event_time": [_AT] * 30,
        "score": [0.82, 0.4, None] * 10,
        "label": [1, 0, None] * 10,
        "threshold": 0.5,
        "reason": "the rows of February, when the model was approved",
    },
    "ActiveRun": _ACTIVE,
    "AlertView": _ALERT,
    "AlertsPage": {"alerts": [_ALERT], "next": None},
    "Applied": {"model": "default/tweets", "changed": True, "spec_digest": _DIGEST, "recipe_digest": _DIGEST},
    "Apply": {
        "spec": {"model": "default/tweets"},
        "recipe": {"features.py": "def features(raw): return raw\n"},
        "reason": "one rule more",
    },
    "AskToken": {
        "name": "nightly-report",
        "role": "viewer",
        "expires_at": "2026-09-01T00:00:00Z",
        "reason": "for the nightly report",
    },
    "AskRun": {"request_id": _ID, "reason": "new labels"},
    "AuditPage": {"audit": [_ENTRY], "next": None},
    "ClockView": {"clock": "system", "now": _AT},
    "CountsView": _COUNTS,
    "DecisionView": _DECISION,
    "DecisionsPage": {"decisions": [_DECISION], "next": "WyJkZWNpc2lvbnMiLCIwMTk1Il0"},
    "EntryView": _ENTRY,
    "ErrorView": {"error": {"code": "not_found", "message": "there is no model a/b", "details": {"model": "a/b"}}},
    "FiringView": _FIRING,
    "FiringsPage": {"firings": [_FIRING], "next": None},
    "GateView": _GATE,
    "HoldView": _HOLD,
    "HoldsPage": {"holds": [_HOLD], "next": None},
    "Me": {"name": "ana", "role": "operator", "scopes": ["operate", "read"], "token_id": _ID, "via": "api"},
    "HookSecret": {"model": "default/tweets", "secret": "whsec_c2VjcmV0", "path": "/hooks/default/tweets"},
    "ModelsPage": {"models": [_STATUS], "next": None},
    "NewToken": _TOKEN | {"token": f"dg_{_ID}_" + "x" * 43},
    "NotificationView": _NOTIFICATION,
    "NotificationsPage": {"notifications": [_NOTIFICATION], "next": None},
    "PutHold": {"reason": "labels are wrong", "until": _AT},
    "Reason": {"reason": "nonsense on the new campaign"},
    "RollBack": {"reason": "it answers nonsense", "version": 4},
    "RolloutView": _ROLLOUT,
    "RolloutsPage": {"rollouts": [_ROLLOUT], "next": None},
    "RunView": _RUN,
    "RunsPage": {"runs": [_RUN], "next": None},
    "SetClock": {"now": _AT},
    "Silence": {"reason": "known: the source is away", "until": _AT},
    "Status": _STATUS,
    "TokenView": _TOKEN,
    "TokensPage": {"tokens": [_TOKEN], "next": None},
    "Cost": _COST,
    "Fired": _FIRED,
    "Waited": _WAITED,
    "Decided": _DECIDED,
    "Differs": _DIFFERS,
    "OfRule": _OF_RULE,
    "Rejudged": _REJUDGED,
    "Replayed": _REPLAYED,
    "ReplayRules": {"changes": {"monitors": {"weekly": {"drift": {"margin": 0.2}}}}, "since": _AT},
    "Trial": _TRIAL,
    "TryRule": {"rule": {"name": "drifted", "kind": "drift", "monitor": "weekly", "drifted_share": 0.3}, "since": _AT},
    "Verification": {"whole": True, "entries": 41, "head": _DIGEST, "broken_at": None, "why": ""},
    "VersionView": _VERSION,
    "VersionsPage": {"versions": [_VERSION], "next": None},
    "WindowView": _WINDOW,
    "WindowsPage": {"windows": [_WINDOW], "next": None},
}
