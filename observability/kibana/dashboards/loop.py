"""The dashboard of what the control plane decided and did."""

from __future__ import annotations

from typing import Final

from observability.kibana.conditions import Is
from observability.kibana.dashboards.models import BY_MODEL, BY_TIME, OF_MODEL
from observability.kibana.panels import Dashboard, Lines, Metric, Panel, Top

_RULE: Final = "driftgate.decision.rule"
_SECONDS: Final = "driftgate.run.seconds"

DECISIONS: Final = Dashboard(
    slug="decisions",
    title="Driftgate: decisions and retrainings",
    about="Why models were trained again or not, what came of it, and which versions went into production.",
    controls=(OF_MODEL,),
    since="now-30d",
    runbook=("RetrainingFailed", "RetrainingRejected", "GateStuck", "RolloutAborted", "RolledBack", "BudgetExhausted"),
    panels=(
        Panel("Firings", "firing", "number", (Metric("firings"),), width=12, height=6),
        Panel("Runs failed", "run", "number", (Metric("runs"),), where=(Is("driftgate.run.state", "failed"),),
              width=12, height=6),
        Panel("Promotions", "promotion", "number", (Metric("promotions"),), width=12, height=6),
        Panel("Rollbacks", "rollback", "number", (Metric("rollbacks"),), width=12, height=6),
        Panel("Decisions by reason", "decision", "bars", (Metric("decisions"),),
              (Top("driftgate.decision.reason", "reason", 20), BY_TIME),
              note="A decision is written when it changes: one that goes on saying the same is one."),
        Panel("Decisions by rule", "decision", "table", (Metric("decisions"),),
              (BY_MODEL, Top(_RULE, "rule"), Top("driftgate.decision.outcome", "outcome", 5))),
        Panel("Firings by cause", "firing", "bars", (Metric("firings"),),
              (Top("driftgate.firing.cause", "cause"), BY_TIME)),
        Panel("Firings by rule", "firing", "table", (Metric("firings"),),
              (BY_MODEL, Top("driftgate.firing.rule", "rule"), Top("driftgate.firing.reason", "reason", 5))),
        Panel("Runs by state", "run", "bars", (Metric("runs", "unique", "driftgate.run.run"),),
              (Top("driftgate.run.state", "state"), BY_TIME), note="A run is counted in each state that it had."),
        Panel("Duration of runs", "run", "table",
              (Metric("runs", "unique", "driftgate.run.run"), Metric("mean", "average", _SECONDS, unit="seconds"),
               Metric("longest", "max", _SECONDS, unit="seconds")),
              (BY_MODEL, Top("driftgate.run.state", "state", 5))),
        Panel("Gates", "gate", "table", (Metric("verdicts"),),
              (BY_MODEL, Top("driftgate.gate.passed", "passed", 2), Top("driftgate.gate.reason", "reason"))),
        Panel("Rollouts", "rollout", "table",
              (Metric("steps"), Metric("largest share", "max", "driftgate.rollout.share", unit="percent")),
              (BY_MODEL, Top("driftgate.rollout.version", "version"), Top("driftgate.rollout.state", "state"))),
        Panel("Promotions and rollbacks", "all", "bars", (Metric("changes of the version in production"),),
              (Top("event.dataset", "what"), BY_TIME),
              (Is("event.dataset", "driftgate.promotion", "driftgate.rollback"),)),
        Panel("Holds", "hold", "table", (Metric("changes"),),
              (BY_MODEL, Top("driftgate.hold.what", "what"), Top("driftgate.hold.state", "state", 2))),
        Lines("Last decisions", "decision",
              ("driftgate.model", _RULE, "driftgate.decision.outcome", "driftgate.decision.reason",
               "driftgate.decision.detail")),
    ),
)  # fmt: skip
