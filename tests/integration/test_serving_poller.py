"""What the poller tells the control plane of a version that it does not load, and what it keeps to itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from bundle.blobs import BlobStore
from bundle.manifest import MODEL, Manifest
from controlplane.api.fleet import InstanceReport
from serving.fetch import ControlPlane
from serving.poller import Poller
from serving.settings import Settings
from tests.serving_harness import MODEL_ID, PRIVACY_KEY, SERVICE_TOKEN, ControlStandIn, control_plane
from tests.versions import make_version


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlStandIn]:
    with control_plane(BlobStore(tmp_path / "control-blobs")) as stand_in:
        yield stand_in


@pytest.fixture
def poller(tmp_path: Path, control: ControlStandIn) -> Iterator[Poller]:
    settings = Settings(
        home=tmp_path / "home",
        control_url=control.url,
        token=SecretStr(SERVICE_TOKEN),
        privacy_key=SecretStr(PRIVACY_KEY),
        poll_seconds=1,
        longest_wait_seconds=8,
    )
    client = ControlPlane(settings)
    yield Poller(settings, client)
    client.close()


def reported(control: ControlStandIn) -> InstanceReport:
    return InstanceReport.model_validate(control.reports[-1])


def test_a_version_whose_bytes_do_not_come_is_no_failure_and_is_tried_later_each_time(
    poller: Poller, control: ControlStandIn
) -> None:
    manifest = make_version(control.blobs, 0.0)
    graph = Manifest.read(control.blobs, manifest).files[MODEL]
    control.withheld.add(graph)
    control.want("production", 1, manifest)

    for second in range(11):
        poller.step(float(second))

    assert control.asked.count(graph) == 4  # at 0, 1, 3 and 7 s
    assert not any(report["failed"] for report in control.reports)
    assert not poller.ready
    control.withheld.clear()
    poller.step(15.0)
    assert poller.ready
    assert [each.version for each in reported(control).loaded] == [1]


def test_a_version_that_finds_no_place_on_the_disk_is_no_failure(
    tmp_path: Path, poller: Poller, control: ControlStandIn
) -> None:
    manifest = make_version(control.blobs, 0.0)
    control.want("production", 1, manifest)
    in_the_way = tmp_path / "home" / "serving" / "blobs" / manifest[:2]
    in_the_way.parent.mkdir(parents=True)
    in_the_way.touch()

    poller.step(0.0)

    assert reported(control) == InstanceReport(loaded=[], failed=[])
    in_the_way.unlink()
    poller.step(1.0)
    assert [each.version for each in reported(control).loaded] == [1]


def test_a_version_known_to_be_unusable_stays_so_while_its_bytes_do_not_come(
    poller: Poller, control: ControlStandIn
) -> None:
    manifest = make_version(control.blobs, 0.0)
    control.want("staging", 1, manifest)
    control.lies[manifest] = b"other bytes"
    poller.step(0.0)
    control.withheld.add(manifest)
    poller.step(1.0)
    assert "other bytes" in poller.failed[0][1]


def test_ctrl_c_at_the_terminal_does_not_reach_the_first_load_of_a_version(
    poller: Poller, control: ControlStandIn
) -> None:
    alone = "import os\n\nassert os.getsid(0) == os.getpid()\n\n\ndef features(raw):\n    return {}\n"
    control.want("staging", 1, make_version(control.blobs, 0.0, features=alone, golden_scores=[0.5] * 4))
    poller.step(0.0)
    assert "AssertionError" not in poller.failed[0][1]


def test_a_reason_however_long_or_odd_is_reported_as_the_control_plane_takes_it(
    poller: Poller, control: ControlStandIn
) -> None:
    wrong = json.dumps({f"unknown {number}": number for number in range(300)})
    control.want("staging", 1, control.blobs.put(wrong.encode()))
    poller.step(0.0)

    (failed,) = reported(control).failed
    assert (failed.model, failed.version, len(failed.reason)) == (MODEL_ID, 1, 2000)
    assert "cannot be read" in failed.reason
    poller._reports.send([], [(poller.failed[0][0], "half a letter: \ud800")], 100.0)
    assert reported(control).failed[0].reason == "half a letter: ?"
