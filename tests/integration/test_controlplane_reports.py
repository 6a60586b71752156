"""Evidently's report of a window comes as a file that runs nothing, and costs nobody else an answer."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from bundle.home import Home
from controlplane.errors import NotReportable, ReportFailed
from controlplane.loop.reporting import write_report
from controlplane.loop.watch import Sources
from controlplane.reports import ReportProcess
from observability.embedded.store import ParquetLogStore
from tests.controlplane_world import MODEL
from tests.watched_world import VERSIONS, Elsewhere, predictions, reference

WINDOWS = f"/api/v1/models/{MODEL}/windows"
HOSTILE = "</script><script>alert(1)</script>"


def judged(folder) -> Elsewhere:
    """A model whose newest window has drifted, and in which a category is code."""
    world = Elsewhere(folder, [])
    declared = reference()
    declared["features"]["place"][::3] = [HOSTILE] * len(declared["features"]["place"][::3])
    assert world.api.post(VERSIONS, json=declared).status_code == 200
    rows = predictions(100, mean=130.0)
    for row in rows[::3]:
        row["features"]["place"] = HOSTILE
    world.post(predictions=rows)
    world.ship()
    world.watch()
    return world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return judged(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def window(world):
    (row,) = world.store.windows(MODEL)
    return row


def test_a_report_says_what_the_verdict_says_and_no_text_of_the_data_runs(world, window):
    write = ReportProcess(world.database, Home(world.folder))
    viewer = world.client("read", reports=write)

    answer = viewer.get(f"{WINDOWS}/{window.id}/report")

    assert answer.status_code == 200, answer.text
    said = answer.headers
    assert said["content-type"].startswith("text/html") and said["x-content-type-options"] == "nosniff"
    assert said["content-disposition"] == f'attachment; filename="default-tweets-{window.id}.html"'
    assert said["content-security-policy"] == "sandbox"
    told = dict(re.findall(r'"column_name": "(\w+)", "column_type".*?"data_drift": "([^"]+)"', answer.text))
    stored = {name: each["drifted"] for name, each in window.verdict["features"].items()}
    stored["score"] = window.verdict["prediction"]["drifted"]
    assert {name: verdict == "Detected" for name, verdict in told.items()} == stored
    assert stored["followers"] and "script alert 1" in answer.text and "alert(1)" not in answer.text

    shutil.move(world.folder / "logs", world.folder / "elsewhere")  # what retention has deleted
    try:
        gone = viewer.get(f"{WINDOWS}/{window.id}/report")
    finally:
        shutil.rmtree(world.folder / "logs", ignore_errors=True)
        shutil.move(world.folder / "elsewhere", world.folder / "logs")
    assert (gone.status_code, gone.json()["error"]["code"]) == (409, "not_reportable")
    assert "0 of 100 are left" in gone.json()["error"]["message"]


def test_a_window_is_not_reported_where_rows_of_it_or_of_its_reference_are_gone(world, window, tmp_path):
    sources = Sources(world.store, world.logs, world.blobs)
    more = window.model_copy(update={"rows": 101})
    with pytest.raises(NotReportable, match="100 of 101 are left"):
        write_report(sources, more)
    compared = {"reference": {"rows": 401}}
    with pytest.raises(NotReportable, match="of this window's reference: 400 of 401 are left"):
        write_report(sources, window.model_copy(update={"verdict": window.verdict | compared}))
    with pytest.raises(NotReportable, match="no monitor gone"):
        write_report(sources, window.model_copy(update={"monitor": "gone"}))
    with pytest.raises(NotReportable, match="0 of 100"):
        write_report(Sources(world.store, ParquetLogStore(tmp_path), world.blobs), window)


def test_no_process_is_started_for_a_window_that_is_not_there_or_was_not_compared(tmp_path):
    world = Elsewhere(tmp_path, [])
    bare = world.window(1, 0, features={"followers": {"score": None, "drifted": None, "reason": "too few rows"}})
    client = world.client("read", reports=lambda *_: pytest.fail("a process was started"))

    said = client.get(f"{WINDOWS}/{bare.id}/report")
    assert (said.status_code, said.json()["error"]["code"]) == (409, "not_reportable")
    assert client.get(f"{WINDOWS}/w-none/report").status_code == 404
    assert world.client("read").get(f"{WINDOWS}/{bare.id}/report").status_code == 409, "where none are written"


def process(tmp_path, code: str, seconds: float = 30.0) -> ReportProcess:
    """A process that does this in the place of the one that writes reports."""
    return ReportProcess(
        "postgresql://driftgate:secret@db/x", Home(tmp_path), {"TZ": "UTC"}, [sys.executable, "-c", code],
        timedelta(seconds=seconds),
    )  # fmt: skip


def test_one_is_written_at_a_time_and_whoever_comes_meanwhile_is_told_to_come_again(tmp_path, caplog):
    world = Elsewhere(tmp_path, [])
    row = world.window(1, 0, features={"followers": {"score": 0.0, "drifted": True}})
    begun, ends = threading.Event(), threading.Event()

    def slow(*_: str) -> bytes:
        begun.set()
        assert ends.wait(30)
        return b"<html>"

    write = process(tmp_path, "")
    write._written = slow
    client = world.client("read", reports=write)
    with client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.get, f"{WINDOWS}/{row.id}/report")
        assert begun.wait(30)
        busy = client.get(f"{WINDOWS}/{row.id}/report")
        assert (busy.status_code, busy.json()["error"]["code"]) == (503, "reports_busy")
        assert busy.headers["retry-after"] == "10" and client.get("/healthz").status_code == 200
        ends.set()
        assert first.result().content == b"<html>"
    assert not caplog.records, "nothing is wrong that an operator should read of"


def test_a_process_that_hangs_or_dies_is_an_error_and_gives_its_place_back(tmp_path, caplog):
    hangs = process(tmp_path, "import time; time.sleep(60)", 0.2)
    for _ in range(2):
        with pytest.raises(ReportFailed, match="not written within"):
            hangs(MODEL, "w-1")
    dies = process(tmp_path, "import sys; sys.exit('out of memory')")
    for _ in range(2):
        with pytest.raises(ReportFailed, match="see the log"):
            dies(MODEL, "w-1")
    assert "out of memory" in caplog.text and "secret" not in caplog.text
    says_much = process(tmp_path, "import os; os.write(2, ('ü' * 3_000 + 'x').encode()); os._exit(1)")
    with pytest.raises(ReportFailed, match="see the log"):  # what is logged of it begins amid a character
        says_much(MODEL, "w-1")


def test_the_process_gets_no_secret_where_others_see_it_and_nothing_that_it_does_not_need(tmp_path, monkeypatch):
    for name in ("CONTROLPLANE_SECRET_KEY", "DRIFTGATE_TOKEN", "AWS_SECRET_ACCESS_KEY", "SERVING_TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("OBSERVABILITY_STORE", "elasticsearch")
    show = "import os, sys; print(sys.argv, dict(os.environ)); print(sys.stdin.read())"
    write = ReportProcess("postgresql://u:pw@db/x", Home(tmp_path), command=[sys.executable, "-c", show])

    seen, asked = write(MODEL, "w-1").decode().splitlines()

    assert "secret" not in seen and "pw" not in seen and "'OBSERVABILITY_STORE': 'elasticsearch'" in seen
    assert "postgresql://u:pw@db/x" in asked and "pw" not in repr(vars(write))


def test_no_other_process_than_the_one_that_writes_waits_for_evidently():
    asked = "import sys, controlplane.processes, controlplane.reportprocess; sys.exit('evidently' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
