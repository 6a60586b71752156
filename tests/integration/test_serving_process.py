"""What a real serving process promises: swaps without loss, starts from the cache, keeps what it answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from bundle.blobs import BlobStore
from bundle.manifest import MODEL, Manifest
from observability.events import LabelEvent, PredictionEvent, parse
from observability.ids import sample_key
from tests.serving_harness import (
    LABELS,
    MODEL_ID,
    PREDICT,
    ROW,
    ControlStandIn,
    ServingProcess,
    control_plane,
    served_version,
    serving,
    wait_until,
)
from tests.versions import ROWS, make_version


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "control-blobs")


@pytest.fixture
def control(blobs: BlobStore) -> Iterator[ControlStandIn]:
    with control_plane(blobs) as stand_in:
        stand_in.want("production", 1, make_version(blobs, 0.0))
        yield stand_in


@pytest.fixture
def service(tmp_path: Path, control: ControlStandIn) -> Iterator[ServingProcess]:
    with serving(tmp_path / "home", control.url) as process:
        yield process.wait_ready()


class Callers:
    """Threads that ask without pause and remember what they were told."""

    def __init__(self, service: ServingProcess, count: int) -> None:
        self._service = service
        self._stop = threading.Event()
        self.versions: list[int] = []
        self.ids: list[str] = []
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._call) for _ in range(count)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        with self._service.client() as client:
            while not self._stop.is_set():
                try:
                    response = client.post(PREDICT, json={"rows": [ROW]})
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    return
                if response.status_code != 200:
                    self.failures.append(response.text)
                    continue
                (prediction,) = response.json()["predictions"]
                self.versions.append(prediction["version"])
                self.ids.append(prediction["id"])


def test_swaps_under_load_drop_no_request_and_name_only_promoted_versions(
    service: ServingProcess, control: ControlStandIn, blobs: BlobStore
) -> None:
    with Callers(service, 8) as callers:
        for version in range(2, 7):
            manifest = make_version(blobs, version / 10)
            control.want("staging", version, manifest)
            control.wait_for_report("loaded", version)
            assert version not in callers.versions
            control.want("production", version, manifest)
            service.wait_version(version)
        time.sleep(0.2)

    assert callers.failures == []
    assert set(callers.versions) == {1, 2, 3, 4, 5, 6}
    spooled = {parse(line).id for line in service.spooled()}
    assert set(callers.ids) <= spooled


def test_a_corrupt_blob_is_refused_and_the_version_before_goes_on(
    service: ServingProcess, control: ControlStandIn, blobs: BlobStore
) -> None:
    manifest = make_version(blobs, 2.0)
    graph = Manifest.read(blobs, manifest).files[MODEL]
    control.lies[graph] = b"other bytes"
    control.want("production", 2, manifest)

    failed = control.wait_for_report("failed", 2)

    assert "other bytes" in failed["reason"]
    with service.client() as client:
        assert served_version(client) == 1
        assert client.get("/readyz").status_code == 200
    control.lies.clear()
    service.wait_version(2)
    wait_until(lambda: not control.reports[-1]["failed"], "the failure is forgotten")


def test_a_version_that_does_not_answer_its_golden_rows_is_refused(
    service: ServingProcess, control: ControlStandIn, blobs: BlobStore
) -> None:
    control.want("production", 2, make_version(blobs, 2.0, golden_scores=[0.5] * len(ROWS)))
    ends = "def features(raw):\n    raise SystemExit\n"
    any_scores = [0.5] * len(ROWS)
    control.want("staging", 3, make_version(blobs, 3.0, features=ends, golden_scores=any_scores))

    assert "golden row" in control.wait_for_report("failed", 2)["reason"]
    assert control.wait_for_report("failed", 3)["reason"]
    with service.client() as client:
        assert served_version(client) == 1


def test_a_graph_that_crashes_its_loader_does_not_take_the_service_along(
    service: ServingProcess, control: ControlStandIn, blobs: BlobStore
) -> None:
    crash = "import ctypes\n\nctypes.string_at(0)\n\n\ndef features(raw):\n    return {}\n"
    control.want("production", 2, make_version(blobs, 2.0, features=crash, golden_scores=[0.5] * len(ROWS)))

    assert "signal 11" in control.wait_for_report("failed", 2)["reason"]
    with service.client() as client:
        assert served_version(client) == 1


def test_a_restart_with_the_control_plane_away_starts_from_the_cache(
    service: ServingProcess, control: ControlStandIn
) -> None:
    service.stop()
    control.stop()

    service.start()
    service.wait_ready(seconds=15)

    with service.client() as client:
        assert served_version(client) == 1
        assert client.get("/v1/loaded").json()["serving"][0]["version"] == 1
    with service.client("another token") as stranger:
        assert stranger.post(PREDICT, json={"rows": [ROW]}).status_code == 401


def test_it_is_not_ready_before_it_knows_what_should_answer(tmp_path: Path) -> None:
    with serving(tmp_path / "home", "http://127.0.0.1:9") as service:
        service.wait_ready("/healthz")
        response = httpx.get(service.url + "/readyz", trust_env=False)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "not_ready"


def test_every_answered_prediction_is_in_the_spool_after_kill_9(service: ServingProcess) -> None:
    with Callers(service, 8) as callers:
        wait_until(lambda: len(callers.ids) > 300, "enough is answered")
        service.kill()
    before = list(callers.ids)
    service.start()
    service.wait_ready()
    with service.client() as client:
        after = [p["id"] for p in client.post(PREDICT, json={"rows": [ROW] * 3}).json()["predictions"]]

    events = [parse(line) for line in service.spooled()]
    ids = [event.id for event in events]
    assert set(before) | set(after) <= set(ids)
    assert len(set(ids)) == len(ids)


def test_answers_and_their_events_say_the_same(service: ServingProcess) -> None:
    times = [f"2021-01-16T10:00:0{second}+01:00" for second in range(len(ROWS))]
    with service.client() as client:
        answer = client.post(PREDICT, json={"rows": ROWS, "event_times": times}).json()

    events = [parse(line) for line in service.spooled()]
    assert answer["model"] == MODEL_ID
    for event, prediction in zip(events, answer["predictions"], strict=True):
        assert isinstance(event, PredictionEvent)
        assert (event.id, event.score, event.prediction, event.version) == tuple(
            prediction[name] for name in ("id", "score", "prediction", "version")
        )
        assert event.sample_key == sample_key(event.id)
        assert event.event_time.isoformat().startswith("2021-01-16T09:00:0")
        assert event.latency_ms > 0
    first = events[0]
    assert isinstance(first, PredictionEvent)
    assert first.raw["text"] == "hello @user"
    assert str(first.raw["author"]).startswith("p-")
    assert first.features["place"] == "London"


def test_a_label_is_on_the_disk_when_it_is_answered(service: ServingProcess) -> None:
    with service.client() as client:
        (prediction,) = client.post(PREDICT, json={"rows": [ROW]}).json()["predictions"]
        labels = [
            {"prediction_id": prediction["id"], "label": 1},
            {"prediction_id": "another", "label": False, "label_time": "2021-02-01T00:00:00Z"},
        ]
        answer = client.post(LABELS, json={"labels": labels})
    service.kill()

    assert answer.json() == {"accepted": 2}
    first, second = (e for e in map(parse, service.spooled()) if isinstance(e, LabelEvent))
    assert (first.prediction_id, first.label) == (prediction["id"], 1)
    assert first.sample_key == sample_key(prediction["id"])
    assert (second.label, second.label_time.isoformat()) == (0, "2021-02-01T00:00:00+00:00")


def test_sigterm_lets_requests_in_flight_end(service: ServingProcess) -> None:
    rows = {"rows": [ROW] * 1000}
    with service.client() as client, ThreadPoolExecutor(4) as pool:
        client.post(PREDICT, json=rows)
        asked = [pool.submit(client.post, PREDICT, json=rows) for _ in range(4)]
        time.sleep(0.03)
        exit_code = service.stop()
        answered = [f.result() for f in asked if f.exception() is None]

    assert exit_code in (0, -15)
    spooled = {parse(line).id for line in service.spooled()}
    for response in answered:
        assert response.status_code == 200
        assert {p["id"] for p in response.json()["predictions"]} <= spooled


def test_a_full_spool_is_counted_and_the_prediction_is_answered(tmp_path: Path, control: ControlStandIn) -> None:
    with serving(tmp_path / "small", control.url, spool_quota_bytes=1 << 16) as service:
        service.wait_ready()
        with service.client() as client:
            answers = [client.post(PREDICT, json={"rows": [ROW] * 50}) for _ in range(8)]
            label = client.post(LABELS, json={"labels": [{"prediction_id": "x", "label": 1}] * 100})
            counts = client.get("/v1/loaded").json()["spool"]

        assert {a.status_code for a in answers} == {200}
        assert counts["written"] == len(service.spooled())
        assert counts["refused"] > 0
        assert counts["written"] + counts["refused"] == 400 + 100
        assert label.status_code == 503
        assert label.json()["error"]["code"] == "spool_full"


def test_what_is_pulled_unchanged_is_not_sent_again(service: ServingProcess, control: ControlStandIn) -> None:
    wait_until(lambda: control.not_modified > 2, "the ETag is used")
    assert control.reports[-1] == {
        "loaded": [{"model": MODEL_ID, **control.desired["models"][0]["production"]}],
        "failed": [],
    }
