"""The spool by a real rsyslogd into Elasticsearch: everything once, through kill -9 and beside our own shipper."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from observability.elastic import streams
from observability.elastic.client import connect
from observability.events import line_of
from observability.logstores import open_log_store
from observability.spool.dead_letters import DeadLetters
from observability.spool.ledger import ledger
from observability.spool.reader import SpoolReader
from observability.spool.shipper import Shipper
from observability.spool.writer import SpoolWriter
from tests.event_samples import decision, label, prediction
from tests.servers.absence import absent
from tests.servers.elastic import Elastic

CONFIG = Path(__file__).parents[2] / "deploy" / "rsyslog" / "driftgate.conf"
PREDICTIONS, LABELS = 2_000, 300


class Rsyslog:
    """An rsyslogd of our own, with the project's configuration and nothing else."""

    def __init__(self, program: str, folder: Path, spool: Path, elasticsearch: Elastic) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        self._command = [program, "-n", "-f", str(CONFIG), "-i", str(folder / "pid"), "-C"]
        self._environment = {
            **os.environ, "DRIFTGATE_SPOOL": str(spool), "DRIFTGATE_WORK": str(self.work),
            "DRIFTGATE_NAMESPACE": elasticsearch.namespace, "ELASTICSEARCH_URL": elasticsearch.url,
        }  # fmt: skip
        self._said = (folder / "rsyslogd.log").open("wb")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.work.parent / "pid").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            self._command, env=self._environment, stdout=self._said, stderr=subprocess.STDOUT
        )

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None


@pytest.fixture
def spool(tmp_path):
    with SpoolWriter(tmp_path / "spool" / "serving-0", segment_bytes=200_000) as writer:
        yield writer


@pytest.fixture
def rsyslog(tmp_path, elasticsearch, spool):
    program = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin")
    modules = list(Path("/usr/lib").glob("*/rsyslog/omelasticsearch.so"))
    if program is None or not modules:
        missing = "rsyslogd with omelasticsearch is missing: `make servers`, or install rsyslog rsyslog-elasticsearch"
        absent(missing)
    streams.setup(connect(elasticsearch.settings()), elasticsearch.settings())
    server = Rsyslog(program, tmp_path, tmp_path / "spool", elasticsearch)
    yield server
    server.end(signal.SIGKILL)


def arrived(elasticsearch: Elastic, kind: str, wanted: list[str], seconds: float = 60) -> list[str]:
    give_up_at = time.monotonic() + seconds
    while True:
        try:
            found = elasticsearch.stored(kind)
        except AssertionError:  # what it answers of a stream that is being made
            found = []
        if found == sorted(wanted) or time.monotonic() > give_up_at:
            return found
        time.sleep(0.3)


def test_every_line_is_indexed_once_in_its_stream_through_a_kill_and_beside_the_shipper(
    rsyslog, spool, elasticsearch, tmp_path
):
    predictions = [prediction(second) for second in range(PREDICTIONS)]
    labels = [label(each.id, 1, 5) for each in predictions[:LABELS]]
    said = decision(1, reason="cooling down")
    half = PREDICTIONS // 2
    spool.write([line_of(each) for each in predictions[:half]])
    rsyslog.start()
    assert len(arrived(elasticsearch, "prediction", [each.id for each in predictions[:half]])) == half

    spool.write([line_of(each) for each in predictions[half:]])
    time.sleep(0.2)  # somewhere in the middle
    rsyslog.end(signal.SIGKILL)
    spool.write([line_of(each) for each in labels] + [b'{"torn', line_of(said)])
    rsyslog.start()

    assert arrived(elasticsearch, "prediction", [each.id for each in predictions]) == sorted(p.id for p in predictions)
    assert arrived(elasticsearch, "label", [each.id for each in labels]) == sorted(each.id for each in labels)
    assert arrived(elasticsearch, "decision", [said.id]) == [said.id]
    rsyslog.end()
    assert (rsyslog.work / "no-documents.jsonl").read_text() == '{"torn\n'
    stored = elasticsearch.request(
        "GET", f"/{streams.stream_of('prediction', elasticsearch.namespace)}/_search?size=1"
    )["hits"]["hits"][0]["_source"]
    assert {"@timestamp", "ecs", "event", "driftgate"} == set(stored)

    store = open_log_store(tmp_path / "unused", elasticsearch.settings())
    shipper = Shipper(SpoolReader(tmp_path / "spool"), store, DeadLetters(tmp_path / "dead"))
    while shipper.ship_once().lines:
        pass
    counted = ledger(tmp_path / "spool")
    assert (counted.indexed, counted.dead_lettered, counted.waiting) == (PREDICTIONS + LABELS + 1, 1, 0)
    for kind, count in (("prediction", PREDICTIONS), ("label", LABELS), ("decision", 1)):
        assert len(elasticsearch.stored(kind)) == count, kind
