"""The event schema. It grows by addition only: a reader may meet events of any age."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from bundle.signature import Frozen, ModelId
from observability.clock import aware

Instant = Annotated[datetime, AfterValidator(aware)]
Role = Literal["production", "shadow", "canary"]
ControlKind = Literal[
    "verdict", "decision", "firing", "run", "gate", "rollout", "promotion", "rollback", "hold", "alert"
]
Scalar: TypeAlias = float | int | bool | str | None


class EventRefused(ValueError):
    """The bytes are not an event; says which field is wrong."""


class PredictionEvent(Frozen):
    """One answered prediction."""

    kind: Literal["prediction"] = "prediction"
    schema_version: int = 1
    #: the prediction id that the caller got, UUIDv7
    id: str = Field(min_length=1, max_length=64)
    model: ModelId
    #: version number, as the answer names it
    version: int
    role: Role = "production"
    #: when what is predicted about happened; the server's time where the caller gave none
    event_time: Instant
    #: when the server answered
    observed_time: Instant
    sample_key: str = Field(pattern="^[0-9a-f]{16}$")
    latency_ms: float = Field(ge=0)
    score: float
    prediction: int
    #: milliseconds of the scoring alone, for the whole request
    score_ms: float | None = Field(default=None, ge=0)
    #: during a rollout: the other version that scored the same row, unseen by the caller; None where there was none
    rival_version: int | None = None
    #: its score; None where it could not score the row
    rival_score: float | None = None
    rival_ms: float | None = Field(default=None, ge=0)
    #: after the privacy filter
    raw: Mapping[str, Scalar]
    features: Mapping[str, Scalar]


class LabelEvent(Frozen):
    """The truth about a prediction, as far as it was known at label_time. The last by label time wins."""

    kind: Literal["label"] = "label"
    schema_version: int = 1
    id: str = Field(min_length=1, max_length=64)
    model: ModelId
    prediction_id: str = Field(min_length=1, max_length=64)
    label: int
    label_time: Instant
    observed_time: Instant
    sample_key: str = Field(pattern="^[0-9a-f]{16}$")


class ControlEvent(Frozen):
    """Something that the control plane said: a verdict, a decision, a firing, a run, a promotion."""

    kind: ControlKind
    schema_version: int = 1
    id: str = Field(min_length=1, max_length=64)
    model: ModelId
    event_time: Instant
    observed_time: Instant
    body: Mapping[str, Any]


Event: TypeAlias = PredictionEvent | LabelEvent | ControlEvent
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def parse(line: bytes) -> Event:
    """The event in one spool line. Raises EventRefused naming the first field that is wrong."""
    try:
        return _EVENT.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise EventRefused(f"{place or 'event'}: {first['msg']}") from error
