"""The whole loop through the command line, with the real Spark, MLflow, BentoML, Evidently and four real processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from bundle.home import Home
from observability.elastic.store import ElasticLogStore
from observability.embedded.store import ParquetLogStore
from observability.windows import EPOCH
from recipes.tweets.generator import generate, write_csv
from tests.serving_harness import free_port, wait_until

DRIFTGATE = [sys.executable, "-m", "controlplane"]
START, END = datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 3, 1, tzinfo=UTC)


def demo(
    home: Path, *arguments: str, timeout: float = 900, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [*DRIFTGATE, "demo", *arguments, "--home", str(home), "--exit"]
    everything = {**os.environ, **(environment or {})}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=everything)


def summary_of(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A finished demo on generated tweets: its data folder and its summary."""
    home = tmp_path_factory.mktemp("tweets") / "home"
    return home, summary_of(demo(home, "tweets"))


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestTheDemoOnGeneratedTweets:
    def test_each_kind_of_rule_fires_and_each_firing_leads_to_one_run(self, told):
        _, summary = told

        assert all(summary["firings"][kind] >= 1 for kind in ("data", "schedule", "metric")), summary["firings"]
        assert summary["runs"] == sum(summary["firings"].values())
        assert summary["runs"] == summary["promotions"] + summary["rejections"], "a run failed"

    def test_the_planted_drift_is_found_and_a_better_version_promoted(self, told):
        _, summary = told

        assert summary["onset"] is not None
        assert 0 < summary["events_onset_to_firing"] < 2_400
        assert summary["promotions"] >= 1
        assert summary["firing_to_serving_s"] > 0
        assert summary["pooled"]["difference_low"] > 0.05

    def test_no_request_fails_while_versions_are_swapped(self, told):
        _, summary = told

        assert summary["requests_failed"] == 0
        assert summary["requests_ok"] >= summary["events"] > 7_000

    def test_every_prediction_is_in_the_log_store_once(self, told):
        home, summary = told
        store = ParquetLogStore(Home(home).log_store)

        ids = [key for frame in store.predictions("default/tweets", EPOCH) for key in frame["id"]]

        assert len(ids) == len(set(ids)) == summary["events"]
        ledger = [*DRIFTGATE, "ledger", "--home", str(home), "--json"]
        counted = json.loads(subprocess.run(ledger, capture_output=True, check=True).stdout)
        assert counted["spooled"] == counted["indexed"] > summary["events"]
        assert (counted["dead_lettered"], counted["waiting"], counted["unaccounted"]) == (0, 0, 0)

    def test_rollback_is_one_command_and_serving_follows_without_an_error(self, told):
        home, _ = told
        control_port, serving_port = free_port(), free_port()
        environment = {
            **os.environ,
            "CONTROLPLANE_HOME": str(home),
            "CONTROLPLANE_PORT": str(control_port),
            "CONTROLPLANE_SERVING_PORT": str(serving_port),
            "CONTROLPLANE_CLOCK": "replay",
        }
        row = json.loads((home / "replay.jsonl").read_bytes().splitlines()[-1])
        token = json.loads((home / "credentials.json").read_bytes())["predict"]

        def version() -> int | None:
            answer = httpx.post(
                f"http://127.0.0.1:{serving_port}/v1/models/default/tweets/predict",
                json={"rows": [row["raw"]]},
                headers={"Authorization": f"Bearer {token}"},
                trust_env=False,
            )
            return answer.json()["predictions"][0]["version"] if answer.is_success else None

        def driftgate(*arguments: str) -> dict:
            done = subprocess.run(
                [*DRIFTGATE, *arguments, "--json"], env=environment, capture_output=True, text=True, check=True
            )
            return json.loads(done.stdout)

        up = subprocess.Popen([*DRIFTGATE, "up"], env=environment, stdout=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: "admin page" in up.stdout.readline(), "everything is up", 90)
            wait_until(lambda: version() is not None, "serving answers", 30)
            before = version()
            rolled_back = driftgate("rollback", "default/tweets", "--reason", "the test says so")
            answers = []
            deadline = time.monotonic() + 30
            while not answers or (answers[-1] == before and time.monotonic() < deadline):
                answers.append(version())
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(40)

        assert rolled_back["number"] == answers[-1] != before
        assert None not in answers


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_flights_are_replayed_and_every_firing_is_a_run(tmp_path):
    summary = summary_of(demo(tmp_path / "home", "flights"))

    assert summary["events"] > 30_000
    assert summary["runs"] == sum(summary["firings"].values()) >= 3
    assert summary["runs"] == summary["promotions"] + summary["rejections"], "a run failed"
    assert summary["requests_failed"] == 0
    assert summary["pooled"]["difference_low"] >= -0.02


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_loop_runs_on_elasticsearch_and_each_event_is_there_once(tmp_path, elasticsearch):
    home, named = tmp_path / "home", {"OBSERVABILITY_NAMESPACE": elasticsearch.namespace}
    store = ("--store", "elasticsearch", "--url", elasticsearch.url)

    summary = summary_of(demo(home, "tweets", *store, environment=named))

    assert summary["runs"] == sum(summary["firings"].values()) == summary["promotions"] + summary["rejections"]
    assert summary["promotions"] >= 1
    assert summary["requests_failed"] == 0
    assert not Home(home).log_store.exists(), "events are remembered below the data folder"
    logs = ElasticLogStore.connect(elasticsearch.settings(), refresh=True)
    ids = [key for frame in logs.predictions("default/tweets", EPOCH) for key in frame["id"]]
    assert len(ids) == len(set(ids)) == summary["events"]
    assert {event.body["outcome"] for event in logs.events("default/tweets", "decision", 1_000)} >= {"fire"}
    ledger = [*DRIFTGATE, "ledger", "--home", str(home), "--json"]
    counted = json.loads(subprocess.run(ledger, capture_output=True, check=True).stdout)
    assert (counted["dead_lettered"], counted["waiting"], counted["unaccounted"]) == (0, 0, 0)
    assert counted["indexed"] > 2 * summary["events"]
    again = demo(home, "tweets", *store, environment=named)
    assert again.returncode == 1
    assert "holds predictions of default/tweets" in again.stderr


