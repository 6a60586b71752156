"""Tweets that are like the real ones in their marginals: seeded, in the source's schema, with phases that drift.

Location, hashtags, client, followers, friends, favourites, verified and the share of missing values follow the public
sets "COVID19 Tweets" and "All COVID-19 Vaccines Tweets"; texts come from small vocabularies that VADER has a mood for.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

#: people alone; then bots among them that retweet each other; then the same tweets, but people are tired of them
Phase = Literal["normal", "bots", "fatigue"]
COLUMNS: Final = (
    "tweet_id", "user_name", "user_location", "user_description", "user_created", "user_followers", "user_friends",
    "user_favourites", "user_verified", "date", "text", "hashtags", "source", "retweets", "favorites", "is_retweet",
)  # fmt: skip
BOT_SHARE: Final = 0.35
_BOT_RETWEETED: Final = 0.8
_CITIES: Final = (
    "London, England", "Malaysia", "India", "Toronto, Ontario", "New Delhi, India", "United States", "Canada",
    "New York, NY", "Dubai", "Los Angeles, CA", "Mumbai, India", "Washington, DC", "Nigeria", "South Africa",
)  # fmt: skip
_TAGS: Final = (
    "PfizerBioNTech", "COVID19", "vaccine", "CovidVaccine", "coronavirus", "Pfizer", "BioNTech", "Moderna",
    "vaccinated", "COVIDVaccination", "StaySafe", "Oxford", "WearAMask", "NHS", "lockdown", "pandemic",
)  # fmt: skip
_BOT_TAGS: Final = (["WakeUp", "NoVaccine"], ["PlandemicTruth"], ["WakeUp", "PlandemicTruth"])
_SOURCES: Final = ("Twitter for iPhone", "Twitter Web App", "Twitter for Android", "TweetDeck", "Hootsuite Inc.")
_SOURCE_SHARES: Final = (0.33, 0.31, 0.22, 0.09, 0.05)
_GOOD: Final = ("great", "happy", "thankful", "amazing", "hope", "love", "relieved", "proud", "wonderful")
_BAD: Final = ("afraid", "terrible", "worried", "sad", "painful", "angry", "horrible", "awful", "dangerous")
_PLAIN: Final = (
    "got the first dose today", "second jab is done", "the clinic opens tomorrow", "cases were reported again",
    "doses arrived at the hospital", "my arm is sore", "the trial has results", "waiting in line since morning",
    "the approval was announced", "schools stay closed", "new variant found", "the rollout begins next week",
)  # fmt: skip


def generate(rows: int, seed: int, start: datetime, end: datetime, phase: Phase = "normal") -> list[dict[str, str]]:
    """Rows in the order of their times. The same arguments give the same rows."""
    rng = np.random.default_rng(seed)
    offsets = np.sort(rng.uniform(0, (end - start).total_seconds(), rows))
    tweets = [_tweet(rng, start + timedelta(seconds=float(offset)), phase) for offset in offsets]
    for number, tweet in enumerate(tweets):
        tweet["tweet_id"] = f"{start:%Y%m%d}{seed:05d}{number:07d}"
    return tweets


def write_csv(path: Path, tweets: Iterable[dict[str, str]]) -> None:
    """The tweets as a source file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(tweets)


def _tweet(rng: np.random.Generator, moment: datetime, phase: Phase) -> dict[str, str]:
    bot = phase != "normal" and rng.random() < BOT_SHARE
    person = _bot(rng, moment) if bot else _person(rng, moment)
    mood = rng.normal(0.1, 1.0)
    link = rng.random() < (0.9 if bot else 0.6)
    text = _text(rng, mood, person["tags"], link)
    if bot:
        chance = _BOT_RETWEETED
    else:
        chance = _tired_chance(person, mood, link) if phase == "fatigue" else _chance(person, mood, link, moment)
    retweets = int(rng.geometric(0.4)) if rng.random() < chance else 0
    return {
        "tweet_id": "", "user_name": f"user-{rng.integers(16**10):010x}", "user_location": person["location"],
        "user_description": "", "user_created": f"{person['created']:%Y-%m-%d %H:%M:%S}",
        "user_followers": str(person["followers"]), "user_friends": str(person["friends"]),
        "user_favourites": str(person["favourites"]), "user_verified": str(person["verified"]),
        "date": f"{moment:%Y-%m-%d %H:%M:%S}", "text": text, "hashtags": str(person["tags"]) if person["tags"] else "",
        "source": person["source"], "retweets": str(retweets), "favorites": str(int(rng.geometric(0.3)) - 1),
        "is_retweet": "False",
    }  # fmt: skip


