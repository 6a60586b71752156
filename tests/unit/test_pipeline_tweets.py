"""The tweets recipe: its features, and its generator's phases."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from bundle.columns import raw_columns
from bundle.recipe import Recipe
from pipeline.contract.specfile import read_recipe
from recipes.tweets.generator import COLUMNS, generate

SPEC, SOURCES = read_recipe(Path(__file__).parents[2] / "recipes" / "tweets")
RECIPE = Recipe(SOURCES["features.py"], "features", SPEC.signature)
START, END = datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 1, 8, tzinfo=UTC)


def features(**row):
    return {name: column[0] for name, column in RECIPE.features(raw_columns([row], SPEC.raw)).items()}


def test_a_tweet_becomes_twelve_features():
    found = features(
        text="I love this vaccine https://t.co/x", user_location=" London ", hashtags="['Pfizer', 'COVID19']",
        user_followers=10, user_verified=True, date="2021-01-01 13:30:00",
    )  # fmt: skip

    assert found["location"] == "London"
    assert found["hashtags"] == "pfizer covid19"
    assert found["positive"] > 0 == found["negative"]
    assert (found["verified"], found["link"], found["hour"], found["hashtag_count"]) == (1, 1, 13, 2)
    assert np.isnan(found["friends"])


@pytest.mark.parametrize("hashtags", [None, "", "not a list", "[", "__import__('os')", "{'a': 1}", "{[1]}", "[" * 500])
def test_hashtags_that_are_no_list_are_none(hashtags):
    found = features(text="x", hashtags=hashtags)

    assert (found["hashtags"], found["hashtag_count"]) == ("", 0)


@pytest.mark.parametrize("date", [None, "", "today", "2021-01-01"])
def test_a_time_without_an_hour_is_missing(date):
    assert np.isnan(features(text="x", date=date)["hour"])


def test_generated_tweets_are_the_same_for_the_same_seed_and_in_the_sources_schema():
    rows = generate(50, 1, START, END)

    assert rows == generate(50, 1, START, END)
    assert rows != generate(50, 2, START, END)
    assert tuple(rows[0]) == COLUMNS
    assert [row["date"] for row in rows] == sorted(row["date"] for row in rows)
    assert len({row["tweet_id"] for row in rows + generate(50, 2, START, END)}) == 100


def test_the_marginals_are_those_of_the_real_sets():
    rows = generate(4000, 1, START, END)
    followers = np.log1p([float(row["user_followers"]) for row in rows])

    assert np.mean(followers) == pytest.approx(6.75, abs=0.25)
    assert np.std(followers) == pytest.approx(2.75, abs=0.25)
    assert np.mean([row["user_verified"] == "True" for row in rows]) == pytest.approx(0.13, abs=0.03)
    assert np.mean([row["user_location"] == "" for row in rows]) == pytest.approx(0.21, abs=0.03)
    assert np.mean([row["hashtags"] == "" for row in rows]) == pytest.approx(0.26, abs=0.03)
    assert np.mean([row["retweets"] != "0" for row in rows]) == pytest.approx(0.33, abs=0.05)


def test_bots_are_a_third_of_the_rows_and_retweet_each_other():
    rows = generate(3000, 1, START, END, "bots")
    bots = [row for row in rows if row["source"] == "AutoPoster"]

    assert len(bots) / len(rows) == pytest.approx(0.35, abs=0.03)
    assert all(int(row["user_followers"]) <= 20 and row["user_location"] == "" for row in bots)
    assert np.mean([row["retweets"] != "0" for row in bots]) == pytest.approx(0.8, abs=0.05)


def test_fatigue_leaves_the_tweets_and_turns_the_effect_of_hashtags_round():
    def people(phase):
        return [row for row in generate(4000, 1, START, END, phase) if row["source"] != "AutoPoster"]

    def effect(rows):
        tagged = [row["retweets"] != "0" for row in rows if row["hashtags"]]
        plain = [row["retweets"] != "0" for row in rows if not row["hashtags"]]
        return np.mean(tagged) - np.mean(plain)

    assert len(people("fatigue")) == pytest.approx(len(people("bots")), abs=100)
    assert effect(people("bots")) > 0.05
    assert effect(people("fatigue")) < -0.05
