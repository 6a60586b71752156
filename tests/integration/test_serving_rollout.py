"""A rollout as a real serving process answers it: shadow, canary, watching, and a challenger that crashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bundle.blobs import BlobStore
from observability.events import PredictionEvent, parse
from observability.ids import turn_of
from tests.serving_harness import (
    MODEL_ID,
    PREDICT,
    ROW,
    ControlStandIn,
    ServingProcess,
    control_plane,
    serving,
    wait_until,
)
from tests.versions import FEATURES_SOURCE, ROWS, make_version

CHAMPION, CHALLENGER = 1, 2
#: answers its golden rows, and none that follow
CRASHES = FEATURES_SOURCE.replace(
    "    return",
    "    if len(raw['followers']) < 4:\n        raise ValueError('a row that it was not tried on')\n    return",
)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlStandIn]:
    with control_plane(BlobStore(tmp_path / "control-blobs")) as stand_in:
        stand_in.want("production", CHAMPION, make_version(stand_in.blobs, 0.0))
        yield stand_in


@pytest.fixture
def service(tmp_path: Path, control: ControlStandIn) -> Iterator[ServingProcess]:
    with serving(tmp_path / "home", control.url) as process:
        yield process.wait_ready()


def wait_rival(service: ServingProcess, version: int | None, share: float = 0.0) -> None:
    expected = [] if version is None else [(version, share)]

    def rivals() -> bool:
        with service.client() as client:
            told = client.get("/v1/loaded").json()["rivals"]
        return [(rival["version"], rival["share"]) for rival in told] == expected

    wait_until(rivals, f"the rivals are {expected}")


def ask(service: ServingProcess, requests: int) -> list[PredictionEvent]:
    """So many requests, all of them answered; their events, each as the answer said it."""
    with service.client() as client, ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda _: client.post(PREDICT, json={"rows": [ROW]}), range(requests)))
    assert Counter(response.status_code for response in responses) == {200: requests}
    told = {p["id"]: p for response in responses for p in response.json()["predictions"]}
    events = [event for event in map(parse, service.spooled()) if event.id in told]
    assert len(events) == requests
    for event in events:
        assert isinstance(event, PredictionEvent)
        assert (event.version, event.score) == (told[event.id]["version"], told[event.id]["score"])
    return [event for event in events if isinstance(event, PredictionEvent)]


def test_a_shadow_scores_every_row_and_answers_none(service: ServingProcess, control: ControlStandIn) -> None:
    control.want("rival", CHALLENGER, make_version(control.blobs, 0.7), share=0.0)
    wait_rival(service, CHALLENGER)

    events = ask(service, 200)

    assert {(e.version, e.role, e.rival_version) for e in events} == {(CHAMPION, "production", CHALLENGER)}
    assert all(e.rival_score is not None and e.rival_score > e.score for e in events)
    assert all((e.score_ms or 0) > 0 and (e.rival_ms or 0) > 0 for e in events)


def test_a_canary_answers_its_share_of_the_requests_and_the_pairs_lack_nothing(
    service: ServingProcess, control: ControlStandIn
) -> None:
    control.want("rival", CHALLENGER, make_version(control.blobs, 0.7), share=0.2)
    wait_rival(service, CHALLENGER, 0.2)

    events = ask(service, 2_000)

    by_canary = [e for e in events if e.role == "canary"]
    deviation = (2_000 * 0.2 * 0.8) ** 0.5
    assert abs(len(by_canary) - 400) < 5 * deviation
    assert {(e.version, e.rival_version) for e in by_canary} == {(CHALLENGER, CHAMPION)}
    assert all((turn_of(e.id) < 0.2) == (e.role == "canary") for e in events)
    assert all(e.rival_score is not None for e in events)
    scores = {e.score if e.version == CHALLENGER else e.rival_score for e in events}
    assert len(scores) == 1


def test_a_canary_that_crashes_costs_no_request(service: ServingProcess, control: ControlStandIn) -> None:
    control.want("rival", CHALLENGER, make_version(control.blobs, 0.7, features=CRASHES), share=0.5)
    wait_rival(service, CHALLENGER, 0.5)

    events = ask(service, 200)

    told = {(e.version, e.role, e.rival_version, e.rival_score, e.rival_ms) for e in events}
    assert told == {(CHAMPION, "production", CHALLENGER, None, None)}
    with service.client() as client:
        (rival,) = client.get("/v1/loaded").json()["rivals"]
    assert (rival["model"], rival["scored"], rival["failed"], rival["rested"]) == (MODEL_ID, 0, 200, 0)
    assert service.log.read_text().count("a rival, cannot score") == 1


def test_a_promoted_version_is_watched_beside_the_one_before_which_answers_where_it_crashes(
    service: ServingProcess, control: ControlStandIn
) -> None:
    control.promote(CHALLENGER, make_version(control.blobs, 0.7, features=CRASHES))
    wait_rival(service, CHAMPION)

    with service.client() as client:
        answered = client.post(PREDICT, json={"rows": ROWS}).json()["predictions"]
    assert {prediction["version"] for prediction in answered} == {CHALLENGER}
    events = ask(service, 50)
    told = {(e.version, e.role, e.rival_version, e.rival_score) for e in events}
    assert told == {(CHAMPION, "production", CHALLENGER, None)}


def test_the_end_of_a_rollout_swaps_back_at_once_and_keeps_the_challenger_loaded(
    service: ServingProcess, control: ControlStandIn
) -> None:
    control.want("rival", CHALLENGER, make_version(control.blobs, 0.7), share=1.0)
    wait_rival(service, CHALLENGER, 1.0)
    assert {e.version for e in ask(service, 20)} == {CHALLENGER}
    control.end("rival")
    wait_rival(service, None)

    assert {(e.version, e.rival_version) for e in ask(service, 20)} == {(CHAMPION, None)}
    with service.client() as client:
        assert [each["version"] for each in client.get("/v1/loaded").json()["loaded"]] == [CHAMPION, CHALLENGER]
