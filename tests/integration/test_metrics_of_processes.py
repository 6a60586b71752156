"""The real processes tell every metric that the rules ask for and the reference lists, and one id goes through all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from bundle.blobs import BlobStore
from bundle.home import Home
from controlplane.access.credentials import read_credentials
from docs.metrics import PROCESSES
from observability.logstores import open_log_store
from observability.settings import Settings as ShippingSettings
from observability.telemetry import metrics
from tests.serving_harness import PREDICT, ROW, control_plane, free_port, serving, wait_until
from tests.versions import MODEL_ID, make_version

ROOT: Final = Path(__file__).parents[2]
COMMANDS: Final = {"control": "control", "monitor": "monitor", "shipper": "ship"}


class Fleet:
    """All four processes over one data folder, each with its metrics on a port of its own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.home = Home(folder / "home")
        self.ports = {name: free_port() for name in PROCESSES}
        self.control_port = free_port()
        told = {f"OBSERVABILITY_METRICS_{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        self.environment = os.environ | told | {
            "CONTROLPLANE_HOME": str(self.home.root), "CONTROLPLANE_PORT": str(self.control_port),
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        self.log = folder / "log"
        self.processes = {name: self._start(name, stack) for name in COMMANDS}
        blobs = BlobStore(folder / "blobs")
        desired = stack.enter_context(control_plane(blobs))
        desired.want("production", 1, make_version(blobs))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in told.items():
                patch.setenv(name, value)
            self.serving = stack.enter_context(serving(self.home.root, desired.url))
        for name, process in self.processes.items():
            wait_until(partial(self.answers, name, process), f"{name} tells its metrics", 90)
        self.serving.wait_ready()

    def _start(self, name: str, stack: ExitStack) -> subprocess.Popen[bytes]:
        with self.log.with_suffix(f".{name}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "controlplane", COMMANDS[name]], env=self.environment, stderr=log, stdout=log
            )
        stack.callback(process.wait, 30)
        stack.callback(process.send_signal, signal.SIGTERM)
        return process

    def answers(self, name: str, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, self.log.with_suffix(f".{name}").read_text()
        try:
            text = httpx.get(f"http://127.0.0.1:{self.ports[name]}/metrics", trust_env=False).text
        except httpx.TransportError:
            return False
        return PROCESSES[name][0].name in text

    def told(self, name: str) -> dict[str, Metric]:
        """What a process tells now."""
        text = httpx.get(f"http://127.0.0.1:{self.ports[name]}/metrics", trust_env=False).text
        return {family.name: family for family in text_string_to_metric_families(text)}

    def value(self, name: str, metric: str, **labels: str) -> float:
        samples = [
            sample.value
            for family in self.told(name).values()
            for sample in family.samples
            if sample.name == metric and labels.items() <= sample.labels.items()
        ]
        return sum(samples)

    def control(self, path: str, **headers: str) -> httpx.Response:
        token = read_credentials(self.home.credentials).admin.get_secret_value()
        headers = {"Authorization": f"Bearer {token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return httpx.get(f"http://127.0.0.1:{self.control_port}{path}", headers=headers, trust_env=False)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(tmp_path_factory.mktemp("fleet"), stack)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_tells_each_metric_that_the_reference_lists(fleet, name):
    told = fleet.told(name)

    for measure in (*PROCESSES[name], *metrics.OF_EVERY_PROCESS):
        family = told.get(measure.name.removesuffix("_total"))
        assert family is not None, measure.name
        assert (family.type, family.documentation) == (measure.kind, measure.help)
        assert {label for sample in family.samples for label in sample.labels} <= {*measure.labels, "le"}
    assert fleet.value(name, "process_start_time_seconds") > 0


@pytest.mark.parametrize("name", PROCESSES)
def test_metrics_are_told_to_this_machine_only(fleet, name):
    (listening,) = [
        line.split()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{fleet.ports[name]:04X}") and line.split()[3] == "0A"
    ]

    assert listening.startswith("0100007F:")


def test_a_request_is_counted_by_its_route_and_never_by_what_it_names(fleet):
    asked = {"method": "GET", "route": "/api/v1/models/{ns}/{slug}", "status": "404"}
    before = fleet.value("control", "driftgate_http_requests_total", **asked)
    for model in ("a/b", "c/d"):
        assert fleet.control(f"/api/v1/models/{model}").status_code == 404
    fleet.control("/nowhere/at/all")

    assert fleet.value("control", "driftgate_http_requests_total", **asked) == before + 2
    assert fleet.value("control", "driftgate_http_requests_total", route="none", status="404") >= 1
    assert fleet.value("control", "driftgate_tick_duration_seconds_count", tick="decide") > 0


def test_an_answer_bears_the_id_of_its_request_once(fleet):
    said = fleet.control("/api/v1/models", X_Request_Id="mine-1")
    with fleet.serving.client() as client:
        same = client.post(PREDICT, json={"rows": [ROW]}, headers={"X-Request-Id": "mine-2"})
        made = client.post(PREDICT, json={"rows": [ROW]}, headers={"X-Request-Id": "not sane"})
        refused = client.post(PREDICT, json={"rows": []}, headers={"X-Request-Id": "mine-3"})
    with fleet.serving.client(token=None) as client:
        turned_away = client.post(PREDICT, json={"rows": [ROW]}, headers={"X-Request-Id": "mine-4"})

    answers = (said, same, refused, turned_away)
    assert [each.headers.get_list("x-request-id") for each in answers] == [[f"mine-{n}"] for n in (1, 2, 3, 4)]
    (new,) = made.headers.get_list("x-request-id")
    assert len(new) == 36
    ids = [json.loads(line)["http"]["request"]["id"] for line in fleet.serving.spooled()[-2:]]
    assert ids == ["mine-2", new]


def test_serving_counts_what_it_answers_and_what_it_refuses(fleet):
    def counted() -> list[float]:
        return [
            fleet.value("serving", "driftgate_predictions_total", model=MODEL_ID),
            fleet.value("serving", "driftgate_http_requests_total", route="predict", status="200"),
            fleet.value("serving", "driftgate_http_request_duration_seconds_count", route="predict"),
            fleet.value("serving", "driftgate_serving_refusals_total", code="bad_json"),
        ]

    before = counted()
    with fleet.serving.client() as client:
        client.post(PREDICT, json={"rows": [ROW] * 3}).raise_for_status()
        client.post(PREDICT, content=b"{", headers={"Content-Type": "application/json"})

    wait_until(lambda: counted() == [before[0] + 3, before[1] + 1, before[2] + 2, before[3] + 1], "all is counted")
    assert fleet.value("serving", "driftgate_serving_ready") == 1
    assert 0 < fleet.value("serving", "driftgate_serving_spool_quota_ratio") < 0.01


def test_the_account_of_the_log_path_is_told_and_closes(fleet):
    with fleet.serving.client() as client:
        client.post(PREDICT, json={"rows": [ROW] * 10}).raise_for_status()

    def settled() -> bool:
        spooled = fleet.value("shipper", "driftgate_events_spooled_total")
        return spooled >= 10 and fleet.value("shipper", "driftgate_events_indexed_total") == spooled

    wait_until(settled, "all events are told as shipped", 60)
    assert fleet.value("shipper", "driftgate_events_unaccounted") == 0
    assert fleet.value("shipper", "driftgate_events_dead_lettered_total") == 0
    assert fleet.value("shipper", "driftgate_log_store_call_duration_seconds_count", call="append") > 0


def test_lines_of_the_processes_own_logs_reach_the_log_store(fleet):
    """A version's load is logged by serving at INFO."""
    loaded = f"{MODEL_ID} version 1 is loaded"
    lines = [line for line in fleet.serving.log.read_text().splitlines() if line.startswith("{")]
    assert loaded in [json.loads(line)["message"] for line in lines]
    store = open_log_store(fleet.home.log_store, ShippingSettings())

    def stored() -> bool:
        events: list[Any] = store.events("", "service", 100)
        return ("serving", loaded) in [(event.service, event.message) for event in events]

    wait_until(stored, "the line is in the log store", 30)


def test_a_process_refuses_to_tell_its_metrics_to_other_machines_unless_told_to(tmp_path):
    environment = os.environ | {"OBSERVABILITY_METRICS_HOST": "0.0.0.0", "CONTROLPLANE_HOME": str(tmp_path)}
    refused = subprocess.run(
        [sys.executable, "-m", "controlplane", "ship"], env=environment, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip

    assert refused.returncode == 1 and "OBSERVABILITY_METRICS_OPEN=true" in refused.stderr
    assert "Traceback" not in refused.stderr
