"""Which values are taken anywhere: one rule for files, requests and served rows, so that no later step meets more."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

_INT64: Final = 2**63
#: a model computes in float32: a number beyond it would become infinite there
_FLOAT32: Final = float(np.finfo(np.float32).max)
#: how far a caller's clock may be ahead
AHEAD: Final = timedelta(minutes=5)
_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def check_number(value: float) -> None:
    """Raises ValueError for an integer beyond 64 bits, and for a number that is not finite in float32."""
    if isinstance(value, int) and abs(value) >= _INT64:
        raise ValueError("the integer is too large")
    if not math.isfinite(value):
        raise ValueError("expected a finite number")
    if abs(value) > _FLOAT32:
        raise ValueError("the number is too large")


def check_moment(moment: datetime) -> None:
    """Raises ValueError for an instant that no event of this world has."""
    if not _EARLIEST <= moment < _LATEST:
        raise ValueError("lies outside the years 1900 to 2200")