def test_an_elasticsearch_that_is_away_is_told_before_anything_is_started(tmp_path):
    nobody = f"http://127.0.0.1:{free_port()}"

    done = demo(tmp_path / "home", "tweets", "--store", "elasticsearch", "--url", nobody)

    assert done.returncode == 1
    assert "it cannot be reached" in done.stderr
    assert not (tmp_path / "home" / "control.db").exists()


def test_a_constant_label_is_refused_and_says_what_to_do(tmp_path):
    tweets = [{**tweet, "retweets": "0"} for tweet in generate(900, 1, START, END)]
    write_csv(tmp_path / "constant.csv", tweets)

    done = demo(tmp_path / "home", "tweets", "--data", str(tmp_path / "constant.csv"))

    assert done.returncode == 1
    assert "the label retweeted is 0 on all 900 rows: a constant" in done.stderr
    assert "Check label.from" in done.stderr


def without_column(rows: list[list[str]]) -> str:
    return _csv([row[:10] + row[11:] for row in rows])


def broken_quote(rows: list[list[str]]) -> str:
    return _csv(rows) + '1,"never closed\n'


def empty(rows: list[list[str]]) -> str:
    return ""


def _csv(rows: list[list[str]]) -> str:
    return "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without_column, "there is no column text"),
        (broken_quote, "broken quote or field in the record that starts here"),
        (empty, "the file is empty"),
    ],
)
def test_a_broken_file_is_a_clear_error_and_nothing_is_started_or_written(tmp_path, damage, words):
    write_csv(tmp_path / "good.csv", generate(300, 1, START, END))
    rows = list(csv.reader((tmp_path / "good.csv").read_text(encoding="utf-8").splitlines()))
    (tmp_path / "bad.csv").write_text(damage(rows), encoding="utf-8")

    done = demo(tmp_path / "home", "tweets", "--data", str(tmp_path / "bad.csv"))

    assert done.returncode == 1
    assert "bad.csv" in done.stderr
    assert words in done.stderr
    assert not (tmp_path / "home" / "layers").exists()
    assert not (tmp_path / "home" / "control.db").exists()


def test_an_unknown_recipe_says_which_there_are(tmp_path):
    done = demo(tmp_path / "home", "twets")

    assert done.returncode == 1
    assert "tweets or flights" in done.stderr


def test_a_folder_that_is_no_demo_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("mine")

    done = demo(tmp_path, "tweets")

    assert done.returncode == 1
    assert (tmp_path / "precious").read_text() == "mine"
