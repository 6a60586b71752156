"""What is posted of a model that is served elsewhere, checked as a whole before any of it is taken.

An id is the caller's, and tells the same event however often it is posted: the log store takes an event once. It is
kept with a mark of its model behind it, so that two models may count their predictions alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, FailFast, Field, FiniteFloat

from bundle.manifest import Manifest
from bundle.ranges import AHEAD, check_moment, check_number
from bundle.signature import Feature, Signature, Task
from controlplane.errors import EventsRefused
from observability.events import Instant, LabelEvent, PredictionEvent, line_of
from observability.ids import sample_key

MOST_EVENTS: Final = 10_000
#: characters of an id; with the mark behind it an event's id has 64
ID_LENGTH: Final = 51
#: characters of a text of a feature
TEXT_LENGTH: Final = 4_096
Id = Annotated[str, Field(min_length=1, max_length=ID_LENGTH)]
#: a number of JSON: neither a text that holds one, nor true or false
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class _Posted(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PostedPrediction(_Posted):
    """One answer that was given elsewhere."""

    #: the caller's, to which labels refer; the same again is the same prediction
    id: Id
    event_time: Instant
    #: feature to what the model saw; one that is left out, or null, was missing
    features: dict[str, Any]
    #: the probability of class 1, or the predicted number
    score: FiniteFloat
    #: the class that was answered; without it 1 where the score is above the version's threshold. The answer of a
    #: regression model is its score
    prediction: Number | None = None
    #: the version that answered; the one in production where it is left out
    version: int | None = Field(default=None, ge=1, le=2**31 - 1)
    #: how long the answer took; 0 where nobody measured it
    latency_ms: FiniteFloat = Field(default=0.0, ge=0)


class PostedLabel(_Posted):
    """What was true of a prediction."""

    prediction_id: Id
    #: 0 or 1; of a regression model a number
    label: Number
    #: as of when; now where it is left out. Of several labels the one of the latest time counts, so one that corrects
    #: another, back to what was told first too, needs a later time.
    label_time: Instant | None = None


class PostedEvents(_Posted):
    """Predictions and labels. Of a list the first row that is wrong is told, and nothing of either is kept then."""

    predictions: Annotated[list[PostedPrediction], FailFast(), Field(max_length=MOST_EVENTS)] = []
    labels: Annotated[list[PostedLabel], FailFast(), Field(max_length=MOST_EVENTS)] = []


def kept_id(model: str, said: str) -> str:
    """The id under which an event of this model is kept."""
    return f"{said}.{_digest(model)[:12]}"


def lines_of(model: str, posted: PostedEvents, versions: Mapping[int, Manifest], now: int, at: Instant) -> list[bytes]:
    """The spool lines of everything, observed at this instant; `now` is the number of the version in production.

    Raises EventsRefused naming the first row that does not fit.
    """
    predictions = [
        line_of(_prediction(model, each, each.version or now, versions[each.version or now], at, f"predictions.{row}"))
        for row, each in enumerate(posted.predictions)
    ]
    task = versions[now].signature.task
    return predictions + [
        line_of(_label(model, each, task, at, f"labels.{row}")) for row, each in enumerate(posted.labels)
    ]


def _prediction(
    model: str, said: PostedPrediction, version: int, manifest: Manifest, at: Instant, place: str
) -> PredictionEvent:
    signature = manifest.signature
    _check_text(said.id, f"{place}.id")
    _check_moment(said.event_time, f"{place}.event_time", at)
    _check_number(said.score, f"{place}.score")
    if signature.task == "binary" and not 0 <= said.score <= 1:
        raise _refused(f"{place}.score", "expected a probability from 0 to 1")
    return PredictionEvent(
        id=kept_id(model, said.id), model=model, version=version, event_time=said.event_time, observed_time=at,
        sample_key=sample_key(kept_id(model, said.id)), latency_ms=said.latency_ms, score=said.score,
        prediction=_answer(said, manifest, f"{place}.prediction"), raw={},
        features=features_of(signature, said.features, f"{place}.features"),
    )  # fmt: skip


def _answer(said: PostedPrediction, manifest: Manifest, place: str) -> int:
    """The class that was answered; 0 where the score is the answer."""
    answer = said.prediction
    if manifest.signature.task == "regression":
        if answer is not None and answer != said.score:
            raise _refused(place, "expected nothing, or what the score is: a regression model answers its score")
        return 0
    if answer is None:
        return int(said.score > manifest.threshold)
    return _class(answer, place)


def _class(value: float, place: str) -> int:
    if value not in (0, 1):
        raise _refused(place, "expected 0 or 1: the model is a classifier")
    return int(value)


def _label(model: str, said: PostedLabel, task: Task, at: Instant, place: str) -> LabelEvent:
    _check_text(said.prediction_id, f"{place}.prediction_id")
    check = _class if task == "binary" else _check_number
    label = check(said.label, f"{place}.label")
    known = said.label_time.isoformat() if said.label_time is not None else ""
    if said.label_time is not None:
        _check_moment(said.label_time, f"{place}.label_time", at)
    prediction = kept_id(model, said.prediction_id)
    return LabelEvent(
        id=_digest(f"{prediction}\n{label:.17g}\n{known}")[:32], model=model, prediction_id=prediction,
        label=label, label_time=said.label_time or at, observed_time=at, sample_key=sample_key(prediction),
    )  # fmt: skip


def features_of(signature: Signature, said: Mapping[str, Any], place: str) -> dict[str, float | str | None]:
    """The values by feature, all of the signature's. Raises EventsRefused naming what does not fit."""
    if unknown := sorted(set(said) - set(signature.feature_names)):
        known = ", ".join(signature.feature_names)
        raise _refused(f"{place}.{unknown[0]}"[:300], f"the model has no such feature: it has {known}")
    return {each.name: checked(each, said.get(each.name), f"{place}.{each.name}") for each in signature.features}


def checked(feature: Feature, value: object, place: str) -> float | str | None:
    """The value of a feature, None where it is missing. Raises EventsRefused."""
    if value is None:
        return None
    if feature.type == "categorical":
        if not isinstance(value, str):
            raise _refused(place, "expected a text: it is categorical")
        return _check_text(value, place)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(place, "expected a number: it is numeric")
    return _check_number(value, place)


def numbers(values: Sequence[object], place: str) -> Iterator[float]:
    """Each as a number, NaN where it is missing. Raises EventsRefused naming the row."""
    number = Feature(name="number", type="numeric")
    for row, value in enumerate(values):
        found = checked(number, value, f"{place}.{row}")
        yield float("nan") if found is None else float(found)


def _check_number(value: float, place: str) -> float:
    try:
        check_number(value)
    except ValueError as error:
        raise _refused(place, str(error)) from error
    return float(value)


def _check_moment(value: Instant, place: str, at: Instant) -> None:
    """An instant ahead of the clock would move a model's watermark, and outlast every honest label."""
    try:
        check_moment(value)
    except ValueError as error:
        raise _refused(place, str(error)) from error
    if value > at + AHEAD:
        raise _refused(place, f"lies more than {AHEAD} ahead of the control plane's clock")


def _check_text(value: str, place: str) -> str:
    if len(value) > TEXT_LENGTH:
        raise _refused(place, f"it has more than {TEXT_LENGTH:,} characters")
    if "\0" in value or any("\ud800" <= each <= "\udfff" for each in value):
        raise _refused(place, "it holds a character that cannot be kept")
    return value


def _refused(place: str, why: str) -> EventsRefused:
    return EventsRefused(f"{place}: {why}", field=place)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
