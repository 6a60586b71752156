"""How the bodies of control events are typed in Elasticsearch: a mapping's properties for each kind.

A body's field that is not named here is kept, and shown, but not searched; so a body may grow before this does. A
number or instant that does not fit its type is kept and not searched either: no verdict is lost because of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias, get_args

from observability.events import ControlKind
from observability.monitors.verdicts import ErrorMetrics

Properties: TypeAlias = dict[str, Any]

#: an id, a name, a state: searched as a whole, counted by value
KEYWORD: Final[Properties] = {"type": "keyword", "ignore_above": 512}
#: a sentence: searched by its words, and counted by value while it is short
TEXT: Final[Properties] = {
    "type": "text",
    "norms": False,
    "fields": {"keyword": {"type": "keyword", "ignore_above": 256}},
}
NUMBER: Final[Properties] = {"type": "double"}
COUNT: Final[Properties] = {"type": "long"}
FLAG: Final[Properties] = {"type": "boolean"}
INSTANT: Final[Properties] = {"type": "date_nanos"}
#: an object whose names the data choose: one field of the mapping, however many names there are
NAMED_VALUES: Final[Properties] = {"type": "flattened", "ignore_above": 256, "depth_limit": 8}


def properties(**types: Properties) -> Properties:
    """An object of typed fields."""
    return {"properties": types}


_FEATURE_DRIFT: Final[Properties] = {
    "feature": KEYWORD, "method": KEYWORD, "score": NUMBER, "threshold": NUMBER, "drifted": FLAG,
    "missing_share": NUMBER, "reference_missing_share": NUMBER, "unseen_share": NUMBER, "reason": TEXT,
    "p_value": NUMBER, "effect": NUMBER, "aspect": KEYWORD, "overdispersion": NUMBER,
}  # fmt: skip
_ERRORS: Final[Properties] = {name: NUMBER for name in ErrorMetrics.model_fields}
_WINDOW: Final[Properties] = {
    "window": KEYWORD, "version": COUNT, "monitor": KEYWORD, "revision": COUNT, "segment": KEYWORD,
    "after": INSTANT, "until": INSTANT, "rows": COUNT, "late_rows": COUNT, "labelled": COUNT, "sampled": COUNT,
}  # fmt: skip
_QUALITY: Final[Properties] = {
    "missing_share": NAMED_VALUES, "unseen_share": NAMED_VALUES, "out_of_range_share": NAMED_VALUES,
    "duplicated_rows": COUNT, "duplicated_columns": COUNT, "constant_columns": COUNT, "empty_columns": COUNT,
    "reason": TEXT,
}  # fmt: skip
_VERDICT: Final[Properties] = {
    "sampled": COUNT, "drifted_share": NUMBER, "features": NAMED_VALUES, "prediction": properties(**_FEATURE_DRIFT),
    "quality": properties(**_QUALITY), "error": properties(**_ERRORS), "error_reference": properties(**_ERRORS),
    "error_reason": TEXT, "error_intervals": NAMED_VALUES, "level": NUMBER, "texts": NAMED_VALUES,
    "joint": properties(auc=NUMBER, p_value=NUMBER, effect=NUMBER, score=NUMBER, drifted=FLAG, leaning=KEYWORD),
    "estimate": properties(error=NUMBER, low=NUMBER, high=NUMBER, reference=NUMBER, method=KEYWORD, reason=TEXT),
    "stream": properties(
        alarm=FLAG, evidence=NUMBER, threshold=NUMBER, baseline=NUMBER, current=NUMBER, since_rows=COUNT, reason=TEXT
    ),
    "diagnosis": properties(cause=KEYWORD, bug=KEYWORD, columns=KEYWORD, explanation=TEXT),
}  # fmt: skip

#: kind -> the properties below `driftgate.<kind>`
CONTROL_FIELDS: Final[Mapping[ControlKind, Properties]] = {
    "verdict": {**_WINDOW, "verdict": properties(**_VERDICT)},
    "drift": {**_WINDOW, **_FEATURE_DRIFT},
    "decision": {"rule": KEYWORD, "cause": KEYWORD, "outcome": KEYWORD, "reason": KEYWORD, "detail": TEXT},
    "firing": {
        "rule": KEYWORD, "trigger": KEYWORD, "cause": KEYWORD, "reason": KEYWORD, "detail": TEXT, "run": KEYWORD,
    },
    "run": {
        "run": KEYWORD, "state": KEYWORD, "attempt": COUNT, "seconds": NUMBER, "version": COUNT, "failure": KEYWORD,
        "message": TEXT, "cancel": KEYWORD, "why": TEXT,
    },
    "gate": {"version": COUNT, "passed": FLAG, "reason": KEYWORD, "state": KEYWORD, "detail": TEXT},
    "rollout": {
        "version": COUNT, "champion": COUNT, "state": KEYWORD, "step": COUNT, "share": NUMBER, "reason": KEYWORD,
        "detail": TEXT,
    },
    "promotion": {"version": COUNT, "replaced": COUNT, "run": KEYWORD},
    "rollback": {"version": COUNT, "replaced": COUNT, "reason": TEXT},
    "hold": {"what": KEYWORD, "state": KEYWORD, "since": INSTANT, "until": INSTANT, "by": KEYWORD, "why": TEXT},
    "alert": {
        "alert": KEYWORD, "name": KEYWORD, "state": KEYWORD, "inhibited_by": KEYWORD, "severity": KEYWORD,
        "labels": NAMED_VALUES,
    },
}  # fmt: skip
CONTROL_KINDS: Final[tuple[ControlKind, ...]] = get_args(ControlKind)
