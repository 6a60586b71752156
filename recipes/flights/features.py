"""Raw fields of a scheduled flight to the columns that the model sees."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt


def features(raw: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """One row in, one row out, for a whole batch."""
    weekday = [datetime.fromisoformat(str(departs_at)).weekday() for departs_at in raw["departs_at"]]
    return {
        "hour": raw["scheduled_hour"],
        "distance": raw["distance"],
        "weekday": np.array(weekday, dtype=np.float64),
        "carrier": raw["carrier"],
        "origin": raw["origin"],
        "dest": raw["dest"],
    }
