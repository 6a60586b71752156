"""Raw fields of a tweet to the columns that the model sees: the article's eight, and four more."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
import numpy.typing as npt
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

ANALYSER = SentimentIntensityAnalyzer()


def features(raw: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """One row in, one row out, for a whole batch; a missing number stays missing."""
    texts = [text or "" for text in raw["text"]]
    tags = [_hashtags(value) for value in raw["hashtags"]]
    moods = [ANALYSER.polarity_scores(text) for text in texts]
    return {
        "location": np.array([(value or "").strip() for value in raw["user_location"]], dtype=object),
        "hashtags": np.array([" ".join(names[:3]) for names in tags], dtype=object),
        "followers": raw["user_followers"],
        "friends": raw["user_friends"],
        "favourites": raw["user_favourites"],
        "positive": np.array([mood["pos"] for mood in moods]),
        "negative": np.array([mood["neg"] for mood in moods]),
        "verified": raw["user_verified"],
        "text_length": np.array([float(len(text)) for text in texts]),
        "link": np.array([float("http" in text) for text in texts]),
        "hour": np.array([_hour(value) for value in raw["date"]]),
        "hashtag_count": np.array([float(len(names)) for names in tags]),
    }


def _hashtags(value: str | None) -> list[str]:
    """The names in a list literal such as ['COVID19', 'vaccine'], in lower case; nothing where it is none."""
    try:
        names = ast.literal_eval(value) if value else []
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return []
    return [str(name).lower() for name in names] if isinstance(names, list) else []


def _hour(value: str | None) -> float:
    """The hour in a time such as 2020-12-12 11:55:28."""
    digits = (value or "")[11:13]
    return float(digits) if digits.isascii() and digits.isdigit() else np.nan
