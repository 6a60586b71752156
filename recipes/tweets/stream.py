"""Tweets to replay: a file in the schema of the Kaggle sets, or generated ones with drifts planted in them."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

from pipeline.contract.stream import Stream
from recipes.tweets.generator import COLUMNS, Phase, generate

SEED = 2020
HISTORY_FROM = datetime(2020, 12, 1, tzinfo=UTC)
TRAIN_UNTIL = datetime(2021, 1, 1, tzinfo=UTC)
#: the planted drift: young accounts arrive that retweet each other
BOTS_FROM = datetime(2021, 1, 13, tzinfo=UTC)
#: then the concept changes while the tweets stay the same: people no longer retweet what they did
FATIGUE_FROM = datetime(2021, 1, 25, tzinfo=UTC)
END = datetime(2021, 2, 8, tzinfo=UTC)
PHASES: tuple[tuple[Phase, int, datetime, datetime], ...] = (
    ("normal", 5_000, HISTORY_FROM, TRAIN_UNTIL),
    ("normal", 2_400, TRAIN_UNTIL, BOTS_FROM),
    ("bots", 2_400, BOTS_FROM, FATIGUE_FROM),
    ("fatigue", 2_800, FATIGUE_FROM, END),
)


def prepare(data: Path | None, folder: Path) -> Stream:
    """The file as it is, cut after five weeks; or generated tweets, written as such a file."""
    if data is not None:
        return Stream(data, None, None, f"real tweets from {data.name}")
    file = folder / "tweets.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS)
        writer.writeheader()
        for number, (phase, rows, start, end) in enumerate(PHASES):
            writer.writerows(generate(rows, SEED + number, start, end, phase))
    rows = sum(phase[1] for phase in PHASES)
    return Stream(
        file=file,
        train_until=TRAIN_UNTIL,
        onset=BOTS_FROM,
        description=f"{rows:,} generated tweets; DATA=file.csv takes real ones, as none are shipped. Planted: bots "
        f"from {BOTS_FROM:%Y-%m-%d}, and from {FATIGUE_FROM:%Y-%m-%d} people tired of what they used to retweet",
    )
