"""Values in words: what the templates use to write times, numbers and names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

METRICS: Final[Mapping[str, str]] = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "error": "error rate",
    "brier": "Brier score",
    "calibration_error": "calibration error",
    "cost": "cost of a prediction",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
}
TRIGGERS: Final[Mapping[str, str]] = {
    "data": "data",
    "schedule": "schedule",
    "metric": "metric",
    "manual": "manual",
}
NONE: Final = "–"  # noqa: RUF001 - an en dash, as tables write "nothing"


def metric(name: str) -> str:
    """A metric's name for people.

    >>> metric("roc_auc"), metric("my_metric")
    ('ROC AUC', 'my metric')
    """
    return METRICS.get(name, name.replace("_", " "))


def title(text: str) -> str:
    """The text with a capital in front; the rest as it is.

    >>> title("log loss"), title("ROC AUC")
    ('Log loss', 'ROC AUC')
    """
    return text[:1].upper() + text[1:]


def day(instant: datetime | None) -> str:
    """An instant's day."""
    return NONE if instant is None else f"{instant.astimezone(UTC):%-d %b %Y}"


def when(instant: datetime | None) -> str:
    """An instant to the minute, without its zone: the column's head names it.

    >>> when(datetime(2021, 2, 3, 4, 5, tzinfo=UTC))
    '3 Feb 2021, 04:05'
    """
    return NONE if instant is None else f"{instant.astimezone(UTC):%-d %b %Y, %H:%M}"


def when_utc(instant: datetime | None) -> str:
    """An instant to the minute, with its zone."""
    return NONE if instant is None else f"{when(instant)} UTC"


def iso(instant: datetime | None) -> str:
    """An instant for programs, and for the title of a shortened one."""
    return "" if instant is None else instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def number(value: Any, digits: int = 3) -> str:  # noqa: ANN401 - whatever was stored
    """A number to so many digits; a dash for anything that is none.

    >>> number(0.71649), number(1e-7), number(float("nan")) == NONE
    ('0.716', '1e-07', True)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return NONE
    if value and abs(value) < 10.0**-digits:
        return f"{value:.0e}"
    return f"{value:.{digits}f}"


def signed(value: Any, digits: int = 3) -> str:  # noqa: ANN401 - whatever was stored
    """A difference with its sign.

    >>> signed(0.0412), signed(-0.2)[1:]
    ('+0.041', '0.200')
    """
    text = number(value, digits)
    if text == NONE:
        return NONE
    return f"−{text[1:]}" if text.startswith("-") else f"+{text}"  # noqa: RUF001 - a minus sign


def percent(value: Any, digits: int = 0) -> str:  # noqa: ANN401 - whatever was stored
    """A share in per cent; never rounded to nothing where there is something.

    >>> percent(0.5), percent(0.0004), percent(None) == NONE
    ('50%', '<1%', True)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return NONE
    least = 10.0 ** -(digits + 2)
    if 0 < value < least:
        return f"<{least * 100:.{digits}f}%"
    return f"{value * 100:.{digits}f}%"


def count(value: Any) -> str:  # noqa: ANN401 - whatever was stored
    """A whole number with thin spaces between thousands.

    >>> count(1234567)
    '1\u202f234\u202f567'
    """
    return f"{value:,}".replace(",", "\u202f") if isinstance(value, int) else NONE


def seconds(value: Any) -> str:  # noqa: ANN401 - whatever was stored
    """A length of time.

    >>> seconds(4.21), seconds(93), seconds(7300)
    ('4.2 s', '1 min 33 s', '2 h 1 min')
    """
    if not isinstance(value, int | float) or not math.isfinite(value):
        return NONE
    if value < 60:
        return f"{value:.1f} s"
    whole = int(value)
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def ago(since: datetime | None, now: datetime) -> str:
    """For how long something has been, to the greatest two units.

    >>> ago(datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 1, 3, 4, 30, tzinfo=UTC))
    '2 d 4 h'
    """
    if since is None:
        return NONE
    minutes = max(0, int((now - since).total_seconds()) // 60)
    if minutes < 60:
        return f"{minutes} min" if minutes else "less than a minute"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def short(digest: Any, length: int = 12) -> str:  # noqa: ANN401 - whatever was stored
    """The beginning of a digest, enough to tell it from others."""
    text = str(digest or "")
    return text if len(text) <= length else f"{text[:length]}…"
