"""Alert rules of Kibana over what is in the log store, each with the heading of the runbook that says what to do.

Prometheus has the alerts about the processes' own figures, and the control plane tells of models by itself; these are
for those who have neither, and for what only documents show. They have no actions: whom to tell is set in Kibana, and
stays there when the rules are imported again.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import orjson

from observability.kibana.conditions import AtLeast, Condition, Is, query_of
from observability.kibana.views import COME, LAG, SEEN, VIEWS

Json: TypeAlias = dict[str, Any]

RULE_TYPE: Final = ".es-query"
_LARGEST_LAG: Final = 300_000
_MODELS: Final = 100


@dataclass(frozen=True)
class Rule:
    """Fires where more, or fewer, documents than a number came within some minutes."""

    slug: str
    title: str
    view: str
    where: tuple[Condition, ...]
    compared: Literal[">", "<"]
    threshold: int
    minutes: int
    runbook: str
    #: not when it happened: a rule looks at what is new
    time: str = SEEN
    #: one alert for each value of this field
    each: str | None = None

    def id(self, namespace: str) -> str:
        """The same each time, and a UUID of version 4 by its form: Kibana takes no other for a rule."""
        digest = hashlib.sha256(f"driftgate {namespace} {self.slug}".encode()).digest()
        return str(uuid.UUID(bytes=digest[:16], version=4))

    def query(self) -> Json:
        """The query of the rule; Kibana adds the time, and the field that it counts by."""
        computed = VIEWS[self.view].runtime_fields
        return {"query": query_of(self.where), **({"runtime_mappings": computed} if computed else {})}


RULES: Final[tuple[Rule, ...]] = (
    Rule("no-predictions", "Driftgate: no prediction for 10 minutes", "prediction", (), "<", 1, 10,
         "DriftgateServingNotReady"),
    Rule("ingest-lag", "Driftgate: events come 5 minutes late to the log store", "arrivals",
         (AtLeast(LAG, _LARGEST_LAG),), ">", 0, 10, "DriftgateShippingBehind", time=COME),
    Rule("errors-logged", "Driftgate: a process logs errors", "service", (Is("log.level", "error", "critical"),),
         ">", 0, 10, "DriftgateErrorsLogged", each="service.name"),
    Rule("drift", "Driftgate: half of the features of a window have drifted", "verdict",
         (AtLeast("driftgate.verdict.verdict.drifted_share", 0.5), Is("driftgate.verdict.segment", "")),
         ">", 0, 10, "DriftDetected", each="driftgate.model"),
    Rule("alerts-fired", "Driftgate: an alert fired", "alert", (Is("driftgate.alert.state", "firing"),), ">", 0, 10,
         "Alerts", each="driftgate.model"),
)  # fmt: skip


def rule_body(rule: Rule, namespace: str, runbook: str) -> Json:
    """What Kibana's alerting API is given to make the rule, or to bring it up to date."""
    counted: Json = {"groupBy": "all"}
    if rule.each:
        counted = {"groupBy": "top", "termField": rule.each, "termSize": _MODELS}
    return {
        "name": rule.title if namespace == "default" else f"{rule.title} ({namespace})",
        "tags": ["driftgate", f"runbook: {runbook}#{rule.runbook.lower()}"],
        "schedule": {"interval": "1m"},
        "params": {
            "searchType": "esQuery",
            "index": [VIEWS[rule.view].pattern(namespace)],
            "timeField": rule.time,
            "esQuery": orjson.dumps(rule.query()).decode(),
            "size": 10,
            "aggType": "count",
            **counted,
            "timeWindowSize": rule.minutes,
            "timeWindowUnit": "m",
            "thresholdComparator": rule.compared,
            "threshold": [rule.threshold],
            # what is still so is told again as the same alert, until it is over
            "excludeHitsFromPreviousRun": False,
        },
    }


def new_rule_body(body: Json) -> Json:
    """What is told only when the rule is made; it may be turned off in Kibana, and stays so."""
    return {**body, "consumer": "stackAlerts", "rule_type_id": RULE_TYPE, "enabled": True, "actions": []}
