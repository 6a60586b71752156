"""A real Elasticsearch for the tests: one server for the session, a namespace of its own for each test that asks.

It listens on the loopback interface only, never runs as root, and ends with the process that started it. A test may
stop it, freeze it and start it again: its data stay.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from observability.elastic.streams import stream_of
from observability.settings import Settings
from tests.servers.absence import absent
from tests.servers.elasticsearch_distribution import VERSION, Missing, java_for, unpacked

NOBODY: Final = 65534
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 30.0
CONFIGURATION: Final = ("jvm.options", "log4j2.properties", "roles.yml", "users", "users_roles", "role_mapping.yml")
NODE: Final[Mapping[str, object]] = {
    "cluster.name": "driftgate-tests",
    "discovery.type": "single-node",
    "http.host": "127.0.0.1",
    "transport.host": "127.0.0.1",
    "xpack.security.enabled": "false",
    "cluster.routing.allocation.disk.threshold_enabled": "false",  # a full disk is a test of its own
    "cluster.max_shards_per_node": 10_000,  # each test has data streams of its own
}

#: what the data of a test run takes at most
_ROOM: Final = 4 << 30


def _in_memory() -> str | None:
    """A folder in memory, where fsync costs nothing and nothing outlives the machine; None where it is small."""
    shared = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of our own there
    return str(shared) if shared.is_dir() and shutil.disk_usage(shared).free > _ROOM else None


class ElasticsearchServer:
    """A server in a folder of its own, at one address from its first start to its last."""

    def __init__(
        self,
        version: str = VERSION,
        heap: str = "512m",
        node: Mapping[str, object] | None = None,
        fast: bool = True,
        prepare: Callable[[Path], None] | None = None,
    ) -> None:
        self.version = version
        self._home, self._java = unpacked(version), java_for(version)
        self._heap = heap
        #: less compilation: up sooner, slower later; a benchmark says no
        self._fast = fast
        self.folder = Path(tempfile.mkdtemp(prefix="dg-es-", dir=_in_memory() if fast else None))
        self.port, transport = _free_port(), _free_port()
        self._node = {
            **NODE, "http.port": self.port, "transport.port": transport,
            "path.data": self.folder / "data", "path.logs": self.folder / "logs", **(node or {}),
        }  # fmt: skip
        self._lay_out(prepare)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        secure = str(self._node.get("xpack.security.http.ssl.enabled", "false")) == "true"
        return f"{'https' if secure else 'http'}://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it answers; where it runs already, nothing. Raises AssertionError with its log."""
        if self.running:
            return
        drop = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"] if os.geteuid() == 0 else []
        command = ["setpriv", "--pdeathsig", "KILL", *drop, str(self._home / "bin" / "elasticsearch")]
        with (self.folder / "out.log").open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=self._environment(), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        give_up_at = time.monotonic() + START_SECONDS
        while not self.ready():
            if not self.running or time.monotonic() > give_up_at:
                self.kill()
                raise AssertionError(f"Elasticsearch did not start: {self._last_words()}")
            time.sleep(0.1)

    def ready(self) -> bool:
        """Whether every index that it holds can be asked and written; a secured one says only that it answers."""
        health = f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=1s"
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(health, trust_env=False, verify=False, timeout=10)  # noqa: S501 - only for its status
            return answer.status_code in {200, 401}
        return False

    def stop(self) -> None:
        """End it in order; its data stay for the next start."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would; its data stay for the next start."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """From now on it takes connections and never answers; `thaw` ends that."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and forget all that it held."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def request(self, method: str, path: str, json: object = None) -> Any:
        """What the server answers, past every client under test; an error is an AssertionError."""
        answer = httpx.request(method, f"{self.url}{path}", json=json, trust_env=False, timeout=60)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:2_000]}"
        return answer.json() if answer.content else None

    def _lay_out(self, prepare: Callable[[Path], None] | None) -> None:
        configuration = self.folder / "config"
        (configuration / "jvm.options.d").mkdir(parents=True)
        for name in ("data", "logs", "tmp"):
            (self.folder / name).mkdir()
        for name in CONFIGURATION:
            if (self._home / "config" / name).exists():
                shutil.copyfile(self._home / "config" / name, configuration / name)
        lines = [f"{key}: {value}\n" for key, value in self._node.items()]
        (configuration / "elasticsearch.yml").write_text("".join(lines), encoding="utf-8")
        if prepare is not None:
            prepare(configuration)
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY)

    def _environment(self) -> dict[str, str]:
        options = [f"-Xms{self._heap}", f"-Xmx{self._heap}", "-XX:-AlwaysPreTouch"]
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "ES_JAVA_HOME": str(self._java),
            "ES_PATH_CONF": str(self.folder / "config"),
            "ES_TMPDIR": str(self.folder / "tmp"),
            "ES_JAVA_OPTS": " ".join([*options, *(["-XX:TieredStopAtLevel=1"] if self._fast else [])]),
            "CLI_JAVA_OPTS": "-Xmx32m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        }

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self.thaw()
        if how is signal.SIGTERM:
            self._process.terminate()  # the launcher passes it on, and ends after the server
        else:
            self._signal(how)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait(STOP_SECONDS)
        self._signal(signal.SIGKILL)  # nothing that the launcher started outlives it
        self._process = None

    def _signal(self, which: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, which)

    def _last_words(self) -> str:
        return (self.folder / "out.log").read_text(encoding="utf-8", errors="replace")[-3_000:]


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@dataclass(frozen=True)
class Elastic:
    """What a test gets: the server, and a namespace in it that no other test uses."""

    server: ElasticsearchServer
    namespace: str

    @property
    def url(self) -> str:
        return self.server.url

    def settings(self, **changes: object) -> Settings:
        """Settings of an installation that keeps its events there."""
        values = {"store": "elasticsearch", "elasticsearch_urls": (self.url,), "namespace": self.namespace}
        return Settings.model_validate(values | changes)

    def request(self, method: str, path: str, json: object = None) -> Any:
        return self.server.request(method, path, json)

    def stored(self, kind: str) -> list[str]:
        """The ids in a kind's stream, one for each document of each backing index; none before the first document."""
        stream, there = stream_of(kind, self.namespace), "ignore_unavailable=true"
        self.request("POST", f"/{stream}/_refresh?{there}")
        found = self.request("GET", f"/{stream}/_search?size=10000&{there}", {"_source": False})
        return sorted(hit["_id"] for hit in found["hits"]["hits"])

    def stop(self) -> None:
        """An outage; the fixture starts the server again after the test where the test does not."""
        self.server.stop()

    def start(self) -> None:
        self.server.start()


def server_or_skip(version: str = VERSION, **how: Any) -> ElasticsearchServer:
    """A started server; where there is none the test is skipped, but in CI it fails."""
    try:
        server = ElasticsearchServer(version, **how)
    except Missing as missing:
        absent(str(missing))
    server.start()
    return server


@pytest.fixture(scope="session")
def elasticsearch_server() -> Iterator[ElasticsearchServer]:
    """One server for all tests of the process; DRIFTGATE_ELASTICSEARCH names another version than the usual one."""
    server = server_or_skip(os.environ.get("DRIFTGATE_ELASTICSEARCH", VERSION))
    yield server
    server.close()


@pytest.fixture
def elasticsearch(elasticsearch_server: ElasticsearchServer) -> Iterator[Elastic]:
    """The server, running when the test begins, with a new namespace."""
    elasticsearch_server.start()
    yield Elastic(elasticsearch_server, f"t{os.getpid()}_{time.time_ns():x}")
    elasticsearch_server.thaw()
    elasticsearch_server.start()