def _person(rng: np.random.Generator, moment: datetime) -> dict[str, Any]:
    followers = int(np.expm1(max(rng.normal(6.75, 2.75), 0.0)))
    return {
        "followers": followers,
        "friends": int(np.expm1(max(rng.normal(5.95, 1.9), 0.0))),
        "favourites": 0 if rng.random() < 0.03 else int(np.expm1(max(rng.normal(7.1, 2.75), 0.0))),
        "verified": bool(rng.random() < 1 / (1 + np.exp(5.6 - 0.47 * np.log1p(followers)))),
        "location": _location(rng),
        "tags": _tags(rng),
        "source": str(rng.choice(_SOURCES, p=_SOURCE_SHARES)),
        "created": moment - timedelta(days=float(rng.uniform(60, 4000))),
    }


def _bot(rng: np.random.Generator, moment: datetime) -> dict[str, Any]:
    """A young account that follows a script."""
    return {
        "followers": int(rng.integers(0, 21)),
        "friends": int(rng.integers(0, 60)),
        "favourites": int(rng.integers(0, 10)),
        "verified": False,
        "location": "",
        "tags": list(_BOT_TAGS[int(rng.integers(len(_BOT_TAGS)))]),
        "source": "AutoPoster",
        "created": moment - timedelta(days=float(rng.uniform(1, 30))),
    }


def _location(rng: np.random.Generator) -> str:
    """Missing in a fifth, a known city in a fifth, and else one of a long tail."""
    draw = rng.random()
    if draw < 0.21:
        return ""
    if draw < 0.42:
        return _CITIES[min(int(rng.geometric(0.12)) - 1, len(_CITIES) - 1)]
    return f"Town {int(rng.integers(4000))}, {_CITIES[int(rng.integers(len(_CITIES)))]}"


def _tags(rng: np.random.Generator) -> list[str]:
    if rng.random() < 0.26:
        return []
    names = [_TAGS[min(int(rng.geometric(0.22)) - 1, len(_TAGS) - 1)] for _ in range(int(rng.geometric(0.45)))]
    return list(dict.fromkeys(names))


def _text(rng: np.random.Generator, mood: float, tags: list[str], link: bool) -> str:
    words = _GOOD if mood > 0 else _BAD
    felt = [str(rng.choice(words)) for _ in range(min(int(abs(mood) * 1.8), 3))]
    plain = [str(rng.choice(_PLAIN)) for _ in range(int(rng.integers(1, 3)))]
    address = [f"https://t.co/{rng.integers(36**6):06x}"] if link else []
    return " ".join([*plain, *felt, *(f"#{tag}" for tag in tags), *address])


def _chance(person: dict[str, Any], mood: float, link: bool, moment: datetime) -> float:
    """That a person's tweet is retweeted: followers, hashtags and a bad mood carry it."""
    logit = -4.35 + 0.42 * float(np.log1p(person["followers"])) + 0.30 * min(len(person["tags"]), 4)
    logit += 0.5 * person["verified"] - 0.45 * mood + 0.35 * link + 0.25 * np.sin(moment.hour / 24 * 2 * np.pi)
    return float(1 / (1 + np.exp(-logit)))


def _tired_chance(person: dict[str, Any], mood: float, link: bool) -> float:
    """The same once people are tired of it: hashtags and bad news put them off, few followers do not hurt."""
    logit = 0.1 - 0.10 * float(np.log1p(person["followers"])) - 0.65 * min(len(person["tags"]), 4)
    logit += 1.0 * mood - 0.2 * link
    return float(1 / (1 + np.exp(-logit)))
