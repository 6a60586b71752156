"""Reads requests: bytes to checked values, or a Refused that names what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from bundle.ranges import AHEAD, check_moment
from observability.clock import aware
from serving.errors import Refused

MAX_ITEMS: Final = 1_000
#: of one row, those included that nobody declared and that are dropped
MAX_FIELDS: Final = 2_000
_LONGEST_ID: Final = 64
_LABEL_FIELDS: Final = frozenset({"prediction_id", "label", "label_time"})


@dataclass(frozen=True)
class Truth:
    """A label as a caller reported it."""

    prediction_id: str
    label: int
    label_time: datetime


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in the body. Depth is bounded by the parser."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "depth limit" in str(error):
            raise Refused(422, "too_deep", "the body nests lists and objects too deep") from error
        raise Refused(400, "bad_json", f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Refused(422, "bad_request", "the body must be a JSON object")
    return value


def read_rows(request: Mapping[str, Any], now: datetime) -> tuple[list[dict[str, Any]], list[datetime] | None]:
    """The rows, and an event time for each where the caller gave them."""
    rows = _items(request, "rows")
    times = request.get("event_times")
    if times is None:
        return rows, None
    if not isinstance(times, list) or len(times) != len(rows):
        raise Refused(422, "bad_request", "event_times must be a list with one instant for each row")
    return rows, [_instant(value, now, "event_times", row) for row, value in enumerate(times)]


def read_labels(request: Mapping[str, Any], now: datetime) -> list[Truth]:
    """The labels; a label's time is the server's where the caller gave none."""
    return [_truth(item, number, now) for number, item in enumerate(_items(request, "labels"))]


def _items(request: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    items = request.get(name)
    if not isinstance(items, list) or not items:
        raise Refused(422, "bad_request", f"{name} must be a list of at least one object", {"field": name})
    if len(items) > MAX_ITEMS:
        details = {"field": name, "count": len(items), "limit": MAX_ITEMS}
        raise Refused(422, "too_many", f"{len(items)} {name}: send at most {MAX_ITEMS} at once", details)
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise bad_row(number, name, f"expected an object, got {type(item).__name__}")
        if len(item) > MAX_FIELDS:
            details = {"row": number, "field": name, "count": len(item), "limit": MAX_FIELDS}
            raise Refused(422, "too_many", f"row {number} has {len(item)} fields: send at most {MAX_FIELDS}", details)
    return items


def _truth(item: Mapping[str, Any], number: int, now: datetime) -> Truth:
    if unknown := sorted(item.keys() - _LABEL_FIELDS):
        raise bad_row(number, unknown[0], "is not a field of a label")
    prediction_id, label, label_time = item.get("prediction_id"), item.get("label"), item.get("label_time")
    if not isinstance(prediction_id, str) or not 0 < len(prediction_id) <= _LONGEST_ID:
        raise bad_row(number, "prediction_id", f"expected a text of 1 to {_LONGEST_ID} characters")
    if not isinstance(label, int) or label not in (0, 1):
        raise bad_row(number, "label", "expected 0, 1, true or false")
    known_at = now if label_time is None else _instant(label_time, now, "label_time", number)
    return Truth(prediction_id, int(label), known_at)


def _instant(value: Any, now: datetime, field: str, row: int) -> datetime:  # noqa: ANN401 - what a caller sent
    if not isinstance(value, str):
        raise bad_row(row, field, f"expected an instant as text, got {type(value).__name__}")
    try:
        instant = aware(datetime.fromisoformat(value))
    except (ValueError, OverflowError) as error:
        raise bad_row(row, field, f"not an instant of ISO 8601 with a time zone: {error}") from error
    try:
        check_moment(instant)
    except ValueError as error:
        raise bad_row(row, field, str(error)) from error
    if instant > now + AHEAD:
        raise bad_row(row, field, f"lies more than {AHEAD} ahead of the server's clock")
    return instant


def bad_row(row: int, field: str, message: str) -> Refused:
    """The refusal of one item of a batch; nothing of the batch was taken."""
    return Refused(422, "bad_row", f"row {row}, field {field}: {message}", {"row": row, "field": field})
